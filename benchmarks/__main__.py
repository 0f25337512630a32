"""Run every benchmark: ``python -m benchmarks``, or ``--quick`` for a few minutes at small sizes."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks import migrate, plots, queries, tables
from benchmarks.common import RESULTS

_QUICK = Path(__file__).parents[1] / "build" / "benchmarks"


def main() -> None:
    """Measure, then draw the plots and rewrite the tables of the documentation; ``--quick`` leaves those alone."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, few rounds, PostgreSQL 18; into build/")
    if parser.parse_args().quick:
        small = ["--versions", "18", "--out", str(_QUICK)]
        migrate.main(["--rows", "20000", "--rounds", "2", *small])
        queries.main(["--sizes", "1000", "10000", "--seconds", "0.3", *small])
        plots.main(_QUICK, _QUICK)
        return
    migrate.main([])
    queries.main([])
    plots.main(RESULTS)
    tables.main(RESULTS)


if __name__ == "__main__":
    main()
