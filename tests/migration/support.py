"""What the hostile tests of the chain share: whole-database dumps, leftovers, copies, processes that can be killed."""

from __future__ import annotations

import itertools
import multiprocessing
import shutil
import subprocess
from collections.abc import Callable, Sequence
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine, make_url
from sqlalchemy.pool import NullPool

from tests.support import rows
from tests.support.postgres import Databases, wheel_folder
from tierwright import migrations
from tierwright.migrations import catalog

FIRST = "c4d5e6f7a8b9"
OPTIMISED = "d8e9f0a1b2c3"
PROTECTED = "e0f1a2b3c4d5"
GUARDED = "f1a2b3c4d5e6"
UNDELETED = "a2b3c4d5e6f7"
HEAD = "b3c4d5e6f7a8"

_DUMP_SQLITE = "SELECT type || ' ' || name || ' ' || tbl_name || ' ' || coalesce(sql, '') FROM sqlite_master ORDER BY 1"
# Everything that somebody could have made, in every schema: relations, columns, constraints, indexes, triggers, views.
_USER = "NOT IN ('pg_catalog', 'information_schema', 'pg_toast')"
_DUMP_POSTGRESQL = (
    f"SELECT 'schema ' || nspname FROM pg_namespace WHERE nspname {_USER} AND nspname !~ '^pg_'",
    "SELECT concat_ws(' ', 'relation', relkind, c.oid::regclass, reloptions::text) FROM pg_class c "
    f"WHERE relnamespace::regnamespace::text {_USER}",
    "SELECT concat_ws(' ', 'column', attrelid::regclass, attnum, attname, format_type(atttypid, atttypmod), "
    "attnotnull, attgenerated, pg_get_expr(adbin, adrelid), attcollation::regcollation) FROM pg_attribute a "
    "JOIN pg_class c ON c.oid = attrelid LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum "
    f"WHERE relnamespace::regnamespace::text {_USER} AND attnum > 0 AND NOT attisdropped",
    "SELECT concat_ws(' ', 'constraint', conrelid::regclass, conname, pg_get_constraintdef(oid), convalidated) "
    f"FROM pg_constraint WHERE connamespace::regnamespace::text {_USER}",
    "SELECT concat_ws(' ', 'index', pg_get_indexdef(indexrelid), indisvalid, indisready) FROM pg_index "
    f"JOIN pg_class c ON c.oid = indrelid WHERE relnamespace::regnamespace::text {_USER}",
    "SELECT concat_ws(' ', 'trigger', pg_get_triggerdef(oid), tgenabled) FROM pg_trigger WHERE NOT tgisinternal",
    "SELECT concat_ws(' ', 'view', c.oid::regclass, pg_get_viewdef(c.oid)) FROM pg_class c "
    f"WHERE relkind IN ('v', 'm') AND relnamespace::regnamespace::text {_USER}",
    f"SELECT concat_ws(' ', 'function', pg_get_functiondef(oid)) FROM pg_proc "
    f"WHERE pronamespace::regnamespace::text {_USER}",
)


def plain_engine(url: Any) -> Engine:
    """Return an engine without a pool: a killed server or a copied file never leaves a stale connection."""
    return sa.create_engine(url, poolclass=NullPool)


def dump(engine: Engine) -> list[str]:
    """Return every object of the database in words, whoever made it and in whatever schema."""
    queries = (_DUMP_SQLITE,) if engine.dialect.name == "sqlite" else _DUMP_POSTGRESQL
    with engine.connect() as connection:
        return sorted(line for query in queries for line in connection.exec_driver_sql(query).scalars())


def read_catalog(engine: Engine) -> catalog.Catalog:
    """Return the library's own description of our tables."""
    with engine.connect() as connection:
        return catalog.read(connection)


def fill_before_the_optimisation(engine: Engine) -> dict[str, tuple[int, str]]:
    """Bring an empty database to the first revision with rows in every table; return their counts and hashes."""
    migrations.upgrade(engine, FIRST)
    with engine.begin() as connection:
        rows.fill(connection)
    contents = rows.contents(engine)
    assert all(count for count, _ in contents.values())
    return contents


def leftovers(engine: Engine) -> list[str]:
    """Return what an interrupted migration could have left behind and a finished one must not have."""
    if engine.dialect.name == "sqlite":
        queries = ["SELECT name FROM sqlite_master WHERE name GLOB '_tierwright*' OR name GLOB '_alembic*'"]
    else:
        queries = [
            "SELECT relname FROM pg_class WHERE relname ~ '^_(tierwright|alembic)'",
            "SELECT 'invalid ' || indexrelid::regclass FROM pg_index "
            "WHERE NOT (indisvalid AND indisready AND indislive)",
            "SELECT 'constraint ' || conname FROM pg_constraint WHERE NOT convalidated OR conname ~ '^_tierwright'",
            "SELECT 'lock ' || pid FROM pg_locks WHERE locktype = 'advisory' "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        ]
    with engine.connect() as connection:
        return [name for query in queries for name in connection.exec_driver_sql(query).scalars()]


