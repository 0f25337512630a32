"""For which tenant a transaction works, where PostgreSQL's row-level security decides by it.

The setting is of the transaction alone, set and used within one: it is gone from the connection when the transaction
ends, however it ends, and a proxy that pools transactions cannot hand it to somebody else.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError, InvalidRequestError
from sqlalchemy.orm import Session

from tierwright.errors import IsolationRefused, PrivilegeMissing, SessionMissing, TransactionMissing
from tierwright.services.catalog_version import commits_by_itself
from tierwright.services.row_security import CHANGE, TENANT_TABLES, current_tenant, is_active, is_shadowed, unseen
from tierwright.services.session_state import connection_of
from tierwright.types import canonical_tenant_id

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

#: What to ask for with a statement that comes anyway, in place of one more: the columns of a :class:`Context`.
CONTEXT = (
    is_active(*TENANT_TABLES).label("is_active"),
    current_tenant().label("tenant_id"),
    is_shadowed().label("is_shadowed"),
)
_CONTEXT = sa.select(*CONTEXT)
_UNSEEN = sa.select(*(unseen(name).label(name) for name in TENANT_TABLES))


class Context(NamedTuple):
    """What a connection says of itself.

    Attributes:
        is_active: whether policies decide what it sees.
        tenant_id: for which tenant it works.
        is_shadowed: whether a temporary table stands before one of ours.
    """

    is_active: bool
    tenant_id: str | None
    is_shadowed: bool = False


@contextmanager
def tenant_scope(connection: Connection, tenant_id: str, context: Context | None = None) -> Iterator[None]:
    """Let the connection's transaction work for one tenant, and afterwards for the one that it worked for before.

    It does something only where row-level security is on, and never on SQLite. An error inside is passed on as it is,
    also where the transaction has failed and could not be set back; it can only be rolled back then.

    Args:
        connection: whose transaction.
        tenant_id: in its canonical form.
        context: what the connection has said of itself in this transaction; it is asked unless given.

    Raises:
        TransactionMissing: row-level security is on, and the connection has no transactions (AUTOCOMMIT).
        IsolationRefused: a temporary table of the connection stands before one of ours.
    """
    if connection.dialect.name != "postgresql":
        yield
        return
    before = context or Context(*connection.execute(_CONTEXT).one())
    if before.is_shadowed:
        raise IsolationRefused(
            "A temporary table of this connection stands before a table of tierwright.",
            remedy="Close the connection. REVOKE TEMPORARY ON DATABASE ... FROM PUBLIC lets nobody make one.",
        )
    if not before.is_active or before.tenant_id == tenant_id:
        yield
        return
    entered = _Entered(connection, tenant_id, before.tenant_id)
    try:
        yield
    except BaseException:
        with suppress(DBAPIError, InvalidRequestError, OSError):  # OSError: asyncpg does not wrap what the network says
            entered.leave()
        raise
    entered.leave()


def tenant_context(session: Session | AsyncSession, tenant: str | int | UUID) -> TenantContext:
    """Let a session work for one tenant: in its transaction, and in each that it begins inside.

    For statements of the host's own on our tables where row-level security is on; without it, and on SQLite, it
    changes nothing that anybody sees. Our own calls find their tenant by themselves, also about another one inside.

    Args:
        session: the host's; ``with`` for a Session, ``async with`` for an AsyncSession.
        tenant: the host's identifier of the tenant.

    Raises:
        InvalidInput: that is no tenant.
        SessionMissing: that is no session.
        TransactionMissing: the session's connection is in AUTOCOMMIT mode; raised where it is first used.
        TypeError: ``with`` and ``async with`` are mixed up.
    """
    return TenantContext(session, canonical_tenant_id(tenant))


def require_all_tenants(connection: Connection) -> None:
    """Refuse to read about all tenants where row-level security would hide some.

    Raises:
        PrivilegeMissing: the current role does not belong to the one for which all rows are visible.
    """
    if connection.dialect.name != "postgresql":
        return
    hidden = [name for name in connection.execute(_UNSEEN).one() if name is not None]
    if hidden:
        raise PrivilegeMissing(
            f"Row-level security hides tenants from the current role in {', '.join(hidden)}.",
            remedy="Connect as a role that belongs to tierwright_admin.",
            details={"tables": hidden},
        )


class TenantContext:
    """A session that works for one tenant; made by :func:`tenant_context`."""

    def __init__(self, session: Any, tenant_id: str) -> None:
        self._is_async = hasattr(session, "sync_session")
        self._session: Session = session.sync_session if self._is_async else session
        if not isinstance(self._session, Session):
            # A scoped_session is another session in each thread and after remove().
            raise SessionMissing(f"A {type(session).__name__} is no Session.", remedy="Pass the session itself.")
        self._outer = session
        self._tenant_id = tenant_id
        self._entered: list[_Entered] = []

    def __enter__(self) -> Self:
        if self._is_async:
            raise TypeError("An AsyncSession needs `async with tenant_context(...)`")
        self._enter(self._session)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._leave(self._session, error)

    async def __aenter__(self) -> Self:
        if not self._is_async:
            raise TypeError("A Session needs `with tenant_context(...)`")
        await self._outer.run_sync(self._enter)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._outer.run_sync(self._leave, error)

    def _enter(self, session: Session) -> None:
        if session.in_transaction():
            # A session may have one database to read from and another to write to.
            for connection in {connection_of(session, writing=False), connection_of(session)}:
                self._begun(session, None, connection)
        event.listen(session, "after_begin", self._begun)

    def _begun(self, _session: Session, _transaction: object, connection: Connection) -> None:
        self._entered = [entered for entered in self._entered if entered.is_open()]
        if connection.dialect.name == "postgresql":
            before = connection.execute(sa.select(current_tenant())).scalar()
            self._entered.append(_Entered(connection, self._tenant_id, before))

    def _leave(self, session: Session, error: BaseException | None) -> None:
        event.remove(session, "after_begin", self._begun)
        for entered in reversed(self._entered):
            if error is None:
                entered.leave()
                continue
            with suppress(DBAPIError, InvalidRequestError, OSError):
                entered.leave()


class _Entered:
    """A transaction that works for a tenant."""

    def __init__(self, connection: Connection, tenant_id: str, before: str | None) -> None:
        if commits_by_itself(connection):
            raise TransactionMissing(
                "Row-level security finds a tenant by a setting of the transaction, and the connection has none "
                "(AUTOCOMMIT).",
                remedy="Give the session an engine, or a connection, with transactions.",
            )
        connection.execute(CHANGE, {"tenant_id": tenant_id})
        self._connection = connection
        self._transaction = connection.get_transaction()
        self._before = before

    def is_open(self) -> bool:
        """Tell whether the transaction goes on; with its end the setting is gone."""
        if self._connection.closed or self._connection.invalidated or self._transaction is None:
            return False
        return self._transaction.is_active and self._connection.get_transaction() is self._transaction

    def leave(self) -> None:
        """Let it work for the tenant of before."""
        if self.is_open():
            self._connection.execute(CHANGE, {"tenant_id": self._before or ""})
