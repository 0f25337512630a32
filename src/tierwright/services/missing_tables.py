"""Telling a database that was not migrated from every other failure."""

from __future__ import annotations

import sqlite3
from typing import Any

from sqlalchemy.exc import DBAPIError

from tierwright.errors import SchemaDrift
from tierwright.tables import TABLE_NAMES

#: undefined_table, undefined_column
_STATES = frozenset({"42P01", "42703"})
#: SQLite has one code for everything that it cannot compile, so its text is read: there is nothing else.
_SQLITE_TEXTS = ("no such table: ", "no such column: ", " has no column named ")

REMEDY = "Run `tierwright db upgrade` on this database, and check that the URL and the schema are the right ones."


def is_missing(original: Any) -> bool:
    """Tell whether a driver's error means that a table or a column is not there."""
    if isinstance(original, sqlite3.Error):
        is_general = getattr(original, "sqlite_errorcode", 0) == sqlite3.SQLITE_ERROR
        return is_general and any(text in str(original) for text in _SQLITE_TEXTS)
    return (getattr(original, "sqlstate", None) or getattr(original, "pgcode", None)) in _STATES


def missing_tables(error: DBAPIError) -> SchemaDrift | None:
    """Return the error about tables of ours that are not there, or are of an earlier revision; None about all else."""
    if not is_missing(error.orig) or not any(name in (error.statement or "") for name in TABLE_NAMES):
        return None
    said = str(error.orig).partition("\n")[0].rstrip(".")
    return SchemaDrift(
        f"The tables of tierwright are not there, or are of an earlier revision: {said}.",
        remedy=REMEDY,
        details={"driver_error": said},
    )
