"""The connection on which the chain runs: locked against other migrators, safe for children, patient.

The same for our own ``env.py`` and for a host's: ``with migration_session(engine) as connection:``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.engine import Connection, Engine

from tierwright.migrations.dialects.postgresql_session import postgresql_session
from tierwright.migrations.dialects.sqlite_session import sqlite_session
from tierwright.migrations.failures import typed_errors
from tierwright.migrations.options import MigrationOptions
from tierwright.migrations.urls import require_supported

_SESSIONS = {"sqlite": sqlite_session, "postgresql": postgresql_session}


@contextmanager
def migration_session(engine: Engine, options: MigrationOptions | None = None) -> Iterator[Connection]:
    """Open a connection that may migrate, alone, and put everything back afterwards.

    SQLite: foreign keys off, one immediate transaction around the whole run, every key of our tables checked before
    it commits. PostgreSQL: an advisory lock on a second connection, ``search_path`` set to the schema, no
    ``statement_timeout``; the migrations commit on their own.

    Args:
        engine: a synchronous SQLite or PostgreSQL engine.
        options: schema, patience and progress; the defaults unless given.

    Yields:
        The connection to hand to ``context.configure(connection=...)``.

    Raises:
        DialectUnsupported, DatabaseUnreachable, DatabaseReadOnly, SchemaNotFound, PoolerDetected, LockNotAcquired.
        MigrationFailed: the database refused a statement within the block.
    """
    require_supported(engine.dialect.name)
    with typed_errors(), _SESSIONS[engine.dialect.name](engine, options or MigrationOptions()) as connection:
        yield connection
