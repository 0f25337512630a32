"""Running DDL on a busy PostgreSQL without making the application queue behind it.

A statement that waits for a strong lock makes every later SELECT wait behind it. So it waits briefly, gives the
others their turn, and tries again. https://www.postgresql.org/docs/current/explicit-locking.html
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from tierwright.errors import LockNotAcquired
from tierwright.migrations.options import MigrationOptions

LOCK_NOT_AVAILABLE = "55P03"
DEADLOCK_DETECTED = "40P01"
DUPLICATE_TABLE = "42P07"  # also for an index
INTERNAL_ERROR = "XX000"  # two sessions changed one catalogue row at once: "tuple concurrently updated"
_COLLISIONS = (DEADLOCK_DETECTED, DUPLICATE_TABLE, INTERNAL_ERROR)
_INTERNAL_ERRORS_MOST = 5  # a collision passes; an error that stays is another one, and must be seen
_PAUSE_FIRST, _PAUSE_LONGEST = 0.1, 2.0


def sqlstate(error: DBAPIError) -> str | None:
    """Return the SQLSTATE that PostgreSQL sent, whichever driver carries it."""
    original = error.orig
    return getattr(original, "sqlstate", None) or getattr(original, "pgcode", None)


class StatementRunner:
    """Runs single statements in autocommit mode, each with the right patience for its lock."""

    def __init__(self, connection: Connection, options: MigrationOptions) -> None:
        self.connection = connection
        self.options = options

    def short(self, statement: str) -> None:
        """Run a statement that takes a strong lock: wait ``lock_timeout`` for it, retry until ``lock_wait``.

        Raises:
            LockNotAcquired: others kept the lock all the time; nothing was changed by this statement.
        """
        give_up = time.monotonic() + self.options.lock_wait
        pause = _PAUSE_FIRST
        with self._lock_timeout(self.options.lock_timeout):
            while self._hindrance(statement, LOCK_NOT_AVAILABLE) is not None:
                if time.monotonic() + pause > give_up:
                    raise not_acquired(self.connection, self.options.lock_wait, statement)
                time.sleep(pause)
                pause = min(pause * 2, _PAUSE_LONGEST)

    def patient(self, statement: str, undo: Callable[[], None] | None = None) -> None:
        """Run a CONCURRENTLY statement: it waits for old transactions, but nobody waits for it.

        The server process of a migrator that was killed may still be building. Then the two wait for each other, and
        PostgreSQL ends one of them; or the other gets there first; or both change the same row of the catalogue. We
        ``undo`` what is there and try again.

        Raises:
            LockNotAcquired: it went on like that until ``lock_wait``.
        """
        give_up = time.monotonic() + self.options.lock_wait
        internal_errors = 0
        with self._lock_timeout(0):
            while (hindrance := self._hindrance(statement, *_COLLISIONS)) is not None:
                internal_errors += sqlstate(hindrance) == INTERNAL_ERROR
                if internal_errors > _INTERNAL_ERRORS_MOST:
                    raise hindrance
                if time.monotonic() > give_up:
                    raise not_acquired(self.connection, self.options.lock_wait, statement)
                time.sleep(_PAUSE_FIRST)
                if undo is not None:
                    undo()

    def _hindrance(self, statement: str, *passing: str) -> DBAPIError | None:
        """Run the statement; return the error that kept it from running, if it is one that passes."""
        try:
            self.connection.exec_driver_sql(statement)
        except DBAPIError as error:
            if sqlstate(error) not in passing:
                raise
            return error
        return None

    @contextmanager
    def _lock_timeout(self, seconds: float) -> Iterator[None]:
        run = self.connection.exec_driver_sql
        before = run("SHOW lock_timeout").scalar_one()
        run(f"SET lock_timeout = {int(seconds * 1000)}")
        try:
            yield
        finally:
            if not self.connection.invalidated:
                run(f"SET lock_timeout = '{before}'")


def not_acquired(connection: Connection, lock_wait: float, statement: str) -> LockNotAcquired:
    """Return the error for a lock that others kept all the time, with the transactions that may have it."""
    holders = connection.exec_driver_sql(
        "SELECT pid, application_name, state, xact_start::text FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL "
        "ORDER BY xact_start LIMIT 3"
    )
    oldest = [dict(row._mapping) for row in holders]
    return LockNotAcquired(
        f"No lock for {lock_wait:g} s: {statement}.",
        remedy="End the oldest transactions (pg_stat_activity), then run it again: it goes on from here.",
        details={"statement": statement, "oldest_transactions": oldest},
    )
