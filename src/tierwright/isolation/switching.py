"""Switching row-level security on and off: in one transaction, repeatable, and never over a host's policies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy.engine import Connection

from tierwright.errors import IsolationRefused
from tierwright.isolation.roles import refuse_unsafe
from tierwright.isolation.running import LOCK, run_locked
from tierwright.isolation.state import (
    RULES,
    TENANT_POLICY,
    TENANT_RULE,
    IsolationState,
    quoted,
    read_isolation,
    read_roles,
)
from tierwright.migrations import MigrationOptions
from tierwright.migrations.dialects.postgresql_partitions import partitions
from tierwright.migrations.names import PARTITIONED_TABLES
from tierwright.services.row_security import ADMIN_POLICY, TENANT_TABLES

ADMIN_ROLE = "tierwright_admin"
_INHERITING_GRANT_SINCE = 16  # before, only the role itself says whether it inherits


def enable(
    database: Any,
    app: Sequence[str],
    *,
    admin: str = ADMIN_ROLE,
    schema: str | None = None,
    lock_timeout: float = MigrationOptions.lock_timeout,
    lock_wait: float = MigrationOptions.lock_wait,
) -> None:
    """Let the application's roles see one tenant at a time, and the admin role all; in one transaction.

    The admin role is made, without login, if it is missing, and the tables' owner becomes a member of it: the owner
    obeys the policies too (FORCE), and migrations must see every row.

    Args:
        database: a URL or an engine, of a role that owns the tables; to make the admin role it needs CREATEROLE.
        app: all roles that the application connects as; one that was named before and is not now sees nothing.
        admin: the role for the back office, rotation, plans and doctor.
        schema: PostgreSQL schema; the connection's ``current_schema()`` unless given.
        lock_timeout: seconds to wait for each table, and so stall others behind it.
        lock_wait: seconds to go on trying.

    Raises:
        DialectUnsupported: it is not PostgreSQL.
        IsolationRefused: a role does not exist, or no policy would hold for it; or the tables have policies of others.
        PrivilegeMissing: the current role may not do it.
        LockNotAcquired: others kept a table all the time; nothing was changed.
    """

    options = MigrationOptions(schema=schema, lock_timeout=lock_timeout, lock_wait=lock_wait)
    run_locked(
        database,
        options,
        lambda connection: enable_sql(connection, app, admin=admin),
        lambda connection: _refuse_blind_owners(connection, admin),
    )


def disable(
    database: Any,
    *,
    schema: str | None = None,
    lock_timeout: float = MigrationOptions.lock_timeout,
    lock_wait: float = MigrationOptions.lock_wait,
) -> None:
    """Let every role see what its privileges let it see, as before; in one transaction. The admin role stays.

    Args and raises: as :func:`enable`.
    """
    options = MigrationOptions(schema=schema, lock_timeout=lock_timeout, lock_wait=lock_wait)
    run_locked(database, options, disable_sql, lambda _connection: None)


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
    roles = ", ".join(map(quoted, dict.fromkeys(app)))
    statements = [LOCK]
    if not read_roles(connection, [admin], ()):
        statements.append(f"CREATE ROLE {quoted(admin)} NOLOGIN")
    version = int((connection.dialect.server_version_info or (0,))[0])
    inheriting = " WITH INHERIT TRUE" if version >= _INHERITING_GRANT_SINCE else ""
    outsiders = _outsiders(connection, state, admin)
    statements += [f"GRANT {quoted(admin)} TO {quoted(owner)}{inheriting}" for owner in outsiders]
    for table in TENANT_TABLES:
        statements += [f"DROP POLICY IF EXISTS {policy} ON {table}" for policy in RULES]
        statements += [
            f"CREATE POLICY {TENANT_POLICY} ON {table} TO {roles} USING ({TENANT_RULE}) WITH CHECK ({TENANT_RULE})",
            f"CREATE POLICY {ADMIN_POLICY} ON {table} TO {quoted(admin)} USING (true) WITH CHECK (true)",
            f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
            f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY",
        ]
    # Who comes through the table meets its policies; a partition has none, so whoever names it sees nothing.
    for partition in _partitions(connection):
        statements += [f"DROP POLICY IF EXISTS {policy} ON {partition}" for policy in RULES]
        statements.append(f"ALTER TABLE {partition} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
    return statements


def disable_sql(connection: Connection) -> list[str]:
    """Return the statements of :func:`disable` for a database as it is now; none where it is off.

    Raises:
        DialectUnsupported, IsolationRefused: as :func:`disable`.
    """
    if not _state(connection).is_on:
        return []
    statements = [LOCK]
    for table in TENANT_TABLES:
        statements += [f"DROP POLICY IF EXISTS {policy} ON {table}" for policy in RULES]
        statements += [
            f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY",
            f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY",
        ]
    for partition in _partitions(connection):
        statements += [f"DROP POLICY IF EXISTS {policy} ON {partition}" for policy in RULES]
        statements.append(f"ALTER TABLE {partition} NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY")
    return statements


def _partitions(connection: Connection) -> list[str]:
    return [quoted(each.name) for table in PARTITIONED_TABLES for each in partitions(connection, table)]


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
    # Beside tables with policies of ours, one without any has lost them.
    is_ours = any(policy.is_ours for table in state.tables.values() for policy in table.policies)
    alone = [] if is_ours else [table.name for table in state.tables.values() if table.is_on]
    if others or alone:
        found = ", ".join(others) or f"row-level security on {', '.join(alone)}"
        raise IsolationRefused(
            f"The tables have policies that are not ours: {found}.",
            remedy="Policies add up, so theirs would let through what ours hold back. Drop them first.",
            details={"policies": others, "tables": alone},
        )
    return state


def _outsiders(connection: Connection, state: IsolationState, admin: str) -> list[str]:
    """Return the owners that obey the policies, and for which the admin role's does not hold yet."""
    owners = read_roles(connection, state.owners, [admin]).values()
    return [role.name for role in owners if not (role.is_superuser or role.bypasses) and admin not in role.inherits]


def _refuse_blind_owners(connection: Connection, admin: str) -> None:
    """Refuse what would leave the migrations without rows.

    Raises:
        IsolationRefused: an owner is a member of the admin role, and does not inherit from it.
    """
    blind = _outsiders(connection, read_isolation(connection), admin)
    if blind:
        raise IsolationRefused(
            f"The owner {', '.join(blind)} would see no rows: it does not inherit from {admin}.",
            remedy="Let it inherit (ALTER ROLE ... INHERIT), and run this again.",
            details={"owners": blind},
        )
