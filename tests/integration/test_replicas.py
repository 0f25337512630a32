"""Tenants are read from a real streaming replica, and never as of a moment before what somebody has seen."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlmodel import Session

from tests.conftest import host_engine
from tests.integration.test_store import allowed, wait_until
from tests.integration.test_store_faults import signal_all
from tests.support import catalogue
from tests.support.apart import apart
from tests.support.catalogue import TABLES
from tests.support.pooler import Pooler
from tests.support.postgres import Databases, PostgresServer
from tests.support.registry import writer
from tests.support.replica import PRIMARY_SETTINGS, ReplicaServer
from tierwright import Entitlements, SnapshotStore
from tierwright.errors import InvalidInput, StoreUnsupported
from tierwright.migrations import upgrade
from tierwright.services.catalog_version import bump_catalog

TIMEOUT = 1.0


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try a dead server again after a shorter while, and speak of a replica that is behind at once."""
    monkeypatch.setattr("tierwright.store.breaker.RETRY_SECONDS", 0.2)
    monkeypatch.setattr("tierwright.store.replica._TOLD_SECONDS", 0.0)


@pytest.fixture(scope="module")
def primary() -> Iterator[PostgresServer]:
    with PostgresServer(18, **PRIMARY_SETTINGS) as server:
        upgrade(server.url())
        yield server


@pytest.fixture(scope="module")
def database(primary: PostgresServer) -> str:
    """Return the name of a database with a catalogue in it."""
    name = Databases(primary.url()).create("postgres")
    catalogue.small(host_engine(primary.url(name)))
    return name


@pytest.fixture(scope="module")
def replica(primary: PostgresServer, database: str) -> Iterator[ReplicaServer]:
    with ReplicaServer(primary) as server:
        yield server


@pytest.fixture
def engine(primary: PostgresServer, database: str) -> Engine:
    return host_engine(primary.url(database))


@pytest.fixture
def behind(engine: Engine, replica: ReplicaServer) -> Engine:
    """Return an engine of the replica."""
    return at(engine, replica)


@pytest.fixture
def tenants(engine: Engine, replica: ReplicaServer) -> list[str]:
    """Return tenants that may use f.a, also by the replica."""
    made = [f"t{number}-{uuid.uuid4().hex[:8]}" for number in range(20)]
    with engine.begin() as connection:
        [tier_id] = connection.scalars(sa.select(TABLES["license_tier"].c.id))
        for tenant in made:
            catalogue.license(connection, tenant, tier_id)
    with SnapshotStore(engine, background=False) as store:  # who reads new rows first writes to the log that they are
        assert all(allowed(store, tenant) for tenant in made)
    replica.catch_up()
    return made


@pytest.fixture
def paused(tenants: list[str], replica: ReplicaServer) -> Iterator[ReplicaServer]:
    """Yield the replica, which does not replay what is committed from now on."""
    replica.pause()
    yield replica
    replica.resume()


@pytest.fixture
def make(engine: Engine, behind: Engine) -> Iterator[Callable[..., SnapshotStore]]:
    """Make stores that read the replica; by default they do not look for changes by themselves."""
    made: list[SnapshotStore] = []

    def store(*others: Engine, primary: Engine = engine, **options: Any) -> SnapshotStore:
        defaults = {"poll_interval": 1000.0, "max_lag": 20.0, "background": False, "timeout": TIMEOUT}
        replicas = list(others) or [behind]
        made.append(SnapshotStore(primary, replicas=replicas, **{**defaults, **options}))
        return made[-1]

    yield store
    for each in made:
        each.close()


def at(engine: Engine, server: PostgresServer | Pooler, **query: str) -> Engine:
    """Return an engine of the same database at another server."""
    return sa.create_engine(engine.url.set(port=server.port).update_query_dict(query), poolclass=sa.NullPool)


def sources(store: SnapshotStore, work: Callable[[], Any]) -> list[str]:
    """Return where the store has read tenants while ``work`` ran: "primary", or "replica" and its number."""
    found: list[str] = []
    replicas = store._loader._replicas
    assert replicas is not None

    def spied(name: str, of_reader: Any) -> Any:
        def tenant(*arguments: Any) -> Any:
            rows = of_reader(*arguments)
            found.append(name)
            return rows

        return tenant

    readers = {"primary": store._reader, **{f"replica{i}": each for i, each in enumerate(replicas._replicas)}}
    for name, reader in readers.items():
        reader.tenant = spied(name, reader.tenant)  # type: ignore[method-assign]
    work()
    for reader in readers.values():
        del reader.tenant  # type: ignore[attr-defined]
    return found


