"""What is done when a session writes rows of ours: stores must hear of it, and the history must say it.

:mod:`tierwright.tables.listening` says when each is called.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.orm import Mapper, ORMExecuteState, Session, SessionTransaction, UOWTransaction

from tierwright.services import session_state
from tierwright.services.announcing import ALL_TENANTS, EVERYTHING
from tierwright.services.audit import forget_pending, write_pending
from tierwright.services.catalog_version import bump_catalog, commits_by_itself
from tierwright.services.key_lists.checking import refuse_by_itself
from tierwright.services.recording import bulk_methods, deleted_tiers, flushes
from tierwright.services.recording.disguises import refuse_hidden, written_table
from tierwright.services.recording.statements import recorder
from tierwright.services.session_state import after_commit as after_commit


def before_insert(mapper: Mapper[Any], connection: Connection, target: Any) -> None:
    """Take the lock of the catalogue before one of its rows is written, and note what it replaces."""
    refuse_by_itself(connection, target)
    deleted_tiers.refuse_by_itself(connection, target)
    flushes.refuse_nobody(connection, target)
    session_state.before_row(connection, target)
    flushes.replacing(mapper, connection, target)


def after_insert(mapper: Mapper[Any], connection: Connection, target: Any) -> None:
    """Note a new row."""
    session_state.after_row(connection, target)
    flushes.making(mapper, connection, target)


def before_update(mapper: Mapper[Any], connection: Connection, target: Any) -> None:
    """Take the lock, and note how the row is."""
    refuse_by_itself(connection, target)
    deleted_tiers.refuse_by_itself(connection, target)
    flushes.refuse_nobody(connection, target)
    session_state.before_row(connection, target)
    flushes.changing(mapper, connection, target)


def after_update(_mapper: Mapper[Any], connection: Connection, target: Any) -> None:
    """Note whose row has changed."""
    session_state.after_row(connection, target)


def before_delete(mapper: Mapper[Any], connection: Connection, target: Any) -> None:
    """Take the lock, and note how the row was."""
    refuse_by_itself(connection, target, is_going=True)
    flushes.refuse_nobody(connection, target)
    session_state.before_row(connection, target)
    flushes.changing(mapper, connection, target, is_going=True)


def after_delete(_mapper: Mapper[Any], connection: Connection, target: Any) -> None:
    """Note whose row is gone."""
    session_state.after_row(connection, target)


def before_flush(session: Session, context: UOWTransaction, _instances: object) -> None:
    """Tell flushes from the methods that go past them."""
    bulk_methods.flush_begins(session, context)
    flushes.begun(session)


def after_flush(session: Session, _context: object) -> None:
    """Write the entries about what was flushed, by a service or by the host."""
    write_pending(session)
    flushes.flushed(session)
    bulk_methods.flush_ends(session)


def before_commit(session: Session) -> None:
    """Announce what the session has written, and write the entries about what went past the ORM."""
    session_state.before_commit(session)
    if not session.in_nested_transaction():
        write_pending(session)


def after_transaction_create(session: Session, transaction: SessionTransaction) -> None:
    """Watch what is neither a flush nor a statement."""
    bulk_methods.begun(session, transaction)


def after_transaction_end(session: Session, transaction: SessionTransaction) -> None:
    """Let the session use its stores again."""
    bulk_methods.ended(session, transaction)
    if transaction.parent is None:
        forget_pending(session)  # close() and reset() end it without a word
    session_state.after_transaction_end(session, transaction)


def after_soft_rollback(session: Session, transaction: Any) -> None:
    """Forget what was not to be."""
    flushes.forget(session)
    forget_pending(session)
    bulk_methods.flush_ends(session)
    session_state.after_soft_rollback(session, transaction)


def do_orm_execute(state: ORMExecuteState) -> Any:
    """Have a statement on our rows announced and recorded.

    Raises:
        Unrecordable: the history could not tell what it does; nothing was written.
    """
    refuse_hidden(state)
    if not isinstance(state.statement, sa.Insert | sa.Update | sa.Delete):
        return None
    table = written_table(state)
    if table is None:
        return None
    run = None if session_state.is_own_write(state.session) else recorder(state)
    if "tenant_id" in table.c:
        session_state.mark_written(state.session, ALL_TENANTS)
        return run and run()
    session_state.mark_written(state.session, EVERYTHING)
    connection = session_state.connection_of(state.session)
    if not commits_by_itself(connection):
        session_state.new_catalog_version(state.session)
        return run and run()
    result = (run or state.invoke_statement)()
    bump_catalog(connection)
    return result
