"""Rows of the history as entries; and those that are none, because something past this library has written them.

SQLite takes anything for an id, a moment or JSON. PostgreSQL has moments, and JSON of a depth and with numbers, that
Python has not. Such a row must not hide the others: it is left out, and told.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from tierwright.audit.entries import HISTORY, NAMES, AuditEntry
from tierwright.errors import HistoryUnreadable

_PLACE = HISTORY.alias("place")
_FETCHED = 1000
#: The forms in which a UUID and a moment sort, and are found, as those that we write; archives know the same.
_ID = re.compile(
    r"[0-9a-f]{32}|[0-9A-F]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}"
)
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d{1,6})?", re.ASCII)
_OWN_FORM = "YYYY-MM-DD HH24:MI:SS.US"


@dataclass(frozen=True, slots=True)
class UnreadableRow:
    """A row of the history that cannot be read as an entry.

    Attributes:
        columns: what of it cannot be read.
        where: the condition that only it fulfils; or its line, and the archive.
        sql: a query that shows it; None in an archive.
    """

    columns: tuple[str, ...]
    where: str
    sql: str | None

    def __str__(self) -> str:
        return f"{', '.join(self.columns)} of a row cannot be read: {self.sql or self.where}"


def read_rows(
    connection: Connection, statement: sa.Select[Any], *, oldest_first: bool = True
) -> Iterator[AuditEntry | UnreadableRow]:
    """Yield the rows of a statement, those that cannot be read among them, each at its place.

    Args:
        connection: to the database.
        statement: of the table of the history, by its moment and its id; what it selects does not matter. With a limit,
            there may be so many again behind the first row that the driver cannot read.
        oldest_first: whether its order is upwards.
    """
    form = _Sqlite(connection) if connection.dialect.name == "sqlite" else _Postgresql(connection)
    last = None
    try:
        with connection.execute(statement.with_only_columns(*form.usual)) as result:
            for row in result:
                yield form.usual_item(row)
                last = row
        return
    except (DBAPIError, ValueError, TypeError, OverflowError, RecursionError) as error:
        if not _is_of_a_value(error):
            raise
    if last is not None:
        statement = statement.where(behind(form.where(last), oldest_first=oldest_first))
    yield from form.carefully(statement)


def readable(
    rows: Iterator[AuditEntry | UnreadableRow], unreadable: Callable[[UnreadableRow], object] | None
) -> Iterator[AuditEntry]:
    """Yield the entries among rows, and tell of the others.

    Raises:
        HistoryUnreadable: there is another one, and nobody who is told.
    """
    for row in rows:
        if not isinstance(row, UnreadableRow):
            yield row
        elif unreadable is not None:
            unreadable(row)
        else:
            raise HistoryUnreadable(
                f"A row of the history cannot be read: {', '.join(row.columns)}.",
                remedy="Pass unreadable=, which is told of such rows; `tierwright doctor` counts them.",
                details={"columns": list(row.columns), "sql": row.sql},
            )


def item(values: Sequence[Any], where: str, *, is_archived: bool = False) -> AuditEntry | UnreadableRow:
    """Return the entry that values are, as SQLite stores them, or what of them cannot be read.

    Args:
        values: in the order of the attributes of an entry.
        where: as in :class:`UnreadableRow`.
        is_archived: whether it is a line of an archive, which no query shows.
    """
    try:
        if bytes in map(type, values):
            raise ValueError("no text")
        found = list(values)
        for position, read in _READERS.items():
            found[position] = read(found[position])
        return AuditEntry(*found)
    except (ValueError, RecursionError):
        wrong = [
            name
            for position, (name, value) in enumerate(zip(NAMES, values, strict=True))
            if isinstance(value, bytes) or (position in _READERS and not _can(_READERS[position], value))
        ]
        sql = None if is_archived else f"SELECT * FROM {HISTORY.name} WHERE {where}"
        return UnreadableRow(tuple(wrong), where, sql)


def behind(where: str, *, oldest_first: bool) -> sa.ColumnElement[bool]:
    """Return the condition that a row comes after another one, whatever that holds.

    Args:
        where: the condition that the other one fulfils.
        oldest_first: the order.
    """
    place = sa.select(_PLACE.c.performed_at, _PLACE.c.id).where(sa.text(where)).scalar_subquery()
    key = sa.tuple_(HISTORY.c.performed_at, HISTORY.c.id)
    return key > place if oldest_first else key < place


@contextmanager
def undecoded(connection: Connection) -> Iterator[None]:
    """Let SQLite's driver give bytes for texts that are not UTF-8, instead of an error."""
    driver: Any = connection.connection.driver_connection
    before, driver.text_factory = driver.text_factory, _text_or_bytes
    try:
        yield
    finally:
        driver.text_factory = before


