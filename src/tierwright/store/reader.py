"""At most two connections of the store's own, and the statements that it asks."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, LifoQueue, SimpleQueue
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.pool import SingletonThreadPool, StaticPool

from tierwright.errors import StoreUnsupported
from tierwright.migrations.urls import migration_engine
from tierwright.services.missing_tables import REMEDY, is_missing
from tierwright.services.row_security import CHANGE, is_active
from tierwright.services.statements import CATALOG, LICENSES, OVERRIDES, TENANT, Kind
from tierwright.store.compiled import Compiled
from tierwright.store.connecting import Attempt, open_connection, own_pool
from tierwright.store.watchdog import Watchdog

MAX_CONNECTIONS = 2

#: A statement at a time, even where a host's role does otherwise; the setting ends with it.
_BEGIN, _COMMIT = "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY", "COMMIT"

_STATE = int(Kind.STATE)
#: A tenant with more rows than these is rare, and they may be of 64 KiB each.
_MOST_KEPT = 100

Rows = Sequence[Sequence[Any]]


class Unreadable(Exception):
    """The database could not be read now; the driver's error is the cause."""


class Busy(Unreadable):
    """All connections have been in use for as long as one may wait."""


class Unintelligible(Exception):
    """The database answered with something that is no answer; it concerns nothing but this question."""


class _Line:
    """A connection, with a cursor that is used again: to make one, and to end it, takes a tenth of an answer."""

    __slots__ = ("_cursor", "connection")

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self._cursor = connection.cursor()

    def rows(self, statement: Compiled, tenant_id: str | None) -> Rows:
        """Run a statement and return what it says."""
        rows = _run(self._cursor, statement, tenant_id)
        if len(rows) > _MOST_KEPT:  # a driver's cursor keeps what it has brought until it is used again
            self._cursor = self.connection.cursor()
        return rows

    def run(self, text: str) -> None:
        """Run what says nothing."""
        self._cursor.execute(text)


