"""Indexes that only one dialect has; ``create_all`` makes them beside their table.

They are no part of the metadata: an index there is one on every dialect, or one that each comparison with the other
dialect finds missing. The chain makes the same in the revision ``a2b3c4d5e6f7``, and a test compares the two.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

#: The setting of integrations by which tenants are found through an index on SQLite too.
INDEXED_SETTING = "region"


def contains_index(model: Any, name: str, column: str) -> None:
    """Let PostgreSQL index what a JSON column contains (GIN)."""
    _listen(model, "postgresql", f"CREATE INDEX {name} ON {{prefix}}{{table}} USING gin ({column} jsonb_path_ops)")


def setting_index(model: Any, name: str, column: str, *following: str) -> None:
    """Let SQLite index one setting of a JSON column, before other columns."""
    columns = ", ".join((setting_sql(column, INDEXED_SETTING), *following))
    _listen(model, "sqlite", f"CREATE INDEX {{prefix}}{name} ON {{table}} ({columns})")


def setting_sql(column: str, *path: str) -> str:
    """Return the SQLite expression for a setting, letter by letter as the index has it.

    What is no JSON, written past the library, has no setting; without the CASE such a row could not even be written.

    Args:
        column: the JSON column.
        path: the names of the setting and of what it is in; they must need no quoting.
    """
    names = "".join(f'."{name}"' for name in path)
    return f"CASE WHEN json_valid({column}) THEN json_extract({column}, '${names}') END"


def _listen(model: Any, dialect: str, statement: str) -> None:
    def run(table: sa.Table, connection: sa.Connection, **_: Any) -> None:
        if connection.dialect.name != dialect:
            return
        schema = connection.schema_for_object(table)
        prefix = '"' + schema.replace('"', '""') + '".' if schema else ""
        text = statement.format(prefix=prefix, table=table.name)
        # DDL fills in %(...)s, which a schema may happen to contain.
        connection.execute(sa.DDL(text.replace("%", "%%")))  # type: ignore[no-untyped-call]

    sa.event.listen(model.__table__, "after_create", run, propagate=True)
