"""The plots of the documentation, from the results as JSON.

python -m benchmarks.plots
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt

from benchmarks.common import RESULTS

ASSETS = Path(__file__).parents[1] / "docs" / "assets" / "benchmarks"
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
_WAITS = {
    "baseline": ("without the upgrade", "#bbbbbb"),
    "upgrade": ("during the upgrade", "#0072b2"),
    "held": ("during it, behind a 2 s transaction", "#d55e00"),
}


def main(results: Path = RESULTS, assets: Path = ASSETS) -> None:
    """Draw what there are results for."""
    assets.mkdir(parents=True, exist_ok=True)
    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "tierwright", "svg.fonttype": "none", "font.size": 9, "axes.axisbelow": True})
    for name, source, part, draw in _PLOTS:
        if not (results / f"{source}.json").exists():
            continue
        result = json.loads((results / f"{source}.json").read_text("utf-8"))
        if not part or part in result:
            figure = draw(result[part] if part else result)
            figure.savefig(assets / f"{name}.svg", metadata={"Date": None}, bbox_inches="tight", facecolor="white")
            plt.close(figure)


def queries(result: dict[str, Any]) -> Any:
    """Return time against rows, both logarithmic: with the index (solid) and without (dashed)."""
    found = result["results"]
    databases = list(dict.fromkeys(each["database"] for each in found))
    questions = list(dict.fromkeys(each["question"] for each in found))
    figure, panels = plt.subplots(1, len(databases), figsize=(3.6 * len(databases), 3.6), sharey=True, squeeze=False)
    for panel, database in zip(panels[0], databases, strict=True):
        for colour, question in zip(_COLOURS, questions, strict=True):
            points = [each for each in found if each["database"] == database and each["question"] == question]
            rows = [each["rows"] for each in points]
            panel.plot(rows, [each["without_us"] for each in points], "--", color=colour, marker="o", markersize=3)
            panel.plot(
                rows, [each["with_us"] for each in points], color=colour, marker="o", markersize=3, label=question
            )
        panel.set(xscale="log", yscale="log", title=database, xlabel="rows in the table")
        panel.grid(True, which="major", color="#dddddd")
    panels[0][0].set_ylabel("µs per query; dashed: without the index")
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="lower center", ncols=2, bbox_to_anchor=(0.5, -0.16))
    return figure


def waits(result: dict[str, Any]) -> Any:
    """Return the longest wait of each client, as medians of the rounds."""
    servers = result["servers"]
    figure, panels = plt.subplots(1, len(servers), figsize=(5.2 * len(servers), 4.4), sharey=True, squeeze=False)
    for panel, server in zip(panels[0], servers, strict=True):
        clients = sorted(server["summary"]["per_client"], reverse=True)
        for offset, (kind, (label, colour)) in enumerate(_WAITS.items()):
            values = [server["summary"]["per_client"][client][kind]["longest_ms"] for client in clients]
            places = [place + 0.27 * (1 - offset) for place in range(len(clients))]
            panel.barh(places, values, height=0.25, color=colour, label=label)
        panel.set_yticks(range(len(clients)), clients)
        panel.axvline(50, color="#888888", linewidth=0.8, linestyle=":")
        panel.annotate("lock_timeout", (50, -0.8), fontsize=7, color="#666666", ha="right", annotation_clip=False)
        panel.set(title=f"PostgreSQL {server['version']}", xlabel="longest wait of a one-row client, ms")
        panel.grid(True, axis="x", color="#dddddd")
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="lower center", ncols=3, bbox_to_anchor=(0.5, -0.06))
    return figure


def rebuilds(result: dict[str, Any]) -> Any:
    """Return the seconds of each round: by hand and by the upgrade."""
    modes = result["modes"]
    figure, panel = plt.subplots(figsize=(4.6, 3.0))
    for place, found in enumerate(modes.values()):
        for side, key, colour in ((-0.15, "raw_s", "#bbbbbb"), (0.15, "upgrade_s", "#0072b2")):
            label = {"raw_s": "by hand", "upgrade_s": "upgrade"}[key] if place == 0 else None
            panel.scatter([place + side] * len(found[key]), found[key], s=14, color=colour, label=label)
    panel.set_xticks(range(len(modes)), [f"{mode}: {found['ratio']:.2f} times" for mode, found in modes.items()])
    panel.set(ylabel="seconds", xlabel="journal mode: median of the rounds' ratios")
    panel.set_ylim(bottom=0)
    panel.set_xlim(-0.6, len(modes) - 0.4)
    panel.grid(True, axis="y", color="#dddddd")
    panel.legend(loc="lower right")
    return figure


def check(warm: dict[str, Any]) -> Any:
    """Return nanoseconds of one check on a logarithmic axis: ours, the floors and the peers, the slowest on top."""
    found = sorted(warm["one_feature"].items(), key=lambda item: item[1]["ns"])
    colours = {"tierwright": _COLOURS[0], "floor": "#bbbbbb"}
    figure, panel = plt.subplots(figsize=(7.2, 0.32 * len(found) + 0.8))
    for place, (name, each) in enumerate(found):
        colour = next((colour for start, colour in colours.items() if name.startswith(start)), _COLOURS[1])
        panel.barh(place, each["ns"], height=0.7, color=colour)
        panel.annotate(f"{each['ratio']:,.1f}", (each["ns"], place), xytext=(3, -3), textcoords="offset points")
    panel.set_yticks(range(len(found)), [name for name, _ in found])
    panel.set(xscale="log", xlabel="ns per check; beside the bars: times the method with two lookups")
    panel.set_xlim(10, 6 * found[-1][1]["ns"])
    panel.grid(True, axis="x", color="#dddddd")
    return figure


def population(result: dict[str, Any]) -> Any:
    """Return nanoseconds of one check against known tenants: ours and the two lookups."""
    points = result["points"]
    tenants = [each["tenants"] for each in points]
    figure, panel = plt.subplots(figsize=(5.2, 3.2))
    for key, label, colour in (
        ("check_ns", "check", _COLOURS[0]),
        ("floor_ns", "method with two lookups", "#999999"),
    ):
        panel.plot(tenants, [each[key] for each in points], color=colour, marker="o", markersize=4, label=label)
    for each in points:
        panel.annotate(
            f"{each['ratio']:.2f}", (each["tenants"], each["check_ns"]), xytext=(-8, 6), textcoords="offset points"
        )
    panel.set(xscale="log", xlabel="known tenants", ylabel="ns per check; on the line: ratio")
    panel.set_ylim(0, 1.2 * max(each["check_ns"] for each in points))
    panel.grid(True, color="#dddddd")
    panel.legend(loc="upper left")
    return figure


#: Name of the file, the result it is drawn from, which part of that, and how.
_PLOTS = (
    ("queries", "queries", "", queries),
    ("migrate_postgresql", "migrate_postgresql", "", waits),
    ("migrate_sqlite", "migrate_sqlite", "", rebuilds),
    ("decisions", "decisions", "warm", check),
    ("population", "decisions", "population", population),
)

if __name__ == "__main__":
    main()
