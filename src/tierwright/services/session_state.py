"""Which sessions have written rows of ours, and who must hear of it when they commit.

:mod:`tierwright.tables.listening` listens, on our own classes and on :class:`sqlalchemy.orm.Session` itself, because a
session may have written long before anyone asks it about entitlements. It sees what the ORM flushes, and statements of
the kinds INSERT, UPDATE and DELETE in ``session.execute``; not ``text()``, and not what goes past the session to a
connection, which is seen by polling.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.orm import Session, SessionTransaction, object_session

from tierwright.errors import ConfigurationError, InvalidInput
from tierwright.services.announcing import ALL_TENANTS, ANNOUNCE, EVERYTHING, can_announce, words_of
from tierwright.services.catalog_version import bump_catalog, commits_by_itself
from tierwright.services.given import named
from tierwright.services.statements import STATE
from tierwright.tables import TierwrightState

if TYPE_CHECKING:
    from tierwright.store.snapshot_store import SnapshotStore

_WRITTEN = "tierwright.written"
_BUMPED = "tierwright.bumped"
_OWN = "tierwright.own"
_VIEWS = "tierwright.views"
_COMMITTED = "tierwright.committed"
_ANNOUNCED = "tierwright.announced"
_NO_ENTRIES: dict[str, Any] = {}
#: What a session that has several databases is shown, to choose one.
_WRITE, _READ = sa.update(STATE), sa.select(STATE)
#: Decisions do not change with the history, nor with our own counters.
_SILENT = {"feature_audit_log", "tierwright_state"}


class StoreView:
    """What a session may take from a store without asking: its entries, or nothing once the session has written."""

    __slots__ = ("entries", "store")

    def __init__(self, store: SnapshotStore | None) -> None:
        self.store = store
        try:
            self.entries: dict[str, Any] = _NO_ENTRIES if store is None else store.entries
        except AttributeError:
            raise ConfigurationError(
                f"{named(store)} is no store.", remedy="Pass SnapshotStore(engine), one for the whole process."
            ) from None


def view_of(session: Session | None, store: SnapshotStore | None) -> StoreView:
    """Return a session's view of a store; the same one for the same pair.

    A store that the session has not asked before is told what the session has committed.
    """
    if session is None or store is None:
        return StoreView(store)
    views: dict[int, StoreView] = session.info.setdefault(_VIEWS, {})
    view = views.get(id(store))
    if view is None:
        if not hasattr(store, "forget"):  # one answer of a store: there is nobody to be told
            return StoreView(store)
        view = views[id(store)] = StoreView(store)
        for word in session.info.get(_COMMITTED, ()):
            forget(store, word)
        if has_written(session):
            view.entries = _NO_ENTRIES
    return view


def has_written(session: Session) -> bool:
    """Tell whether the session has written rows of ours in its present transaction."""
    return _WRITTEN in session.info


def connection_of(session: Session, *, writing: bool = True) -> Connection:
    """Return the connection to our tables; a session may have several databases, and a replica for reading."""
    clause = _WRITE if writing or has_written(session) else _READ
    return session.connection(bind_arguments={"mapper": sa.inspect(TierwrightState), "clause": clause})


def mark_written(session: Session, *tenant_ids: str) -> None:
    """Note that the session has written rows of these tenants, or one of the words that stand for more."""
    session.info.setdefault(_WRITTEN, set()).update(tenant_ids)
    for view in session.info.get(_VIEWS, {}).values():
        view.entries = _NO_ENTRIES


def new_catalog_version(session: Session) -> None:
    """Give the catalogue a new version, once in a transaction, so that every store reads it again."""
    connection = connection_of(session)
    transaction = connection.get_transaction()  # of a session that was joined to it, it may end and another one begin
    if session.info.get(_BUMPED) is not transaction or transaction is None:
        session.info[_BUMPED] = transaction
        bump_catalog(connection)


# --- what the session writes -----------------------------------------------------------------------------------------


@contextmanager
def own_writes(session: Session) -> Iterator[None]:
    """Let what the session writes inside be recorded by whoever writes it: a service, which knows what it does."""
    before = session.info.get(_OWN, False)
    session.info[_OWN] = True
    try:
        yield
    finally:
        session.info[_OWN] = before


def is_own_write(session: Session) -> bool:
    """Tell whether a service is writing, and so says itself in the history what it does."""
    return bool(session.info.get(_OWN))


def is_told_of(table: Any) -> bool:
    """Tell whether stores and the history must hear of changes in a table."""
    return bool(getattr(table, "info", {}).get("tierwright")) and table.name not in _SILENT


def before_row(connection: Connection, target: Any) -> None:
    """Give the catalogue a new version, and so take its lock, before a row of it is flushed."""
    session = object_session(target)
    if session is None or _tenants_of(target):
        return
    if not commits_by_itself(connection):
        new_catalog_version(session)


def after_row(connection: Connection, target: Any) -> None:
    """Note whose row was flushed."""
    session = object_session(target)
    if session is None:
        return
    tenants = _tenants_of(target)
    mark_written(session, *(tenants or {EVERYTHING}))
    if not tenants and commits_by_itself(connection):
        bump_catalog(connection)  # only now may others see the new version: they would read the old row with it


# --- the end of a transaction ----------------------------------------------------------------------------------------


def before_commit(session: Session) -> None:
    """Announce the changes on PostgreSQL; others hear of them if the transaction commits, and only then."""
    if session.in_nested_transaction():
        return
    session.flush()  # what the session would do next; only then is it known what it writes
    owed = words_of(session.info.get(_WRITTEN, set())) - session.info.get(_ANNOUNCED, set())
    if owed and can_announce(connection := connection_of(session)):
        connection.execute(ANNOUNCE, {"words": list(owed)})


def announced_with(session: Session, connection: Connection) -> list[str]:
    """Return what the next statement of the session announces: all that it has written.

    Again and again: a savepoint of the driver's, of which nobody hears, may take an earlier announcement back. To
    PostgreSQL the same one twice is one.

    Args:
        session: the host's.
        connection: to which the statement goes; it has to announce what is returned.
    """
    if not can_announce(connection) or connection is not connection_of(session):
        return []  # the history may be in a database of its own, where nobody listens
    words = words_of(session.info.get(_WRITTEN, set()))
    session.info[_ANNOUNCED] = words
    return list(words)


def after_commit(session: Session) -> None:
    """Have the stores that the session uses, or comes to use, forget what it has changed."""
    written = session.info.get(_WRITTEN)
    if not written or session.in_nested_transaction():
        return
    session.info[_COMMITTED] = set(words_of(written | session.info.get(_COMMITTED, set())))
    for view in session.info.get(_VIEWS, {}).values():
        for word in words_of(written):
            forget(view.store, word)


def after_transaction_end(session: Session, transaction: SessionTransaction) -> None:
    """Let the session use its stores again."""
    if transaction.parent is not None:
        return
    session.info.pop(_ANNOUNCED, None)
    if _is_joined(session):
        return
    session.info.pop(_BUMPED, None)
    if session.info.pop(_WRITTEN, None) is not None:
        for view in session.info.get(_VIEWS, {}).values():
            view.entries = view.store.entries


def after_soft_rollback(session: Session, _transaction: SessionTransaction) -> None:
    """Forget that the catalogue had a new version, and what was announced."""
    session.info.pop(_BUMPED, None)  # a savepoint that was rolled back may have taken the new version with it
    session.info.pop(_ANNOUNCED, None)


def forget(store: SnapshotStore, word: str) -> None:
    """Have a store forget a tenant, or what else a word of :mod:`~tierwright.services.announcing` stands for."""
    if word == ALL_TENANTS:
        store.forget_tenants()
        return
    try:
        store.forget(word or None)
    except InvalidInput:  # written past the services, or not by us
        store.forget()


def _is_joined(session: Session) -> bool:
    """Tell whether the session's transaction is part of a larger one, which may still be rolled back."""
    return isinstance(session.bind, Connection) and session.bind.in_transaction()


def _tenants_of(target: Any) -> set[str]:
    """Return whose row it is, and whose it was before; rows of the catalogue are nobody's."""
    if not hasattr(target, "tenant_id"):
        return set()
    was = sa.inspect(target).attrs.tenant_id.history.deleted or ()
    return {str(tenant_id) for tenant_id in (target.tenant_id, *was) if tenant_id is not None}
