"""What the database is asked for: an unknown tenant, everything without a store, and the first load.

    python -m benchmarks.cold [--versions 16 18] [--only sqlite]

Client and server share one core: on a small machine two of them wait for the wake-up of an idle core most of the
time, which hides what the layers in Python cost.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import cold_cases
from benchmarks.common import RESULTS, save, show, stamp
from benchmarks.rounds import goal_cells
from benchmarks.tenants import Place, postgresql, socket_url, sqlite
from benchmarks.truth import Truth


def main(arguments: list[str] | None = None) -> None:
    """Run it and write ``cold.json``."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cold")
    parser.add_argument("--features", type=int, default=1000)
    parser.add_argument("--tiers", type=int, default=50)
    parser.add_argument("--tenants", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--resolutions", type=int, default=40, help="of a whole tenant in a round")
    parser.add_argument("--versions", type=int, nargs="+", default=[16, 18], help="of PostgreSQL")
    parser.add_argument("--only", choices=("sqlite", "postgresql"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    chosen = parser.parse_args(arguments)
    truth = Truth(chosen.features, chosen.tiers, chosen.tenants)
    stamped = stamp()
    found = [
        cold_cases.run(place, truth, chosen.rounds, chosen.resolutions)
        for opened in _databases(chosen.only, chosen.versions)
        for place in _places(opened, truth)
    ]
    save("cold", {"stamp": stamped, "rounds": chosen.rounds, "databases": found}, chosen.out)
    for each in found:
        _show(each)
    show("goals", ("", "measured", "goal", ""), [goal_cells(met) for each in found for met in each["goals"]])


def _databases(only: str | None, versions: list[int]) -> Iterator[Callable[[Truth], Any]]:
    if only != "postgresql":
        yield lambda truth: sqlite(truth, "wal")
        yield lambda truth: sqlite(truth, "delete")
    if only != "sqlite":
        yield from (postgresql(version) for version in versions)


def _places(opened: Callable[[Truth], Any], truth: Truth) -> Iterator[Place]:
    """Yield the database; a server twice, through its socket file and through TCP, with everything on one core."""
    with opened(truth) as place, _one_core(place):
        if place.server is None:
            yield place
        else:
            yield Place(f"{place.label}, socket file", socket_url(place.server), place.server)
            yield Place(f"{place.label}, TCP", place.url, place.server)


@contextmanager
def _one_core(place: Place) -> Iterator[None]:
    """Keep this thread, threads that it starts, and sessions that the server starts from now on, on one core."""
    before = os.sched_getaffinity(0)
    core = {max(before)}
    if place.server is not None:
        postmaster = int((place.server.data / "postmaster.pid").read_text("utf-8").split()[0])
        os.sched_setaffinity(postmaster, core)
    os.sched_setaffinity(0, core)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _show(found: dict[str, Any]) -> None:
    for part, title in (("unknown", "one feature of an unknown tenant"), ("everything", "all features, no store")):
        rows = [[name, f"{each['ns'] / 1000:,.1f}", f"{each['ratio']:.2f}"] for name, each in found[part].items()]
        show(f"{found['label']}: {title}", ("", "µs", "x floor"), rows)
    print(f"first load: {found['first_load_ms']:.0f} ms")


if __name__ == "__main__":
    main()