def ask_of_nobodies(store: SnapshotStore) -> None:
    """Ask about two tenants that nobody has asked about."""
    for _ in range(2):
        assert not allowed(store, f"nobody-{uuid.uuid4()}")


def reads_replica(store: SnapshotStore) -> bool:
    """Read a tenant that was never read, and return whether a replica's answer was taken."""
    return sources(store, lambda: store.refresh(f"nobody-{uuid.uuid4()}"))[-1].startswith("replica")


def read_again(store: SnapshotStore, tenant: str) -> None:
    """Read a tenant again after the primary has said where it stands by now, so that a replica may be asked."""
    for each in (f"nobody-{uuid.uuid4()}", tenant):
        assert store.refresh(each)


def not_believed(store: SnapshotStore, tenants: list[str], caplog: pytest.LogCaptureFixture) -> None:
    """Assert that a store says of its replica that it is none, and reads nothing from it."""
    assert all(allowed(store, tenant) for tenant in tenants)
    time.sleep(0.06)
    assert not any(reads_replica(store) for _ in range(5))
    assert "is no replica in recovery of this very database" in caplog.text


def until_read(store: SnapshotStore) -> None:
    """Wait until the replica has what the primary has written lately; it may tidy a page, and send that later."""
    wait_until(lambda: reads_replica(store), 30)  # with a small max_lag, on a machine with other work


def revoke(engine: Engine, tenant: str) -> None:
    """Take a tenant's licences away through a session that the store does not know."""
    with Session(engine) as session:
        table = TABLES["tenant_license"]
        session.execute(table.delete().where(table.c.tenant_id == tenant))
        session.commit()


# --- what goes to a replica ----------------------------------------------------------------------------------------


def test_the_first_reading_goes_to_the_primary_and_the_others_to_the_replica(tenants: list[str], make: Any) -> None:
    store = make()
    assert sources(store, lambda: allowed(store, tenants[0])) == ["primary"]
    until_read(store)
    found = sources(store, lambda: [allowed(store, tenant) for tenant in tenants])
    assert found == ["replica0"] * (len(tenants) - 1)
    assert all(allowed(store, tenant) for tenant in tenants)
    assert not allowed(store, f"nobody-{uuid.uuid4()}")


def test_several_replicas_take_turns_and_a_dead_one_is_passed_over(
    tenants: list[str], make: Any, behind: Engine, primary: PostgresServer
) -> None:
    with ReplicaServer(primary) as second:
        second.catch_up()
        store = make(behind, at(behind, second))
        wait_until(lambda: {"replica0", "replica1"} <= set(sources(store, lambda: ask_of_nobodies(store))), 5)
        second.stop()
        assert not any(allowed(store, f"{tenant}-") for tenant in tenants)
        assert set(sources(store, lambda: [allowed(store, f"{tenant}--") for tenant in tenants])) == {"replica0"}


def test_threads_that_ask_all_the_time_get_right_answers_over_few_connections(
    tenants: list[str], make: Any, engine: Engine, replica: ReplicaServer
) -> None:
    store = make(
        at(engine, replica, application_name="many"), poll_interval=0.5, max_lag=0.2, background=True, timeout=30.0
    )
    gone, wrong, most = set(tenants[:5]), [], 0
    for tenant in gone:
        revoke(engine, tenant)

    def ask() -> None:
        for _ in range(100):
            wrong.extend(tenant for tenant in tenants if allowed(store, tenant) == (tenant in gone))
            store.forget(tenants[-1])

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'many'"
    while any(thread.is_alive() for thread in threads):
        most = max(most, replica.ask(count))
    assert wrong == []
    assert 1 <= most <= 2
    store.close()
    wait_until(lambda: replica.ask(count) == 0, 5)


# --- what was written, said or seen --------------------------------------------------------------------------------


