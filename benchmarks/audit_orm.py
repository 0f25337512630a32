"""What SQLAlchemy takes for one change by itself: the same tables, of which nothing is recorded.

With it :mod:`benchmarks.audit` tells what recording costs from what a session and its statements cost.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.orm import DeclarativeBase, Session
from sqlmodel import SQLModel

import tierwright.tables  # noqa: F401  fills the metadata
from benchmarks.audit_floor import value_of
from tierwright.types import utc_now, uuid7

_OURS = SQLModel.metadata.tables


class _Base(DeclarativeBase):
    pass


def _copy(name: str) -> sa.Table:
    columns = [sa.Column(each.name, each.type, primary_key=each.primary_key) for each in _OURS[name].c]
    return sa.Table(name, _Base.metadata, *columns)


class _Override(_Base):
    __table__ = _copy("tenant_feature_override")


class _Entry(_Base):
    __table__ = _copy("feature_audit_log")


def change(engine: Engine, value: int) -> None:
    """Change a row, of which nothing is recorded."""
    with Session(engine) as session:
        _changed(session, value)
        session.commit()


def change_and_add(engine: Engine, value: int) -> None:
    """Change a row, and add an entry made of what is known already: the least that an ORM's listeners could do."""
    with Session(engine) as session:
        old = _changed(session, value)
        session.add(_Entry(**_entry(old, value)))
        session.commit()


def execute(engine: Engine, value: int, *, reads: bool) -> None:
    """Do the same past the ORM, with statements that were built before; perhaps read the row before and after."""
    with engine.begin() as connection:
        old = connection.execute(_LOCKED, _KEY).scalar_one() if reads else value_of(value - 1)
        connection.execute(_UPDATE, {**_KEY, "new": value_of(value), "now": utc_now()})
        new = connection.execute(_READ, _KEY).scalar_one() if reads else value_of(value)
        connection.execute(_INSERT, _entry(old, new["value"]))


def _changed(session: Session, value: int) -> Any:
    row: Any = session.get(_Override, ("t1", "a.b"))
    old, row.feature_value, row.updated_at = row.feature_value, value_of(value), utc_now()
    return old


def _entry(old: Any, value: int) -> dict[str, Any]:
    return {
        "id": uuid7(),
        "entity_type": "tenant_override",
        "entity_id": "t1/a.b",
        "tenant_id": "t1",
        "feature_key": "a.b",
        "action": "updated",
        "old_value": {"feature_value": old},
        "new_value": {"feature_value": value_of(value)},
        "performed_by": "benchmark",
        "performed_at": utc_now(),
    }


_TABLE: Any = _Override.__table__
_KEY = {"tenant": "t1", "key": "a.b"}
_IS_IT = (_TABLE.c.tenant_id == sa.bindparam("tenant")) & (_TABLE.c.feature_key == sa.bindparam("key"))
_READ = sa.select(_TABLE.c.feature_value).where(_IS_IT)
_LOCKED = _READ.with_for_update(key_share=True)
_UPDATE = sa.update(_TABLE).where(_IS_IT).values(feature_value=sa.bindparam("new"), updated_at=sa.bindparam("now"))
_INSERT = sa.insert(_Entry.__table__)
