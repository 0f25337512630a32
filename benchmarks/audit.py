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
from sqlmodel import SQLModel

from benchmarks import audit_orm
from benchmarks.audit_floor import Floor, floor, value_of
from benchmarks.common import RESULTS, median, percentile, save, server, show, stamp
from benchmarks.rounds import goal, goal_cells, ratio
from tierwright.audit import AuditLog, AuditQuestion
from tierwright.migrations import upgrade
from tierwright.services.audit import AuditContext, Journal
from tierwright.services.history_rows import insert_entries
from tierwright.services.registry import Registry
from tierwright.tables import TenantFeatureOverride
from tierwright.types import AuditAction, AuditEntity, utc_now

#: By dialect: the most that many entries, and one recorded change, may take in terms of their floors.
BULK = {"sqlite": 1.6, "postgresql": 3.5}
SINGLE = {"sqlite": 1.6, "postgresql": 2.8}
LIST_MS = 5.0
_FEATURES, _TENANTS = 1000, 10_000
_TABLE = SQLModel.metadata.tables["tenant_feature_override"]


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
    for label, place in _places(chosen.only, chosen.versions):
        with place() as url:
            found.append({"label": label, **_measured(url, chosen)})
    save("audit", {"stamp": stamped, "databases": _with_stored(found, chosen.out / "audit.json")}, chosen.out)
    for part in chosen.part:
        rows = [[each["label"], *cells] for each in found for cells in _cells(part, each[part])]
        show(part, ("database", "way", "a second or ms", "x floor"), rows)
    goals = [goal_cells(each[part]["goal"]) for each in found for part in chosen.part]
    show("goals", ("", "measured", "goal", ""), goals)


def _with_stored(found: list[dict[str, Any]], path: Path) -> list[dict[str, Any]]:
    """Return what was found, with the parts and databases that were measured before: ten million rows take long."""
    stored = json.loads(path.read_text("utf-8"))["databases"] if path.exists() else []
    every = {each["label"]: each for each in stored}
    for each in found:
        every[each["label"]] = {**every.get(each["label"], {}), **each}
    return list(every.values())


def _measured(url: str, chosen: argparse.Namespace) -> dict[str, Any]:
    engine = sa.create_engine(url)
    upgrade(engine)
    found: dict[str, Any] = {}
    with floor(url) as driver:
        dialect = engine.dialect.name
        driver.make_table(dialect)
        if "bulk" in chosen.part:
            found["bulk"] = _bulk(engine, driver, chosen.entries, chosen.rounds)
        if "single" in chosen.part:
            found["single"] = _single(engine, driver, chosen.singles)
        if "list" in chosen.part:
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
        "goal": goal(f"{_name(engine)}: many entries, to the driver", measured, BULK[engine.dialect.name]),
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


# --- one recorded change ---------------------------------------------------------------------------------------------


def _single(engine: Engine, driver: Floor, count: int) -> dict[str, Any]:
    _one_override(engine)
    ways: dict[str, Callable[[int], None]] = {
        "floor": driver.change,
        "ORM, nothing recorded": lambda value: audit_orm.change(engine, value),
        "ORM, an entry added": lambda value: audit_orm.change_and_add(engine, value),
        "object": lambda value: _set_object(engine, value),
        "statement": lambda value: _run_statement(engine, TenantFeatureOverride, value),
        "statement of the table": lambda value: _run_statement(engine, _TABLE, value),
        "Registry": lambda value: _call_registry(engine, value),
    }
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(count + 20):
        for at, (way, change) in enumerate(ways.items()):
            spent = _timed(partial(change, number * len(ways) + at + 10))
            if number >= 20:
                seconds[way].append(spent)
    ratios = {way: median(each) / median(seconds["floor"]) for way, each in seconds.items()}
    return {
        "ms": {way: median(each) * 1000 for way, each in seconds.items()},
        "ratios": ratios,
        "goal": goal(
            f"{_name(engine)}: one recorded change, to the driver committing both rows",
            ratios["object"],
            SINGLE[engine.dialect.name],
        ),
    }


def _one_override(engine: Engine) -> None:
    with Session(engine) as session:
        registry = Registry(session, actor="benchmark")
        feature = {"feature_key": "a.b", "feature_name": "x", "category": "c", "feature_type": "integer"}
        registry.features.create({**feature, "default_value": {"enabled": True, "value": 1}})
        registry.overrides.set("t1", "a.b", value_of(1))
        session.commit()


def _set_object(engine: Engine, value: int) -> None:
    with _session(engine) as session:
        row = session.get(TenantFeatureOverride, ("t1", "a.b"))
        assert row is not None
        row.feature_value = value_of(value)
        session.commit()


def _run_statement(engine: Engine, changed: Any, value: int) -> None:
    column = getattr(changed, "c", changed)
    statement = sa.update(changed).where(column.tenant_id == "t1", column.feature_key == "a.b")
    with _session(engine) as session:
        session.execute(statement.values(feature_value=value_of(value)))
        session.commit()


def _call_registry(engine: Engine, value: int) -> None:
    with _session(engine) as session:
        Registry(session).overrides.set("t1", "a.b", value_of(value))
        session.commit()


def _session(engine: Engine) -> Session:
    session = Session(engine)
    AuditContext("benchmark").attach(session)
    return session


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
        "goal": goal(f"{_name(engine)}: 50 of {rows:,} by feature and time", percentile(spent, 0.95), LIST_MS, "ms"),
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


def _places(only: str | None, versions: Sequence[int]) -> Iterator[tuple[str, Callable[[], Any]]]:
    if only != "postgresql":
        yield f"SQLite {sqlite3.sqlite_version}", _file
    if only != "sqlite":
        for version in versions:
            yield f"PostgreSQL {version}", lambda version=version: _server(version)


@contextmanager
def _file() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="tierwright-bench-") as folder:
        path = Path(folder) / "audit.sqlite3"
        with closing(sqlite3.connect(path)) as file:
            file.execute("PRAGMA journal_mode=WAL")
        yield f"sqlite:///{path}"


@contextmanager
def _server(version: int) -> Iterator[str]:
    with server(version) as started:
        yield started.url()


if __name__ == "__main__":
    main()
