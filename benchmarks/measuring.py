"""Timing single calls."""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass
from typing import Any, Protocol

from benchmarks.common import median

_AT_MOST = 5000


class Runs(Protocol):
    """Something that can be asked a question."""

    def run(self, statement: str, parameters: tuple[Any, ...]) -> list[Any]:
        """Return the rows."""


@dataclass(frozen=True)
class Timing:
    """Microseconds of each call."""

    us: list[float]

    @property
    def median_us(self) -> float:
        """The median."""
        return median(self.us)

    def joined(self, other: Timing) -> Timing:
        """Return both together."""
        return Timing(self.us + other.us)


def measure(database: Runs, statement: str, pool: list[Any], seconds: float, *, at_least: int) -> Timing:
    """Time calls with changing parameters for some seconds, after a warm-up."""
    for parameters in pool[: at_least // 10 + 2]:
        database.run(statement, parameters)
    found: list[float] = []
    end = time.perf_counter() + seconds
    gc.disable()
    try:
        while len(found) < at_least or (time.perf_counter() < end and len(found) < _AT_MOST):
            parameters = pool[len(found) % len(pool)]
            start = time.perf_counter_ns()
            database.run(statement, parameters)
            found.append((time.perf_counter_ns() - start) / 1000)
    finally:
        gc.enable()
    return Timing(found)


def same_answers(database: Runs, statement: str, pool: list[Any], how_many: int = 4) -> list[list[str]]:
    """Return the sorted answers to a few calls, to compare."""
    return [sorted(map(str, database.run(statement, parameters))) for parameters in pool[:how_many]]
