"""The tables about decisions, from ``decisions.json`` and ``cold.json``; the plot comes with the numbers it shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.markdown import table
from benchmarks.rounds import goal_cells

_PEERS = "![Time of one check, beside the floors and the peers](../assets/benchmarks/decisions.svg)"
_POPULATION = "![Time of one check by number of known tenants](../assets/benchmarks/population.svg)"
_MISSING = "Not measured yet.\n"


def tables(stored: dict[str, Any]) -> dict[str, str]:
    """Return every table as Markdown, by the name in its marker; of what was not measured, a sentence."""
    ways: dict[str, tuple[str, str, Callable[[Any], str]]] = {
        "known-goals": ("decisions", "", _goals),
        "one-feature": ("decisions", "warm", _one_feature),
        "all-features": ("decisions", "warm", _all_features),
        "skipped": ("decisions", "warm", _skipped),
        "threads": ("decisions", "threads", _threads),
        "population": ("decisions", "population", _population),
        "weight": ("decisions", "population", _weight),
        "cold-goals": ("cold", "databases", _cold_goals),
        "unknown": ("cold", "databases", lambda found: _cold(found, "unknown")),
        "catalog": ("catalog", "measured", _catalog),
        "everything": ("cold", "databases", lambda found: _cold(found, "everything")),
    }
    made = {}
    for name, (result, part, make) in ways.items():
        found = stored.get(result, {})
        found = found.get(part) if part else found
        made[name] = make(found) if found else _MISSING
    return made


def _catalog(measured: list[dict[str, Any]]) -> str:
    rows = []
    for each in measured:
        goal = each["goal"]
        kept = "" if goal is None else ("met" if each["seconds"] <= goal else "**missed**")
        rows.append(
            [
                f"{each['database']}: {each['what'].replace('effect', 'plan and effect, tenants:')}",
                f"{each['seconds']:.2f} s",
                f"{each['worst']:.2f} s",
                "" if goal is None else f"≤ {goal:g} s",
                kept,
            ]
        )
    return table(("", "median", "worst", "goal", ""), rows)


def _goals(result: dict[str, Any]) -> str:
    parts = [result[part] for part in ("warm", "threads", "population") if part in result]
    return table(("", "measured", "goal", ""), [goal_cells(each) for part in parts for each in part["goals"]])


def _one_feature(warm: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in warm["versions"].items())
    made = table(("", "ns", "times the two lookups"), _sorted(warm["one_feature"], 1))
    return f"{_PEERS}\n\n{made}\n{versions}\n" if versions else f"{_PEERS}\n\n{made}"


def _all_features(warm: dict[str, Any]) -> str:
    return table(("", "µs", "times the copy"), _sorted(warm["all_features"], 1000))


def _sorted(found: dict[str, Any], scale: int) -> list[list[str]]:
    return [
        [
            f"**{name}**" if name.startswith("tierwright") else name,
            f"{each['ns'] / scale:,.{0 if each['ns'] / scale >= 100 else 1}f}",
            f"{each['ratio']:,.{0 if each['ratio'] >= 100 else 2}f}",
        ]
        for name, each in sorted(found.items(), key=lambda item: item[1]["ns"])
    ]


def _skipped(warm: dict[str, Any]) -> str:
    skipped = "; ".join(f"{name} ({why})" for name, why in warm["skipped"].items())
    return f"Skipped: {skipped}.\n" if skipped else "No peer was skipped.\n"


def _threads(found: dict[str, Any]) -> str:
    rows = [
        [name, *(f"{rate / 1e6:.2f} million" for rate in rates.values()), f"{found['ratios'][name]:.2f}"]
        for name, rates in found["checks_per_second"].items()
    ]
    return table(("checks per second", "1 thread", f"{found['threads']} threads", "ratio"), rows)


def _population(found: dict[str, Any]) -> str:
    rows = [
        [f"{each['tenants']:,}", f"{each['floor_ns']:.0f} ns", f"{each['check_ns']:.0f} ns", f"{each['ratio']:.2f}"]
        for each in found["points"]
    ]
    return f"{_POPULATION}\n\n" + table(("known tenants", "two lookups", "check", "ratio"), rows)


def _weight(found: dict[str, Any]) -> str:
    weights = found["bytes_per_tenant"]
    populations = next(iter(weights.values()))
    rows = [[name, *(f"{taken:.0f} bytes" for taken in by.values())] for name, by in weights.items()]
    return table(("id of a tenant", *populations), rows)


def _cold_goals(databases: list[dict[str, Any]]) -> str:
    return table(("", "measured", "goal", ""), [goal_cells(each) for found in databases for each in found["goals"]])


def _cold(databases: list[dict[str, Any]], part: str) -> str:
    rows = [
        [found["label"], name, f"{each['ns'] / 1000:,.1f} µs", f"{each['ratio']:.2f}"]
        for found in databases
        for name, each in found[part].items()
    ]
    return table(("database", "way", "time", "ratio"), rows)
