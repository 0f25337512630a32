"""The peer flipper-client, whose old dependencies need a virtual environment of its own.

    VENV/bin/python -m benchmarks.flipper --features 1000 --tiers 50 --tenants 10000 --calls 20000 --rounds 9

prints its times and the floors' from that process as JSON. Standard library and flipper-client only.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.rounds import Case, always, interleaved, summary
from benchmarks.truth import Truth, TwoLookups

NAME = "flipper-client (memory store, condition)"


def in_environment(python: str, truth: Truth, calls: int, rounds: int) -> dict[str, Any]:
    """Measure it with another interpreter; its ratios are to the floors in that process."""
    sizes = {"features": len(truth.features), "tiers": len(truth.tiers), "tenants": len(truth.tenants)}
    options = {**sizes, "calls": calls, "rounds": rounds}
    done = subprocess.run(
        [python, "-m", "benchmarks.flipper", *(part for name, n in options.items() for part in (f"--{name}", str(n)))],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[1],
    )
    if done.returncode:
        raise RuntimeError(f"flipper-client failed:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.flipper")
    for name in ("features", "tiers", "tenants", "calls", "rounds"):
        parser.add_argument(f"--{name}", type=int, required=True)
    chosen = parser.parse_args()
    truth = Truth(chosen.features, chosen.tiers, chosen.tenants)
    one, everything = _measured(truth, chosen.calls, chosen.rounds)
    print(json.dumps({"one": one, "all": everything, "version": metadata.version("flipper-client")}))


def _measured(truth: Truth, calls: int, rounds: int) -> tuple[dict[str, Any], dict[str, Any]]:
    from flipper import Condition, FeatureFlagClient, MemoryFeatureFlagStore

    client = FeatureFlagClient(MemoryFeatureFlagStore())
    for key in truth.features:
        client.create(key, is_enabled=True)
        client.add_condition(key, Condition(tier__in=list(truth.tiers_with[key])))
    of = {tenant: truth.of(tenant) for tenant in truth.tenants}
    check = TwoLookups(of).check
    is_enabled = client.is_enabled

    def floor(items: Sequence[Any]) -> int:
        granted = 0
        for tenant, feature in items:
            if check(tenant, feature):
                granted += 1
        return granted

    def flipper(items: Sequence[Any]) -> int:
        granted = 0
        for tier, feature in items:
            if is_enabled(feature, tier=tier):
                granted += 1
        return granted

    def copies(tenants: Sequence[Any]) -> int:
        for tenant in tenants:
            dict(of[tenant])
        return 0

    def flipper_all(tiers: Sequence[Any]) -> int:
        for tier in tiers:
            {key: is_enabled(key, tier=tier) for key in truth.features}
        return 0

    pairs = truth.pairs(calls)
    granted = truth.granted_among(pairs)
    prepared = [(truth.tier_of[tenant], feature) for tenant, feature in pairs]
    one = interleaved(
        [Case("floor", floor, always(pairs, granted)), Case(NAME, flipper, always(prepared, granted))], rounds
    )
    tenants = truth.tenants[: max(1, calls // 1000)]
    whole = interleaved(
        [
            Case("floor", copies, always(truth.tenants[:1000], 0)),
            Case(NAME, flipper_all, always([truth.tier_of[tenant] for tenant in tenants], 0)),
        ],
        rounds,
    )
    return summary(one, "floor")[NAME], summary(whole, "floor")[NAME]


if __name__ == "__main__":
    main()
