"""Making a connection that belongs to the store alone."""

from __future__ import annotations

import math
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Dialect, Engine
from sqlalchemy.pool import NullPool, Pool

_limit = threading.local()
#: The drivers that hand this argument to libpq, whose own default is to wait for as long as TCP likes.
_WITH_TIMEOUT = {"psycopg", "psycopg2"}


def own_pool(engine: Engine) -> Pool:
    """Return a pool that makes connections as the engine does: its driver, arguments and event listeners.

    It holds none and bounds none, so that an attempt that was given up takes nobody's place.
    """
    if engine.dialect.driver in _WITH_TIMEOUT and not event.contains(engine, "do_connect", _connect_in_time):
        event.listen(engine, "do_connect", _connect_in_time)
    # Pool.recreate() would do, but for its bounds; it hands on the same two things.
    return NullPool(engine.pool._creator, dialect=engine.dialect, _dispatch=engine.pool.dispatch)


def open_connection(engine: Engine, pool: Pool, timeout: float) -> Any:
    """Return a new connection of the driver, in autocommit mode.

    Args:
        engine: the host's.
        pool: of :func:`own_pool`.
        timeout: seconds for which connecting to a server, or a locked SQLite file, is waited for.
    """
    with _limited(timeout):
        proxied = pool.connect()
    connection: Any = proxied.dbapi_connection
    proxied.detach()  # from here on nobody but us resets or closes it
    try:
        _leave_transactions(engine.dialect, connection, timeout)
    except BaseException:
        connection.close()
        raise
    return connection


class Attempt:
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


def _leave_transactions(dialect: Dialect, connection: Any, timeout: float) -> None:
    """One statement is one transaction: an open one would go on showing the past."""
    connection.commit()  # what the host's listeners set is meant to stay
    if dialect.name == "sqlite":
        if hasattr(connection, "autocommit"):  # Python 3.12 and later
            connection.autocommit = sqlite3.LEGACY_TRANSACTION_CONTROL  # type: ignore[attr-defined, unused-ignore]
            connection.rollback()
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout = {int(timeout * 1000)}")
    else:
        dialect.set_isolation_level(connection, "AUTOCOMMIT")


@contextmanager
def _limited(timeout: float) -> Iterator[None]:
    _limit.seconds = max(2, math.ceil(timeout))  # less is not possible
    try:
        yield
    finally:
        del _limit.seconds


def _connect_in_time(dialect: Dialect, _record: Any, arguments: Any, options: dict[str, Any]) -> Any:
    """Give connecting a time limit, for the store's connections only and unless the host has given one."""
    seconds = getattr(_limit, "seconds", None)
    if seconds is None or "connect_timeout" in options:
        return None
    return dialect.connect(*arguments, **{**options, "connect_timeout": seconds})
