"""The database that the demo runs on: a file of its own, or the one that it was given."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from examples.demo.loading import DemoRefused
from tierwright.migrations.urls import migration_engine

#: SQLite keeps this number in the file's header: "tWdm". Only a file that carries it is ever deleted.
APPLICATION_ID = 0x7457646D
_HEADER, _APPLICATION_ID_AT = 100, 68  # https://www.sqlite.org/fileformat2.html#application_id


def open_database(url: str) -> Engine:
    """Return an engine on ``url``, set up as a host should.

    Raises:
        ConfigurationError: bad URL, unsupported dialect, driver not installed.
    """
    engine = migration_engine(url)
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _enforce_foreign_keys)
    return engine


def fresh_file(path: Path) -> str:
    """Return the URL of an empty SQLite file at ``path``; one that an earlier demo made there is deleted.

    Raises:
        DemoRefused: something else is there.
    """
    if path.exists() and path.stat().st_size and _application_id(path) != APPLICATION_ID:
        raise DemoRefused(
            f"{path} is there, and this demo did not make it. Nothing was changed. "
            "Move it away, run the demo in another folder, or name a database with --url."
        )
    # The journals too: left beside a new file, an old one would be played into it.
    for suffix in ("", "-journal", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    return f"sqlite:///{path}"


def is_missing(engine: Engine) -> bool:
    """Tell whether ``engine`` is on a SQLite file that is not there yet (an upgrade creates it)."""
    name = engine.url.database
    return engine.dialect.name == "sqlite" and bool(name) and name != ":memory:" and not Path(str(name)).exists()


def in_schema(engine: Engine, schema: str | None) -> Engine:
    """Return ``engine`` with our tables looked for in ``schema``."""
    if schema is None:
        return engine
    translated: Callable[..., Engine] = engine.execution_options
    return translated(schema_translate_map={None: schema})


def _application_id(path: Path) -> int | None:
    """Read the number from the header itself: SQLite would first want to play back what a killed demo left."""
    with path.open("rb") as file:
        header = file.read(_HEADER)
    if len(header) < _HEADER or not header.startswith(b"SQLite format 3\0"):
        return None
    return int.from_bytes(header[_APPLICATION_ID_AT : _APPLICATION_ID_AT + 4], "big")


def _enforce_foreign_keys(driver: Any, _record: Any) -> None:
    driver.execute("PRAGMA foreign_keys=ON")
