"""Findings about rows: orphans, duplicates and values that a constraint, were it there and enforced, would refuse."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlmodel import SQLModel

import tierwright.tables as tables
from tierwright.doctor.report import Finding, Severity
from tierwright.migrations import preflight
from tierwright.migrations.definitions import Check, Definition, ForeignKey, Index

Columns = dict[str, set[str]]


def row_definitions() -> list[Definition]:
    """Return every foreign key, CHECK and unique index of our tables at head."""
    return [
        definition for name in tables.TABLE_NAMES for definition in _table_definitions(SQLModel.metadata.tables[name])
    ]


def row_findings(connection: Connection, definitions: list[Definition]) -> Iterator[Finding]:
    """Yield what rows break; what needs tables or columns that are missing is left to the schema's findings."""
    present = _present(connection)
    possible = [definition for definition in definitions if _can_be_asked(definition, present)]
    for found in preflight.findings(connection, possible):
        yield Finding(
            f"rows-{found.problem}",
            Severity.ERROR,
            f"{found.table}.{found.constraint}",
            f"{found.rows} {found.problem} row(s): {', '.join(found.keys)}"
            + (", ..." if len(found.keys) == preflight.SAMPLES else "")
            + ".",
            "Correct or delete the rows (the query lists them).",
            found.sql,
        )


def _table_definitions(table: sa.Table) -> Iterator[Definition]:
    for constraint in sorted(table.constraints, key=lambda item: str(item.name)):
        name, columns = str(constraint.name), tuple(column.name for column in getattr(constraint, "columns", ()))
        if isinstance(constraint, sa.ForeignKeyConstraint):
            referred = tuple(element.column.name for element in constraint.elements)
            yield ForeignKey(name, table.name, columns, constraint.referred_table.name, referred)
        elif isinstance(constraint, sa.CheckConstraint):
            yield Check(name, table.name, str(constraint.sqltext))
        elif isinstance(constraint, sa.UniqueConstraint):
            yield Index(name, table.name, columns, unique=True)
    for index in sorted(table.indexes, key=lambda item: str(item.name)):
        if index.unique:
            where = index.dialect_options["sqlite"]["where"]
            names = tuple(column.name for column in index.columns)
            yield Index(str(index.name), table.name, names, unique=True, where=None if where is None else str(where))


def _present(connection: Connection) -> Columns:
    inspector = sa.inspect(connection)
    existing = set(inspector.get_table_names()).intersection(tables.TABLE_NAMES)
    return {table: {column["name"] for column in inspector.get_columns(table)} for table in existing}


def _can_be_asked(definition: Definition, present: Columns) -> bool:
    if definition.table not in present:
        return False
    if isinstance(definition, ForeignKey):
        parent = present.get(definition.referred_table, set())
        return set(definition.columns) <= present[definition.table] and set(definition.referred_columns) <= parent
    if isinstance(definition, Index) and definition.where is None:
        return set(definition.column_names) <= present[definition.table]
    return set(SQLModel.metadata.tables[definition.table].columns.keys()) <= present[definition.table]
