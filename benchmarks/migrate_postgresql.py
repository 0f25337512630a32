"""The optimising revision on a busy PostgreSQL: how long do one-row clients wait, and behind what?

Each round: the upgrade; the same clients for the same time without it; the upgrade behind a transaction that has read
every table and stays open for two seconds after the first change is tried; and again the same time without.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.pool import NullPool

from benchmarks.clients import CONTROL_TABLE, CONTROLS, Clients
from benchmarks.common import libpq, median, server
from benchmarks.data import Sizes, statements
from benchmarks.timeline import Timeline, watched
from benchmarks.waits import Waits
from tierwright.migrations import downgrade, upgrade
from tierwright.migrations.options import MigrationOptions

BEFORE, AFTER = "c4d5e6f7a8b9", "d8e9f0a1b2c3"
HELD_SECONDS = 2.0
ALLOWED_MS = 10.0
LOCK_TIMEOUT_MS = 1000 * MigrationOptions.lock_timeout
_SETTLE = 1.0


def run(version: int, rows: int, rounds: int, settings: dict[str, str]) -> dict[str, Any]:
    """Measure one PostgreSQL version.

    Args:
        version: 16 or 18.
        rows: rows in the audit log and in the tenants' configurations.
        rounds: how often everything is repeated.
        settings: changes to the server's configuration.

    Returns:
        Every phase of every round, and the summary of it.
    """
    with server(version, **settings) as started:
        url = started.url()
        engine = sa.create_engine(url, poolclass=NullPool)
        sizes = _load(engine, rows)
        counts = {
            "features": sizes.features,
            "audit": sizes.audit,
            "tenants": sizes.tenants,
            "models": sizes.models,
        }
        with Clients(url, counts) as clients, Waits(url) as waits, watched(engine) as timeline:
            phases = [phase for number in range(rounds) for phase in _round(engine, timeline, number)]
            clients.stop()
        engine.dispose()
    for phase in phases:
        _measure(phase, clients, waits)
    return {
        "version": version,
        "settings": settings,
        "rows": rows,
        "rounds": rounds,
        "summary": summarise(phases),
        "phases": phases,
    }


def summarise(phases: list[dict[str, Any]]) -> dict[str, Any]:
    """Return medians over the rounds: per client, and of the longest stall of any client."""
    clients = list(phases[0]["clients"])
    found: dict[str, Any] = {"per_client": {}}
    for client in clients:
        found["per_client"][client] = {
            kind: {
                value: median(phase["clients"][client][value] for phase in phases if phase["kind"] == kind)
                for value in ("p50_ms", "p99_ms", "longest_ms")
            }
            for kind in ("upgrade", "baseline", "held", "held_baseline")
        }
    for kind in ("upgrade", "baseline", "held", "held_baseline"):
        found[kind] = {
            value: median(phase[value] for phase in phases if phase["kind"] == kind)
            for value in ("seconds", "longest_ms", "control_ms")
        }
    for kind, extra in (("upgrade", 0.0), ("held", LOCK_TIMEOUT_MS)):
        baseline = "baseline" if kind == "upgrade" else "held_baseline"
        above = found[kind]["longest_ms"] - found[baseline]["longest_ms"]
        per_client = [
            found["per_client"][client][kind]["longest_ms"] - found["per_client"][client][baseline]["longest_ms"]
            for client in clients
            if client not in CONTROLS
        ]
        found[kind] |= {
            "above_baseline_ms": above,
            "worst_client_above_baseline_ms": max(per_client),
            "allowed_ms": extra + ALLOWED_MS,
            "met": above <= extra + ALLOWED_MS and max(per_client) <= extra + ALLOWED_MS,
        }
    return found


def _load(engine: Engine, rows: int) -> Sizes:
    """Make the tables as they stood before the revision, with rows."""
    few = max(1000, rows // 200)
    sizes = Sizes(tier_features=2 * few, models=few, configs=rows, audit=rows, components=few)
    upgrade(engine, BEFORE)
    with psycopg.connect(libpq(engine.url.render_as_string(hide_password=False)), autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")  # the rows are right; do not look up each parent
        connection.execute(CONTROL_TABLE)
        for statement in statements("postgresql", sizes):
            connection.execute(statement)
        connection.execute("VACUUM (ANALYZE)")
    return sizes


def _round(engine: Engine, timeline: Timeline, number: int) -> Iterator[dict[str, Any]]:
    upgraded = _upgrade(engine, timeline, "upgrade")
    yield upgraded | {"round": number}
    _back(engine)
    yield _idle("baseline", upgraded["end"] - upgraded["start"]) | {"round": number}
    with _open_transaction(engine, timeline):
        held = _upgrade(engine, timeline, "held")
    yield held | {"round": number}
    _back(engine)
    yield _idle("held_baseline", held["end"] - held["start"]) | {"round": number}


def _upgrade(engine: Engine, timeline: Timeline, kind: str) -> dict[str, Any]:
    timeline.clear()
    start = time.perf_counter()
    upgrade(engine, AFTER)
    end = time.perf_counter()
    return {"kind": kind, "start": start, "end": end, "statements": list(timeline.statements)}


def _idle(kind: str, seconds: float) -> dict[str, Any]:
    start = time.perf_counter()
    time.sleep(seconds)
    return {"kind": kind, "start": start, "end": time.perf_counter(), "statements": []}


def _back(engine: Engine) -> None:
    """Undo the revision, write out what that left to write, and let the clients settle."""
    downgrade(engine, BEFORE)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("CHECKPOINT")
    time.sleep(_SETTLE)


@contextmanager
def _open_transaction(engine: Engine, timeline: Timeline) -> Iterator[None]:
    """Keep a transaction open that has read every table, until two seconds after the first change is tried."""
    changing, reading = threading.Event(), threading.Event()
    url = libpq(engine.url.render_as_string(hide_password=False))

    def hold() -> None:
        with psycopg.connect(url) as connection:
            tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
            for (table,) in tables.fetchall():
                connection.execute(f"SELECT 1 FROM {table} LIMIT 1")
            reading.set()
            changing.wait(60)
            time.sleep(HELD_SECONDS)

    def watch(statement: str) -> None:
        if statement.startswith("ALTER TABLE") and "_tierwright_probe" not in statement:
            changing.set()

    holder = threading.Thread(target=hold)
    holder.start()
    reading.wait(60)
    timeline.watcher = watch
    try:
        yield
    finally:
        changing.set()
        holder.join()
        timeline.watcher = lambda _statement: None


def _measure(phase: dict[str, Any], clients: Clients, waits: Waits) -> None:
    """Fill in what the clients saw during a phase, and which statement ran during the longest wait."""
    start, end = phase["start"], phase["end"]
    timeline = Timeline()
    timeline.statements = phase.pop("statements")
    phase["clients"] = clients.during(start, end)
    phase["seconds"] = end - start
    phase["control_ms"] = max(phase["clients"][name]["longest_ms"] for name in CONTROLS)
    on_tables = {name: seen for name, seen in phase["clients"].items() if name not in CONTROLS}
    phase["longest_client"] = max(on_tables, key=lambda name: on_tables[name]["longest_ms"])
    phase["longest_ms"] = on_tables[phase["longest_client"]]["longest_ms"]
    for name, seen in phase["clients"].items():
        seen["during"] = timeline.at(seen["longest_at"], seen["longest_ms"] / 1000)
        seen["waited_for"] = waits.of(name, seen["longest_at"], seen["longest_at"] + seen["longest_ms"] / 1000)
        seen["longest_at"] -= start
    if timeline.statements:
        phase["slowest_statements"] = timeline.slowest(8)
        changes = [text for _, _, text in timeline.statements if text.startswith(("ALTER", "CREATE", "DROP"))]
        phase["changes"] = sum("_tierwright_probe" not in text for text in changes)
    phase["start"], phase["end"] = 0.0, end - start
