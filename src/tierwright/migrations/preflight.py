"""Finding the rows that would break a constraint, before anything is changed.

SQLite accepts a foreign key over orphans, and PostgreSQL stops half-way through a revision at the first bad row.
So every revision first counts what stands in its way and lists it with the SQL that shows it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tierwright.errors import DirtyData
from tierwright.migrations.definitions import Check, Column, Definition, ForeignKey, Index, Partitioning

SAMPLES = 5
_PROBLEMS: dict[type, str] = {
    ForeignKey: "orphan",
    Index: "duplicate",
    Check: "violation",
    Partitioning: "far-future",
}


@dataclass(frozen=True)
class Finding:
    """Rows that break one constraint.

    Attributes:
        constraint: the constraint or unique index that they break.
        table: where they are.
        problem: ``orphan``, ``duplicate``, ``violation`` or ``far-future``.
        rows: how many there are.
        keys: up to five of the offending values or primary keys.
        sql: a query that lists them all.
    """

    constraint: str
    table: str
    problem: str
    rows: int
    keys: tuple[str, ...]
    sql: str


def findings(connection: Connection, definitions: Iterable[Definition]) -> list[Finding]:
    """Return what in the data breaks ``definitions``; tables that do not exist yet break nothing.

    Columns among them are those that are missing: in the rows that are there, they will be NULL.
    """
    existing = set(sa.inspect(connection).get_table_names())
    definitions = list(definitions)
    added = [definition for definition in definitions if isinstance(definition, Column)]
    found = []
    for definition in definitions:
        if definition.table not in existing:
            continue
        sql = violation_query(connection, definition, added)
        if sql is not None:
            found.append(_count(connection, definition, sql))
    return [finding for finding in found if finding.rows]


def refuse(found: list[Finding]) -> None:
    """Raise if anything was found.

    Raises:
        DirtyData: always, if ``found`` is not empty; ``details["findings"]`` has them whole.
    """
    if not found:
        return
    lines = [
        f"  {finding.table}: {finding.rows} {finding.problem} row(s) break {finding.constraint}: "
        f"{', '.join(finding.keys)}{', ...' if len(finding.keys) == SAMPLES else ''}\n    {finding.sql};"
        for finding in found
    ]
    raise DirtyData(
        "Rows in the database would break constraints that this revision adds:\n" + "\n".join(lines) + "\n",
        remedy="Correct or delete them (each query above lists its rows), then run it again.",
        details={"findings": [asdict(finding) for finding in found]},
    )


def violation_query(connection: Connection, definition: Definition, added: Iterable[Column] = ()) -> str | None:
    """Return the SQL that lists what breaks ``definition``, the offending key first and the count last.

    None for definitions that no row can break.

    Args:
        connection: the database.
        definition: what is to be made.
        added: columns that will be added first; NULL in every row that is there.
    """
    source = _with_added(definition.table, [column.name for column in added if column.table == definition.table])
    if isinstance(definition, ForeignKey):
        return orphan_query(definition)
    if isinstance(definition, Check):
        key = _key(connection, definition.table) or "1"
        return f"SELECT {key}, 1 AS row_count FROM {source} WHERE NOT ({definition.condition})"
    if isinstance(definition, Index) and definition.unique:
        return duplicate_query(definition, source)
    if isinstance(definition, Partitioning) and definition.is_for(connection.dialect.name):
        return future_query(connection, definition)
    return None


def future_query(connection: Connection, wanted: Partitioning) -> str | None:
    """Return the SQL that lists rows from a future so far away that its months would never come to be partitions."""
    if wanted.table not in sa.inspect(connection).get_table_names():
        return None
    return (
        f"SELECT {_key(connection, wanted.table)}, 1 AS row_count FROM {wanted.table} "
        f"WHERE {wanted.column} > now() + interval '2 years' "
        f"AND (SELECT relkind FROM pg_class WHERE oid = '{wanted.table}'::regclass) = 'r'"  # else they have a place
    )


def _key(connection: Connection, table: str) -> str:
    """Return the primary key, to be selected; a moment as text, because PostgreSQL has some that Python has not."""
    inspector = sa.inspect(connection)
    moments = {each["name"] for each in inspector.get_columns(table) if isinstance(each["type"], sa.DateTime)}
    return ", ".join(
        f"CAST({name} AS TEXT) AS {name}" if name in moments else name
        for name in inspector.get_pk_constraint(table)["constrained_columns"]
    )


def _with_added(table: str, names: list[str]) -> str:
    if not names:
        return table
    nulls = ", ".join(f"NULL AS {name}" for name in names)
    return f"(SELECT {table}.*, {nulls} FROM {table}) AS {table}"


def orphan_query(key: ForeignKey) -> str:
    """Return the SQL that lists values without a parent, with the number of rows of each."""
    columns = ", ".join(f"child.{column}" for column in key.columns)
    present = " AND ".join(f"child.{column} IS NOT NULL" for column in key.columns)
    match = " AND ".join(
        f"parent.{theirs} = child.{ours}" for ours, theirs in zip(key.columns, key.referred_columns, strict=True)
    )
    return (
        f"SELECT {columns}, count(*) AS row_count FROM {key.table} AS child WHERE {present} "
        f"AND NOT EXISTS (SELECT 1 FROM {key.referred_table} AS parent WHERE {match}) GROUP BY {columns}"
    )


def duplicate_query(index: Index, source: str | None = None) -> str:
    """Return the SQL that lists values that a unique index would see more than once.

    Args:
        index: the index.
        source: what stands for its table, if not its name does.
    """
    columns = ", ".join(index.column_names)
    conditions = [f"{column} IS NOT NULL" for column in index.column_names]
    if index.where:
        conditions.append(f"({index.where})")
    return (
        f"SELECT {columns}, count(*) AS row_count FROM {source or index.table} WHERE {' AND '.join(conditions)} "
        f"GROUP BY {columns} HAVING count(*) > 1"
    )


def _count(connection: Connection, definition: Definition, sql: str) -> Finding:
    rows: Any = connection.exec_driver_sql(f"SELECT coalesce(sum(row_count), 0) FROM ({sql}) AS found").scalar_one()
    samples = connection.exec_driver_sql(f"{sql} LIMIT {SAMPLES}").all() if rows else []
    return Finding(
        constraint=definition.name,
        table=definition.table,
        problem=_PROBLEMS[type(definition)],
        rows=int(rows),
        keys=tuple("/".join(str(value) for value in row[:-1]) for row in samples),
        sql=sql,
    )
