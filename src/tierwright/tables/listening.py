"""Which events of SQLAlchemy the library hears, and who answers them.

They are listened to here, and answered in :mod:`tierwright.services.session_events`, which is imported when the first
one comes: whoever writes rows leaves their history, also in a process that imports nothing but the tables.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapper, Session

from tierwright.tables.base import later

_ANSWERS = "tierwright.services.session_events"
_OF_ROWS = ("before_insert", "after_insert", "before_update", "after_update", "before_delete", "after_delete")
_OF_SESSIONS = (
    "do_orm_execute",
    "before_flush",
    "after_flush",
    "before_commit",
    "after_commit",
    "after_soft_rollback",
    "after_transaction_create",
    "after_transaction_end",
)


def listen_to_rows(*models: Any) -> None:
    """Have the flushes of these classes, and of what inherits from them, answered."""
    for model in models:
        for name in _OF_ROWS:
            sa.event.listen(model, name, _answered(name), propagate=True)


def listen_to_mappers(*models: Any) -> None:
    """Have the flushes of other classes answered that a host maps to the tables of these."""
    tables = {model.__table__ for model in models}
    heard = [*models]

    @sa.event.listens_for(Mapper, "after_mapper_constructed")
    def listener(mapper: Mapper[Any], class_: type[Any]) -> None:
        if not tables.isdisjoint(mapper.tables) and not issubclass(class_, tuple(heard)):
            heard.append(class_)
            listen_to_rows(class_)


def listen_to_sessions() -> None:
    """Have the statements, flushes and ends of transactions of all sessions answered."""
    for name in _OF_SESSIONS:
        sa.event.listen(Session, name, _answered(name))


def _answered(name: str) -> Any:
    """Return a listener that hands an event on.

    Only the answer is imported late. To begin to listen when the first event comes would be too late for that event.
    """
    found: list[Any] = []

    def listener(*arguments: Any) -> Any:
        if not found:
            found.append(later(f"{_ANSWERS}.{name}")())
        return found[0](*arguments)

    return listener
