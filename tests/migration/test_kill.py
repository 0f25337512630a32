"""kill -9 of the migrating process, at every moment that matters: a rerun finishes, nothing is lost or left over.

A moment is the point before or after one statement of the run, or before one COMMIT. The child that dies is a real
process; the moments are counted beforehand on a copy of the same database, so they are the same in every run.
"""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from tests.migration import support
from tests.migration.support import FIRST, Copies
from tests.support import rows
from tierwright import migrations
from tierwright.errors import MigrationFailed

QUESTIONS = ("SELECT", "SHOW", "PRAGMA TABLE_", "PRAGMA MAIN.", "PRAGMA LEGACY_ALTER_TABLE", "PRAGMA FOREIGN_KEY")
#: At most so many moments per kind of database; the other kinds prove that the version and the schema do not matter.
MOST = {"sqlite": 50, "pg16": 25, "pg": 25}
AT_LEAST = 20


@pytest.fixture
def copies(database_url: str, tmp_path: Path) -> Iterator[Copies]:
    """Yield a way to copy the test's database."""
    copies = Copies(database_url, tmp_path)
    yield copies
    copies.drop_all()


@pytest.fixture
def before(database_url: str) -> dict[str, tuple[int, str]]:
    """Bring the database to the first revision, with rows in every table, and return their counts and hashes."""
    return support.fill_before_the_optimisation(support.plain_engine(database_url))


def test_a_rerun_finishes_what_a_killed_upgrade_began(
    copies: Copies, before: dict[str, tuple[int, str]], database_kind: str
) -> None:
    moments = _moments(copies.make())
    chosen = _spread(moments, MOST.get(database_kind, 5))
    assert len(chosen) >= (AT_LEAST if database_kind in MOST else 5), [text for _, text in moments]
    for number, _ in chosen:
        url = copies.make()
        _run_and_die(url, number)
        _assert_recovers(url, before)
        copies.drop_all()


def test_a_rerun_finishes_a_first_upgrade_that_was_killed(copies: Copies, database_kind: str) -> None:
    for number, _ in _spread(_moments(copies.make(empty=True)), 12 if database_kind == "sqlite" else 4):
        url = copies.make(empty=True)
        _run_and_die(url, number)
        _assert_recovers(url, None)
        copies.drop_all()


def test_a_downgrade_that_was_killed_can_be_repeated(
    copies: Copies, before: dict[str, tuple[int, str]], database_url: str, database_kind: str
) -> None:
    migrations.upgrade(database_url)
    for number, _ in _spread(_moments(copies.make(), FIRST), 12 if database_kind == "sqlite" else 4):
        url = copies.make()
        _run_and_die(url, number, FIRST)
        migrations.downgrade(url, FIRST)
        engine = support.plain_engine(url)
        assert support.leftovers(engine) == []
        assert rows.contents(engine) == before
        _assert_recovers(url, before)
        copies.drop_all()


def test_a_killed_upgrade_in_wal_mode_recovers(tmp_path: Path) -> None:
    """The write-ahead log keeps a transaction elsewhere than the rollback journal does."""
    url = f"sqlite:///{tmp_path / 'wal.sqlite3'}"
    before = support.fill_before_the_optimisation(support.plain_engine(url))
    copies = Copies(url, tmp_path)
    for number, _ in _spread(_moments(copies.make()), 8):
        copy = copies.make()
        with support.plain_engine(copy).connect() as connection:
            assert connection.exec_driver_sql("PRAGMA journal_mode=WAL").scalar_one() == "wal"
        _run_and_die(copy, number)
        _assert_recovers(copy, before)


@pytest.mark.parametrize("pause", [0.6, 1.6, 3.0])
@pytest.mark.parametrize("mode", ["ROW EXCLUSIVE", "SHARE UPDATE EXCLUSIVE"], ids=["writer", "vacuum"])
def test_a_kill_while_an_index_build_waits_for_others(postgresql_engine: Engine, mode: str, pause: float) -> None:
    """The server process goes on without its client, until the transaction that it waits for ends."""
    engine = postgresql_engine
    before = support.fill_before_the_optimisation(engine)
    url = engine.url.render_as_string(hide_password=False)
    with engine.connect() as busy:
        busy.exec_driver_sql(f"LOCK TABLE feature_audit_log IN {mode} MODE")
        _kill_when(
            engine, url, "query LIKE 'CREATE INDEX CONCURRENTLY%%feature_audit_log%%' AND wait_event_type = 'Lock'"
        )
        rerun = support.processes().Process(target=_upgrade, args=(url,))
        rerun.start()
        time.sleep(pause)  # the rerun finds a half-built index or none, and the old server process still at it
        busy.rollback()
    rerun.join(60)
    assert rerun.exitcode == 0
    support.assert_at_head(engine, before)


