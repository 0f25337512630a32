"""The revision that partitions the audit log, on a busy PostgreSQL: how long does a writer wait, and is all there?

    python -m benchmarks.audit_partition [--rows 1000000] [--rounds 5] [--versions 16 18]

Each round: writers that record one change after the other, the upgrade, and the downgrade, which joins the partitions
again. What the writers wrote is counted in the end, and so is what was there before: as a whole, and by a checksum.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
import uuid
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.pool import NullPool

from benchmarks.common import RESULTS, libpq, median, save, server, show, stamp
from tierwright.migrations import downgrade, upgrade

BEFORE, AFTER = "a2b3c4d5e6f7", "b3c4d5e6f7a8"
ALLOWED_MS = 100.0
_WRITERS = 4
_PAUSE = 0.005
_INSERT = (
    "INSERT INTO feature_audit_log "
    "(id, entity_type, entity_id, tenant_id, feature_key, action, new_value, performed_at) "
    "VALUES (%s, 'tenant', 'bench', 'bench', 'ai.chat', 'updated', '{}', now())"
)
_FILL = """
    INSERT INTO feature_audit_log (id, entity_type, entity_id, tenant_id, feature_key, action, new_value, performed_at)
    SELECT gen_random_uuid(), 'tenant', 'tenant-' || n % 5000, 'tenant-' || n % 5000, 'area.feature-' || n % 1000,
           'updated', jsonb_build_object('value', n, 'enabled', true), now() - interval '3 years' * n / {rows}
    FROM generate_series(1, {rows}) AS n
"""
_SUM = "SELECT count(*), sum(hashtextextended(l::text, 0)) FROM feature_audit_log l WHERE entity_id <> 'bench'"
_WRITTEN = "SELECT count(*) FROM feature_audit_log WHERE entity_id = 'bench'"


def main(arguments: list[str] | None = None) -> None:
    """Run it and write ``audit_partition.json``."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.audit_partition")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--versions", type=int, nargs="+", default=[16, 18], help="of PostgreSQL")
    parser.add_argument("--out", type=Path, default=RESULTS)
    chosen = parser.parse_args(arguments)
    stamped = stamp()
    servers = [run(version, chosen.rows, chosen.rounds) for version in chosen.versions]
    save("audit_partition", {"stamp": stamped, "servers": servers}, chosen.out)
    for result in servers:
        _show(result)


def run(version: int, rows: int, rounds: int) -> dict[str, Any]:
    """Measure one PostgreSQL version; every round begins and ends with a plain table."""
    with server(version) as started:
        url = started.url()
        engine = sa.create_engine(url, poolclass=NullPool)
        upgrade(engine, BEFORE)
        with psycopg.connect(libpq(url), autocommit=True) as connection:
            connection.execute(_FILL.format(rows=rows))
            connection.execute("VACUUM (ANALYZE)")
        measured = [_round(engine, url) for _ in range(rounds)]
        engine.dispose()
    stall = max(each["upgrade_stall_ms"] for each in measured)
    return {
        "version": version,
        "rows": rows,
        "rounds": measured,
        "longest_stall_ms": stall,
        "baseline_ms": median(each["baseline_ms"] for each in measured),
        "upgrade_s": median(each["upgrade_s"] for each in measured),
        "downgrade_s": median(each["downgrade_s"] for each in measured),
        "downgrade_stall_ms": median(each["downgrade_stall_ms"] for each in measured),
        "nothing_lost": all(each["nothing_lost"] for each in measured),
        "not_rewritten": all(each["not_rewritten"] for each in measured),
        "allowed_ms": ALLOWED_MS,
        "met": stall < ALLOWED_MS and all(each["nothing_lost"] and each["not_rewritten"] for each in measured),
    }


def _round(engine: Engine, url: str) -> dict[str, Any]:
    before, already = _ask(url, _SUM), _ask(url, _WRITTEN)
    file = _ask(url, "SELECT pg_relation_filenode('feature_audit_log')")
    context = multiprocessing.get_context("spawn")
    pipes = [context.Pipe() for _ in range(_WRITERS)]
    writers = [context.Process(target=_write, args=(libpq(url), theirs)) for _, theirs in pipes]
    for writer in writers:
        writer.start()
    for ours, _ in pipes:
        ours.recv()  # it is connected
    moments = [time.time()]
    time.sleep(2.0)
    moments.append(time.time())
    upgrade(engine, AFTER)
    moments.append(time.time())
    kept = _ask(
        url,
        "SELECT pg_relation_filenode(inhrelid) FROM pg_inherits "
        "WHERE inhparent = 'feature_audit_log'::regclass AND inhrelid::regclass::text LIKE '%before%'",
    )
    there = _ask(url, _SUM)
    moments.append(time.time())
    downgrade(engine, BEFORE)
    moments.append(time.time())
    waits = []
    for ours, _ in pipes:
        ours.send("stop")
        waits += ours.recv()
    for writer in writers:
        writer.join()
    back, written = _ask(url, _SUM), _ask(url, _WRITTEN)[0] - already[0]
    return {
        "baseline_ms": _longest(waits, moments[0], moments[1]),
        "upgrade_s": moments[2] - moments[1],
        "upgrade_stall_ms": _longest(waits, moments[1], moments[2]),
        "downgrade_s": moments[4] - moments[3],
        "downgrade_stall_ms": _longest(waits, moments[3], moments[4]),
        "written": len(waits),
        "nothing_lost": before == there == back and written == len(waits),
        "not_rewritten": kept == file,
    }


def _write(url: str, pipe: Connection) -> None:
    """Record one change after the other until told to stop, and tell when each began and how long it took."""
    waits: list[tuple[float, float]] = []
    with psycopg.connect(url, autocommit=True) as connection:
        pipe.send("ready")
        while not pipe.poll():
            began, start = time.time(), time.perf_counter()
            connection.execute(_INSERT, (uuid.uuid4(),))
            waits.append((began, 1000 * (time.perf_counter() - start)))
            time.sleep(_PAUSE)
    pipe.send(waits)


def _longest(waits: list[tuple[float, float]], start: float, end: float) -> float:
    return max((took for began, took in waits if began < end and began + took / 1000 > start), default=0.0)


def _ask(url: str, query: str) -> tuple[Any, ...]:
    with psycopg.connect(libpq(url)) as connection:
        return tuple(connection.execute(query).fetchone() or ())


def _show(result: dict[str, Any]) -> None:
    rows = [
        [
            f"{each['baseline_ms']:.1f}",
            f"{each['upgrade_stall_ms']:.1f}",
            f"{each['upgrade_s']:.2f}",
            f"{each['downgrade_stall_ms']:.0f}",
            f"{each['downgrade_s']:.2f}",
            each["written"],
            "all there" if each["nothing_lost"] else "LOST",
        ]
        for each in result["rounds"]
    ]
    show(
        f"PostgreSQL {result['version']}, {result['rows']:,} rows, {_WRITERS} writers",
        ("idle ms", "upgrade ms", "upgrade s", "downgrade ms", "downgrade s", "written", "rows"),
        rows,
    )
    print(
        f"longest stall {result['longest_stall_ms']:.1f} ms, allowed {ALLOWED_MS:.0f}, rows not written again: "
        f"{result['not_rewritten']}: {'met' if result['met'] else 'MISSED'}"
    )


if __name__ == "__main__":
    main()
