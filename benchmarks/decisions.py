"""How fast a known tenant is answered: beside floors and peers, in threads, and at up to a million tenants.

    python -m benchmarks.decisions [--only warm|threads|population] [--flipper-python VENV/bin/python]

Every part runs in a process of its own, so that none inherits another's memory.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import decisions_scale, decisions_warm
from benchmarks.common import RESULTS, save, show, stamp
from benchmarks.rounds import goal_cells

PARTS = ("threads", "population", "warm")
POPULATIONS = [1_000, 10_000, 100_000, 1_000_000]


def main(arguments: list[str] | None = None) -> None:
    """Run it and write ``decisions.json``."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.decisions")
    parser.add_argument("--features", type=int, default=1000)
    parser.add_argument("--tiers", type=int, default=50)
    parser.add_argument("--tenants", type=int, default=10_000)
    parser.add_argument("--populations", type=int, nargs="+", default=POPULATIONS)
    parser.add_argument("--calls", type=int, default=300_000, help="of ours and of the floors in a round")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--flipper-python", help="interpreter of an environment with flipper-client")
    parser.add_argument("--only", choices=PARTS, nargs="+", default=PARTS, help="keeps the other parts' results")
    parser.add_argument("--out", type=Path, default=RESULTS)
    chosen = parser.parse_args(arguments)
    sizes = {name: getattr(chosen, name) for name in ("features", "tiers", "tenants")}
    calls, rounds = chosen.calls, chosen.rounds
    ways: dict[str, tuple[Any, ...]] = {
        "threads": (decisions_scale.threads, sizes, calls, rounds),
        "population": (decisions_scale.population, sizes, sorted(chosen.populations), calls, rounds),
        "warm": (decisions_warm.run, sizes, calls, rounds, chosen.flipper_python),
    }
    result = {**_kept(chosen.out), "stamp": stamp(), "sizes": sizes, "rounds": rounds}
    for part in PARTS:
        if part in chosen.only:
            result[part] = _apart(*ways[part])
    save("decisions", result, chosen.out)
    _show(result)


def _kept(folder: Path) -> dict[str, Any]:
    path = folder / "decisions.json"
    found: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return found


def _apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """Run in a new process, which is ended even if a peer has left threads behind."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def _show(result: dict[str, Any]) -> None:
    if "warm" in result:
        _show_warm(result["warm"])
    if "threads" in result:
        rates = result["threads"]["checks_per_second"]
        rows = [[name, *(f"{rate:,.0f}" for rate in of.values())] for name, of in rates.items()]
        show("checks per second", ("", "1 thread", f"{result['threads']['threads']} threads"), rows)
    if "population" in result:
        points = result["population"]["points"]
        rows = [
            [f"{each['tenants']:,}", f"{each['floor_ns']:.0f}", f"{each['check_ns']:.0f}", f"{each['ratio']:.2f}"]
            for each in points
        ]
        show("tenants known to the store", ("tenants", "two lookups ns", "check ns", "ratio"), rows)
        for name, weights in result["population"]["bytes_per_tenant"].items():
            print(f"id of {name}: " + ", ".join(f"{taken:.0f} bytes at {at}" for at, taken in weights.items()))
    goals = [goal_cells(each) for part in PARTS if part in result for each in result[part]["goals"]]
    show("goals", ("", "measured", "goal", ""), goals)


def _show_warm(result: dict[str, Any]) -> None:
    for part, title, unit, scale in (
        ("one_feature", "one feature of a known tenant", "ns", 1),
        ("all_features", "all features of a known tenant", "µs", 1000),
    ):
        found = sorted(result[part].items(), key=lambda item: item[1]["ns"])
        rows = [[name, f"{each['ns'] / scale:,.1f}", f"{each['ratio']:,.2f}"] for name, each in found]
        show(title, ("", unit, "x floor"), rows)
    for name, why in result["skipped"].items():
        print(f"skipped: {name}: {why}")


if __name__ == "__main__":
    main()
