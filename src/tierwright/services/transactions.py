"""Doing a whole transaction again when another one came first."""

from __future__ import annotations

import inspect
import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from tierwright.errors import ConfigurationError, RetryTransaction

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

SessionT = TypeVar("SessionT", bound=Session)
ResultT = TypeVar("ResultT")

#: serialization_failure, deadlock_detected, lock_not_available
_RETRY_STATES = frozenset({"40001", "40P01", "55P03"})
#: The primary codes; BUSY_SNAPSHOT (a read was overtaken before its write) is an extended code of the first.
_RETRY_CODES = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_PAUSE_FIRST, _PAUSE_LONGEST = 0.01, 1.0


def run_in_transaction(
    sessionmaker: Callable[[], AbstractContextManager[SessionT]],
    fn: Callable[[SessionT], ResultT],
    *,
    attempts: int = 10,
) -> ResultT:
    """Run ``fn`` in a transaction of its own and commit; begin anew where another transaction came first.

    ``fn`` may run several times, so it must do nothing outside of its session that cannot be repeated.

    Args:
        sessionmaker: makes a new session, such as ``sqlalchemy.orm.sessionmaker(engine, class_=Session)``.
        fn: the work; it neither commits nor rolls back.
        attempts: how often to try in all.

    Returns:
        What ``fn`` returned in the attempt that was committed.

    Raises:
        RetryTransaction: the last attempt had to make way as well.
        ConfigurationError: ``fn`` is a coroutine function, which would have written nothing.
        Exception: whatever else ``fn`` or the commit raised; the transaction was rolled back.
    """
    for attempt in range(1, max(1, attempts)):
        try:
            return _once(sessionmaker, fn)
        except RetryTransaction:
            time.sleep(_pause(attempt))
    return _once(sessionmaker, fn)


async def run_in_transaction_async(
    sessionmaker: async_sessionmaker[AsyncSession], fn: Callable[[Session], ResultT], *, attempts: int = 10
) -> ResultT:
    """Do what :func:`run_in_transaction` does, for a host with an ``AsyncSession``.

    Args:
        sessionmaker: makes a new asynchronous session.
        fn: the work, a plain function: it is given the synchronous session, through ``AsyncSession.run_sync``.
        attempts: how often to try in all.

    Raises:
        RetryTransaction: the last attempt had to make way as well.
        ConfigurationError: ``fn`` is a coroutine function, which would have written nothing.
        Exception: whatever else ``fn`` or the commit raised; the transaction was rolled back.
    """
    import asyncio

    for attempt in range(1, max(1, attempts)):
        try:
            return await _once_async(sessionmaker, fn)
        except RetryTransaction:
            await asyncio.sleep(_pause(attempt))
    return await _once_async(sessionmaker, fn)


@contextmanager
def typed_retries() -> Iterator[None]:
    """Raise what the driver says of a lost race as RetryTransaction; every other error passes unchanged.

    Raises:
        RetryTransaction: a serialization failure, a deadlock, or a lock that was not given in time.
    """
    try:
        yield
    except DBAPIError as error:
        if not is_retry(error):
            raise
        raise retry() from error


def is_retry(error: DBAPIError) -> bool:
    """Tell whether the same transaction, begun anew, may succeed: by the driver's error code, never by its text."""
    original = error.orig
    if isinstance(original, sqlite3.Error):
        return getattr(original, "sqlite_errorcode", 0) & 0xFF in _RETRY_CODES
    return (getattr(original, "sqlstate", None) or getattr(original, "pgcode", None)) in _RETRY_STATES


def retry() -> RetryTransaction:
    """Return the error that asks for the whole transaction to be done again."""
    return RetryTransaction(
        "Another transaction came first.",
        remedy="Roll back and do the whole transaction again; run_in_transaction() does that.",
    )


def _once(sessionmaker: Callable[[], AbstractContextManager[SessionT]], fn: Callable[[SessionT], ResultT]) -> ResultT:
    # Leaving session.begin() commits, and a race can be lost there too: PostgreSQL checks SERIALIZABLE at the commit.
    with typed_retries(), sessionmaker() as session, session.begin():
        return _done(fn(session))


async def _once_async(sessionmaker: async_sessionmaker[AsyncSession], fn: Callable[[Session], ResultT]) -> ResultT:
    with typed_retries():
        async with sessionmaker() as session, session.begin():
            return _done(await session.run_sync(fn))


def _done(result: ResultT) -> ResultT:
    if inspect.iscoroutine(result):
        result.close()  # it was never begun, so nothing was written and nothing must be committed as if it were
        raise ConfigurationError(
            "The work is a coroutine function, so nothing of it was done.",
            remedy="Write it with `def`; run_in_transaction_async() gives it the synchronous session.",
        )
    return result


def _pause(attempt: int) -> float:
    """Return how long to wait after the given attempt: random, so that those who collided do not meet again."""
    return random.uniform(0, min(_PAUSE_LONGEST, _PAUSE_FIRST * 2**attempt))  # noqa: S311  not a secret
