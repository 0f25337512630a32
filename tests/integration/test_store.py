"""The store: fresh within the poll interval, exact about windows, bounded, never ahead of a commit."""

from __future__ import annotations

import datetime as dt
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.pool import StaticPool
from sqlmodel import Session

from tests.support import catalogue
from tests.support.asynchronous import run_async
from tests.support.catalogue import TABLES
from tierwright import AsyncEntitlements, Entitlements, Reason, SnapshotStore
from tierwright.errors import InvalidInput, SessionMissing, StoreUnsupported
from tierwright.services.catalog_version import bump_catalog
from tierwright.store import reader
from tierwright.tables import TenantFeatureOverrideInput

FAST = 0.3


@pytest.fixture
def engine(migrated_engine: Engine) -> Engine:
    catalogue.small(migrated_engine)
    return migrated_engine


@pytest.fixture
def make(engine: Engine) -> Iterator[Callable[..., SnapshotStore]]:
    """Make stores that are closed at the end; by default they never read again by themselves."""
    made: list[SnapshotStore] = []

    def store(**options: Any) -> SnapshotStore:
        made.append(SnapshotStore(engine, **{"poll_interval": 1000.0, "background": False, "timeout": 30.0, **options}))
        return made[-1]

    yield store
    for each in made:
        each.close()


def allowed(store: SnapshotStore, tenant: Any = "acme", key: str = "f.a") -> bool:
    return Entitlements(store=store).check(tenant, key)


def wait_until(condition: Callable[[], bool], seconds: float) -> float:
    """Wait for a condition and return how long it took."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < seconds
        time.sleep(0.01)
    return time.monotonic() - begun


def statements(work: Callable[[], Any]) -> list[str]:
    """Return the statements that stores' readers send while ``work`` runs."""
    sent: list[str] = []
    asked = reader._run

    def run(cursor: Any, statement: Any, tenant_id: str | None) -> Any:
        sent.append(statement.text)
        return asked(cursor, statement, tenant_id)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "_run", run)
        work()
    return sent


# --- freshness ---------------------------------------------------------------------------------------------------


def test_an_unseen_tenant_costs_one_statement_and_a_known_one_none(engine: Engine, make: Any) -> None:
    store = make()
    assert allowed(store)
    assert len(statements(lambda: allowed(store, "somebody"))) == 1
    assert statements(lambda: [allowed(store), allowed(store, "acme", "f.unknown")]) == []


@pytest.mark.parametrize("background", [False, True])
def test_a_revocation_is_seen_within_the_poll_interval(engine: Engine, make: Any, background: bool) -> None:
    store = make(poll_interval=FAST, background=background)
    assert allowed(store)
    catalogue.revoke(engine)
    took = wait_until(lambda: not allowed(store), FAST + 2)
    assert took < FAST + 0.2


def test_a_change_of_the_catalogue_is_seen_within_the_poll_interval(engine: Engine, make: Any) -> None:
    store = make(poll_interval=FAST)
    assert not allowed(store, key="f.b")
    with engine.begin() as connection:
        bump_catalog(connection)
        table = TABLES["feature_registry"]
        value = {"enabled": True, "value": 1}
        connection.execute(table.update().where(table.c.feature_key == "f.b").values(default_value=value))
    assert wait_until(lambda: allowed(store, key="f.b"), FAST + 2) < FAST + 0.2


def test_a_change_of_the_catalogue_past_its_version_is_seen_within_the_longest_staleness(
    engine: Engine, make: Any
) -> None:
    store = make(poll_interval=0.1, max_staleness=0.5)
    assert not allowed(store, key="f.b")
    with engine.begin() as connection:
        connection.execute(TABLES["feature_registry"].update().values(default_value={"enabled": True, "value": 1}))
    wait_until(lambda: allowed(store, key="f.b"), 2)


def test_rolled_back_writes_never_show_elsewhere_and_a_session_sees_its_own(engine: Engine, make: Any) -> None:
    store = make(poll_interval=0.05)
    with Session(engine) as session:
        own = Entitlements(session, store=store)
        assert not own.check("acme", "f.b")
        session.add(override_row())
        session.flush()
        assert own.check("acme", "f.b")
        if engine.dialect.name == "postgresql":  # on SQLite a reader may have to wait for the writer
            time.sleep(0.06)
            assert not allowed(store, key="f.b")
        session.rollback()
        assert not own.check("acme", "f.b")
    assert not allowed(store, key="f.b")


def test_a_commit_is_seen_at_once_by_the_session_that_made_it_and_by_its_store(engine: Engine, make: Any) -> None:
    store = make()
    assert not allowed(store, key="f.b")
    with Session(engine) as session:
        own = Entitlements(session, store=store)
        session.add(override_row())
        session.commit()
        assert own.check("acme", "f.b")
    assert allowed(store, key="f.b")