@pytest.mark.parametrize("max_lag", [0.2, 20.0])
def test_a_session_never_sees_the_feature_again_that_it_has_revoked(
    tenants: list[str], make: Any, engine: Engine, behind: Engine, paused: ReplicaServer, max_lag: float
) -> None:
    store, (acme, late, *_) = make(max_lag=max_lag), tenants
    with Session(engine) as session, Session(engine) as other:
        own, theirs = Entitlements(session, store=store), Entitlements(other, store=store)
        assert own.check(acme, "f.a")
        until_read(store)
        writer(session).licenses.end(acme)
        assert not own.check(acme, "f.a")
        session.commit()
        with Session(behind) as uncached:
            assert Entitlements(uncached).check(acme, "f.a"), "the replica does not know it yet"
        until = time.monotonic() + 0.3
        while time.monotonic() < until:
            assert not own.check(acme, "f.a")
            assert not theirs.check(acme, "f.a")
            assert not allowed(store, acme)
            read_again(store, acme)
    with Session(engine) as session:
        assert allowed(store, late)
        writer(session).licenses.end(late)
        session.commit()
        assert not Entitlements(session, store=store).check(late, "f.a"), "the store is first asked after the commit"
    paused.resume()
    until_read(store)
    read_again(store, acme)
    assert not allowed(store, acme)


def test_a_value_that_only_grows_never_shrinks_whoever_asks_and_however_the_replica_stumbles(
    tenants: list[str], make: Any, engine: Engine, replica: ReplicaServer
) -> None:
    store, acme, over, wrong = make(poll_interval=0.1, max_lag=0.05), tenants[0], threading.Event(), []
    table, known = TABLES["tenant_feature_override"], [0]
    with engine.begin() as connection:
        catalogue.override(connection, acme, "f.b", {"enabled": True, "value": 0})

    def ask() -> None:
        while not over.is_set():
            least, found = known[0], Entitlements(store=store).value(acme, "f.b")
            known[0] = max(known[0], found)
            wrong.extend([(least, found)] if found < least else [])
            allowed(store, f"nobody-{uuid.uuid4()}")

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for value in range(1, 40):
        if value % 10 == 0:
            replica.resume()
        elif value % 10 == 5:
            replica.pause()
        with Session(engine) as session:
            if value % 2:  # else nobody is told
                Entitlements(session, store=store)
            grown = (
                table.update().where(table.c.tenant_id == acme).values(feature_value={"enabled": True, "value": value})
            )
            session.execute(grown)
            session.commit()
        if value % 2:
            known[0] = value
        time.sleep(0.015)
    over.set()
    for thread in threads:
        thread.join()
    replica.resume()
    assert wrong == []
    assert known[0] >= 39


def test_whoever_is_told_of_decisions_sees_what_the_session_has_written_as_well(
    tenants: list[str], make: Any, engine: Engine, paused: ReplicaServer
) -> None:
    store, acme, told = make(), tenants[0], []
    with Session(engine) as session:
        own = Entitlements(session, store=store, on_decision=lambda *decision: told.append(decision))
        assert own.check(acme, "f.a")
        until_read(store)
        writer(session).licenses.end(acme)
        session.commit()
        assert not own.check(acme, "f.a")
    assert [decision.enabled for _, decision in told] == [True, False]


def test_a_change_of_the_catalogue_is_not_taken_back_by_a_replica_that_is_behind(
    tenants: list[str], make: Any, engine: Engine, paused: ReplicaServer
) -> None:
    store = make()
    assert all(allowed(store, tenant) for tenant in tenants[:5])
    table = TABLES["feature_registry"]
    switch = table.update().where(table.c.feature_key == "f.a")
    with Session(engine) as session:
        Entitlements(session, store=store)
        session.execute(switch.values(is_active=False))
        session.commit()
    assert not any(allowed(store, tenant) for tenant in tenants)
    found = sources(store, lambda: [store.refresh(tenant) for tenant in tenants])
    assert not any(allowed(store, tenant) for tenant in tenants)
    assert found.count("primary") == len(tenants), found
    with Session(engine) as session:
        session.execute(switch.values(is_active=True))
        session.commit()


