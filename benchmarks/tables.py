"""The tables of docs/explanation/benchmarks.md, from the results as JSON, put between the page's markers.

python -m benchmarks.tables
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from benchmarks import decision_tables
from benchmarks.clients import CONTROLS
from benchmarks.common import RESULTS, median
from benchmarks.markdown import table as _markdown
from benchmarks.rounds import goal_cells

PAGE = Path(__file__).parents[1] / "docs" / "explanation" / "benchmarks.md"
_BLOCK = re.compile(r"(<!-- table: (?P<name>[a-z0-9-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main(results: Path = RESULTS, page: Path = PAGE) -> None:
    """Rewrite the page's tables."""
    stored = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(results.glob("*.json"))}
    made = tables(stored)
    text = page.read_text("utf-8")
    page.write_text(_BLOCK.sub(lambda match: f"{match[1]}\n{made[match['name']]}\n{match[3]}", text), "utf-8")


def tables(stored: dict[str, Any]) -> dict[str, str]:
    """Return every table as Markdown, by the name in its marker."""
    postgresql, sqlite = stored["migrate_postgresql"], stored["migrate_sqlite"]
    made = {
        "queries": _queries(stored["queries"]["results"]),
        "primary-key": _primary_key(stored["queries"]["results"]),
        "goals": _goals(postgresql["servers"]),
        "sqlite": _sqlite(sqlite),
        "sqlite-statements": _statements(sqlite["modes"]["delete"]["slowest_statements"]),
        "rotation": _rotation(stored["rotation"]["databases"]),
        "history": _history(stored["audit"]["databases"]),
        "replica": _replica(stored["replica_lag"]),
        "partition": _partition(stored["audit_partition"]["servers"]),
        "versions": _versions(stored),
        **decision_tables.tables(stored),
    }
    for server in postgresql["servers"]:
        made[f"waits-{server['version']}"] = _waits(server)
        made[f"worst-{server['version']}"] = _worst(server)
    return made


def _time(us: float) -> str:
    return f"{us / 1000:,.0f} ms" if us >= 10_000 else f"{us / 1000:.1f} ms" if us >= 1000 else f"{us:.0f} µs"


def _queries(results: list[dict[str, Any]]) -> str:
    rows = []
    for database, question in dict.fromkeys((each["database"], each["question"]) for each in results):
        found = [each for each in results if (each["database"], each["question"]) == (database, question)]
        without, indexed = ([_time(each[key]) for each in found] for key in ("without_us", "with_us"))
        rows.append(
            [f"{database}: {question}", " / ".join(without), " / ".join(indexed), f"{found[-1]['ratio']:,.0f} times"]
        )
    sizes = " / ".join(f"{rows:,}" for rows in dict.fromkeys(each["rows"] for each in results))
    return _markdown(("question", f"without, at {sizes} rows", "with its index", "faster at the most rows"), rows)


def _primary_key(results: list[dict[str, Any]]) -> str:
    largest = max(each["rows"] for each in results)
    rows = [
        [each["database"], each["question"], _time(alone["us"]), _time(each["with_us"]), _time(each["without_us"])]
        for each in results
        if each["rows"] == largest and (alone := each["primary_key_alone"])
    ]
    return _markdown(("database", "question", "primary key alone", "the seed's index", "neither"), rows)


def _goals(servers: list[dict[str, Any]]) -> str:
    rows = []
    for server in servers:
        for kind, baseline, title in (
            ("upgrade", "baseline", "upgrade"),
            ("held", "held_baseline", "behind a 2 s transaction"),
        ):
            found, idle = server["summary"][kind], server["summary"][baseline]
            rows.append(
                [
                    f"PostgreSQL {server['version']}, {title}",
                    f"{found['seconds']:.1f} s",
                    f"{idle['longest_ms']:.1f} ms",
                    f"{found['longest_ms']:.1f} ms",
                    f"{found['above_baseline_ms']:+.1f} ms",
                    f"{found['worst_client_above_baseline_ms']:+.1f} ms",
                    f"+{found['allowed_ms']:.0f} ms",
                    "met" if found["met"] else "**missed**",
                ]
            )
    head = ("", "takes", "longest wait without", "with", "difference", "worst single client", "allowed", "")
    return _markdown(head, rows)


def _waits(server: dict[str, Any]) -> str:
    kinds = ("baseline", "upgrade", "held_baseline", "held")
    clients = server["summary"]["per_client"]
    rows = [
        [
            f"*{client}*" if client in CONTROLS else client,
            f"{seen['baseline']['p50_ms']:.2f} → {seen['upgrade']['p50_ms']:.2f}",
            *(f"{seen[kind]['longest_ms']:.1f}" for kind in kinds),
        ]
        for client, seen in sorted(clients.items(), key=lambda item: (item[0] in CONTROLS, item[0]))
    ]
    head = ("client", "p50", "longest: without", "upgrade", "without", "behind a 2 s transaction")
    return _markdown(head, rows)


