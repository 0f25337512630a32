"""What the optimising revision costs: the waits of others on PostgreSQL, the time on SQLite.

python -m benchmarks.migrate [--rows 1000000] [--rounds 7] [--versions 18] [--only sqlite]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from benchmarks import migrate_postgresql, migrate_sqlite
from benchmarks.common import RESULTS, median, save, show, stamp


def main(arguments: list[str] | None = None) -> None:
    """Run it and write ``migrate_postgresql.json`` and ``migrate_sqlite.json``."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.migrate")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--versions", type=int, nargs="+", default=[16, 18], help="of PostgreSQL")
    parser.add_argument("--setting", nargs="*", default=[], help="of the server, such as fsync=off")
    parser.add_argument("--only", choices=("postgresql", "sqlite"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    chosen = parser.parse_args(arguments)
    if chosen.only != "sqlite":
        stamped = stamp()
        settings = dict(setting.split("=", 1) for setting in chosen.setting)
        servers = [migrate_postgresql.run(version, chosen.rows, chosen.rounds, settings) for version in chosen.versions]
        save("migrate_postgresql", {"stamp": stamped, "servers": servers}, chosen.out)
        for result in servers:
            _show_postgresql(result)
    if chosen.only != "postgresql":
        result = {"stamp": stamp()} | migrate_sqlite.run(chosen.rows, chosen.rounds)
        save("migrate_sqlite", result, chosen.out)
        _show_sqlite(result)


def _show_postgresql(result: dict[str, Any]) -> None:
    kinds = ("baseline", "upgrade", "held_baseline", "held")
    summary = result["summary"]
    rows = [
        [client, f"{seen['upgrade']['p50_ms']:.2f}", *(f"{seen[kind]['longest_ms']:.1f}" for kind in kinds)]
        for client, seen in summary["per_client"].items()
    ]
    rows.append(["any that touches no table of ours", "", *(f"{summary[kind]['control_ms']:.1f}" for kind in kinds)])
    rows.append(["any client on our tables", "", *(f"{summary[kind]['longest_ms']:.1f}" for kind in kinds)])
    show(
        f"PostgreSQL {result['version']}, {result['rows']:,} rows, longest wait in ms, medians of {result['rounds']}",
        ("client", "p50 during", "baseline", "upgrade", "baseline", "behind 2 s transaction"),
        rows,
    )
    for kind in ("upgrade", "held"):
        found = summary[kind]
        print(
            f"{kind}: {found['seconds']:.1f} s; longest {found['above_baseline_ms']:+.1f} ms, worst client "
            f"{found['worst_client_above_baseline_ms']:+.1f} ms above the baseline; allowed {found['allowed_ms']:.0f}: "
            f"{'met' if found['met'] else 'MISSED'}"
        )
        for phase in result["phases"]:
            if phase["kind"] == kind:
                seen = phase["clients"][phase["longest_client"]]
                print(
                    f"  {phase['longest_ms']:6.1f} ms (controls {phase['control_ms']:.1f})  {phase['longest_client']}: "
                    f"{seen['during'][:70]} {seen['waited_for']}"
                )


def _show_sqlite(result: dict[str, Any]) -> None:
    rows = [
        [
            mode,
            f"{median(found['raw_s']):.2f}",
            f"{median(found['upgrade_s']):.2f}",
            f"{found['ratio']:.2f}",
            "met" if found["met"] else "MISSED",
        ]
        for mode, found in result["modes"].items()
    ]
    show(
        f"SQLite, {result['rows']:,} configurations, {result['file_mib']} MiB, medians of {result['rounds']}",
        ("journal", "by hand s", "upgrade s", "ratio", "at most 1.2"),
        rows,
    )
    retry = result["retry"]
    print(f"failed rebuild: {retry['error']} ({retry['message'][:80]}); then upgraded in {retry['retry_s']:.1f} s")


if __name__ == "__main__":
    main()
