"""A store in one process sees what another process commits."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy.engine import Engine
from sqlmodel import Session

from tests.support import catalogue
from tierwright import Registry
from tierwright.migrations import upgrade

#: Says "granted" once it knows, and "denied" with the moment at which it saw the revocation.
WATCHER = """
import sys, time
import sqlalchemy as sa
from tierwright import Entitlements, SnapshotStore

url, poll_interval, listen = sys.argv[1], float(sys.argv[2]), sys.argv[3] == "listen"
with SnapshotStore(sa.create_engine(url), poll_interval=poll_interval, listen=listen) as store:
    entitlements = Entitlements(store=store)
    assert entitlements.check("acme", "f.a")
    give_up_at = time.monotonic() + 30
    while listen and not store._listener.is_listening and time.monotonic() < give_up_at:
        time.sleep(0.01)
    assert entitlements.check("acme", "f.a")
    print("granted", flush=True)
    give_up_at = time.monotonic() + 30
    while entitlements.check("acme", "f.a") and time.monotonic() < give_up_at:
        time.sleep(0.005)
    print("denied", time.time(), flush=True)
"""


@contextmanager
def watcher(engine: Engine, poll_interval: float, mode: str) -> Iterator[subprocess.Popen[str]]:
    """Run a process that watches a tenant, from the moment at which it knows that the tenant has the feature."""
    url = engine.url.render_as_string(hide_password=False)
    command = [sys.executable, "-c", WATCHER, url, str(poll_interval), mode]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "granted\n"
            yield process
        finally:
            process.kill()


def seen_at(process: subprocess.Popen[str]) -> float:
    assert process.stdout is not None
    word, moment = process.stdout.readline().split()
    assert word == "denied"
    return float(moment)


@pytest.fixture
def postgresql_migrated_engine(postgresql_engine: Engine) -> Engine:
    upgrade(postgresql_engine)
    return postgresql_engine


@pytest.fixture
def engine(migrated_engine: Engine) -> Engine:
    catalogue.small(migrated_engine)
    return migrated_engine


def revoke(engine: Engine) -> float:
    """End the tenant's licence through the registry, and return when that was committed."""
    with Session(engine) as session:
        Registry(session).licenses.end("acme", actor="test")
        session.commit()
    return time.time()


def test_a_revocation_is_seen_by_another_process_within_the_poll_interval(engine: Engine) -> None:
    with watcher(engine, 1.0, "poll") as process:
        committed_at = revoke(engine)
        assert seen_at(process) - committed_at < 1.0 + 0.3


def test_a_revocation_is_heard_by_another_process_within_a_second(postgresql_migrated_engine: Engine) -> None:
    catalogue.small(postgresql_migrated_engine)
    with watcher(postgresql_migrated_engine, 600.0, "listen") as process:
        committed_at = revoke(postgresql_migrated_engine)
        assert seen_at(process) - committed_at < 1.0
