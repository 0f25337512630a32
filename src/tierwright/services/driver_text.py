"""Statements as a driver takes them, for the few that are run so often that SQLAlchemy's way of running them shows."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Dialect
from sqlalchemy.sql.compiler import SQLCompiler

Schemas = tuple[tuple[Any, Any], ...]


def schemas_of(connection: Connection) -> Schemas:
    """Return the schemas that a connection puts in, by those that they stand for."""
    return tuple((connection.get_execution_options().get("schema_translate_map") or {}).items())


def driver_text(dialect: Dialect, statement: sa.Insert | sa.Update | sa.SelectBase, schemas: Schemas) -> SQLCompiler:
    """Return a statement in the words of a dialect, with schemas put in."""
    options: dict[str, Any] = {}
    if schemas:
        options = {"schema_translate_map": dict(schemas), "render_schema_translate": True}
    return statement.compile(dialect=dialect, **options)
