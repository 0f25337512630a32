"""The optimising revision on a SQLite file: each table rebuilt once, and how it compares with doing it by hand."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.pool import NullPool

from benchmarks.common import median
from benchmarks.data import Sizes, statements
from benchmarks.timeline import watched
from tierwright.errors import MigrationError
from tierwright.migrations import current, upgrade

BEFORE, AFTER = "c4d5e6f7a8b9", "d8e9f0a1b2c3"
REBUILT = ("model_registry", "component_registry", "integration_registry", "tenant_integration_configs")
ALLOWED_RATIO = 1.2
#: What a file is opened with: as SQLite comes, and as a busy application sets it.
MODES = {"delete": "FULL", "wal": "NORMAL"}
_COPY = re.compile(r"INSERT INTO _tierwright_rebuild_(\w+)")


def run(rows: int, rounds: int) -> dict[str, Any]:
    """Measure the upgrade of a file against the same work by hand, in each journal mode.

    Args:
        rows: rows in the tenants' configurations.
        rounds: how often each is repeated, in turns.

    Returns:
        Seconds, ratios and what the retry of a failed rebuild showed, per journal mode.
    """
    with tempfile.TemporaryDirectory(prefix="tierwright-bench-") as folder:
        template = Path(folder) / "before.sqlite3"
        _load(template, rows)
        target = _schema_after(Path(folder))
        return {
            "rows": rows,
            "rounds": rounds,
            "file_mib": round(template.stat().st_size / 2**20),
            "retry": _retry(template, rows),
            "modes": {mode: _mode(mode, template, target, rounds) for mode in MODES},
        }


def _load(path: Path, rows: int) -> None:
    few = max(1000, rows // 200)
    sizes = Sizes(tier_features=2 * few, models=few, configs=rows, audit=rows, components=few, scattered=False)
    upgrade(f"sqlite:///{path}", BEFORE)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("BEGIN")
        for statement in statements("sqlite", sizes):
            connection.execute(statement)
        connection.execute("COMMIT")


def _schema_after(folder: Path) -> dict[str, str]:
    """Return the statements of every table and index after the revision, from an empty file."""
    path = folder / "empty.sqlite3"
    upgrade(f"sqlite:///{path}", AFTER)
    return _schema(path)


def _schema(path: Path) -> dict[str, str]:
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name")
        return {name: " ".join(sql.replace('"', "").split()) for name, sql in found.fetchall()}


def _mode(mode: str, template: Path, target: dict[str, str], rounds: int) -> dict[str, Any]:
    found: dict[str, Any] = {"upgrade_s": [], "raw_s": [], "slowest_statements": []}
    for number in range(rounds):
        by_turns = (_timed_upgrade, _timed_raw) if number % 2 else (_timed_raw, _timed_upgrade)
        for measure in by_turns:
            measure(_copy(template, mode), mode, target, found)
    found["ratios"] = [ours / raw for ours, raw in zip(found["upgrade_s"], found["raw_s"], strict=True)]
    found["ratio"] = median(found["ratios"])
    found["met"] = found["ratio"] <= ALLOWED_RATIO
    return found


def _copy(template: Path, mode: str) -> Path:
    """Return a copy of the file in a journal mode, all of it on disk, so that no earlier write is in the way."""
    path = template.with_name("measured.sqlite3")
    for suffix in ("", "-wal", "-shm", "-journal"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    shutil.copyfile(template, path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA journal_mode={mode}")
    os.sync()
    return path


def _engine(path: Path, mode: str) -> Engine:
    engine = sa.create_engine(f"sqlite:///{path}", poolclass=NullPool)
    sa.event.listen(engine, "connect", lambda driver, _: driver.execute(f"PRAGMA synchronous={MODES[mode]}"))
    return engine


def _timed_upgrade(path: Path, mode: str, target: dict[str, str], found: dict[str, Any]) -> None:
    engine = _engine(path, mode)
    with watched(engine) as timeline:
        start = time.perf_counter()
        upgrade(engine, AFTER)
        found["upgrade_s"].append(time.perf_counter() - start)
    engine.dispose()
    copies = [match[1] for _, _, text in timeline.statements if (match := _COPY.match(text))]
    if sorted(copies) != sorted(REBUILT):
        raise AssertionError(f"rebuilt: {copies}")
    found["rebuilds"] = {table: copies.count(table) for table in REBUILT}
    found["slowest_statements"] = timeline.slowest(10)
    _compare(path, target)


def _timed_raw(path: Path, mode: str, target: dict[str, str], found: dict[str, Any]) -> None:
    """Copy, drop, rename and index by hand, to the same tables and indexes, in one transaction."""
    before = _schema(path)
    start = time.perf_counter()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        run = connection.execute
        run(f"PRAGMA synchronous={MODES[mode]}")
        run("PRAGMA foreign_keys=OFF")
        run("PRAGMA legacy_alter_table=ON")
        run("BEGIN IMMEDIATE")
        for table in REBUILT:
            run(target[table].replace(f"CREATE TABLE {table}", f"CREATE TABLE new_{table}", 1))
            run(f"INSERT INTO new_{table} SELECT * FROM {table}")
            run(f"DROP TABLE {table}")
            run(f"ALTER TABLE new_{table} RENAME TO {table}")
        for name in sorted(target.keys() - before.keys()):
            run(target[name])
        run("COMMIT")
    found["raw_s"].append(time.perf_counter() - start)
    _compare(path, target)


def _compare(path: Path, target: dict[str, str]) -> None:
    if (schema := _schema(path)) != target:
        raise AssertionError(f"differs: {[name for name in target if schema.get(name) != target[name]]}")


def _retry(template: Path, rows: int) -> dict[str, Any]:
    """Let the file run out of space in the middle of the rebuild, see that nothing changed, and run it again."""
    path = _copy(template, "delete")
    before = _schema(path)
    engine = _engine(path, "delete")
    with closing(sqlite3.connect(path)) as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
    limit = pages + pages // 4

    def full_disk(driver: Any, _: Any) -> None:
        driver.execute(f"PRAGMA max_page_count={limit}")

    sa.event.listen(engine, "connect", full_disk)
    with watched(engine) as timeline:
        try:
            upgrade(engine, AFTER)
        except MigrationError as error:
            failed = {"error": error.code, "message": error.message, "during": timeline.statements[-1][2]}
        else:
            raise AssertionError("the upgrade did not fail")
    sa.event.remove(engine, "connect", full_disk)
    unchanged = _schema(path) == before and _count(path) == rows and current(engine) == BEFORE
    start = time.perf_counter()
    upgrade(engine, AFTER)
    seconds = time.perf_counter() - start
    retried = current(engine) == AFTER and _count(path) == rows
    engine.dispose()
    if not (unchanged and retried):
        raise AssertionError(f"unchanged: {unchanged}, retried: {retried}")
    return failed | {"unchanged_after_failure": unchanged, "retried": retried, "retry_s": seconds}


def _count(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT count(*) FROM tenant_integration_configs").fetchone()[0])
