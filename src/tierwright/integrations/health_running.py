"""Running probes: so many at a time, each for so long, and none that could hold up the others or the process's end.

A function runs in a thread of its own, which is a daemon: a process ends without waiting for it, as it would for the
threads of an executor. A coroutine function runs on the caller's event loop where there is one, and else in such a
thread too, in a loop of its own, so that one which blocks its loop blocks nobody else's.

Of what a probe raises only the name of the class leaves this module: messages and tracebacks may hold secrets.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any, TypeVar

from tierwright.integrations.health_probes import Answered, Probe, ProbeTarget, Stuck
from tierwright.integrations.health_rules import Outcome
from tierwright.integrations.records import Secrets
from tierwright.types import HealthStatus

T = TypeVar("T")

_TIMED_OUT = TimeoutError.__name__
#: In place of the class of an exception: an earlier run hangs, so this one was not begun.
PROBE_STUCK = "ProbeStuck"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a run has shown, and the class of what it raised, if it did."""

    outcome: Outcome
    error: str | None = None


class Opening:
    """Opens the secrets of one configuration when they are asked for, and remembers if that failed.

    Then the run says nothing about the integration, whatever the probe makes of the error.

    Args:
        open_secrets: does it.
    """

    def __init__(self, open_secrets: Callable[[], Secrets]) -> None:
        self._open = open_secrets
        self.trouble: str | None = None

    def __call__(self) -> Secrets:
        self.trouble = _TIMED_OUT  # until it returns: whoever holds the key may hang, too
        try:
            found = self._open()
        except Exception as error:
            self.trouble = type(error).__name__
            raise
        self.trouble = None
        return found


@dataclass(frozen=True, slots=True)
class Attempt:
    """One probe that is to be run on one configuration, in the version that was read."""

    probe: Probe
    target: ProbeTarget
    version: int
    opening: Opening


class Runner:
    """Runs attempts.

    Args:
        stuck: which earlier runs still hang; those that are given up are added.
        timeout: seconds for each.
        concurrency: so many at a time; those that were given up do not count.
        isolated: whether coroutine functions run apart from the event loop that waits for them.
    """

    def __init__(self, stuck: Stuck, *, timeout: float, concurrency: int, isolated: bool) -> None:
        self._stuck = stuck
        self._timeout = timeout
        self._concurrency = concurrency
        self._isolated = isolated

    async def run(self, attempts: Sequence[Attempt]) -> list[Answer]:
        """Return the answers, in the order of the attempts."""
        slots = asyncio.Semaphore(self._concurrency)

        async def one(attempt: Attempt) -> Answer:
            async with slots:
                return self._not_run(attempt) or await self._answer(attempt)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(attempt)) for attempt in attempts]
        return [task.result() for task in tasks]

    def _not_run(self, attempt: Attempt) -> Answer | None:
        """Return the answer of an attempt that must not be begun; None for the others."""
        hanging = self._stuck.version_of(attempt.target)
        if hanging == attempt.version:
            return Answer(Outcome.FAILED, _TIMED_OUT)
        if hanging is not None or self._stuck.is_full(attempt.target.integration_key):
            return Answer(Outcome.INCONCLUSIVE, PROBE_STUCK)
        return None

    async def _answer(self, attempt: Attempt) -> Answer:
        running, is_alive = self._started(attempt)
        try:
            await asyncio.wait({running}, timeout=self._timeout)
            return running.result() if running.done() else _failure(attempt, _TIMED_OUT)
        finally:
            if not running.done():  # also where nobody waits for the check any more
                self._stuck.add(attempt.target, attempt.version, is_alive)
                running.cancel()

    def _started(self, attempt: Attempt) -> tuple[asyncio.Future[Answer], Callable[[], bool]]:
        if self._isolated or not _is_async(attempt.probe):
            return _in_thread(attempt, self._timeout)
        task = asyncio.create_task(_on_this_loop(attempt))
        loop = asyncio.get_running_loop()
        return task, lambda: not task.done() and not loop.is_closed()


def in_own_loop(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Return what a coroutine function returns, run in an event loop of its own, in a thread of its own.

    The caller may be in an event loop itself, where no other can be run.
    """
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(asyncio.run(work()))
        except BaseException as error:
            done.set_exception(error)

    _start(run)
    return done.result()


def _in_thread(attempt: Attempt, timeout: float) -> tuple[asyncio.Future[Answer], Callable[[], bool]]:
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[Answer] = loop.create_future()

    def settle(answer: Answer) -> None:
        if not answered.done():
            answered.set_result(answer)

    def run() -> None:
        answer = _answer_of(attempt, timeout)
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, answer)

    return answered, _start(run).is_alive


def _start(run: Callable[[], None]) -> threading.Thread:
    """Start a thread that sees the caller's context variables, and that the end of the process does not wait for."""
    thread = threading.Thread(target=copy_context().run, args=(run,), name="tierwright-probe", daemon=True)
    thread.start()
    return thread


def _answer_of(attempt: Attempt, timeout: float) -> Answer:
    """Run a probe in this thread, in an event loop if it wants one."""
    try:
        answered = attempt.probe(attempt.target)
        if inspect.isawaitable(answered):
            with asyncio.Runner() as runner:
                # It would log what tasks that the probe leaves behind raise, with the message.
                runner.get_loop().set_exception_handler(lambda _loop, _context: None)
                answered = runner.run(asyncio.wait_for(answered, timeout))
    except BaseException as error:  # also what ends threads: this one has nothing else to do
        return _failure(attempt, type(error).__name__)
    return _understood(attempt, answered)


async def _on_this_loop(attempt: Attempt) -> Answer:
    try:
        answered: Any = attempt.probe(attempt.target)
        answered = await answered
    except (Exception, asyncio.CancelledError, SystemExit) as error:  # where we cancel it, nobody reads the answer
        return _failure(attempt, type(error).__name__)
    return _understood(attempt, answered)


def _understood(attempt: Attempt, answered: Answered) -> Answer:
    if answered is None or answered is HealthStatus.HEALTHY:
        return Answer(Outcome.HEALTHY)
    if answered is HealthStatus.DEGRADED:
        return Answer(Outcome.DEGRADED)
    if answered is HealthStatus.UNHEALTHY:
        return _failure(attempt, None)
    return Answer(Outcome.INCONCLUSIVE, TypeError.__name__)  # True, say: nobody can tell what is meant


def _failure(attempt: Attempt, error: str | None) -> Answer:
    if attempt.opening.trouble is not None:
        return Answer(Outcome.INCONCLUSIVE, attempt.opening.trouble)
    return Answer(Outcome.FAILED, error)


def _is_async(probe: Probe) -> bool:
    return inspect.iscoroutinefunction(probe) or inspect.iscoroutinefunction(getattr(probe, "__call__", None))  # noqa: B004