def test_a_revocation_elsewhere_is_heard_and_never_unheard(
    tenants: list[str], make: Any, engine: Engine, paused: ReplicaServer
) -> None:
    store, acme = make(max_lag=0.2, listen=True), tenants[0]
    assert allowed(store, acme)
    wait_until(lambda: store._listener.is_listening, 5)
    assert allowed(store, acme)
    until_read(store)
    revoke(engine, acme)
    assert wait_until(lambda: not allowed(store, acme), 5) < 1.0
    for _ in range(10):
        read_again(store, acme)
        assert not allowed(store, acme)
        time.sleep(0.03)


def test_what_was_seen_by_polling_stays_seen_also_of_tenants_that_were_dropped_meanwhile(
    tenants: list[str], make: Any, engine: Engine, paused: ReplicaServer
) -> None:
    store = make(poll_interval=0.6, max_lag=0.3, max_tenants=3)
    acme, *others = tenants
    assert allowed(store, acme)
    catalogue.revoke(engine, acme)  # nobody is told
    took = wait_until(lambda: not allowed(store, acme), 5)
    assert took < 0.6 + 0.2, "no later than without replicas"
    for step in range(60):
        assert not allowed(store, acme)
        for tenant in others[step % 10 : step % 10 + 4]:
            allowed(store, tenant)
        assert acme not in store.entries
        time.sleep(0.01)


def test_nothing_is_read_from_before_what_was_seen_nor_from_before_the_longest_lag(
    tenants: list[str], make: Any, engine: Engine, replica: ReplicaServer
) -> None:
    store, (acme, cold, *_) = make(max_lag=0.8), tenants
    until_read(store)
    replica.pause()
    try:
        catalogue.revoke(engine, acme)  # nobody is told
        catalogue.revoke(engine, cold)
        time.sleep(0.25)
        assert sources(store, lambda: store.refresh(acme)) == ["primary"], "by now it says again where it stands"
        for _ in range(3):  # the replica is less than 0.8 s behind, but not as recent as that
            assert not allowed(store, acme)
            store.refresh(acme)
        time.sleep(0.8)
        read_again(store, f"nobody-{uuid.uuid4()}")
        assert not allowed(store, cold)
        assert not allowed(store, acme)
    finally:
        replica.resume()


def test_what_is_committed_asynchronously_is_not_expected_of_a_replica_that_cannot_have_it(
    tenants: list[str], make: Any, engine: Engine
) -> None:
    store, acme = make(max_lag=0.2), tenants[0]
    assert allowed(store, acme)
    with engine.connect() as connection:
        [pid] = connection.exec_driver_sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'").one()
    os.kill(pid, signal.SIGSTOP)  # nothing is written by itself from now on
    try:
        with Session(engine) as session:
            Entitlements(session, store=store)
            session.execute(sa.text("SET synchronous_commit = off"))
            writer(session).licenses.end(acme)
            session.commit()
        for _ in range(6):
            assert not allowed(store, acme)
            time.sleep(0.06)
            read_again(store, acme)
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_replica_that_is_behind_is_not_asked_all_the_time_and_read_again_when_it_has_caught_up(
    tenants: list[str], make: Any, engine: Engine, paused: ReplicaServer, caplog: pytest.LogCaptureFixture
) -> None:
    store = make(max_lag=0.4)
    with engine.begin() as connection:
        bump_catalog(connection)
    with caplog.at_level(logging.INFO, "tierwright.store"):
        assert allowed(store, tenants[0])
        time.sleep(0.1)
        found = sources(store, lambda: [allowed(store, tenant) for tenant in tenants])
        assert found.count("replica0") <= 2
        assert found.count("primary") == len(tenants) - 1
        paused.resume()
        until_read(store)
    assert [record.message.split(" ", 2)[2] for record in caplog.records] == ["is behind.", "is read from again."]


# --- replicas that are dead, or none -------------------------------------------------------------------------------


def test_a_frozen_replica_costs_one_timeout_and_no_error(tenants: list[str], make: Any, replica: ReplicaServer) -> None:
    store = make()
    assert allowed(store, tenants[0])
    until_read(store)
    signal_all(replica, signal.SIGSTOP)
    try:
        begun = time.monotonic()
        assert allowed(store, tenants[2])
        assert 0.1 < time.monotonic() - begun < TIMEOUT
        time.sleep(0.3)  # it is tried again, but nobody waits for that
        begun = time.monotonic()
        assert all(allowed(store, tenant) for tenant in tenants)
        assert time.monotonic() - begun < 0.2
    finally:
        signal_all(replica, signal.SIGCONT)
    until_read(store)


