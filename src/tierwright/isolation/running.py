"""Statements that lock every table of tenants, run in one transaction on a busy database."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from tierwright.isolation.state import require_postgresql
from tierwright.migrations import MigrationOptions
from tierwright.migrations.dialects.postgresql_locks import LOCK_NOT_AVAILABLE, not_acquired, sqlstate
from tierwright.migrations.dialects.postgresql_session import enter_schema, translated_schema
from tierwright.migrations.failures import typed_errors
from tierwright.migrations.urls import migration_engine
from tierwright.services.row_security import TENANT_TABLES

#: All at once and in one order: policies that come one by one would meet the application half-way.
LOCK = f"LOCK TABLE {', '.join(TENANT_TABLES)} IN ACCESS EXCLUSIVE MODE"
_PAUSE_FIRST, _PAUSE_LONGEST = 0.1, 2.0

Plan = Callable[[Connection], Sequence[str]]
Verify = Callable[[Connection], None]


def run_locked(database: Any, options: MigrationOptions, plan: Plan, verify: Verify) -> None:
    """Run what ``plan`` returns for the locked tables, and commit if ``verify`` raises nothing; all of it or nothing.

    While others keep a table, nobody queues behind us for longer than ``lock_timeout``; then it is tried again.

    Raises:
        DialectUnsupported: it is not PostgreSQL.
        LockNotAcquired: others kept a table until ``lock_wait``.
        TierwrightError: what ``plan`` and ``verify`` raise.
    """
    engine = migration_engine(database)
    require_postgresql(engine.dialect.name)
    schema = options.schema or translated_schema(engine)
    give_up, pause = time.monotonic() + options.lock_wait, _PAUSE_FIRST
    with typed_errors(), engine.connect() as connection:
        # Whatever the host's engine does by default: committing by itself, translating schemas.
        connection.execution_options(isolation_level="READ COMMITTED", schema_translate_map=None)
        while not _is_done(connection, schema, options.lock_timeout, plan, verify):
            if time.monotonic() + pause > give_up:
                raise not_acquired(connection, options.lock_wait, LOCK)
            time.sleep(pause)
            pause = min(pause * 2, _PAUSE_LONGEST)


def _is_done(connection: Connection, schema: str | None, lock_timeout: float, plan: Plan, verify: Verify) -> bool:
    """Return False if another session kept a table."""
    try:
        with connection.begin():
            enter_schema(connection, schema, for_transaction=True)
            connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = {int(lock_timeout * 1000)}")
            if plan(connection):  # refuses, or has nothing to do, before anybody has to wait
                connection.exec_driver_sql(LOCK)
                for statement in plan(connection):
                    connection.exec_driver_sql(statement.replace("%", "%%"))
                verify(connection)
    except DBAPIError as error:
        if sqlstate(error) != LOCK_NOT_AVAILABLE:
            raise
        return False
    return True