class _Sqlite:
    """Rows as SQLite stores them: read here, so that one that cannot be read is known by its number."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.usual = [sa.literal_column("_rowid_"), *(sa.type_coerce(HISTORY.c[name], sa.String()) for name in NAMES)]

    def where(self, row: Sequence[Any]) -> str:
        return f"_rowid_ = {row[0]}"

    def usual_item(self, row: Sequence[Any]) -> AuditEntry | UnreadableRow:
        return item(row[1:], self.where(row))

    def carefully(self, statement: sa.Select[Any]) -> Iterator[AuditEntry | UnreadableRow]:
        with undecoded(self._connection):
            result = self._connection.execute(statement.with_only_columns(*self.usual))
        with result:
            while True:
                with undecoded(self._connection):
                    rows = result.fetchmany(_FETCHED)
                if not rows:
                    return
                yield from map(self.usual_item, rows)


class _Postgresql:
    """Rows as the driver reads them; and as texts, where it cannot."""

    usual = tuple(HISTORY.c[name] for name in NAMES)

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def where(self, row: Any) -> str:
        return _key(row.id, row.performed_at)

    def usual_item(self, row: Sequence[Any]) -> AuditEntry | UnreadableRow:
        return AuditEntry(*row)

    def carefully(self, statement: sa.Select[Any]) -> Iterator[AuditEntry | UnreadableRow]:
        moment = sa.cast(HISTORY.c.performed_at, sa.Text())
        texts: dict[str, sa.ColumnElement[Any]] = {
            name: sa.cast(HISTORY.c[name], sa.Text()) for name in ("id", "old_value", "new_value")
        }
        # Infinity and years before Christ have no other form than the database's own.
        own_form = sa.func.to_char(sa.func.timezone("UTC", HISTORY.c.performed_at), _OWN_FORM, type_=sa.Text())
        is_plain = sa.func.isfinite(HISTORY.c.performed_at) & ~moment.endswith("BC")
        texts["performed_at"] = sa.case((is_plain, own_form), else_=moment)
        values = [texts.get(name, HISTORY.c[name]).label(name) for name in NAMES]
        for row in self._connection.execute(statement.with_only_columns(moment.label("moment"), *values)):
            yield item(row[1:], _key(row.id, row.moment))


def _key(id_: Any, moment: Any) -> str:
    return f"id = '{id_}' AND performed_at = '{moment}'"


def _is_of_a_value(error: Exception) -> bool:
    """Tell whether it was the driver, or Python, who could not read a value; what the database says has a code."""
    original = getattr(error, "orig", None)
    codes = (getattr(original, name, None) for name in ("sqlstate", "sqlite_errorcode"))
    return not getattr(error, "connection_invalidated", False) and not any(codes)


def _can(read: Callable[[Any], Any], value: Any) -> bool:
    try:
        read(value)
    except (ValueError, RecursionError):
        return False
    return True


def _text_or_bytes(raw: bytes) -> str | bytes:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def _read_id(value: Any) -> UUID:
    if isinstance(value, str) and _ID.fullmatch(value):
        return UUID(value)
    raise ValueError("no id")


def _read_moment(value: Any) -> datetime:
    if isinstance(value, str) and _MOMENT.fullmatch(value):
        return datetime.fromisoformat(value).replace(tzinfo=UTC)
    raise ValueError("no moment")


def _read_json(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value  # SQLite makes a number of a text that is one


_OF_COLUMNS: dict[str, Callable[[Any], Any]] = {
    "id": _read_id,
    "performed_at": _read_moment,
    "old_value": _read_json,
    "new_value": _read_json,
}
#: By the position of a column that is no text: what reads a value as it is stored, or raises ValueError.
_READERS = {NAMES.index(name): read for name, read in _OF_COLUMNS.items()}