def assert_at_head(engine: Engine, contents: dict[str, tuple[int, str]] | None) -> None:
    """Assert that the chain has finished, that no row was lost or changed, and that nothing was left behind."""
    assert migrations.check(engine).current == HEAD
    assert leftovers(engine) == []
    if contents is not None:
        assert rows.contents(engine) == contents


class Copies:
    """Makes throw-away copies of a prepared database to which nobody is connected, on either dialect.

    Args:
        url: the prepared database.
        folder: where copies of a SQLite file go.
    """

    def __init__(self, url: str, folder: Path) -> None:
        self.url = make_url(url)
        self.folder = folder
        self.numbers = itertools.count()
        self.made: list[str] = []
        self.databases: Databases | None = None
        self.schema: str | None = None
        if self.url.get_backend_name() == "postgresql":
            self.databases = Databases(self.url.set(database="postgres").render_as_string(hide_password=False))
            self.schema = _only_schema(plain_engine(self.url))

    def make(self, *, empty: bool = False) -> str:
        """Return the URL of a new copy, or of a new empty database."""
        if self.databases is None:
            # Never the same name twice: a killed process leaves a journal beside its file.
            target = self.folder / f"copy{next(self.numbers)}.sqlite3"
            if not empty:
                shutil.copy(str(self.url.database), target)
            return f"sqlite:///{target}"
        template = "template0" if empty else str(self.url.database)
        self.made.append(self.databases.create(template, self.schema))
        return str(self.databases.address(self.made[-1]))

    def drop_all(self) -> None:
        """Remove the copies; pytest removes the files."""
        for name in self.made:
            assert self.databases is not None
            self.databases.drop(name)
        self.made.clear()


def _only_schema(engine: Engine) -> str | None:
    with engine.connect() as connection:
        schema = str(connection.exec_driver_sql("SELECT current_schema()").scalar_one())
    return None if schema == "public" else schema


def processes() -> ForkServerContext:
    """Return a way to start processes in a few milliseconds, from a clean single-threaded parent."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["tests.migration.support", "tests.migration.test_kill", "alembic.command", "psycopg"]
    )
    return context


def run_together(function: Callable[..., None], arguments: Sequence[tuple[Any, ...]]) -> list[str | None]:
    """Run ``function(barrier, *arguments[i])`` in one process each, released at one moment; return their errors."""
    context = processes()
    barrier = context.Barrier(len(arguments))
    pipes = [context.Pipe(duplex=False) for _ in arguments]
    started = [
        context.Process(target=_report, args=(sender, function, barrier, *given))
        for (_, sender), given in zip(pipes, arguments, strict=True)
    ]
    for process in started:
        process.start()
    try:
        return [receiver.recv() if receiver.poll(120) else "no answer in 120 s" for receiver, _ in pipes]
    finally:
        for process in started:
            process.join(10)
            if process.is_alive():
                process.kill()


def _report(sender: Any, function: Callable[..., None], *arguments: Any) -> None:
    try:
        function(*arguments)
    except BaseException as error:
        sender.send(f"{type(error).__name__}: {error}")
        raise
    sender.send(None)


def psql(url: str, script: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a script with the wheel's psql, in one session, stopping at the first error."""
    return _client("psql", url, "-X", "-q", "-v", "ON_ERROR_STOP=1", *options, "-f", "-", text=script)


def pg_dump_schema(url: str) -> str:
    """Return ``pg_dump -s`` of a database, without the lines that differ from run to run."""
    result = _client("pg_dump", url, "-s", "--no-owner")
    assert result.returncode == 0, result.stderr
    return "\n".join(line for line in result.stdout.splitlines() if not line.startswith(("\\restrict", "\\unrestrict")))


def pg_dump(url: str) -> str:
    """Return ``pg_dump`` of a database."""
    result = _client("pg_dump", url)
    assert result.returncode == 0, result.stderr
    return result.stdout


def _client(program: str, url: str, *arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    path = wheel_folder() / "pginstall18" / "bin" / program  # 18 talks to older servers too
    address = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    return subprocess.run([str(path), *arguments, address], input=text, capture_output=True, text=True, timeout=120)
