"""Counting rows, for questions that an operator should answer with open eyes."""

from __future__ import annotations

import sqlalchemy as sa

from tierwright.migrations import TABLE_NAMES
from tierwright.migrations.reading import reading_connection


def row_counts(database: str, schema: str | None) -> dict[str, int]:
    """Return the number of rows of each table of ours that exists."""
    with reading_connection(database, schema) as connection:
        present = set(sa.inspect(connection).get_table_names())
        return {
            name: connection.execute(sa.select(sa.func.count()).select_from(sa.table(name))).scalar_one()
            for name in TABLE_NAMES
            if name in present
        }
