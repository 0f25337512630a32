"""The legacy methods ``bulk_save_objects``, ``bulk_insert_mappings`` and ``bulk_update_mappings`` are refused.

They go past every event of the ORM. Only that they begin an inner transaction, as a flush does, can be heard; so while
one is open that no flush has announced, the session's connection lets nothing through to our tables.
https://docs.sqlalchemy.org/en/20/orm/queryguide/dml.html#legacy-session-bulk-insert-methods
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import UnboundExecutionError
from sqlalchemy.orm import Session, SessionTransaction, SessionTransactionOrigin, UOWTransaction

from tierwright.errors import Unrecordable
from tierwright.services.recording.described import DESCRIBED
from tierwright.services.session_state import connection_of

_FLUSHES = "tierwright.flushes"
_WATCHED = "tierwright.watched"


def flush_begins(session: Session, context: UOWTransaction) -> None:
    """Note that the next inner transaction is a flush, unless it finds nothing to do or does not get so far."""
    session.info[_FLUSHES] = context


def flush_ends(session: Session) -> None:
    """Note that it is over, well or not."""
    session.info.pop(_FLUSHES, None)


def begun(session: Session, transaction: SessionTransaction) -> None:
    """Watch the connection while one of the methods is at work."""
    flush = session.info.get(_FLUSHES)
    if transaction.origin is not SessionTransactionOrigin.SUBTRANSACTION or (flush is not None and flush.has_work):
        return
    try:
        connection = connection_of(session)
    except UnboundExecutionError:  # our tables are elsewhere
        return
    session.info[_WATCHED] = transaction, connection
    sa.event.listen(connection, "before_execute", _refuse)


def ended(session: Session, transaction: SessionTransaction) -> None:
    """Watch no longer."""
    watched, connection = session.info.get(_WATCHED, (None, None))
    if watched is transaction:
        del session.info[_WATCHED]
        sa.event.remove(connection, "before_execute", _refuse)


def _refuse(_connection: Connection, statement: Any, *_: Any) -> None:
    if isinstance(statement, sa.Insert | sa.Update) and getattr(statement.table, "name", None) in DESCRIBED:
        name = statement.table.name  # type: ignore[union-attr]  # it has one
        raise Unrecordable(
            f"The history could not tell what a bulk method does to {name}.",
            remedy="session.execute(insert(Model), rows) and execute(update(Model), rows) are as fast, and recorded.",
            details={"table": name},
        )