def test_a_store_that_is_first_asked_after_a_commit_knows_of_it(engine: Engine, make: Any) -> None:
    store = make()
    assert not allowed(store, key="f.b")
    with Session(engine) as session:
        session.add(override_row())
        session.commit()
        assert Entitlements(session, store=store).check("acme", "f.b")


def test_whoever_is_told_of_decisions_is_told_of_those_after_its_commit(engine: Engine, make: Any) -> None:
    store, told = make(), []
    with Session(engine) as session:
        own = Entitlements(session, store=store, on_decision=lambda _, decision: told.append(decision.enabled))
        own.check("acme", "f.b")
        session.add(override_row())
        session.flush()
        own.check("acme", "f.b")
        session.commit()
        own.check("acme", "f.b")
    assert told == [False, True, True]


def test_an_asynchronous_session_that_has_asked_for_resources_commits_as_any_other(engine: Engine, make: Any) -> None:
    store = make()

    async def work(session: Any) -> None:
        asked = AsyncEntitlements(session, store=store)
        for _ in range(3):
            assert await asked.models("acme") == ()
        await session.run_sync(lambda synchronous: synchronous.add(override_row()))
        await session.commit()
        assert await asked.check("acme", "f.b")
        assert len(session.sync_session.info["tierwright.views"]) == 1

    run_async(engine, work)


def test_a_savepoint_that_is_released_does_not_make_its_writes_known(engine: Engine, make: Any) -> None:
    store = make(poll_interval=0.01)
    with Session(engine) as session:
        own = Entitlements(session, store=store)
        session.add(override_row("other"))
        session.flush()  # a write, or SQLite's driver would commit with the savepoint
        with session.begin_nested():
            session.add(override_row())
        assert own.check("acme", "f.b")
        session.rollback()
        assert not own.check("acme", "f.b")


def test_a_host_that_writes_the_catalogue_itself_gives_it_a_new_version(engine: Engine, make: Any) -> None:
    store = make(poll_interval=0.05)
    assert not allowed(store, key="f.b")
    with Session(engine) as session:
        table = TABLES["feature_registry"]
        session.execute(table.update().values(default_value={"enabled": True, "value": 1}))
        session.commit()
    wait_until(lambda: allowed(store, key="f.b"), 1)


def test_a_restored_older_database_is_believed(engine: Engine, make: Any) -> None:
    with engine.begin() as connection:
        for _ in range(5):
            bump_catalog(connection)
    store = make(poll_interval=0.05)
    assert allowed(store)
    with engine.begin() as connection:
        connection.execute(TABLES["tierwright_state"].update().values(version=1, value={"token": "old"}))
        connection.execute(TABLES["license_tier_features"].delete())
    wait_until(lambda: not allowed(store), 1)


def test_a_reading_that_an_invalidation_overtook_is_not_kept(engine: Engine, make: Any) -> None:
    store = make()
    allowed(store, "somebody else")  # the catalogue is known from here on
    reader, overtaken = store._reader.tenant, []

    def reading(tenant_id: str) -> Any:
        rows = reader(tenant_id)
        if not overtaken:  # after our reading of the old rows and before they are kept
            overtaken.append(tenant_id)
            catalogue.revoke(engine)
            store.forget(tenant_id)
        return rows

    store._reader.tenant = reading
    assert not allowed(store)
    assert overtaken == ["acme"]


def test_forgetting_one_tenant_reads_only_that_one_again(engine: Engine, make: Any) -> None:
    store = make()
    allowed(store)
    allowed(store, "somebody")
    store.forget("acme")
    assert len(statements(lambda: [allowed(store), allowed(store, "somebody")])) == 1


def test_the_background_reads_tenants_in_use_before_they_are_too_old(engine: Engine, make: Any) -> None:
    store = make(poll_interval=FAST, background=True)
    allowed(store)
    for _ in range(8):
        time.sleep(FAST / 4)
        assert store.entries["acme"].fresh_until > time.monotonic()


# --- windows -----------------------------------------------------------------------------------------------------


def test_a_window_opens_and_closes_on_time_in_the_store(engine: Engine, make: Any) -> None:
    opens, closes = catalogue.soon(0.4), catalogue.soon(0.8)
    with engine.begin() as connection:
        catalogue.override(connection, "acme", "f.b", {"enabled": True}, starts_at=opens, expires_at=closes)
    store = make()
    seen: list[tuple[dt.datetime, bool, dt.datetime]] = []
    entitlements = Entitlements(store=store)
    while not seen or seen[-1][0] < closes + dt.timedelta(seconds=0.1):
        before = dt.datetime.now(dt.UTC)
        seen.append((before, entitlements.check("acme", "f.b"), dt.datetime.now(dt.UTC)))
    for before, enabled, after in seen:
        if after < opens or before >= closes:
            assert not enabled
        elif before >= opens and after < closes:
            assert enabled
    assert {enabled for _, enabled, _ in seen} == {True, False}


# --- bounds and concurrency --------------------------------------------------------------------------------------


