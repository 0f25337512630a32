"""The history, written by hand with the drivers; :mod:`benchmarks.audit` compares it with ours."""

from __future__ import annotations

import json
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg
import sqlalchemy as sa

from benchmarks.common import libpq
from tierwright.types import AuditAction, AuditEntity, utc_now, uuid7

_COLUMNS = (
    *("id", "entity_type", "entity_id", "tenant_id", "feature_key", "action"),
    *("old_value", "new_value", "performed_by", "performed_at"),
)
_BARE = (
    "CREATE TABLE bare (id {uuid} NOT NULL, entity_type VARCHAR(50) NOT NULL, entity_id VARCHAR(600) NOT NULL, "
    "tenant_id VARCHAR(255), feature_key VARCHAR(255), action VARCHAR(50) NOT NULL, old_value {json}, "
    "new_value {json}, performed_by VARCHAR(255), performed_at {moment} NOT NULL, reason TEXT, "
    "request_id VARCHAR(255), ip_address VARCHAR(45), user_agent TEXT, PRIMARY KEY (id, performed_at))",
    "CREATE INDEX bare_feature ON bare (feature_key, performed_at DESC)",
    "CREATE INDEX bare_tenant ON bare (tenant_id, performed_at DESC)",
    "CREATE INDEX bare_entity ON bare (entity_type, entity_id, performed_at DESC)",
)
_TYPES = {
    "sqlite": {"uuid": "CHAR(32)", "json": "JSON", "moment": "DATETIME"},
    "postgresql": {"uuid": "UUID", "json": "JSONB", "moment": "TIMESTAMPTZ"},
}


def value_of(value: int) -> dict[str, Any]:
    """Return a value document."""
    return {"enabled": True, "value": value}


class Floor(ABC):
    """Writes by hand."""

    def __init__(self, run: Callable[..., Any], commit: Callable[[], None], mark: str) -> None:
        self.run = run
        self.commit = commit
        self._mark = mark
        marks = ", ".join([mark] * len(_COLUMNS))
        self._insert = f"INSERT INTO bare ({', '.join(_COLUMNS)}) VALUES ({marks})"

    def make_table(self, dialect: str) -> None:
        """Make the table that it writes to."""
        for statement in _BARE:
            self.run(statement.format(**_TYPES[dialect]))
        self.commit()

    @abstractmethod
    def insert(self, entries: list[dict[str, Any]]) -> None:
        """Write many entries in a transaction."""

    def row(self, entry: dict[str, Any]) -> tuple[Any, ...]:
        """Return an entry as the driver takes it."""
        return (
            self.id(),
            entry["entity"].value,
            entry["entity_id"],
            entry["tenant_id"],
            entry["feature_key"],
            entry["action"].value,
            json.dumps(entry["old"]),
            json.dumps(entry["new"]),
            "benchmark",
            self.now(),
        )

    @abstractmethod
    def change(self, value: int) -> None:
        """Change a row and add the entry about it, in a transaction."""

    def both(self, value: int) -> None:
        """Change a row, and add the entry about it."""
        changed = "UPDATE tenant_feature_override SET feature_value = {m}, updated_at = {m}"
        update = f"{changed} WHERE tenant_id = {{m}} AND feature_key = {{m}}".format(m=self._mark)
        self.run(update, (json.dumps(value_of(value)), self.now(), "t1", "a.b"))
        entry = {
            "entity": AuditEntity.TENANT_OVERRIDE,
            "entity_id": "t1/a.b",
            "action": AuditAction.UPDATED,
            "old": {"feature_value": value_of(value - 1)},
            "new": {"feature_value": value_of(value)},
            "tenant_id": "t1",
            "feature_key": "a.b",
        }
        self.run(self._insert, self.row(entry))

    def id(self) -> Any:
        """Return a new id."""
        return uuid7()

    def now(self) -> Any:
        """Return this moment."""
        return utc_now()


class _Sqlite(Floor):
    def __init__(self, file: sqlite3.Connection) -> None:
        super().__init__(file.execute, lambda: None, "?")
        self._file = file

    def insert(self, entries: list[dict[str, Any]]) -> None:
        self._file.execute("BEGIN IMMEDIATE")
        self._file.executemany(self._insert, map(self.row, entries))
        self._file.execute("COMMIT")

    def change(self, value: int) -> None:
        self._file.execute("BEGIN IMMEDIATE")
        self.both(value)
        self._file.execute("COMMIT")

    def id(self) -> Any:
        return uuid7().hex

    def now(self) -> Any:
        return utc_now().strftime("%Y-%m-%d %H:%M:%S.%f")


class _Postgresql(Floor):
    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        super().__init__(connection.execute, connection.commit, "%s")
        self._connection = connection

    def insert(self, entries: list[dict[str, Any]]) -> None:
        with self._connection.cursor() as cursor, cursor.copy(f"COPY bare ({', '.join(_COLUMNS)}) FROM STDIN") as copy:
            for entry in entries:
                copy.write_row(self.row(entry))
        self.commit()

    def change(self, value: int) -> None:
        self.both(value)
        self.commit()


@contextmanager
def floor(url: str) -> Iterator[Floor]:
    """Connect with the driver."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(sa.make_url(url).database or "", isolation_level=None)) as file:
            file.execute("PRAGMA synchronous=FULL")
            yield _Sqlite(file)
    else:
        with psycopg.connect(libpq(url)) as connection:
            yield _Postgresql(connection)
