"""The seed's four questions with and without their index, on the tables that the chain makes.

"Without" means that no index leads with a column of the question, and that the primary key does not serve it either;
what is left is one scan of the table, warm in memory. Times are what the client sees, round trip included.

    python -m benchmarks.queries [--sizes 10000 100000 1000000] [--versions 18] [--seconds 2]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.common import RESULTS, save, show, stamp
from benchmarks.databases import Database, postgresql, sqlite
from benchmarks.measuring import measure, same_answers
from benchmarks.questions import QUESTIONS, Question

ALLOWED_RATIO = 200


def main(arguments: list[str] | None = None) -> None:
    """Run it and write ``queries.json``."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.queries")
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--versions", type=int, nargs="+", default=[16, 18], help="of PostgreSQL")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each measurement")
    parser.add_argument("--out", type=Path, default=RESULTS)
    chosen = parser.parse_args(arguments)
    stamped = stamp()
    results = [
        result
        for opened in (sqlite, *(postgresql(version) for version in chosen.versions))
        for result in _sizes(opened, chosen.sizes, chosen.seconds)
    ]
    save("queries", {"stamp": stamped, "results": results}, chosen.out)
    _show(results, max(chosen.sizes))


def _sizes(opened: Any, sizes: Sequence[int], seconds: float) -> list[dict[str, Any]]:
    found = []
    for rows in sizes:
        with opened(rows) as database:
            found += [_ask(database, question, rows, seconds) for question in QUESTIONS]
    return found


def _ask(database: Database, question: Question, rows: int, seconds: float) -> dict[str, Any]:
    """Measure one question with its index, without, and with it again."""
    statement = question.statement(database.dialect)
    pool = question.parameters(database.dialect, rows)
    plan = database.plan(statement, pool[0])
    if question.index not in plan:
        raise AssertionError(f"{database.label}, {rows} rows: the plan does not use {question.index}:\n{plan}")
    first = measure(database, statement, pool, seconds / 2, at_least=300)
    answers = same_answers(database, statement, pool)
    with database.without_indexes(question) as bare:
        found = {
            "database": database.label,
            "question": question.title,
            "index": question.index,
            "rows": rows,
            "plan_with": plan,
            **_without(database, question, bare, pool, answers, seconds),
        }
    if database.plan(statement, pool[0]) != plan:
        raise AssertionError("the plan has changed since the indexes were put back")
    again = measure(database, statement, pool, seconds / 2, at_least=300)
    with_us = first.joined(again).median_us
    ratio = found["without_us"] / with_us
    return found | {"with_us": with_us, "with_calls": len(first.us) + len(again.us), "ratio": ratio}


def _without(
    database: Database, question: Question, bare: str, pool: list[Any], answers: list[Any], seconds: float
) -> dict[str, Any]:
    """Measure the scan; and what the primary key alone would do, where the database makes something of it."""
    plan = database.plan(bare, pool[0])
    if not database.is_scan(plan):
        raise AssertionError(f"{database.label}: without {question.index} this is not a scan:\n{plan}")
    if same_answers(database, bare, pool) != answers:
        raise AssertionError(f"{database.label}: {question.title}: other answers without the index")
    scan = measure(database, bare, pool, seconds, at_least=5)
    return {
        "plan_without": plan,
        "without_us": scan.median_us,
        "without_calls": len(scan.us),
        "answers": max(len(answer) for answer in answers),
        "dropped": database.dropped,
        "primary_key_alone": database.primary_key_alone,
    }


def _show(results: list[dict[str, Any]], largest: int) -> None:
    rows = [
        [
            result["database"],
            result["question"],
            f"{result['rows']:,}",
            f"{result['without_us']:,.0f}",
            f"{result['with_us']:,.1f}",
            f"{result['ratio']:,.0f}",
            result["answers"],
        ]
        for result in results
    ]
    show("medians", ("database", "question", "rows", "without us", "with us", "times faster", "answers"), rows)
    at_largest = [result["ratio"] for result in results if result["rows"] == largest]
    met = "met" if min(at_largest) >= ALLOWED_RATIO else "MISSED"
    smallest = {(each["database"], each["question"]): each["with_us"] for each in reversed(results)}
    growth = [
        each["with_us"] / smallest[each["database"], each["question"]] for each in results if each["rows"] == largest
    ]
    print(f"with the index, the largest tables take {min(growth):.1f} to {max(growth):.1f} times the smallest's time")
    print(f"at {largest:,} rows at least {min(at_largest):,.0f} times faster; wanted {ALLOWED_RATIO}: {met}")


if __name__ == "__main__":
    main()