def test_the_store_is_bounded_and_drops_those_whose_reading_is_oldest(engine: Engine, make: Any) -> None:
    store = make(max_tenants=10)
    for number in range(25):
        allowed(store, f"tenant-{number}")
        assert len(store.entries) <= 10
    assert "tenant-24" in store.entries
    assert "tenant-0" not in store.entries


def test_a_host_whose_pool_is_exhausted_still_gets_answers(engine: Engine) -> None:
    narrow = sa.create_engine(engine.url, pool_size=1, max_overflow=0, pool_timeout=0.2)
    with SnapshotStore(narrow, background=False) as store, narrow.connect():
        assert allowed(store)
    narrow.dispose()


def test_many_threads_get_the_same_answers(engine: Engine, make: Any) -> None:
    store = make(poll_interval=0.02, background=True, max_tenants=5)
    wrong: list[Any] = []

    def ask(number: int) -> None:
        for step in range(300):
            if not allowed(store) or allowed(store, f"nobody-{(number + step) % 7}"):
                wrong.append((number, step))
            if step % 50 == 0:
                store.forget()

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_one_of_many_callers_reads_and_the_others_wait(engine: Engine, make: Any) -> None:
    store = make()
    allowed(store, "somebody")
    reader, readings = store._reader.tenant, []

    def slow(tenant_id: str) -> Any:
        readings.append(tenant_id)
        time.sleep(0.1)
        return reader(tenant_id)

    store._reader.tenant = slow
    threads = [threading.Thread(target=allowed, args=(store,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert readings == ["acme"]


@pytest.mark.parametrize("background", [False, True])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_store_made_before_a_fork_works_in_parent_and_children(engine: Engine, make: Any, background: bool) -> None:
    store = make(poll_interval=0.05, background=background)
    assert allowed(store)
    children = []
    for _ in range(3):
        pid = os.fork()
        if pid == 0:  # no assertion may escape into a second run of pytest
            answers = []
            for _ in range(20):
                answers.append(allowed(store) and not allowed(store, "somebody"))
                time.sleep(0.01)
            os._exit(0 if all(answers) else 1)
        children.append(pid)
    for _ in range(20):
        assert allowed(store)
        time.sleep(0.01)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children] == [0, 0, 0]
    assert allowed(store)


def test_a_closed_store_starts_again_when_it_is_asked(engine: Engine, make: Any) -> None:
    store = make(poll_interval=0.05, background=True)
    allowed(store)
    store.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "tierwright-refresher"]
    time.sleep(0.06)
    assert allowed(store)


# --- edges -------------------------------------------------------------------------------------------------------


def test_tenants_are_known_by_their_canonical_id(engine: Engine, make: Any) -> None:
    store = make()
    with engine.begin() as connection:
        [tier_id] = connection.scalars(sa.select(TABLES["license_tier"].c.id))
        catalogue.license(connection, "42", tier_id)
        catalogue.license(connection, "7c9e6679-7425-40de-944b-e07fc1f90ae7", tier_id)
    assert allowed(store, 42)
    assert allowed(store, "42")
    assert allowed(store, "7C9E6679-7425-40DE-944B-E07FC1F90AE7")
    for bad in (True, None, "", " acme", "a\x00", [], 1.5, b"acme"):
        with pytest.raises(InvalidInput):
            allowed(store, bad)


def test_a_malformed_feature_is_not_found_without_a_statement(engine: Engine, make: Any) -> None:
    store = make()
    entitlements = Entitlements(store=store)

    def ask() -> None:
        for key in ("", "F.A", "f", "f..a", "f.a ", "f.\x00", "ф.a", None, 5, [], "f." + "a" * 300):
            decision = entitlements.evaluate("acme", key)  # type: ignore[arg-type]
            assert decision.reason is Reason.FEATURE_NOT_FOUND
            assert not decision.enabled

    assert statements(ask) == []


def test_a_store_alone_cannot_answer_what_only_the_database_knows(make: Any) -> None:
    entitlements = Entitlements(store=make())
    with pytest.raises(SessionMissing):
        entitlements.models("acme")
    with pytest.raises(SessionMissing):
        entitlements.check("acme", "f.a", at=catalogue.soon(60))
    with pytest.raises(SessionMissing):
        Entitlements()


def test_an_in_memory_database_and_listening_on_sqlite_are_refused(tmp_path: Any) -> None:
    for engine in (sa.create_engine("sqlite://"), sa.create_engine("sqlite://", poolclass=StaticPool)):
        with pytest.raises(StoreUnsupported):
            SnapshotStore(engine)
    with pytest.raises(StoreUnsupported):
        SnapshotStore(sa.create_engine(f"sqlite:///{tmp_path / 'x.sqlite3'}"), listen=True)


def override_row(tenant_id: str = "acme") -> Any:
    value = {"enabled": True, "value": 1}
    return TenantFeatureOverrideInput(tenant_id=tenant_id, feature_key="f.b", feature_value=value).to_row()
