"""Statements as a driver takes them, without SQLAlchemy's way of running them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from tierwright.services.driver_text import driver_text


class Compiled:
    """A statement as the driver takes it, with the engine's schema in it."""

    def __init__(self, engine: Engine, statement: sa.SelectBase, schemas: Any) -> None:
        compiled = driver_text(engine.dialect, statement, tuple((schemas or {}).items()))
        self.text = str(compiled)
        self._places = len(compiled.positiontup or ()) if compiled.positional else None
        self._named = tuple(compiled.params)

    def parameters(self, tenant_id: str | None) -> Any:
        """Return the parameters in the driver's style; the tenant is the only one."""
        if self._places is not None:
            return (tenant_id,) * self._places
        return dict.fromkeys(self._named, tenant_id)