def test_a_replica_that_is_busy_is_relieved_and_not_taken_for_dead(tenants: list[str], make: Any) -> None:
    store = make(timeout=0.4)
    assert allowed(store, tenants[0])
    until_read(store)
    places = store._loader._replicas._replicas[0]._places
    held = [places.get(), places.get()]
    assert sources(store, lambda: allowed(store, tenants[1])) == ["primary"]
    for place in held:
        places.put(place)
    assert reads_replica(store)


def test_a_stopped_replica_costs_nothing_and_comes_back(tenants: list[str], make: Any, replica: ReplicaServer) -> None:
    store = make()
    assert allowed(store, tenants[0])
    until_read(store)
    replica.stop()
    begun = time.monotonic()
    assert all(allowed(store, tenant) for tenant in tenants)
    assert time.monotonic() - begun < 0.3
    replica.start()
    until_read(store)


def test_a_statement_that_the_replica_cancels_is_answered_by_the_primary(
    tenants: list[str], make: Any, engine: Engine, replica: ReplicaServer
) -> None:
    store = make(at(engine, replica, options="-c lock_timeout=20ms"))
    assert allowed(store, tenants[0])
    with engine.connect() as connection:
        connection.exec_driver_sql("LOCK TABLE tenant_license IN ACCESS EXCLUSIVE MODE")
        connection.exec_driver_sql("SELECT pg_logical_emit_message(false, '', '', true)")
        locks = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted"
        wait_until(lambda: replica.ask(locks) > 0, 5)
        replica.pause()
    assert all(allowed(store, tenant) for tenant in tenants)
    replica.resume()
    until_read(store)


def test_servers_that_are_no_replica_of_the_database_are_not_believed(
    tenants: list[str], make: Any, engine: Engine, replica: ReplicaServer, caplog: pytest.LogCaptureFixture
) -> None:
    for other in (engine, host_engine(replica.url("postgres"))):
        caplog.clear()
        not_believed(make(other, max_lag=0.2), tenants, caplog)


def test_after_a_failover_replicas_of_the_old_primary_are_not_believed(
    tenants: list[str],
    make: Any,
    engine: Engine,
    primary: PostgresServer,
    replica: ReplicaServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with ReplicaServer(primary) as heir:
        heir.catch_up()
        port, moving = primary.port, at(engine, primary)
        sa.event.listen(moving, "do_connect", lambda *arguments: arguments[3].update(port=port))
        store = make(primary=moving, max_lag=0.2)
        assert allowed(store, tenants[0])
        until_read(store)
        heir.promote()
        not_believed(make(at(engine, heir), max_lag=0.2), tenants, caplog)
        with engine.begin() as connection:  # it goes on, and its replica gets ahead of the new primary
            connection.exec_driver_sql("CREATE TABLE more AS SELECT generate_series(1, 1000)")
        replica.catch_up()
        port = heir.port
        store.close()
        revoke(moving, tenants[2])
        store.forget(tenants[2])
        for _ in range(5):
            assert not allowed(store, tenants[2])
            assert not reads_replica(store)
            time.sleep(0.03)


def test_while_the_primary_is_down_a_replica_answers_about_tenants_that_nobody_has_asked_for(
    tenants: list[str], make: Any, primary: PostgresServer, engine: Engine, paused: ReplicaServer
) -> None:
    store = make(poll_interval=0.6, max_lag=0.2, max_staleness=30.0)
    known, cold, gone, *_ = tenants
    with Session(engine) as session:
        Entitlements(session, store=store)
        assert allowed(store, known)
        until_read(store)
        writer(session).licenses.end(gone)
        session.commit()
    primary.stop("immediate")
    try:
        time.sleep(0.3)
        assert allowed(store, cold)
        assert allowed(store, known)
        assert not allowed(store, gone), "a replica that may not know what was said is not believed"
        assert sources(store, lambda: allowed(store, tenants[6])) == ["replica0"]
    finally:
        primary.start()
    wait_until(lambda: not allowed(store, f"nobody-{uuid.uuid4()}") and store._breaker.retry_at == 0.0, 5)


# --- where else a store may be -------------------------------------------------------------------------------------


def test_behind_a_proxy_that_pools_transactions_each_server_process_proves_for_itself(
    tenants: list[str], make: Any, engine: Engine, replica: ReplicaServer
) -> None:
    with Pooler(replica.port, size=2) as pooler:
        store = make(sa.create_engine(at(engine, pooler).url, connect_args={"prepare_threshold": None}))
        assert all(allowed(store, tenant) for tenant in tenants)
        until_read(store)
        store.close()


def test_engines_that_name_a_schema_are_read_there(
    tenants: list[str], make: Any, engine: Engine, behind: Engine
) -> None:
    there = {"schema_translate_map": {None: "public"}}
    store = make(behind.execution_options(**there), primary=engine.execution_options(**there))
    assert all(allowed(store, tenant) for tenant in tenants)
    until_read(store)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_children_of_a_fork_read_the_replica_over_connections_of_their_own(tenants: list[str], make: Any) -> None:
    store = make()
    assert all(allowed(store, tenant) for tenant in tenants[:5])
    until_read(store)
    children = []
    for _ in range(2):
        child = os.fork()
        if child == 0:  # no assertion may escape into a second run of pytest
            right = all(allowed(store, tenant) for tenant in tenants) and reads_replica(store)
            os._exit(0 if right else 1)
        children.append(child)
    assert all(allowed(store, tenant) for tenant in tenants)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0]


