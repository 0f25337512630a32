"""The store where row-level security is on: right about every tenant, never "no licence" for rows it was not shown."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlmodel import Session

from tests.conftest import POSTGRES, SERVERS
from tests.integration.test_store import statements, wait_until
from tests.support import catalogue
from tests.support.apart import Apart, apart
from tests.support.pooler import Pooler
from tests.support.registry import writer
from tierwright import Entitlements, Reason, SnapshotStore
from tierwright.errors import EntitlementsUnavailable

FOR_EVER = {"poll_interval": 1000.0, "background": False, "timeout": 30.0}


@pytest.fixture(scope="module", params=SERVERS)
def place(request: pytest.FixtureRequest, servers: Any, migrated_templates: Any) -> Iterator[Apart]:
    version, schema = POSTGRES[request.param]
    with apart(servers(version), migrated_templates(request.param), schema) as made:
        yield made


@pytest.fixture
def tenants(place: Apart) -> dict[str, bool]:
    """Return tenants, and whether each may use f.chat."""
    made = {f"{number}-{uuid.uuid4()}": number % 2 == 0 for number in range(6)}
    with Session(place.root) as session:
        for tenant, has in made.items():
            writer(session).licenses.assign(tenant, "pro" if has else "basic")
        session.commit()
    return made


@pytest.fixture
def engine(place: Apart) -> Iterator[Engine]:
    made = place.engine()
    yield made
    made.dispose()


def answers(store: SnapshotStore, tenants: dict[str, bool]) -> dict[str, bool | None]:
    """Return for each tenant whether it may use f.chat, or None where that is wrong: all of them have f.a."""
    asked = Entitlements(store=store)
    return {tenant: asked.check(tenant, "f.chat") if asked.check(tenant, "f.a") else None for tenant in tenants}


def test_interleaved_tenants_get_their_own_answers(engine: Engine, tenants: dict[str, bool]) -> None:
    with SnapshotStore(engine, **FOR_EVER) as store:
        for _ in range(2):
            assert answers(store, tenants) == tenants
        for tenant in reversed(tenants):
            store.forget(tenant)
        assert answers(store, tenants) == tenants
        assert Entitlements(store=store).evaluate("nobody", "f.a").reason is Reason.NOT_GRANTED
    with SnapshotStore(engine, poll_interval=0.0, background=False) as store:  # each question is a reading
        wrong: list[Any] = []

        def ask() -> None:
            wrong.extend(each for _ in range(10) if (each := answers(store, tenants)) != tenants)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []


def test_it_asks_once_where_nothing_is_hidden_and_says_for_whom_where_it_is(
    place: Apart, engine: Engine, tenants: dict[str, bool]
) -> None:
    one, other, *_ = tenants
    place.switch(on=False)
    with SnapshotStore(engine, **FOR_EVER) as store:
        asked = Entitlements(store=store)
        assert asked.check(one, "f.a")
        assert len(statements(lambda: asked.check(other, "f.a"))) == 1
        place.switch(on=True)
        store.forget_tenants()
        found = statements(lambda: answers(store, tenants))
        assert [("set_config" in text) for text in found[:5]] == [False, True, False, True, False]
        assert answers(store, tenants) == tenants
        place.switch(on=False)
        store.forget_tenants()
        assert answers(store, tenants) == tenants
        store.forget_tenants()
        assert len(statements(lambda: asked.check(one, "f.a"))) == 1
    place.switch(on=True)


def test_switched_under_a_store_that_is_asked_all_the_time_it_is_never_wrong(
    place: Apart, engine: Engine, tenants: dict[str, bool]
) -> None:
    over, wrong = threading.Event(), []
    with SnapshotStore(engine, poll_interval=0.0, background=False, timeout=30.0) as store:

        def ask() -> None:
            while not over.is_set():
                wrong.extend(each for each in [answers(store, tenants)] if each != tenants)

        threads = [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
        for _ in range(3):
            place.switch(on=False)
            place.switch(on=True)
        over.set()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_changes_are_heard_and_polled(place: Apart, engine: Engine, tenants: dict[str, bool]) -> None:
    one, other, *_ = tenants
    with SnapshotStore(engine, listen=True, **{**FOR_EVER, "poll_interval": 1000.0}) as store:
        asked = Entitlements(store=store)
        assert asked.check(one, "f.a")
        wait_until(lambda: bool(store._listener and store._listener.is_listening), 5)
        assert asked.check(one, "f.chat")
        with Session(engine) as session:
            writer(session).licenses.assign(one, "basic")
            session.commit()
        wait_until(lambda: not asked.check(one, "f.chat"), 5)
        assert asked.check(one, "f.a")
    with SnapshotStore(engine, poll_interval=0.1, background=True) as store:
        asked = Entitlements(store=store)
        assert asked.check(other, "f.a")
        catalogue.revoke(place.root, other)
        wait_until(lambda: not asked.check(other, "f.a"), 5)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_children_of_a_fork_get_their_own_answers(engine: Engine, tenants: dict[str, bool]) -> None:
    with SnapshotStore(engine, **FOR_EVER) as store:
        assert answers(store, tenants) == tenants
        store.forget_tenants()
        children = []
        for _ in range(2):
            child = os.fork()
            if child == 0:
                os._exit(0 if answers(store, tenants) == tenants else 1)
            children.append(child)
        assert answers(store, tenants) == tenants
        assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]


class Forgetful(psycopg.Cursor[Any]):
    """A cursor that begins no transaction, as behind a proxy that pools statements."""

    def execute(self, query: Any, *arguments: Any, **options: Any) -> Any:
        return super().execute("SELECT 1" if str(query).startswith("BEGIN") else query, *arguments, **options)


def test_a_connection_that_cannot_be_told_denies_and_says_why(
    place: Apart, tenants: dict[str, bool], caplog: pytest.LogCaptureFixture
) -> None:
    engine = place.engine(connect_args={"cursor_factory": Forgetful})
    with SnapshotStore(engine, **FOR_EVER) as store:
        asked = Entitlements(store=store)
        for tenant in tenants:
            assert asked.evaluate(tenant, "f.a").reason is Reason.UNAVAILABLE
            with pytest.raises(EntitlementsUnavailable):
                asked.evaluate_all(tenant)
        assert "Row-level security hides" in caplog.text
        place.switch(on=False)
        assert answers(store, tenants) == tenants
        place.switch(on=True)
        assert answers(store, tenants) == tenants, "what was read before is as old as it was"
        store.forget()
        assert asked.evaluate(next(iter(tenants)), "f.a").reason is Reason.UNAVAILABLE
    engine.dispose()


def test_connections_that_die_are_replaced(place: Apart, engine: Engine, tenants: dict[str, bool]) -> None:
    with SnapshotStore(engine, **FOR_EVER) as store:
        assert answers(store, tenants) == tenants
        with place.root.begin() as connection:
            kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s"
            connection.exec_driver_sql(kill, (place.app_role,))
        store.forget_tenants()
        assert answers(store, tenants) == tenants


def test_a_proxy_that_pools_transactions_mixes_nobody_up(place: Apart, tenants: dict[str, bool]) -> None:
    with Pooler(place.app.url.port or 5432, size=1) as pooler:
        url = place.app.url.set(port=pooler.port)
        engine = sa.create_engine(url, connect_args={"prepare_threshold": None})
        stores: list[SnapshotStore] = [SnapshotStore(engine, **FOR_EVER) for _ in range(2)]

        assert [answers(store, tenants) for store in stores * 2] == [tenants] * 4
        with engine.connect() as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM tenant_license").scalar() == 0
        for store in stores:
            store.close()
        engine.dispose()