class Reader:
    """Reads through connections that belong to nobody else.

    The connections come from the engine's own way of making them (its driver, its arguments, its event listeners),
    but not from its pool: a host whose requests hold all of their pool's connections must not wait for itself.

    Args:
        engine: the host's engine, or its URL.
        timeout: seconds that connecting, one statement, or waiting for a free connection may take.

    Raises:
        StoreUnsupported: an in-memory SQLite database, which only the host's own connection can see.
    """

    def __init__(self, engine: Engine | Any, timeout: float) -> None:
        self.engine: Engine = migration_engine(engine)
        _refuse_memory(self.engine)
        self.timeout = timeout
        self._errors: type[Exception] = self.engine.dialect.loaded_dbapi.Error
        self._is_file = self.engine.dialect.name == "sqlite"
        # Of an AsyncEngine too: another engine reads for it, but it knows where its tables are.
        known = getattr(engine, "sync_engine", engine if isinstance(engine, Engine) else self.engine)
        self._schemas = known.get_execution_options().get("schema_translate_map")
        self._tenant = self.compiled(TENANT[self.engine.dialect.name])
        self._catalog = self.compiled(CATALOG)
        is_isolated = is_active(LICENSES.name, OVERRIDES.name)
        self._change = self.compiled(CHANGE.add_columns(is_isolated))
        #: Whether row-level security was on when it was last heard of: one more statement asks nothing but that.
        self._is_isolated = False
        self._inherited: list[Any] = []
        self._start()

    def tenant(self, tenant_id: str, statement: Compiled | None = None) -> Rows:
        """Return the tagged rows of one tenant, and the version of the catalogue; one statement.

        Where row-level security is on, a transaction is told for which tenant it works before the statement, and the
        statement says by itself whether that was so.

        Args:
            tenant_id: in its canonical form.
            statement: one that says more, by :meth:`compiled`.

        Raises:
            Unreadable: no connection, no answer in time, or an error.
            Unintelligible: a row of this tenant cannot be read, or row-level security hides them all the same.
        """
        chosen = statement or self._tenant
        if not self._is_isolated:
            rows = self._ask(lambda line: line.rows(chosen, tenant_id))
            if self._is_file or not _is_hidden(rows):
                return rows
            self._is_isolated = True
        rows = self._ask(lambda line: self._run_isolated(line, chosen, tenant_id))
        if _is_hidden(rows):
            raise Unintelligible("Row-level security hides a tenant: the connection does not keep transactions.")
        return rows

    def compiled(self, statement: sa.SelectBase) -> Compiled:
        """Return a statement as it is asked here."""
        return Compiled(self.engine, statement, self._schemas)

    def catalog(self) -> Rows:
        """Return the tagged rows of the catalogue; one statement.

        Raises:
            Unreadable: no connection, no answer in time, or an error.
        """
        return self._ask(lambda line: line.rows(self._catalog, None))

    def close(self) -> None:
        """Close the connections; one in use is closed when it comes back, and a later question makes new ones."""
        self._generation += 1
        kept: list[_Line | None] = []
        with suppress(Empty):  # all of them first: what is put back could come again
            while len(kept) < MAX_CONNECTIONS:
                kept.append(self._places.get_nowait())
        for line in kept:
            if line is not None:
                self._close(line.connection)
            self._places.put(None)

    def after_fork(self) -> None:
        """Start anew in a child process; the parent's connections are kept untouched, because closing says goodbye."""
        self._inherited.append(self._places)
        self._start()

    def _start(self) -> None:
        #: A place for each connection, with None where there is none yet.
        self._places: SimpleQueue[_Line | None] | LifoQueue[_Line | None] = SimpleQueue()
        for _ in range(MAX_CONNECTIONS):
            self._places.put(None)
        self._generation = 0
        self._pool = own_pool(self.engine)
        self._watchdog = Watchdog(self.timeout)

    def _ask(self, question: Callable[[_Line], Rows]) -> Rows:
        try:
            kept = self._places.get(timeout=self.timeout)
        except Empty:
            raise Busy("The store's connections are all waiting for the database.") from None
        generation, line = self._generation, None
        try:
            line, rows = self._asked(kept, question)
        except self._errors as error:
            if _is_about_data(error):
                raise Unintelligible("A row cannot be read.") from error
            why = f" {REMEDY}" if is_missing(error) else ""
            raise Unreadable(f"The database could not be read.{why}") from error
        except (
            UnicodeError,
            ValueError,
            OverflowError,
        ) as error:  # of the driver, for values that Python does not have
            raise Unintelligible("A row cannot be read.") from error
        finally:
            if generation != self._generation and line is not None:  # closed meanwhile
                self._close(line.connection)
                line = None
            self._places.put(line)
        return rows

    def _asked(self, kept: _Line | None, question: Callable[[_Line], Rows]) -> tuple[_Line, Rows]:
        """Return a connection that works, and what it answered."""
        if kept is not None:
            try:
                return kept, self._watched(kept, question)
            except self._errors as error:
                if _is_about_data(error):
                    raise
                # It may have died while it was kept; a new one decides.
        line = _Line(self._connect())
        return line, self._watched(line, question)

    def _watched(self, line: _Line, question: Callable[[_Line], Rows]) -> Rows:
        """Ask within the time limit; a connection that fails is closed, with whatever it had begun."""
        try:
            if self._is_file:
                return question(line)
            self._watchdog.begin(line.connection)
            try:
                return question(line)
            finally:
                self._watchdog.end(line.connection)
        except BaseException:
            self._close(line.connection)
            raise

    def _run_isolated(self, line: _Line, statement: Compiled, tenant_id: str) -> Rows:
        """Run the tenant's statement in a transaction that works for the tenant."""
        line.run(_BEGIN)
        [[_, is_isolated]] = line.rows(self._change, tenant_id)
        rows = line.rows(statement, tenant_id)
        line.run(_COMMIT)
        self._is_isolated = bool(is_isolated)
        return rows

    def _connect(self) -> Any:
        """Return a new connection; connecting to a server is waited for no longer than the time limit."""
        if self._is_file:
            try:
                return self._open()
            except Exception as error:  # the host may have its own way of connecting
                raise Unreadable("The database could not be opened.") from error
        attempt = Attempt(self._open, self._close)
        if not attempt.done.wait(self.timeout):
            attempt.abandon()
            raise Unreadable("The database did not accept a connection in time.")
        return connection_of(attempt)

    def _open(self) -> Any:
        return open_connection(self.engine, self._pool, self.timeout)

    def _close(self, connection: Any) -> None:
        with suppress(self._errors):  # the other side is gone already
            connection.close()


def _run(cursor: Any, statement: Compiled, tenant_id: str | None) -> Rows:
    cursor.execute(statement.text, statement.parameters(tenant_id))
    rows: Rows = cursor.fetchall()
    return rows


def connection_of(attempt: Attempt) -> Any:
    """Return the connection of an attempt that is done.

    Raises:
        Unreadable: there is none.
    """
    if attempt.error is not None:
        raise Unreadable("The database did not accept a connection.") from attempt.error
    return attempt.connection


def _is_hidden(rows: Rows) -> bool:
    for row in rows:
        if row[0] == _STATE:
            return row[2] is not None
    return False


def _is_about_data(error: Exception) -> bool:
    """Tell whether a driver's error is about a value, and not about the database or the connection."""
    if isinstance(error, sqlite3.OperationalError):
        return not hasattr(error, "sqlite_errorcode")  # of the module itself: text that is no UTF-8
    return type(error).__name__ == "DataError"  # the name that PEP 249 gives it, in each driver's own hierarchy


def _refuse_memory(engine: Engine) -> None:
    is_shared = isinstance(engine.pool, StaticPool | SingletonThreadPool)
    if engine.dialect.name == "sqlite" and (is_shared or engine.url.database in (None, "", ":memory:")):
        raise StoreUnsupported(
            "A store needs connections of its own, and an in-memory SQLite database has only the host's.",
            remedy="Use a SQLite file, or leave the store out: Entitlements(session).",
        )
