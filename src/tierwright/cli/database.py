"""The database behind a command: opened for questions, or for one write; refused where its tables are not ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.orm import Session, sessionmaker

from tierwright.cli import options
from tierwright.errors import DatabaseError, LockNotAcquired, MigrationFailed, SchemaDrift
from tierwright.migrations.dialects.postgresql_session import enter_schema
from tierwright.migrations.failures import typed_errors
from tierwright.migrations.reading import reading_connection
from tierwright.migrations.status import read_status
from tierwright.migrations.urls import migration_engine


@contextmanager
def reading(url: str | None, schema: str | None) -> Iterator[Connection]:
    """Open the database for questions; nothing is written, and no file is created.

    Raises:
        DatabaseUrlMissing, ConfigurationError, DatabaseError: it cannot be opened.
        SchemaDrift: its tables are missing, or of an earlier revision.
    """
    with _refusals(), reading_connection(options.required(url), schema) as connection:
        _require_tables(connection)
        yield connection


@contextmanager
def reading_session(url: str | None, schema: str | None) -> Iterator[Session]:
    """Open a session for questions; raises as :func:`reading`."""
    with reading(url, schema) as connection, Session(connection) as session:
        yield session


@contextmanager
def writing(url: str | None, schema: str | None) -> Iterator[sessionmaker[Session]]:
    """Yield what makes sessions that write, each in the schema and with foreign keys enforced; raises as reading."""
    with reading(url, schema):
        pass  # refuses before anything could be written
    engine = migration_engine(options.required(url))
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _enforce_foreign_keys)
    else:
        _enter_schema_at_begin(engine, schema)
    with _refusals(), typed_errors():
        yield sessionmaker(engine)
    engine.dispose()


def _enforce_foreign_keys(driver: Any, _record: Any) -> None:
    driver.execute("PRAGMA foreign_keys=ON")


def _enter_schema_at_begin(engine: Engine, schema: str | None) -> None:
    # For the transaction only: behind a pooling proxy, the setting must not stay with the server's connection.
    @sa.event.listens_for(engine, "begin")
    def _(connection: Connection) -> None:
        enter_schema(connection, schema, for_transaction=True)


def _require_tables(connection: Connection) -> None:
    """Refuse tables that these commands cannot read; a lost index, which only makes them slow, is doctor's business."""
    found = read_status(connection)
    missing = [str(each) for each in found.drift if each.found is None and each.kind in ("table", "columns")]
    is_old = found.current is not None and found.pending
    if is_old or missing:
        raise SchemaDrift(
            f"The tables are at {found.current or 'no revision'}, and this command needs {found.head}.",
            remedy="Run `tierwright db upgrade`; where that finds nothing to do, `tierwright doctor`.",
            details={"current": found.current, "head": found.head, "missing": missing},
        )


@contextmanager
def _refusals() -> Iterator[None]:
    """Say what a driver's refusal means here, where no revision runs."""
    try:
        yield
    except (MigrationFailed, LockNotAcquired) as error:
        raise DatabaseError(
            error.message,
            remedy="Run the command again; if that does not help, `tierwright doctor`.",
            details=error.details,
        ) from error
