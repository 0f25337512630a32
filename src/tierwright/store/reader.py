"""At most two connections of the store's own, and the two statements that it asks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.pool import SingletonThreadPool, StaticPool

from tierwright.errors import StoreUnsupported
from tierwright.migrations.urls import migration_engine
from tierwright.services.statements import CATALOG, TENANT
from tierwright.store.connecting import open_connection
from tierwright.store.watchdog import Watchdog

MAX_CONNECTIONS = 2

Rows = Sequence[Sequence[Any]]


class Unreadable(Exception):
    """The database could not be read now; the driver's error is the cause."""


class Reader:
    """Reads through connections that belong to nobody else.

    The connections come from the engine's own way of making them (its driver, its arguments, its event listeners),
    but not from its pool: a host whose requests hold all of their pool's connections must not wait for itself.

    Args:
        engine: the host's engine.
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
        schemas = getattr(engine, "sync_engine", engine).get_execution_options().get("schema_translate_map")
        self._tenant = _Compiled(self.engine, TENANT, schemas)
        self._catalog = _Compiled(self.engine, CATALOG, schemas)
        self._inherited: list[Any] = []
        self._start()

    def tenant(self, tenant_id: str) -> Rows:
        """Return the tagged rows of one tenant, and the version of the catalogue; one statement.

        Raises:
            Unreadable: no connection, no answer in time, or an error.
        """
        return self._ask(self._tenant, tenant_id)

    def catalog(self) -> Rows:
        """Return the tagged rows of the catalogue; one statement.

        Raises:
            Unreadable: no connection, no answer in time, or an error.
        """
        return self._ask(self._catalog, None)

    def close(self) -> None:
        """Close the connections; one in use is closed when it comes back."""
        self._is_closed = True
        self._close_idle()

    def after_fork(self) -> None:
        """Start anew in a child process; the parent's connections are kept untouched, because closing says goodbye."""
        self._inherited.extend(self._idle)
        self._start()

    def _start(self) -> None:
        self._places = threading.Semaphore(MAX_CONNECTIONS)
        self._idle: list[Any] = []
        self._pool = self.engine.pool.recreate()
        self._watchdog = Watchdog(self.timeout)
        self._is_closed = False

    def _ask(self, statement: _Compiled, tenant_id: str | None) -> Rows:
        if not self._places.acquire(timeout=self.timeout):
            raise Unreadable("The store's connections are all waiting for the database.")
        try:
            parameters = statement.parameters(tenant_id)
            kept = self._take()
            if kept is not None:
                try:
                    return self._run(kept, statement.text, parameters)
                except self._errors:
                    self._close_idle()  # it died while it was kept, and so did the others; a new one decides
            return self._run(self._connect(), statement.text, parameters)
        except self._errors as error:
            raise Unreadable("The database could not be read.") from error
        finally:
            self._places.release()

    def _take(self) -> Any:
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _run(self, connection: Any, text: str, parameters: Any) -> Rows:
        """Run a statement, and keep the connection only if it succeeds."""
        try:
            if self._is_file:
                rows: Rows = connection.execute(text, parameters).fetchall()
            else:
                with self._watchdog.limit(connection):
                    cursor = connection.cursor()
                    cursor.execute(text, parameters)
                    rows = cursor.fetchall()
        except BaseException:
            self._close(connection)
            raise
        if self._is_closed:
            self._close(connection)
        else:
            self._idle.append(connection)
        return rows

    def _connect(self) -> Any:
        """Return a new connection; connecting to a server is waited for no longer than the time limit."""
        if self._is_file:
            return self._open()
        attempt = _Attempt(self._open, self._close)
        if not attempt.done.wait(self.timeout):
            attempt.abandon()
            raise Unreadable("The database did not accept a connection in time.")
        if attempt.error is not None:
            raise Unreadable("The database did not accept a connection.") from attempt.error
        return attempt.connection

    def _open(self) -> Any:
        return open_connection(self.engine, self._pool, self.timeout)

    def _close_idle(self) -> None:
        while (connection := self._take()) is not None:
            self._close(connection)

    def _close(self, connection: Any) -> None:
        with suppress(self._errors):  # the other side is gone already
            connection.close()


class _Compiled:
    """A statement as the driver takes it, with the engine's schema in it."""

    def __init__(self, engine: Engine, statement: sa.CompoundSelect[Any], schemas: Any) -> None:
        options = {"schema_translate_map": schemas, "render_schema_translate": True} if schemas else {}
        compiled = statement.compile(dialect=engine.dialect, **options)
        self.text = str(compiled)
        self._places = len(compiled.positiontup or ()) if compiled.positional else None
        self._named = tuple(compiled.params)

    def parameters(self, tenant_id: str | None) -> Any:
        """Return the parameters in the driver's style; the tenant is the only one."""
        if self._places is not None:
            return (tenant_id,) * self._places
        return dict.fromkeys(self._named, tenant_id)


class _Attempt:
    """A connection being made in a thread of its own, which may be abandoned."""

    def __init__(self, connect: Callable[[], Any], close: Callable[[Any], None]) -> None:
        self.done = threading.Event()
        self.connection: Any = None
        self.error: Exception | None = None
        self._lock = threading.Lock()
        self._is_abandoned = False
        self._connect = connect
        self._close = close
        threading.Thread(target=self._run, name="tierwright-connect", daemon=True).start()

    def abandon(self) -> None:
        """Want the connection no more: it is closed as soon as it is there."""
        with self._lock:
            self._is_abandoned = True
            if self.connection is not None:
                self._close(self.connection)

    def _run(self) -> None:
        try:
            connection = self._connect()
        except Exception as error:  # handed to the thread that waits
            self.error = error
        else:
            with self._lock:
                self.connection = connection
                if self._is_abandoned:
                    self._close(connection)
        self.done.set()


def _refuse_memory(engine: Engine) -> None:
    is_shared = isinstance(engine.pool, StaticPool | SingletonThreadPool)
    if engine.dialect.name == "sqlite" and (is_shared or engine.url.database in (None, "", ":memory:")):
        raise StoreUnsupported(
            "A store needs connections of its own, and an in-memory SQLite database has only the host's.",
            remedy="Use a SQLite file, or leave the store out: Entitlements(session).",
        )
