"""Short ways to write and to look at what was written."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlmodel import Session, SQLModel

from tierwright import tables
from tierwright.services.audit import AuditContext
from tierwright.services.registry import Registry

ON = {"enabled": True}
OFF = {"enabled": False}


def feature(key: str, **changes: Any) -> dict[str, Any]:
    """Return the fields of a boolean feature that is off by default."""
    return {
        "feature_key": key,
        "feature_name": key,
        "category": "test",
        "feature_type": "boolean",
        "default_value": {"enabled": False, "value": True},
        **changes,
    }


def integer(key: str, **changes: Any) -> dict[str, Any]:
    """Return the fields of an integer feature that is off by default."""
    return feature(key, **{"feature_type": "integer", "default_value": {"enabled": False, "value": 0}, **changes})


def tier(key: str, **changes: Any) -> dict[str, Any]:
    """Return the fields of a tier."""
    return {"tier_key": key, "name": key.title(), **changes}


def writer(session: Session) -> Registry:
    """Return the writes of a session that says who makes them."""
    AuditContext("tester").attach(session)
    return Registry(session)


def seed(registry: Registry, *features: str | dict[str, Any], **tiers: dict[str, Any]) -> None:
    """Create features, and tiers with their grants."""
    for each in features:
        registry.features.create(feature(each) if isinstance(each, str) else each)
    for key, grants in tiers.items():
        registry.tiers.create(tier(key))
        if grants:
            registry.tiers.grant(key, grants)


def history(session: Session, *, after: int = 0) -> list[tuple[Any, ...]]:
    """Return entity type, id, action, old and new value of the audit entries, in their order."""
    log = tables.FeatureAuditLog.__table__
    columns = (log.c.entity_type, log.c.entity_id, log.c.action, log.c.old_value, log.c.new_value)
    return [tuple(row) for row in session.execute(sa.select(*columns).order_by(log.c.id)).all()][after:]


def version(session: Session) -> int:
    """Return the version of the catalogue."""
    state = tables.TierwrightState.__table__
    return session.execute(sa.select(state.c.version).where(state.c.key == "catalog")).scalar() or 0


def everything(session: Session) -> dict[str, list[Any]]:
    """Return all rows of all tables."""
    found = {}
    for name in tables.TABLE_NAMES:
        table = SQLModel.metadata.tables[name]
        rows = session.execute(table.select().order_by(*table.primary_key.columns)).all()
        found[name] = [repr(row) for row in rows]
    return found


class Statements:
    """Counts the statements that run on an engine."""

    def __init__(self, engine: Engine) -> None:
        self.count = 0
        sa.event.listen(engine, "before_cursor_execute", self._seen)

    def _seen(self, *_: Any) -> None:
        self.count += 1
