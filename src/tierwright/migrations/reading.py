"""Looking at a database without changing it, creating it, or waiting for a migrator."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy.engine import Connection, Engine

from tierwright.errors import DatabaseUnreachable
from tierwright.migrations.dialects.postgresql_session import enter_schema, translated_schema
from tierwright.migrations.failures import typed_errors
from tierwright.migrations.urls import migration_engine


@contextmanager
def reading_connection(database: Any, schema: str | None = None) -> Iterator[Connection]:
    """Open a connection for questions only; on PostgreSQL, with ``schema`` alone on ``search_path``.

    Raises:
        ConfigurationError: bad URL or unsupported dialect.
        DatabaseUnreachable: no connection; a SQLite file that does not exist is not created.
        SchemaNotFound, PrivilegeMissing: no such schema, or none that the role may use.
    """
    engine = migration_engine(database)
    refuse_missing_file(engine)
    with typed_errors(), engine.connect() as connection:
        if connection.dialect.name == "postgresql":
            connection.execution_options(isolation_level="READ COMMITTED", schema_translate_map=None)
            enter_schema(connection, schema or translated_schema(engine), for_transaction=True)
        yield connection
        connection.rollback()


def refuse_missing_file(engine: Engine) -> None:
    """Refuse a SQLite file that does not exist: opening it would create it.

    Raises:
        DatabaseUnreachable: with the file.
    """
    file = engine.url.database
    if engine.dialect.name != "sqlite" or file in (None, "", ":memory:") or str(file).startswith("file:"):
        return
    if not os.path.exists(str(file)):
        raise DatabaseUnreachable(
            f"The SQLite file {file} does not exist.",
            remedy="Check the path; `tierwright db upgrade` creates the file.",
            details={"file": file},
        )
