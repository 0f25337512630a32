"""A PostgreSQL connection that migrates alone, in one schema, without time limits.

The lock is a session lock on a connection of its own: a migrator that waits inside ``pg_advisory_lock`` holds a
snapshot, and ``CREATE INDEX CONCURRENTLY`` waits for that snapshot - a deadlock. So waiters poll.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.engine import Connection, Engine

from tierwright.errors import DatabaseReadOnly, LockNotAcquired, PoolerDetected, PrivilegeMissing, SchemaNotFound
from tierwright.migrations.options import MigrationOptions

_POLL = 0.2
_LOOKS = 5


@contextmanager
def postgresql_session(engine: Engine, options: MigrationOptions) -> Iterator[Connection]:
    """Hold the migration lock of the schema while the block runs on a second connection."""
    with engine.connect() as keeper, engine.connect() as connection, _never_reused(keeper, connection):
        # Whatever the host's engine does by default: committing by itself, translating schemas.
        keeper.execution_options(isolation_level="AUTOCOMMIT", schema_translate_map=None)
        connection.execution_options(isolation_level="READ COMMITTED", schema_translate_map=None)
        _refuse_pooler(keeper, connection)
        for worker in (keeper, connection):
            _lift_limits(worker)
        _refuse_read_only(connection)
        enter_schema(connection, options.schema or translated_schema(engine))
        connection.commit()
        with _advisory_lock(keeper, _lock_key(connection), options):
            yield connection


def _refuse_pooler(keeper: Connection, connection: Connection) -> None:
    """Two live sessions cannot share a server process, and one session cannot change it, unless a proxy pools them.

    Which process one gets depends on the proxy's other clients and on its timing: a single look can miss it.
    """
    kept = {keeper.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()}
    others = set()
    for look in range(_LOOKS):
        pid = f"SELECT pg_backend_pid() AS look_{look}"  # psycopg prepares what it sees often: no proxy may like that
        others.add(connection.exec_driver_sql(pid).scalar_one())  # in a transaction: the proxy must not reuse it
        kept.add(keeper.exec_driver_sql(pid).scalar_one())
        connection.rollback()
        # Now the other server process is free as well. A proxy that gives what it got back last gives that one, and one
        # that takes turns gives it the second time; each of them would go on giving everybody the same otherwise.
        kept.update(keeper.exec_driver_sql(pid).scalar_one() for _ in range(2))
    if len(kept) > 1 or len(others) > 1 or kept & others:
        raise PoolerDetected(
            "A transaction-pooling proxy stands before PostgreSQL: session locks and settings do not hold through it.",
            remedy="Give migrations a direct connection (or a session-pooling port) to the primary.",
        )


def _refuse_read_only(connection: Connection) -> None:
    if connection.exec_driver_sql("SHOW transaction_read_only").scalar_one() == "on":
        raise DatabaseReadOnly(
            "The server is a standby, or its transactions are read-only.", remedy="Connect to the primary."
        )


def translated_schema(engine: Engine) -> str | None:
    """Return the schema in which the host's engine looks for tables that name none, if it says so."""
    translations = engine.get_execution_options().get("schema_translate_map") or {}
    return translations.get(None)


def enter_schema(connection: Connection, schema: str | None, *, for_transaction: bool = False) -> None:
    """Make the schema the only one on ``search_path``, so that unqualified names mean our tables and no others.

    Args:
        connection: where to set it.
        schema: its name; the connection's ``current_schema()`` if None.
        for_transaction: set it for the open transaction only.

    Raises:
        SchemaNotFound: it does not exist.
        PrivilegeMissing: the role may not use it, and PostgreSQL leaves it out of search_path without a word.
    """
    wanted = schema or connection.exec_driver_sql("SELECT current_schema()").scalar_one()
    found = connection.exec_driver_sql("SELECT 1 FROM pg_namespace WHERE nspname = %s", (wanted,)).scalar()
    if wanted is None or found is None:
        raise SchemaNotFound(
            f"The schema {wanted!r} does not exist." if wanted else "search_path names no existing schema.",
            remedy="Create it first (CREATE SCHEMA), owned by the migrating role.",
            details={"schema": wanted},
        )
    connection.exec_driver_sql("SELECT set_config('search_path', quote_ident(%s), %s)", (wanted, for_transaction))
    # With it on, the catalogue writes "text" for text, and everything seems to differ.
    connection.exec_driver_sql("SELECT set_config('quote_all_identifiers', 'off', %s)", (for_transaction,))
    if connection.exec_driver_sql("SELECT current_schema()").scalar_one() != wanted:
        raise PrivilegeMissing(
            f"The database role may not use the schema {wanted!r}.",
            remedy="Grant it (GRANT USAGE ON SCHEMA, and CREATE to the role that migrates).",
            details={"schema": wanted},
        )


def _lift_limits(connection: Connection) -> None:
    for setting in ("statement_timeout", "idle_in_transaction_session_timeout", "idle_session_timeout"):
        connection.exec_driver_sql(f"SET {setting} = 0")
    # New in PostgreSQL 17; set_config through pg_settings does nothing where the setting is not known.
    connection.exec_driver_sql(
        "SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'transaction_timeout'"
    )
    # A migrator that was killed must not go on building for nobody.
    connection.exec_driver_sql("SET client_connection_check_interval = '2s'")
    # For statements outside of the helpers (CREATE TABLE, DROP TABLE): nobody queues behind one for longer.
    connection.exec_driver_sql("SET lock_timeout = '2s'")


def _lock_key(connection: Connection) -> int:
    """Return the advisory lock of this schema: pg_advisory locks are per database already."""
    schema = connection.exec_driver_sql("SELECT current_schema()").scalar_one()
    connection.commit()
    digest = hashlib.sha256(f"tierwright migrations {schema}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


@contextmanager
def _advisory_lock(keeper: Connection, key: int, options: MigrationOptions) -> Iterator[None]:
    give_up = time.monotonic() + options.lock_wait
    announced = False
    while not keeper.exec_driver_sql("SELECT pg_try_advisory_lock(%s)", (key,)).scalar_one():
        if time.monotonic() > give_up:
            raise LockNotAcquired(
                f"Another migrator has held the lock for {options.lock_wait:g} s.",
                remedy="Wait for it to end (pg_locks, locktype 'advisory'), then run the upgrade again.",
                details={"advisory_lock": key},
            )
        if not announced:
            options.announce("waiting for another migrator")
            announced = True
        time.sleep(_POLL)
    try:
        yield
    finally:
        if not keeper.invalidated:
            keeper.exec_driver_sql("SELECT pg_advisory_unlock(%s)", (key,))


@contextmanager
def _never_reused(*connections: Connection) -> Iterator[None]:
    """Close the sessions afterwards, whatever happened: a host's pool must not get them back with our settings."""
    try:
        yield
    finally:
        for connection in connections:
            if not connection.invalidated:
                connection.invalidate()
