"""What the history costs: many entries at once, one recorded change, and a page out of ten million.

    python -m benchmarks.audit [--rows 10000000] [--versions 16 18] [--only sqlite] [--part bulk single list]

The floors (:mod:`benchmarks.audit_floor`) are written by hand with the drivers, into a table with the same columns, the
primary key and three indexes, and without the triggers that guard ours: ``executemany`` on SQLite and COPY on
PostgreSQL for many entries; an UPDATE and an INSERT in a transaction of their own for one recorded change, durable in
both cases. All begin with the same dicts.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.orm import Session

from benchmarks import audit_single
from benchmarks.audit_floor import Floor, floor
from benchmarks.common import RESULTS, median, percentile, save, server, show, stamp
from benchmarks.rounds import goal, goal_cells, ratio
from tierwright.audit import AuditLog, AuditQuestion
from tierwright.migrations import upgrade
from tierwright.services.audit import AuditContext, Journal
from tierwright.services.history_rows import insert_entries
from tierwright.types import AuditAction, AuditEntity, utc_now

#: By dialect: the most that many entries may take in terms of their floor.
BULK = {"sqlite": 1.6, "postgresql": 3.5}
LIST_MS = 5.0
_FEATURES, _TENANTS = 1000, 10_000


def main(arguments: list[str] | None = None) -> None:
    """Run it and write ``audit.json``."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.audit")
    parser.add_argument("--entries", type=int, default=50_000, help="written at once")
    parser.add_argument("--rows", type=int, default=10_000_000, help="to list from")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--singles", type=int, default=300)
    parser.add_argument("--versions", type=int, nargs="+", default=[16, 18], help="of PostgreSQL")
    parser.add_argument("--only", choices=("sqlite", "postgresql"))
    parser.add_argument("--part", nargs="+", choices=("bulk", "single", "list"), default=["bulk", "single", "list"])
    parser.add_argument("--out", type=Path, default=RESULTS)
    chosen = parser.parse_args(arguments)
    stamped = stamp()
    found = []
    for label, place, parts in _places(chosen.only, chosen.versions):
        if wanted := [part for part in chosen.part if part in parts]:
            with place() as url:
                found.append({"label": label, **_measured(url, chosen, wanted)})
    save("audit", {"stamp": stamped, "databases": _with_stored(found, chosen.out / "audit.json")}, chosen.out)
    for part in chosen.part:
        rows = [[each["label"], *cells] for each in found if part in each for cells in _cells(part, each[part])]
        show(part, ("database", "way", "a second or ms", "x floor"), rows)
    goals = [goal_cells(one) for each in found for part in chosen.part if part in each for one in each[part]["goals"]]
    show("goals", ("", "measured", "goal", ""), goals)


def _with_stored(found: list[dict[str, Any]], path: Path) -> list[dict[str, Any]]:
    """Return what was found, with the parts and databases that were measured before: ten million rows take long."""
    stored = json.loads(path.read_text("utf-8"))["databases"] if path.exists() else []
    every = {each["label"]: each for each in stored}
    for each in found:
        every[each["label"]] = {**every.get(each["label"], {}), **each}
    return list(every.values())


def _measured(url: str, chosen: argparse.Namespace, parts: Sequence[str]) -> dict[str, Any]:
    engine = sa.create_engine(url)
    upgrade(engine)
    found: dict[str, Any] = {}
    with floor(url) as driver:
        dialect = engine.dialect.name
        driver.make_table(dialect)
        if "bulk" in parts:
            found["bulk"] = _bulk(engine, driver, chosen.entries, chosen.rounds)
        if "single" in parts:
            found["single"] = audit_single.measured(engine, driver, chosen.singles, _name(engine))
        if "list" in parts:
            found["list"] = _list(engine, chosen.rows)
    engine.dispose()
    return found


# --- many entries at once --------------------------------------------------------------------------------------------


def _bulk(engine: Engine, driver: Floor, count: int, rounds: int) -> dict[str, Any]:
    seconds: dict[str, list[float]] = {"floor": [], "record_all": []}
    for number in range(rounds + 1):
        entries = list(_entries(number * count, count))
        spent = {
            "floor": _timed(partial(driver.insert, entries)),
            "record_all": _timed(partial(_record, engine, entries)),
        }
        if number:  # the first warms up
            for way, one in spent.items():
                seconds[way].append(one)
    measured = ratio(seconds["record_all"], seconds["floor"])
    return {
        "entries": count,
        "seconds": seconds,
        "rows_per_s": {way: count / median(each) for way, each in seconds.items()},
        "ratio": measured,
        "goals": [goal(f"{_name(engine)}: many entries, to the driver", measured, BULK[engine.dialect.name])],
    }


