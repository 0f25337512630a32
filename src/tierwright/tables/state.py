"""The library's own counters; ``catalog`` is bumped first by every catalogue write and so is its lock."""

from typing import Any

import sqlalchemy as sa
from sqlmodel import SQLModel

from tierwright.tables import base


class TierwrightState(SQLModel, table=True):
    """One named value with its version."""

    __tablename__ = "tierwright_state"

    key: str = base.key(100)
    value: Any = base.document(nullable=True)
    version: int = base.number(0, sa.BigInteger)

    __table_args__ = (base.primary_key("tierwright_state", "key"), {"info": dict(base.INFO)})
