"""Run every benchmark: ``python -m benchmarks``, or ``--quick`` for a few minutes at small sizes."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks import (
    audit,
    audit_partition,
    catalog,
    cold,
    decisions,
    migrate,
    plots,
    queries,
    replica_lag,
    rotation,
    tables,
)
from benchmarks.common import RESULTS

_QUICK = Path(__file__).parents[1] / "build" / "benchmarks"
_SMALL = ["--features", "200", "--tiers", "10"]
_RUNS = {
    "migrate": migrate.main,
    "queries": queries.main,
    "decisions": decisions.main,
    "cold": cold.main,
    "catalog": catalog.main,
    "rotation": rotation.main,
    "audit": audit.main,
    "audit_partition": audit_partition.main,
    "replica_lag": replica_lag.main,
}
_QUICKLY = {
    "migrate": ["--rows", "20000", "--rounds", "2", "--versions", "18"],
    "queries": ["--sizes", "1000", "10000", "--seconds", "0.3", "--versions", "18"],
    "decisions": [*_SMALL, "--tenants", "1000", "--populations", "1000", "10000", "--calls", "20000", "--rounds", "3"],
    "cold": [*_SMALL, "--tenants", "800", "--rounds", "3", "--resolutions", "5", "--versions", "18"],
    "catalog": ["--quick"],
    "audit": ["--entries", "5000", "--rows", "100000", "--rounds", "2", "--singles", "50", "--versions", "18"],
    "audit_partition": ["--rows", "20000", "--rounds", "1", "--versions", "18"],
    "replica_lag": ["--lag", "1"],
    "rotation": ["--rows", "500", "--rounds", "2", "--versions", "18"],
}


def main() -> None:
    """Measure, then draw the plots and rewrite the tables of the documentation; ``--quick`` leaves those alone."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, few rounds, PostgreSQL 18; into build/")
    parser.add_argument("--only", nargs="+", choices=_RUNS, default=list(_RUNS), help="some of the benchmarks")
    parser.add_argument("--flipper-python", help="interpreter of an environment with flipper-client")
    chosen = parser.parse_args()
    for name in chosen.only:
        options = [*_QUICKLY[name], "--out", str(_QUICK)] if chosen.quick else []
        if name == "decisions" and chosen.flipper_python:
            options += ["--flipper-python", chosen.flipper_python]
        _RUNS[name](options)
    if chosen.quick:
        plots.main(_QUICK, _QUICK)
        return
    plots.main(RESULTS)
    tables.main(RESULTS)


if __name__ == "__main__":
    main()