def _record(engine: Engine, entries: list[dict[str, Any]]) -> None:
    with Session(engine) as session:
        Journal(session, AuditContext("benchmark")).record_all(entries)
        session.commit()


def _entries(start: int, count: int) -> Iterator[dict[str, Any]]:
    for number in range(start, start + count):
        tenant, feature = f"tenant-{number * 7 % _TENANTS}", f"module.feature_{number * 7919 % _FEATURES}"
        yield {
            "entity": AuditEntity.TENANT_OVERRIDE,
            "entity_id": f"{tenant}/{feature}",
            "action": AuditAction.UPDATED,
            "old": {"feature_value": {"enabled": False, "value": number % 100}},
            "new": {"feature_value": {"enabled": True, "value": number % 100 + 1}},
            "tenant_id": tenant,
            "feature_key": feature,
        }


# --- a page ----------------------------------------------------------------------------------------------------------


def _list(engine: Engine, rows: int) -> dict[str, Any]:
    with Session(engine) as session:
        there = session.connection().exec_driver_sql("SELECT count(*) FROM feature_audit_log").scalar_one()
    start = utc_now() - timedelta(days=300)
    for begin in range(there, rows, 100_000):
        with Session(engine) as session:
            for first in range(begin, min(begin + 100_000, rows), 1000):
                size = min(1000, rows - first)
                _backdated(session, _entries(first, size), start + timedelta(days=300) * (first / rows))
            session.commit()
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE")
    spent = []
    with Session(engine) as session:
        for number in range(220):
            question = AuditQuestion(feature=f"module.feature_{number * 13 % _FEATURES}")
            began = time.perf_counter()
            page = AuditLog(session).page(question, limit=50)
            spent.append((time.perf_counter() - began) * 1000)
            if len(page.entries) != 50:
                raise AssertionError(f"{len(page.entries)} entries")
            session.rollback()
    spent = spent[20:]
    return {
        "rows": rows,
        "ms": {"median": median(spent), "p95": percentile(spent, 0.95)},
        "goals": [goal(f"{_name(engine)}: 50 of {rows:,} by feature and time", percentile(spent, 0.95), LIST_MS, "ms")],
    }


def _backdated(session: Session, entries: Iterator[dict[str, Any]], moment: Any) -> None:
    insert_entries(session.connection(), {"performed_by": "benchmark", "performed_at": moment}, entries)


def _timed(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _name(engine: Engine) -> str:
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            return f"SQLite {sqlite3.sqlite_version}"
        version = connection.exec_driver_sql("SHOW server_version").scalar_one()
        return f"PostgreSQL {str(version).partition('.')[0]}"


def _cells(part: str, found: dict[str, Any]) -> list[list[str]]:
    if part == "bulk":
        bare = found["rows_per_s"]["floor"]
        return [[way, f"{each:,.0f}", f"{bare / each:.2f}"] for way, each in found["rows_per_s"].items()]
    if part == "single":
        return [[way, f"{each:.2f}", f"{found['ratios'][way]:.2f}"] for way, each in found["ms"].items()]
    return [[way, f"{each:.2f}", ""] for way, each in found["ms"].items()]


# --- where -----------------------------------------------------------------------------------------------------------


def _places(only: str | None, versions: Sequence[int]) -> Iterator[tuple[str, Callable[[], Any], Sequence[str]]]:
    """Yield the databases, with the parts that are measured in each."""
    if only != "postgresql":
        name = f"SQLite {sqlite3.sqlite_version}"
        yield name, partial(_file, "WAL"), ("bulk", "single", "list")
        # What a new file has, unless somebody asks for WAL: each commit writes more, and waits longer.
        yield f"{name}, journal_mode DELETE", partial(_file, "DELETE"), ("single",)
    if only != "sqlite":
        for version in versions:
            yield f"PostgreSQL {version}", lambda version=version: _server(version), ("bulk", "single", "list")


@contextmanager
def _file(journal: str) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="tierwright-bench-") as folder:
        path = Path(folder) / "audit.sqlite3"
        with closing(sqlite3.connect(path)) as file:
            file.execute(f"PRAGMA journal_mode={journal}")
        yield f"sqlite:///{path}"


@contextmanager
def _server(version: int) -> Iterator[str]:
    with server(version) as started:
        yield started.url()


if __name__ == "__main__":
    main()
