"""A database that is down, silent, frozen or busy: in doubt denied, the last answer for a while, then recovery."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlmodel import Session

from tests.conftest import host_engine
from tests.integration.test_store import allowed, wait_until
from tests.support import catalogue
from tests.support.postgres import PostgresServer
from tests.support.proxy import Proxy
from tierwright import Entitlements, Reason, SnapshotStore
from tierwright.errors import EntitlementsUnavailable
from tierwright.migrations import upgrade

TIMEOUT = 0.5


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """Yield a server of the test's own, which may be stopped and frozen."""
    with PostgresServer(18) as server:
        upgrade(server.url())
        yield server


@pytest.fixture
def engine(server: PostgresServer) -> Iterator[Engine]:
    engine = host_engine(server.url())
    catalogue.small(engine, tenants=3)
    yield engine
    engine.dispose()


def store_of(engine: Engine, **options: Any) -> SnapshotStore:
    defaults = {"poll_interval": 0.2, "max_staleness": 3.0, "timeout": TIMEOUT, "background": False}
    return SnapshotStore(engine, **{**defaults, **options})


def signal_all(server: PostgresServer, number: signal.Signals) -> None:
    """Send a signal to the postmaster and all of its processes."""
    postmaster = int((server.data / "postmaster.pid").read_text().splitlines()[0])
    children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(postmaster)], capture_output=True, text=True)
    for pid in [postmaster, *map(int, children.stdout.split())]:
        os.kill(pid, number)


def timed(call: Any) -> tuple[float, Any]:
    begun = time.monotonic()
    answer = call()
    return time.monotonic() - begun, answer


