"""Timing several ways to do the same in turns, and comparing them round by round. Standard library only."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

#: Does its work for each item and returns how many answers were "granted".
Loop = Callable[[Sequence[Any]], int]


@dataclass(frozen=True)
class Case:
    """One way to do the work.

    Attributes:
        name: in tables.
        loop: the timed loop, written out so that nothing of the harness is between two calls.
        items: what the loop is given in a round, and how many "granted" it must return.
    """

    name: str
    loop: Loop
    items: Callable[[int], tuple[Sequence[Any], int]]


def always(items: Sequence[Any], granted: int) -> Callable[[int], tuple[Sequence[Any], int]]:
    """Return the same items for every round."""
    return lambda _round: (items, granted)


def interleaved(cases: Sequence[Case], rounds: int) -> dict[str, list[float]]:
    """Return nanoseconds per item by case and round; one more round, the first, warms up and is dropped.

    Every other round runs backwards, so that what a case leaves in the caches of the processor favours none.

    Raises:
        AssertionError: a case gave other answers than it must.
    """
    found: dict[str, list[float]] = {case.name: [] for case in cases}
    for number in range(rounds + 1):
        for case in cases if number % 2 else reversed(cases):
            items, granted = case.items(number)
            gc.collect()
            start = time.perf_counter_ns()
            answer = case.loop(items)
            spent = time.perf_counter_ns() - start
            if answer != granted:
                raise AssertionError(f"{case.name}: {answer} granted of {len(items)}, and {granted} are")
            if number:
                found[case.name].append(spent / len(items))
    return found


def summary(found: dict[str, list[float]], floor: str) -> dict[str, dict[str, Any]]:
    """Return by case the median, the median of each round's ratio to the floor, and every round."""
    return {
        name: {"ns": statistics.median(rounds), "ratio": ratio(rounds, found[floor]), "rounds": rounds}
        for name, rounds in found.items()
    }


def ratio(rounds: Iterable[float], floor: Iterable[float]) -> float:
    """Return the median of the ratios of rounds."""
    return statistics.median(one / other for one, other in zip(rounds, floor, strict=True))


def goal(what: str, measured: float, allowed: float, unit: str = "x", *, at_least: bool = False) -> dict[str, Any]:
    """Return a goal with whether it is met, as it is stored and printed."""
    met = measured >= allowed if at_least else measured <= allowed
    return {
        "what": what,
        "measured": measured,
        "allowed": allowed,
        "unit": unit,
        "at_least": at_least,
        "met": met,
    }


def goal_cells(found: dict[str, Any]) -> list[str]:
    """Return a goal as cells of a table."""
    unit = found["unit"] if found["unit"] == "x" else f" {found['unit']}"
    digits = 2 if found["unit"] == "x" else 0
    limit = f"{'≥' if found['at_least'] else '≤'} {found['allowed']:g}{unit}"
    return [found["what"], f"{found['measured']:,.{digits}f}{unit}", limit, "met" if found["met"] else "**missed**"]
