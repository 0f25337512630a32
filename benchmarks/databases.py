"""Databases at head with rows in them, whose indexes can be taken away for a while."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

import psycopg

from benchmarks.common import libpq, server
from benchmarks.data import statements
from benchmarks.measuring import measure
from benchmarks.questions import Question, sizes_for
from tierwright.migrations import upgrade

FIRST = "c4d5e6f7a8b9"


class Database(Protocol):
    """A loaded database.

    Attributes:
        label: its name in tables.
        dialect: ``sqlite`` or ``postgresql``.
        dropped: what :meth:`without_indexes` took away.
        primary_key_alone: what the question costs where the primary key is left and the planner makes use of it.
    """

    label: str
    dialect: str
    dropped: list[str]
    primary_key_alone: dict[str, Any] | None

    def run(self, statement: str, parameters: tuple[Any, ...]) -> list[Any]:
        """Return the rows."""

    def plan(self, statement: str, parameters: tuple[Any, ...]) -> str:
        """Return the plan, one step a line."""

    def is_scan(self, plan: str) -> bool:
        """Tell whether a plan reads the whole table and uses no index."""

    def without_indexes(self, question: Question) -> AbstractContextManager[str]:
        """Take away whatever could serve the question; yield the statement to ask it with."""


class _Sqlite:
    dialect = "sqlite"

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.label = f"SQLite {sqlite3.sqlite_version}"
        self.dropped: list[str] = []
        self.primary_key_alone: dict[str, Any] | None = None
        self._connection = connection
        self._plans = 0

    def run(self, statement: str, parameters: tuple[Any, ...]) -> list[Any]:
        return self._connection.execute(statement, parameters).fetchall()

    def plan(self, statement: str, parameters: tuple[Any, ...]) -> str:
        self._plans += 1  # another text each time: a cached EXPLAIN does not notice that an index has gone
        return "\n".join(row[3] for row in self.run(f"EXPLAIN QUERY PLAN {statement} -- {self._plans}", parameters))

    def is_scan(self, plan: str) -> bool:
        return plan.startswith("SCAN ") and "INDEX" not in plan

    @contextmanager
    def without_indexes(self, question: Question) -> Iterator[str]:
        """A primary key cannot be dropped here: NOT INDEXED keeps the planner from it."""
        found = self.run("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = ?", (question.table,))
        leading = {name: self.run(f"PRAGMA index_info({name})", ())[0][2] for name, sql in found if sql}
        create = {name: sql for name, sql in found if leading.get(name) in question.columns}
        self.dropped = sorted(create)
        for name in create:
            self._connection.execute(f"DROP INDEX {name}")
        self.primary_key_alone = _primary_key_alone(self, question)
        yield question.statement(self.dialect, table=f"{question.table} NOT INDEXED")
        for sql in create.values():
            self._connection.execute(sql)
        self._connection.execute(f"ANALYZE {question.table}")


class _Postgresql:
    dialect = "postgresql"

    def __init__(self, connection: psycopg.Connection[Any], version: int) -> None:
        self.label = f"PostgreSQL {version}"
        self.dropped: list[str] = []
        self.primary_key_alone: dict[str, Any] | None = None
        self._connection = connection

    def run(self, statement: str, parameters: tuple[Any, ...]) -> list[Any]:
        return self._connection.execute(statement, parameters, prepare=True).fetchall()

    def plan(self, statement: str, parameters: tuple[Any, ...]) -> str:
        rows = self._connection.execute(f"EXPLAIN (COSTS OFF) {statement}", parameters)
        return "\n".join(row[0].strip() for row in rows)

    def is_scan(self, plan: str) -> bool:
        return "Seq Scan" in plan and "Index" not in plan and "Bitmap" not in plan

    @contextmanager
    def without_indexes(self, question: Question) -> Iterator[str]:
        statement = question.statement(self.dialect)
        found = self._indexes(question.table)
        create = [
            definition for _, leading, primary, definition in found if leading in question.columns and not primary
        ]
        self.dropped = sorted(
            name for name, leading, primary, _ in found if leading in question.columns and not primary
        )
        for name in self.dropped:
            self._execute(f"DROP INDEX {name}")
        self.primary_key_alone = _primary_key_alone(self, question)
        key = self._drop_primary_key(question.table) if self.primary_key_alone else ""
        self._execute("DEALLOCATE ALL")
        yield statement
        if key:
            self._execute(f"ALTER TABLE {question.table} ADD CONSTRAINT pk_{question.table} {key}")
        for definition in create:
            self._execute(definition)
        self._execute(f"ANALYZE {question.table}")

    def _indexes(self, table: str) -> list[Any]:
        """Return name, first column, whether it is the primary key, and definition of each index."""
        return self.run(
            "SELECT c.relname, a.attname, i.indisprimary, pg_get_indexdef(i.indexrelid) FROM pg_index i "
            "JOIN pg_class c ON c.oid = i.indexrelid "
            "JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] WHERE i.indrelid = %s::regclass",
            (table,),
        )

    def _drop_primary_key(self, table: str) -> str:
        """PostgreSQL 18 can skip through an index whose first column the question does not name."""
        [(name, definition)] = self.run(
            "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint "
            "WHERE conrelid = %s::regclass AND contype = 'p'",
            (table,),
        )
        self._execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
        return str(definition)

    def _execute(self, statement: str) -> None:
        self._connection.execute(statement)


def _primary_key_alone(database: Database, question: Question) -> dict[str, Any] | None:
    """Measure the question with nothing but the primary key, if the planner uses that."""
    statement = question.statement(database.dialect)
    pool = question.parameters(database.dialect, int(database.run(f"SELECT count(*) FROM {question.table}", ())[0][0]))
    plan = database.plan(statement, pool[0])
    if database.is_scan(plan):
        return None
    return {"us": measure(database, statement, pool, 0.5, at_least=20).median_us, "plan": plan}


@contextmanager
def sqlite(rows: int) -> Iterator[Database]:
    """Yield a SQLite file at head with ``rows`` rows in each of the four tables, in memory as far as it can be."""
    with tempfile.TemporaryDirectory(prefix="tierwright-bench-") as folder:
        path = Path(folder) / "queries.sqlite3"
        upgrade(f"sqlite:///{path}", FIRST)
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=OFF")
            for statement in statements("sqlite", sizes_for(rows)):
                connection.execute(statement)
        upgrade(f"sqlite:///{path}")
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA cache_size=-1000000")
            connection.execute("ANALYZE")
            yield _Sqlite(connection)


def postgresql(version: int) -> Callable[[int], AbstractContextManager[Database]]:
    """Return a function like :func:`sqlite`, on a server of its own."""

    @contextmanager
    def opened(rows: int) -> Iterator[Database]:
        with server(version) as started:
            upgrade(started.url(), FIRST)
            with psycopg.connect(libpq(started.url()), autocommit=True) as connection:
                connection.execute("SET session_replication_role = replica")
                for statement in statements("postgresql", sizes_for(rows)):
                    connection.execute(statement)
                upgrade(started.url())
                connection.execute("VACUUM (ANALYZE)")
                connection.execute("CHECKPOINT")
                yield _Postgresql(connection, version)

    return opened