@pytest.mark.parametrize("collisions", [1, 5])
def test_a_collision_with_a_killed_migrators_server_process_is_waited_out(
    postgresql_engine: Engine, collisions: int
) -> None:
    """PostgreSQL reports "tuple concurrently updated" as an internal error, and passes."""
    before = support.fill_before_the_optimisation(postgresql_engine)
    _collide(postgresql_engine, collisions)
    migrations.upgrade(postgresql_engine)
    support.assert_at_head(postgresql_engine, before)


def test_an_internal_error_that_stays_is_shown(postgresql_engine: Engine) -> None:
    support.fill_before_the_optimisation(postgresql_engine)
    _collide(postgresql_engine, 1000)
    with pytest.raises(MigrationFailed, match="tuple concurrently updated"):
        migrations.upgrade(postgresql_engine)


def _collide(engine: Engine, times: int) -> None:
    """Let so many CREATE INDEX fail as a collision does; a sequence counts them, for it survives a rollback."""
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE SEQUENCE public.collisions")
        connection.exec_driver_sql(
            "CREATE FUNCTION public.collide() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN "
            f"IF nextval('public.collisions') <= {times} THEN "
            "RAISE EXCEPTION 'tuple concurrently updated' USING ERRCODE = 'XX000'; END IF; END $$"
        )
        connection.exec_driver_sql(
            "CREATE EVENT TRIGGER collide ON ddl_command_start WHEN TAG IN ('CREATE INDEX') "
            "EXECUTE FUNCTION public.collide()"
        )


def test_a_kill_while_a_constraint_waits_for_its_lock(postgresql_engine: Engine) -> None:
    engine = postgresql_engine
    before = support.fill_before_the_optimisation(engine)
    url = engine.url.render_as_string(hide_password=False)
    with engine.connect() as busy:
        busy.exec_driver_sql("LOCK TABLE component_registry IN ROW EXCLUSIVE MODE")
        _kill_when(engine, url, "query LIKE 'ALTER TABLE component_registry%%' AND wait_event_type = 'Lock'")
        busy.rollback()
    _assert_recovers(url, before)


def _assert_recovers(url: str, before: dict[str, tuple[int, str]] | None) -> None:
    migrations.upgrade(url)
    support.assert_at_head(support.plain_engine(url), before)


def _moments(url: str, revision: str | None = None) -> list[tuple[int, str]]:
    """Run the migration to its end on a copy, and return the moments around statements that change something."""
    found: list[tuple[int, str]] = []
    counter = itertools.count(1)
    with _listening(lambda text: found.append((next(counter), text))):
        _migrate(url, revision)
    return [(number, text) for number, text in found if not text.partition(" ")[2].upper().startswith(QUESTIONS)]


def _spread(moments: list[tuple[int, str]], most: int) -> list[tuple[int, str]]:
    """Return at most so many moments, evenly spread, the first and the last among them."""
    if len(moments) <= most:
        return moments
    return [moments[round(i * (len(moments) - 1) / (most - 1))] for i in range(most)]


def _run_and_die(url: str, number: int, revision: str | None = None) -> None:
    process = support.processes().Process(target=_die_at, args=(url, number, revision))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL


def _die_at(url: str, number: int, revision: str | None) -> None:
    counter = itertools.count(1)

    def strike(_text: str) -> None:
        if next(counter) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    with _listening(strike):
        _migrate(url, revision)


def _migrate(url: str, revision: str | None) -> None:
    if revision is None:
        migrations.upgrade(url)
    else:
        migrations.downgrade(url, revision)


def _upgrade(url: str) -> None:
    migrations.upgrade(url)


class _listening:
    """Call ``notice`` before and after every statement, and before every COMMIT, of any engine."""

    def __init__(self, notice: Callable[[str], None]) -> None:
        def before(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
            notice(f"before {statement.strip()}")

        def after(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
            notice(f"after {statement.strip()}")

        def commit(_connection: Any) -> None:
            notice("before COMMIT")

        self.listeners = {"before_cursor_execute": before, "after_cursor_execute": after, "commit": commit}

    def __enter__(self) -> None:
        for name, listener in self.listeners.items():
            sa.event.listen(Engine, name, listener)

    def __exit__(self, *_: object) -> None:
        for name, listener in self.listeners.items():
            sa.event.remove(Engine, name, listener)


def _kill_when(engine: Engine, url: str, condition: str) -> None:
    """Start an upgrade and kill it as soon as one of its server processes is in the state that ``condition`` names."""
    process = support.processes().Process(target=_upgrade, args=(url,))
    process.start()
    query = f"SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND {condition}"
    give_up = time.monotonic() + 30
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        while not connection.exec_driver_sql(query).scalar_one():
            assert time.monotonic() < give_up, "the upgrade never got there"
            time.sleep(0.005)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join(30)
    assert process.exitcode == -signal.SIGKILL
