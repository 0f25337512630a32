"""Which sessions have written rows of ours, and who must hear of it when they commit.

The listeners are on :class:`sqlalchemy.orm.Session` itself, because a session may have written long before anyone
asks it about entitlements. They see what goes through the ORM and through ``session.execute``; not what goes past the
session, to a connection of its own, which is seen by polling.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Connection
from sqlalchemy.orm import ORMExecuteState, Session, SessionTransaction

from tierwright.services.catalog_version import bump_catalog
from tierwright.services.statements import STATE
from tierwright.tables import TierwrightState

if TYPE_CHECKING:
    from tierwright.store.snapshot_store import SnapshotStore

#: The PostgreSQL channel on which changes are announced: the tenant's id, or nothing for the whole catalogue.
CHANNEL = "tierwright"
#: In place of a tenant: everything may have changed.
EVERYTHING = ""

_WRITTEN = "tierwright.written"
_BUMPED = "tierwright.bumped"
_VIEWS = "tierwright.views"
_NO_ENTRIES: dict[str, Any] = {}


class StoreView:
    """What a session may take from a store without asking: its entries, or nothing once the session has written."""

    __slots__ = ("entries", "store")

    def __init__(self, store: SnapshotStore | None) -> None:
        self.store = store
        self.entries: dict[str, Any] = _NO_ENTRIES if store is None else store.entries


def view_of(session: Session | None, store: SnapshotStore | None) -> StoreView:
    """Return a session's view of a store; the same one for the same pair."""
    if session is None or store is None:
        return StoreView(store)
    views: dict[int, StoreView] = session.info.setdefault(_VIEWS, {})
    view = views.get(id(store))
    if view is None:
        view = views[id(store)] = StoreView(store)
        if has_written(session):
            view.entries = _NO_ENTRIES
    return view


def has_written(session: Session) -> bool:
    """Tell whether the session has written rows of ours in its present transaction."""
    return _WRITTEN in session.info


def connection_of(session: Session) -> Connection:
    """Return the connection to our tables; a session may have several databases."""
    return session.connection(bind_arguments={"mapper": sa.inspect(TierwrightState)})


def mark_written(session: Session, *tenant_ids: str) -> None:
    """Note that the session has written rows of these tenants, or with :data:`EVERYTHING` of the catalogue."""
    session.info.setdefault(_WRITTEN, set()).update(tenant_ids)
    for view in session.info.get(_VIEWS, {}).values():
        view.entries = _NO_ENTRIES


@event.listens_for(Session, "before_flush")
def _before_flush(session: Session, _context: object, _instances: object) -> None:
    found = {_tenant_of(instance) for instance in _changed(session) if _is_ours(getattr(instance, "__table__", None))}
    if EVERYTHING in found:
        new_catalog_version(session)
    if found:
        mark_written(session, *found)


@event.listens_for(Session, "do_orm_execute")
def _do_orm_execute(state: ORMExecuteState) -> None:
    if not isinstance(state.statement, sa.Insert | sa.Update | sa.Delete):
        return
    table = state.statement.table
    if not _is_ours(table):
        return
    if table is STATE:
        state.session.info[_BUMPED] = True
    elif "tenant_id" not in table.c:
        new_catalog_version(state.session)
    mark_written(state.session, EVERYTHING)


@event.listens_for(Session, "before_commit")
def _before_commit(session: Session) -> None:
    """Announce the changes on PostgreSQL; others hear of them if the transaction commits, and only then."""
    if session.in_nested_transaction() or session.twophase:  # PostgreSQL cannot prepare a transaction that notifies
        return
    session.flush()  # what the session would do next; only then is it known what it writes
    written = session.info.get(_WRITTEN)
    if not written:
        return
    connection = connection_of(session)
    if connection.dialect.name == "postgresql":
        for tenant_id in _without_parts(written):
            connection.execute(sa.select(sa.func.pg_notify(CHANNEL, tenant_id)))


@event.listens_for(Session, "after_commit")
def _after_commit(session: Session) -> None:
    written = session.info.get(_WRITTEN)
    if not written or session.in_nested_transaction():
        return
    for view in session.info.get(_VIEWS, {}).values():
        for tenant_id in _without_parts(written):
            view.store.forget(tenant_id or None)


@event.listens_for(Session, "after_transaction_end")
def _after_transaction_end(session: Session, transaction: SessionTransaction) -> None:
    if transaction.parent is None:
        session.info.pop(_BUMPED, None)
        if session.info.pop(_WRITTEN, None) is not None:
            for view in session.info.get(_VIEWS, {}).values():
                view.entries = view.store.entries


@event.listens_for(Session, "after_soft_rollback")
def _after_soft_rollback(session: Session, _transaction: SessionTransaction) -> None:
    session.info.pop(_BUMPED, None)  # a savepoint that was rolled back may have taken the new version with it


def new_catalog_version(session: Session) -> None:
    """Give the catalogue a new version, once in a transaction, so that every store reads it again."""
    if not session.info.get(_BUMPED):
        session.info[_BUMPED] = True
        bump_catalog(connection_of(session))


def _changed(session: Session) -> Iterator[Any]:
    yield from session.new
    yield from session.deleted
    yield from (instance for instance in session.dirty if session.is_modified(instance))


def _is_ours(table: Any) -> bool:
    """Tell whether decisions may change with the rows of a table."""
    return bool(getattr(table, "info", {}).get("tierwright")) and table.name != "feature_audit_log"


def _tenant_of(instance: Any) -> str:
    """Return whose row it is; rows without a tenant are the catalogue's."""
    return getattr(instance, "tenant_id", None) or EVERYTHING


def _without_parts(written: set[str]) -> Iterable[str]:
    return {EVERYTHING} if EVERYTHING in written else written
