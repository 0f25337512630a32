"""Switching row-level security on and off: in one transaction, repeatable, and never over a host's policies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy.engine import Connection

from tierwright.errors import IsolationRefused
from tierwright.isolation.roles import refuse_unsafe
from tierwright.isolation.state import (
    RULES,
    TENANT_POLICY,
    TENANT_RULE,
    IsolationState,
    read_isolation,
    read_roles,
    require_postgresql,
)
from tierwright.migrations.dialects.postgresql_session import enter_schema
from tierwright.migrations.failures import typed_errors
from tierwright.migrations.urls import migration_engine
from tierwright.services.row_security import ADMIN_POLICY, TENANT_TABLES

ADMIN_ROLE = "tierwright_admin"
#: Nobody queues behind a table for longer than this.
_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '2s'"


def enable(database: Any, app: Sequence[str], *, admin: str = ADMIN_ROLE, schema: str | None = None) -> None:
    """Let the application's roles see one tenant at a time, and the admin role all; in one transaction.

    The admin role is made, without login, if it is missing, and the tables' owner becomes a member of it: the owner
    obeys the policies too (FORCE), and migrations must see every row.

    Args:
        database: a URL or an engine, of a role that owns the tables; to make the admin role it needs CREATEROLE.
        app: the roles that the application connects as.
        admin: the role for the back office, rotation, plans and doctor.
        schema: PostgreSQL schema; the connection's ``current_schema()`` unless given.

    Raises:
        DialectUnsupported: it is not PostgreSQL.
        IsolationRefused: a role does not exist, or no policy would hold for it; or the tables have policies of others.
        PrivilegeMissing: the current role may not do it.
        LockNotAcquired: others kept a table for 2 s; nothing was changed.
    """
    _run(database, schema, lambda connection: enable_sql(connection, app, admin=admin))


def disable(database: Any, *, schema: str | None = None) -> None:
    """Let every role see what its privileges let it see, as before; in one transaction. The admin role stays.

    Args and raises: as :func:`enable`.
    """
    _run(database, schema, disable_sql)


def enable_sql(connection: Connection, app: Sequence[str], *, admin: str = ADMIN_ROLE) -> list[str]:
    """Return the statements of :func:`enable` for a database as it is now.

    Args:
        connection: in the schema of the tables.
        app, admin: as :func:`enable`.

    Raises:
        DialectUnsupported, IsolationRefused: as :func:`enable`.
    """
    state = _state(connection)
    refuse_unsafe(connection, state, app, admin)
    quote = connection.dialect.identifier_preparer.quote_identifier
    roles = ", ".join(map(quote, dict.fromkeys(app)))
    statements = [_locked()]
    if not read_roles(connection, [admin], ()):
        statements.append(f"CREATE ROLE {quote(admin)} NOLOGIN")
    statements += [f"GRANT {quote(admin)} TO {quote(owner)}" for owner in _outsiders(connection, state, admin)]
    for table in TENANT_TABLES:
        statements += [f"DROP POLICY IF EXISTS {policy} ON {table}" for policy in RULES]
        statements += [
            f"CREATE POLICY {TENANT_POLICY} ON {table} TO {roles} USING ({TENANT_RULE}) WITH CHECK ({TENANT_RULE})",
            f"CREATE POLICY {ADMIN_POLICY} ON {table} TO {quote(admin)} USING (true) WITH CHECK (true)",
            f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
            f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY",
        ]
    return statements


def disable_sql(connection: Connection) -> list[str]:
    """Return the statements of :func:`disable` for a database as it is now; none where it is off.

    Raises:
        DialectUnsupported, IsolationRefused: as :func:`disable`.
    """
    if not _state(connection).is_on:
        return []
    statements = [_locked()]
    for table in TENANT_TABLES:
        statements += [f"DROP POLICY IF EXISTS {policy} ON {table}" for policy in RULES]
        statements += [
            f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY",
            f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY",
        ]
    return statements


def _run(database: Any, schema: str | None, statements: Any) -> None:
    engine = migration_engine(database)
    require_postgresql(engine.dialect.name)
    with typed_errors(), engine.begin() as connection:
        enter_schema(connection, schema, for_transaction=True)
        connection.exec_driver_sql(_LOCK_TIMEOUT)
        for statement in statements(connection):
            connection.exec_driver_sql(statement.replace("%", "%%"))


def _locked() -> str:
    # All at once and in one order: policies that come one by one would meet the application half-way.
    return f"LOCK TABLE {', '.join(TENANT_TABLES)} IN ACCESS EXCLUSIVE MODE"


def _state(connection: Connection) -> IsolationState:
    """Return the state of tables that are all there, and on which nobody else has policies.

    Raises:
        IsolationRefused: one is not there, or somebody else has.
    """
    state = read_isolation(connection)
    missing = [name for name in TENANT_TABLES if name not in state.tables]
    if missing:
        raise IsolationRefused(
            f"The tables {', '.join(missing)} are not there.", remedy="Run `tierwright db upgrade` first."
        )
    others = [
        f"{policy.name} on {table.name}"
        for table in state.tables.values()
        for policy in table.policies
        if not policy.is_ours
    ]
    alone = [table.name for table in state.tables.values() if table.is_on and not table.policies]
    if others or alone:
        found = ", ".join(others) or f"row-level security on {', '.join(alone)}"
        raise IsolationRefused(
            f"The tables have policies that are not ours: {found}.",
            remedy="Policies add up, so theirs would let through what ours hold back. Drop them first.",
            details={"policies": others, "tables": alone},
        )
    return state


def _outsiders(connection: Connection, state: IsolationState, admin: str) -> list[str]:
    """Return the owners that are not members of the admin role yet."""
    owners = read_roles(connection, state.owners, [admin])
    return [name for name, role in owners.items() if not role.is_superuser and admin not in role.belongs_to]
