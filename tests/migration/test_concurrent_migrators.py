"""Several migrators at once: processes on one database, threads on several, and SQLite while others read and write."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import make_url

from tests.migration import support
from tests.migration.support import Copies
from tests.support import rows
from tierwright import migrations


@pytest.fixture
def copies(database_url: str, tmp_path: Path) -> Iterator[Copies]:
    """Yield a way to make more databases like the test's."""
    copies = Copies(database_url, tmp_path)
    yield copies
    copies.drop_all()


@pytest.mark.parametrize("filled", [False, True], ids=["from nothing", "from the first revision"])
def test_three_processes_on_one_database(database_url: str, filled: bool) -> None:
    engine = support.plain_engine(database_url)
    before = support.fill_before_the_optimisation(engine) if filled else None
    assert support.run_together(_upgrade, [(database_url,)] * 3) == [None] * 3
    support.assert_at_head(engine, before)


def test_processes_that_go_up_and_down_take_turns(database_url: str) -> None:
    engine = support.plain_engine(database_url)
    before = support.fill_before_the_optimisation(engine)
    assert support.run_together(_up_and_down, [(database_url,)] * 3) == [None] * 3
    assert rows.contents(engine) == before
    migrations.upgrade(engine)
    support.assert_at_head(engine, before)


def test_threads_on_different_databases(copies: Copies, database_kind: str) -> None:
    urls = [copies.make(empty=True) for _ in range(4)]
    start = threading.Barrier(len(urls))
    with ThreadPoolExecutor(len(urls)) as pool:
        assert list(pool.map(lambda url: _upgrade(start, url), urls)) == [None] * len(urls)
    for url in urls:
        support.assert_at_head(support.plain_engine(url), None)


def test_threads_on_one_database(database_url: str) -> None:
    engine = support.plain_engine(database_url)
    start = threading.Barrier(4)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: _upgrade(start, database_url), range(4))) == [None] * 4
    support.assert_at_head(engine, None)


def test_six_processes_on_sqlite_beside_a_reader_and_a_writer(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'busy.sqlite3'}"
    engine = support.plain_engine(url)
    before = support.fill_before_the_optimisation(engine)
    with _Traffic(str(make_url(url).database)) as traffic:
        assert support.run_together(_upgrade, [(url,)] * 6) == [None] * 6
        assert traffic.lived_through_it()
    assert traffic.errors == []
    after = rows.contents(engine)
    assert after.pop("tierwright_state")[0] == before.pop("tierwright_state")[0] + traffic.written
    assert after == before
    support.assert_at_head(engine, None)


class _Traffic:
    """A reader and a writer with connections of their own; the writer repeats what found the file locked."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.stop = threading.Event()
        self.errors: list[str] = []
        self.written = self.read = 0
        self.threads = [threading.Thread(target=self._loop, args=(step,)) for step in (self._write, self._read)]

    def __enter__(self) -> _Traffic:
        for thread in self.threads:
            thread.start()
        assert self.lived_through_it()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join()

    def lived_through_it(self) -> bool:
        """Tell whether both still get on with it."""
        written, read, give_up = self.written, self.read, time.monotonic() + 20
        while time.monotonic() < give_up and not self.errors:
            if self.written > written and self.read > read:
                return True
            time.sleep(0.01)
        return False

    def _loop(self, step: Any) -> None:
        with closing(sqlite3.connect(self.file, isolation_level=None, timeout=0.05)) as connection:
            connection.execute("PRAGMA foreign_keys=ON")
            while not self.stop.is_set():
                try:
                    step(connection)
                except sqlite3.OperationalError as error:
                    if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                        self.errors.append(repr(error))
                        return
                time.sleep(0.002)

    def _write(self, connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO tierwright_state (key, version) VALUES (?, 0)", (f"traffic-{self.written}",))
        self.written += 1

    def _read(self, connection: sqlite3.Connection) -> None:
        found = connection.execute(
            "SELECT (SELECT count(*) FROM model_registry), (SELECT count(*) FROM tenant_integration_configs)"
        ).fetchone()
        if found != (len(rows.ROWS["model_registry"]), len(rows.ROWS["tenant_integration_configs"])):
            self.errors.append(f"the reader saw {found}")
        self.read += 1


def _upgrade(start: Any, url: str) -> None:
    start.wait()
    migrations.upgrade(url)


def _up_and_down(start: Any, url: str) -> None:
    start.wait()
    for _ in range(2):
        migrations.upgrade(url)
        migrations.downgrade(url, support.FIRST)
