"""SQLite's own description of tables, in a form that can be compared and stored."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.engine import Connection

from tierwright.migrations.dialects import sqlite_sql

Description = dict[str, dict[str, str]]


def read_sqlite(connection: Connection, tables: Sequence[str]) -> dict[str, Description]:
    """Return columns, constraints, indexes and triggers of those of ``tables`` that exist."""
    masters = connection.exec_driver_sql(
        "SELECT type, name, lower(tbl_name) AS tbl_name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name"
    ).all()
    sources = {row.tbl_name: row.sql for row in masters if row.type == "table" and row.tbl_name == row.name.lower()}
    return {
        table: {
            "columns": _columns(connection, table, sources[table]),
            "constraints": {
                name: clause.text for name, clause in sorted(sqlite_sql.named_constraints(sources[table]).items())
            }
            | _unnamed_checks(sources[table]),
            "indexes": {row.name: _index(row.sql) for row in masters if row.type == "index" and row.tbl_name == table},
            "triggers": {
                row.name: sqlite_sql.folded(row.sql)
                for row in masters
                if row.type == "trigger" and row.tbl_name == table
            },
        }
        for table in tables
        if table in sources
    }


def dependents(connection: Connection, tables: Sequence[str]) -> list[str]:
    """Return the foreign keys and views on ``tables`` that stand outside of them.

    SQLite keeps of a view its text only, so a view counts where the text has one of the names.
    """
    found = []
    for row in connection.exec_driver_sql(
        "SELECT type, name, sql FROM sqlite_master WHERE type IN ('table', 'view') "
        "AND sql NOT LIKE 'CREATE VIRTUAL %' ORDER BY name"
    ).all():
        if row.type == "view":
            names = {token.text for token in sqlite_sql.tokens(row.sql) if token.kind in ("word", "quoted")}
            found += [f"view {row.name}"] if names.intersection(tables) else []
        elif row.name.lower() not in tables:
            quoted = '"' + row.name.replace('"', '""') + '"'
            keys = connection.exec_driver_sql(f"PRAGMA foreign_key_list({quoted})").all()
            referred = sorted({key.table.lower() for key in keys}.intersection(tables))
            found += [f"foreign key of {row.name} to {table}" for table in referred]
    return found


def other_keys(connection: Connection, table: str) -> list[str]:
    """Return the unique indexes of a table beside the one of its primary key."""
    indexes = connection.exec_driver_sql(f"PRAGMA index_list({table})").all()
    return sorted(index.name for index in indexes if index.unique and index.origin != "pk")


def _columns(connection: Connection, table: str, source: str) -> dict[str, str]:
    collations = sqlite_sql.column_collations(source)
    return {
        row.name: " ".join(
            part
            for part in (
                row.type.upper(),
                f"COLLATE {collations[row.name.lower()]}" if row.name.lower() in collations else "",
                f"DEFAULT {row.dflt_value.strip('()')}" if row.dflt_value is not None else "",
                "NOT NULL" if row.notnull else "",
                "GENERATED" if row.hidden in (2, 3) else "",
            )
            if part
        )
        for row in connection.exec_driver_sql(f"PRAGMA table_xinfo({table})")
    }


def _unnamed_checks(source: str) -> dict[str, str]:
    return {f"(unnamed) {text}": text for text in sqlite_sql.unnamed_constraints(source)}


def _index(sql: str) -> str:
    folded = sqlite_sql.folded(sql)
    unique = "unique " if folded.startswith("create unique") else ""
    return unique + folded.partition(" on ")[2].partition(" ")[2]