def test_with_row_level_security_the_replica_shows_each_tenant_its_own(
    primary: PostgresServer, replica: ReplicaServer
) -> None:
    with apart(Databases(primary.url()), "postgres", None) as place:
        tenants = {f"{number}-{uuid.uuid4()}": number % 2 == 0 for number in range(6)}
        with Session(place.root) as session:
            for tenant, has in tenants.items():
                writer(session).licenses.assign(tenant, "pro" if has else "basic")
            session.commit()
        replica.catch_up()
        read = sa.create_engine(place.app.url.set(port=replica.port))
        with SnapshotStore(place.app, replicas=[read], poll_interval=1000.0, max_lag=20.0, background=False) as store:
            asked = Entitlements(store=store)
            until_read(store)
            found = sources(store, lambda: [asked.check(tenant, "f.chat") for tenant in tenants])
            assert {tenant: asked.check(tenant, "f.chat") for tenant in tenants} == tenants
            assert found == ["replica0"] * len(tenants)
            assert not asked.check("nobody", "f.a")
        with Session(read) as session:
            assert {tenant: Entitlements(session).check(tenant, "f.chat") for tenant in tenants} == tenants
        read.dispose()


def test_without_privileges_on_the_control_data_everything_is_read_from_the_primary(
    tenants: list[str], make: Any, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE ROLE narrow LOGIN IN ROLE pg_read_all_data")
        connection.exec_driver_sql("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")
    store = SnapshotStore(
        sa.create_engine(engine.url.set(username="narrow")), replicas=[engine], poll_interval=1000.0, max_lag=20.0
    )
    with store:
        assert all(allowed(store, tenant) for tenant in tenants)
        assert "The primary does not say where it stands" in caplog.text
        assert not reads_replica(store)
    with engine.begin() as connection:
        connection.exec_driver_sql("GRANT EXECUTE ON FUNCTION pg_control_system() TO PUBLIC")
        connection.exec_driver_sql("DROP ROLE narrow")


def test_what_cannot_be_a_replica_is_refused_at_once(engine: Engine, tmp_path: Any) -> None:
    file = sa.create_engine(f"sqlite:///{tmp_path / 'x.sqlite3'}")
    with pytest.raises(StoreUnsupported, match="replica"):
        SnapshotStore(engine, replicas=[file])
    with pytest.raises(StoreUnsupported, match="replica"):
        SnapshotStore(file, replicas=[engine])
    for wrong in (engine, "postgresql://db"):
        with pytest.raises(InvalidInput):
            SnapshotStore(engine, replicas=wrong)
    with pytest.raises(InvalidInput):
        SnapshotStore(engine, replicas=[engine], max_lag=-1.0)


def test_a_store_that_reads_at_every_question_reads_the_primary(tenants: list[str], make: Any) -> None:
    store = make(poll_interval=0.0)
    assert set(sources(store, lambda: [allowed(store, tenant) for tenant in tenants])) == {"primary"}
