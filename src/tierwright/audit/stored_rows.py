"""The history as it is stored: which months have rows, and the lines of one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.engine import Connection

from tierwright.audit.archive_lines import line_of, line_of_stored
from tierwright.audit.months import next_month
from tierwright.audit.reading import undecoded

TABLE = "feature_audit_log"
_FETCHED = 1000
_MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])")
_POSTGRESQL_COLUMNS = """
    SELECT attname AS name, format_type(atttypid, atttypmod) AS type FROM pg_attribute
    WHERE attrelid = (SELECT oid FROM pg_class WHERE relname = 'feature_audit_log'
                      AND relnamespace = quote_ident(current_schema())::regnamespace)
      AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum
"""
#: Where SQLite is asked for a range of time.
IS_TEXT = " AND typeof(performed_at) = 'text'"
#: A moment as lines have it. Infinity and years before Christ have no other form than the database's own.
POSTGRESQL_MOMENT = (
    "CASE WHEN isfinite(performed_at) AND performed_at >= '0001-01-01+00' "
    "THEN to_char(performed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') ELSE performed_at::text END"
)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the history that can be written, with its type on PostgreSQL."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class Period:
    """A month of the history.

    Attributes:
        month: such as ``2026-01``.
        lower, upper: from when until when; the first month has no beginning, so that nothing is before it.
    """

    month: str
    lower: datetime | None
    upper: datetime


def stored_columns(connection: Connection) -> tuple[Column, ...]:
    """Return the columns of the history, also those that the application added; what is generated is left out."""
    if connection.dialect.name == "postgresql":
        return tuple(Column(row.name, row.type) for row in connection.exec_driver_sql(_POSTGRESQL_COLUMNS))
    rows = connection.exec_driver_sql(f"PRAGMA table_xinfo({TABLE})")
    return tuple(Column(row.name, row.type) for row in rows if row.hidden == 0)


def periods(connection: Connection, before: datetime, since: datetime | None = None) -> list[Period]:
    """Return the months with rows from before a moment, the first of a month, the oldest first.

    Args:
        connection: to the database.
        before: where they end.
        since: where they begin; with the first row unless given.
    """
    condition, values = _range(connection, since, before)
    if connection.dialect.name == "postgresql":
        month = "CASE WHEN isfinite(performed_at) THEN to_char(performed_at AT TIME ZONE 'UTC', 'YYYY-MM') END"
    else:
        month = "substr(performed_at, 1, 7)"
    found = connection.exec_driver_sql(f"SELECT DISTINCT {month} FROM {TABLE} WHERE {condition}", values).scalars()
    texts = list(found)
    months = sorted(text for text in texts if text and _MONTH.fullmatch(text) and text[:4] != "0000")
    if texts and not months:
        months = ["0001-01"]
    starts = [datetime(int(text[:4]), int(text[5:]), 1, tzinfo=UTC) for text in months]
    return [
        Period(text, start if number or since is not None else None, next_month(start))
        for number, (text, start) in enumerate(zip(months, starts, strict=True))
    ]


def count_rows(connection: Connection, period: Period) -> int:
    """Return how many rows a month has."""
    condition, values = _range(connection, period.lower, period.upper)
    return int(connection.exec_driver_sql(f"SELECT count(*) FROM {TABLE} WHERE {condition}", values).scalar_one())


def lines(connection: Connection, columns: tuple[Column, ...], period: Period) -> Iterator[str]:
    """Yield the lines of a month's rows, the oldest first; a part of them is held at once.

    SQLite lets nobody write while a query of another process is open, unless it keeps a write-ahead log: there each
    thousand rows are a query of their own.
    """
    if connection.dialect.name == "postgresql":
        return _lines_of_postgresql(connection, columns, period)
    return _lines_of_sqlite(connection, columns, period)


def _lines_of_postgresql(connection: Connection, columns: tuple[Column, ...], period: Period) -> Iterator[str]:
    condition, values = _range(connection, period.lower, period.upper)
    names = [column.name for column in columns]
    listed = ", ".join(POSTGRESQL_MOMENT if name == "performed_at" else f"{_quoted(name)}::text" for name in names)
    query = f"SELECT {listed.replace('%', '%%')} FROM {TABLE} WHERE {condition} ORDER BY performed_at, id"
    options = {"stream_results": True, "max_row_buffer": _FETCHED}
    with connection.exec_driver_sql(query, values, execution_options=options) as result:
        for row in result:
            yield line_of(names, row)


def _lines_of_sqlite(connection: Connection, columns: tuple[Column, ...], period: Period) -> Iterator[str]:
    names = [column.name for column in columns]
    listed = ", ".join(map(_quoted, names))
    condition, values = _range(connection, period.lower, period.upper)
    after: tuple[int, ...] = ()
    while True:
        # By the number of the row, which is exact whatever somebody has put into the two.
        further = f" AND (performed_at, id) > (SELECT performed_at, id FROM {TABLE} WHERE _rowid_ = ?)" if after else ""
        query = (
            f"SELECT _rowid_, {listed} FROM {TABLE} WHERE {condition}{further} "
            f"ORDER BY performed_at, id LIMIT {_FETCHED}"
        )
        with undecoded(connection):
            rows = connection.exec_driver_sql(query, (*values, *after)).all()
        for row in rows:
            yield line_of_stored(names, row[1:])
        connection.rollback()  # others may write meanwhile
        if len(rows) < _FETCHED:
            return
        after = (rows[-1][0],)


def _range(connection: Connection, lower: datetime | None, upper: datetime) -> tuple[str, tuple[Any, ...]]:
    """Return the condition and its values; on SQLite a date alone is before every form of its first moment.

    SQLite takes a number for a moment too, and sorts it before every text: it is of no month, and stays.
    """
    is_postgresql = connection.dialect.name == "postgresql"
    mark = "%s" if is_postgresql else "?"
    values = tuple(each if is_postgresql else each.date().isoformat() for each in (lower, upper) if each is not None)
    start = f"performed_at >= {mark} AND " if lower is not None else ""
    return f"{start}performed_at < {mark}{'' if is_postgresql else IS_TEXT}", values


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