@pytest.mark.parametrize("background", [False, True])
def test_a_database_that_goes_down_denies_the_unknown_and_keeps_the_known_for_a_while(
    server: PostgresServer, engine: Engine, background: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with store_of(engine, background=background) as store:
        entitlements = Entitlements(store=store)
        assert allowed(store)
        server.stop()
        down_at = time.monotonic()
        with caplog.at_level(logging.ERROR, "tierwright.store"):  # its warnings are expected here
            granted = sum(entitlements.check(f"cold-{number}", "f.a") for number in range(10_000))
        assert granted == 0
        assert time.monotonic() - down_at < 3.0, "10,000 checks do not wait 10,000 times"
        time.sleep(0.3)
        assert allowed(store), "the last known answer, although it is older than the poll interval"
        decision = entitlements.evaluate("cold", "f.a")
        assert (decision.reason, decision.enabled) == (Reason.UNAVAILABLE, False)
        with pytest.raises(EntitlementsUnavailable):
            entitlements.require("cold", "f.a")
        with pytest.raises(EntitlementsUnavailable):
            entitlements.evaluate_all("cold")
        took = wait_until(lambda: not allowed(store), 5)
        assert time.monotonic() - down_at < 3.0 + 0.3, took
        server.start()
        wait_until(lambda: allowed(store) and allowed(store, "t1"), 5)


def test_a_frozen_server_answers_nobody_and_holds_nobody_for_longer_than_the_timeout(
    server: PostgresServer, engine: Engine
) -> None:
    with store_of(engine) as store:
        assert allowed(store)
        signal_all(server, signal.SIGSTOP)
        try:
            took, answer = timed(lambda: allowed(store, "cold"))
            assert not answer
            # The kept connection does not answer, and then a new one does not either.
            assert took < 2 * TIMEOUT + 0.3
            took, answer = timed(lambda: [allowed(store, f"cold-{number}") for number in range(1000)])
            assert not any(answer)
            assert took < 0.5
        finally:
            signal_all(server, signal.SIGCONT)
        wait_until(lambda: allowed(store, "t1"), 5)


def test_a_server_that_accepts_and_says_nothing_denies_within_the_timeout(engine: Engine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = engine.url.set(port=silent.getsockname()[1])
        with store_of(sa.create_engine(url)) as store:
            took, answer = timed(lambda: allowed(store))
            assert not answer
            assert took < TIMEOUT + 0.3


def test_connections_that_were_killed_are_replaced_without_anybody_noticing(engine: Engine) -> None:
    with store_of(engine, poll_interval=0.01) as store:
        assert allowed(store)
        kill_backends(engine)
        time.sleep(0.02)
        assert allowed(store)
        assert allowed(store, "t1")


def test_no_more_than_two_connections_are_made(engine: Engine) -> None:
    named = sa.create_engine(engine.url.update_query_dict({"application_name": "store"}))
    with store_of(named, poll_interval=0.001, timeout=30.0) as store, engine.connect() as watching:
        count = sa.text("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'store'")
        most = 0
        threads = [
            threading.Thread(target=lambda: [allowed(store, f"n{step}") for step in range(200)]) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            most = max(most, watching.scalar(count))
            watching.rollback()
        assert 1 <= most <= 2


def test_uncached_questions_are_denied_while_the_database_is_down(server: PostgresServer, engine: Engine) -> None:
    server.stop()
    with Session(engine) as session:
        decision = Entitlements(session).evaluate("acme", "f.a")
        assert (decision.reason, decision.enabled) == (Reason.UNAVAILABLE, False)
    with Session(engine) as session, pytest.raises(EntitlementsUnavailable):
        Entitlements(session).evaluate_all("acme")
    server.start()


@pytest.mark.parametrize("fault", ["gone", "garbage", "locked"])
def test_a_sqlite_file_that_cannot_be_read_denies_the_unknown_and_recovers(tmp_path: Path, fault: str) -> None:
    file = tmp_path / "app.sqlite3"
    upgrade(f"sqlite:///{file}")
    engine = sa.create_engine(f"sqlite:///{file}", connect_args={"timeout": 0.1})
    catalogue.small(engine, tenants=3)
    content = file.read_bytes()
    with store_of(engine) as store:
        assert allowed(store)
        store.close()  # so that the file is opened anew
        locker = sa.create_engine(f"sqlite:///{file}")
        if fault == "gone":
            file.unlink()
        elif fault == "garbage":
            file.write_bytes(b"not a database" * 1000)
        else:
            connection = locker.raw_connection()
            connection.driver_connection.isolation_level = None  # type: ignore[union-attr]
            connection.cursor().execute("BEGIN EXCLUSIVE")
        time.sleep(0.25)
        assert Entitlements(store=store).evaluate("cold", "f.a").reason is Reason.UNAVAILABLE
        assert allowed(store), "the last known answer"
        if fault == "locked":
            connection.cursor().execute("ROLLBACK")
            connection.close()
        else:
            file.write_bytes(content)
        locker.dispose()
        wait_until(lambda: allowed(store, "t1"), 5)


def test_a_database_without_the_tables_denies_until_it_is_upgraded(tmp_path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'empty.sqlite3'}")
    with store_of(engine) as store:
        entitlements = Entitlements(store=store)
        assert entitlements.evaluate("acme", "f.a").reason is Reason.UNAVAILABLE
        upgrade(engine)
        wait_until(lambda: entitlements.evaluate("acme", "f.a").reason is Reason.FEATURE_NOT_FOUND, 5)


# --- listening ---------------------------------------------------------------------------------------------------


def kill_backends(engine: Engine) -> None:
    """End every other connection to the database, as an administrator may."""
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def revoke_and_commit(engine: Engine, tenant_id: str = "acme") -> None:
    """Take a tenant's licences away through a session, which announces it."""
    with Session(engine) as session:
        table = catalogue.TABLES["tenant_license"]
        session.execute(table.delete().where(table.c.tenant_id == tenant_id))
        session.commit()


def listening(store: SnapshotStore) -> None:
    """Ask once, and wait until the store listens."""
    assert allowed(store)
    assert store._listener is not None
    wait_until(lambda: store._listener.is_listening, 5)  # type: ignore[union-attr]
    assert allowed(store)


def test_a_revocation_is_heard_within_a_second(engine: Engine) -> None:
    with store_of(engine, poll_interval=600.0, listen=True) as store:
        listening(store)
        revoke_and_commit(engine)
        assert wait_until(lambda: not allowed(store), 5) < 1.0
        assert allowed(store, "t1")


def test_a_change_that_was_rolled_back_is_not_announced(engine: Engine) -> None:
    with store_of(engine, poll_interval=600.0, listen=True) as store:
        listening(store)
        with Session(engine) as session:
            session.execute(catalogue.TABLES["tenant_license"].delete())
            session.rollback()
        time.sleep(0.3)
        entry = store.entries["acme"]
        time.sleep(0.3)
        assert store.entries["acme"] is entry
        assert entry.fresh_until > time.monotonic()


def test_a_killed_listener_comes_back_and_forgets_what_it_missed(engine: Engine) -> None:
    with store_of(engine, poll_interval=600.0, listen=True) as store:
        listening(store)
        kill_backends(engine)
        revoke_and_commit(engine)
        assert wait_until(lambda: not allowed(store), 5) < 1.0
        wait_until(lambda: store._listener.is_listening, 5)  # type: ignore[union-attr]
        assert allowed(store, "t1")
        revoke_and_commit(engine, "t1")
        assert wait_until(lambda: not allowed(store, "t1"), 5) < 1.0


def test_a_listener_that_was_cut_off_silently_is_replaced_within_the_heartbeat(
    server: PostgresServer, engine: Engine
) -> None:
    with Proxy(server.port) as proxy:
        direct = engine.url.set(port=proxy.port).render_as_string(hide_password=False)
        with store_of(engine, poll_interval=600.0, listen=direct, heartbeat=2.0) as store:
            listening(store)
            proxy.swallow()  # both ends believe that the connection lives
            revoke_and_commit(engine)
            assert wait_until(lambda: not allowed(store), 10) < 2.0 + 1.0


def test_an_unusable_announcement_makes_the_store_forget_everything(engine: Engine) -> None:
    with store_of(engine, poll_interval=600.0, listen=True) as store:
        listening(store)
        catalogue.revoke(engine)
        catalogue.notify(engine, " not a tenant ")
        assert wait_until(lambda: not allowed(store), 5) < 1.0


def test_through_a_pooling_proxy_the_store_polls_there_and_listens_at_the_server(
    server: PostgresServer, engine: Engine
) -> None:
    from tests.support.pooler import Pooler

    with Pooler(server.port, size=2) as pooler:
        pooled = sa.create_engine(engine.url.set(port=pooler.port), connect_args={"prepare_threshold": None})
        direct = engine.url.render_as_string(hide_password=False)
        with store_of(pooled, poll_interval=600.0, listen=direct) as store:
            listening(store)
            revoke_and_commit(engine)
            assert wait_until(lambda: not allowed(store), 5) < 1.0
        with store_of(pooled, poll_interval=0.05) as store:
            assert allowed(store, "t1")
            catalogue.revoke(engine, "t1")
            wait_until(lambda: not allowed(store, "t1"), 2)
        pooled.dispose()