def _worst(server: dict[str, Any]) -> str:
    rows = []
    for phase in server["phases"]:
        if phase["kind"] in ("upgrade", "held"):
            seen = phase["clients"][phase["longest_client"]]
            waited = ", ".join(seen["waited_for"]) or "(not seen waiting for a lock, the log or the disk)"
            rows.append(
                [
                    f"{phase['round'] + 1}, {phase['kind']}",
                    f"{phase['longest_ms']:.1f} ms",
                    f"{phase['control_ms']:.1f} ms",
                    phase["longest_client"],
                    f"`{seen['during'][:60]}`",
                    waited,
                ]
            )
    return _markdown(("round", "longest wait", "of a control", "client", "statement then", "waited for"), rows)


def _sqlite(result: dict[str, Any]) -> str:
    rows = [
        [
            f"{mode}",
            f"{median(found['raw_s']):.2f} s",
            f"{median(found['upgrade_s']):.2f} s",
            f"{found['ratio']:.2f}",
            f"{min(found['ratios']):.2f} to {max(found['ratios']):.2f}",
            "met" if found["met"] else "**missed**",
        ]
        for mode, found in result["modes"].items()
    ]
    return _markdown(("journal mode", "by hand", "upgrade", "ratio (median)", "ratios", "at most 1.2"), rows)


def _statements(slowest: list[list[Any]]) -> str:
    return _markdown(("statement", "ms"), [[f"`{text[:90]}`", f"{ms:,.0f}"] for ms, text in slowest[:8]])


def _rotation(databases: list[dict[str, Any]]) -> str:
    rows = []
    for each in databases:
        *_, limit, met = goal_cells(each["goal"])
        for way, per_second in each["rows_per_s"].items():
            is_goal = way == "new data keys"
            found = f"{each['ratios'][way]:.2f}"
            rows.append(
                [each["label"], way, f"{per_second:,.0f}", found, limit if is_goal else "", met if is_goal else ""]
            )
    return _markdown(("database", "way", "rows a second", "ratio", "goal", ""), rows)


def _history(databases: list[dict[str, Any]]) -> str:
    rows = []
    for each in databases:
        found = _many(each["bulk"]) if "bulk" in each else []
        found += _single(each["single"])
        found += _listed(each["list"]) if "list" in each else []
        rows += [[each["label"], *cells] for cells in found]
    return _markdown(("database", "what", "floor", "ours", "measured", "goal", ""), rows)


def _many(found: dict[str, Any]) -> list[list[str]]:
    a_second = [f"{found['rows_per_s'][way]:,.0f}" for way in ("floor", "record_all")]
    return [["many entries, a second", *a_second, *goal_cells(found["goals"][0])[1:]]]


def _listed(found: dict[str, Any]) -> list[list[str]]:
    measured = f"{found['ms']['p95']:.2f} ms"
    return [[f"50 of {found['rows']:,}, 95th percentile", "", measured, "", *goal_cells(found["goals"][0])[2:]]]


def _single(found: dict[str, Any]) -> list[list[str]]:
    ms = {way: f"{each:.2f} ms" for way, each in found["ms"].items()}
    floor = ms.pop("floor")
    measured = {way: [f"{found['ratios'][way]:.2f}x", "", ""] for way in ms}
    measured |= {way: goal_cells(one)[1:] for way, one in zip(found["recorded"], found["goals"], strict=True)}
    return [[f"one change: {way}", floor, ms[way], *measured[way]] for way in ms]


def _partition(servers: list[dict[str, Any]]) -> str:
    rows = []
    for each in servers:
        rounds = each["rounds"]
        stalls = [f"{max(one[name] for one in rounds):.1f} ms" for name in ("upgrade_stall_ms", "downgrade_stall_ms")]
        took = [f"{median([one[name] for one in rounds]):.2f} s" for name in ("upgrade_s", "downgrade_s")]
        kept = "all" if all(one["nothing_lost"] for one in rounds) else "**not all**"
        rows.append([f"PostgreSQL {each['version']}", took[0], stalls[0], took[1], stalls[1], kept])
    heads = ("database", "upgrade", "longest stall", "downgrade", "longest stall", "rows there")
    return _markdown(heads, rows)


def _replica(found: dict[str, Any]) -> str:
    rows = [[who, f"{each['checks']:,}", str(each["granted"])] for who, each in found["sessions"].items()]
    rows.append(["the replica itself", "", f"{found['replica_granted']:,}"])
    return _markdown(("who asked", "checks after the revocation", "granted"), rows)


def _versions(stored: dict[str, Any]) -> str:
    stamp = stored["queries"]["stamp"]
    servers = ", ".join(str(server["version"]) for server in stored["migrate_postgresql"]["servers"])
    versions = stamp["versions"]
    rows = [
        ["machine", f"{stamp['cores']} cores, 24 GiB VM"],
        ["Python", stamp["python"]],
        ["SQLite", stamp["sqlite"]],
        ["PostgreSQL", servers],
        *([name, version] for name, version in versions.items()),
        ["load before (1 min)", ", ".join(f"{name} {found['stamp']['load_before']}" for name, found in stored.items())],
    ]
    return _markdown(("", ""), rows)


if __name__ == "__main__":
    main()
