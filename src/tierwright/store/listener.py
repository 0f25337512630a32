"""The thread that hears of changes from PostgreSQL, over a connection of its own to the server itself."""

from __future__ import annotations

import logging
import select
import threading
from collections.abc import Callable
from time import monotonic
from typing import Any

from sqlalchemy.engine import Engine

from tierwright.errors import StoreUnsupported
from tierwright.migrations.urls import migration_engine
from tierwright.services.announcing import CHANNEL, EVERYTHING
from tierwright.store.connecting import open_connection, own_pool
from tierwright.store.watchdog import Watchdog

_log = logging.getLogger("tierwright.store")

_RECONNECT_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_STOP_SECONDS = 0.5


class Listener:
    """Calls ``forget`` with each word that another session says: a tenant that has changed, or what stands for more.

    What was said while there was no connection is not heard, so everything is forgotten whenever one is made. A
    connection that does not answer within a heartbeat is given up.

    Args:
        forget: what to call.
        engine: the store's engine.
        source: True for the engine's own server, or the URL of the server behind a proxy.
        heartbeat: seconds within which a connection that says nothing is found to be dead.

    Raises:
        StoreUnsupported: the database has no LISTEN, or the driver is not psycopg.
    """

    def __init__(self, forget: Callable[[str], None], engine: Engine, source: bool | str, heartbeat: float) -> None:
        self._engine = migration_engine(source) if isinstance(source, str) else engine
        if self._engine.dialect.name != "postgresql" or self._engine.dialect.driver != "psycopg":
            raise StoreUnsupported(
                f"There is no listening on {self._engine.dialect.name} through {self._engine.dialect.driver}.",
                remedy="Leave `listen` out: polling works everywhere; or name a postgresql:// URL.",
            )
        self._forget = forget
        self._pause = heartbeat / 2
        self._inherited: list[Any] = []
        self._connection: Any = None
        self.after_fork()

    def after_fork(self) -> None:
        """Start anew, without a thread; the parent's connection is kept untouched, because closing says goodbye."""
        self._inherited.append(self._connection)
        self._connection = None
        #: Whether there is a connection that hears of changes.
        self.is_listening = False
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()
        self._watchdog = Watchdog(self._pause)

    def start(self) -> None:
        """Start the thread, unless it runs."""
        if self._thread is not None:
            return
        with self._lock:
            if self._thread is None:
                # An event of its own: one that is used again could be cleared before the last thread has seen it.
                self._stopped = threading.Event()
                name, arguments = "tierwright-listener", (self._stopped,)
                self._thread = threading.Thread(target=self._run, name=name, args=arguments, daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        with self._lock:
            thread, self._thread = self._thread, None
            self._stopped.set()
        if thread is not None:
            thread.join()

    def _run(self, stopped: threading.Event) -> None:
        pool = own_pool(self._engine)
        failures = 0
        while not stopped.is_set():
            connection = None
            try:
                connection = self._connection = open_connection(self._engine, pool, self._pause)
                connection.add_notify_handler(self._heard)
                self._ask(connection, "LISTEN " + CHANNEL)
                self._forget(EVERYTHING)
                self.is_listening = True
                failures = 0
                self._listen(connection, stopped)
            except Exception as error:  # of the driver, or of the host's own way of connecting: it is tried again
                pause = _RECONNECT_SECONDS[min(failures, len(_RECONNECT_SECONDS) - 1)]
                failures += 1
                _log.warning("Not listening to changes, polling goes on; next attempt in %s s. Cause: %s", pause, error)
                stopped.wait(pause)
            finally:
                self.is_listening = False
                if connection is not None:
                    connection.close()

    def _listen(self, connection: Any, stopped: threading.Event) -> None:
        beat_at = monotonic() + self._pause
        while not stopped.is_set():
            readable, _, _ = select.select([connection.fileno()], [], [], _STOP_SECONDS)
            if readable or monotonic() >= beat_at:
                self._ask(connection, "SELECT 1")  # the driver hands over what arrived, and a dead connection shows
                beat_at = monotonic() + self._pause

    def _ask(self, connection: Any, statement: str) -> None:
        self._watchdog.begin(connection)
        try:
            connection.execute(statement)
        finally:
            self._watchdog.end(connection)

    def _heard(self, notification: Any) -> None:
        self._forget(notification.payload)
