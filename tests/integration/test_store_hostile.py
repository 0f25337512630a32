"""What a hostile host, database or clock may do to the store, and what it must not do to its answers."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.orm import scoped_session, sessionmaker
from sqlalchemy.pool import NullPool
from sqlmodel import Session, select

from tests.integration.test_store import allowed, override_row, wait_until
from tests.support import catalogue
from tests.support.catalogue import TABLES
from tests.support.proxy import Proxy
from tierwright import Entitlements, Reason, Registry, SnapshotStore
from tierwright.errors import InvalidInput, SessionMissing, TransactionMissing
from tierwright.migrations import upgrade
from tierwright.services.catalog_version import bump_catalog
from tierwright.tables import FeatureRegistry, TenantLicense


@pytest.fixture
def engine(migrated_engine: Engine) -> Engine:
    catalogue.small(migrated_engine, tenants=3)
    return migrated_engine


@pytest.fixture
def postgresql(postgresql_engine: Engine) -> Engine:
    upgrade(postgresql_engine)
    catalogue.small(postgresql_engine, tenants=3)
    return postgresql_engine


@pytest.fixture
def store(engine: Engine) -> Iterator[SnapshotStore]:
    with SnapshotStore(engine, poll_interval=0.05, background=False) as store:
        yield store


# --- the host's engine -------------------------------------------------------------------------------------------


def test_a_host_that_leaves_a_transaction_open_on_connect_does_not_freeze_what_is_read(engine: Engine) -> None:
    hosts = sa.create_engine(engine.url, poolclass=NullPool)

    @sa.event.listens_for(hosts, "connect")
    def begin(driver: Any, _record: Any) -> None:
        cursor = driver.cursor()
        cursor.execute("BEGIN")
        cursor.execute("SELECT count(*) FROM tenant_license")
        cursor.fetchall()

    with SnapshotStore(hosts, poll_interval=0.05, background=False) as store:
        assert allowed(store)
        catalogue.revoke(engine)
        wait_until(lambda: not allowed(store), 2)


def test_a_network_that_was_silent_is_used_again_also_by_the_narrowest_pool(postgresql: Engine) -> None:
    with Proxy(postgresql.url.port) as proxy:
        proxy.mute(True)
        narrow = sa.create_engine(postgresql.url.set(port=proxy.port), pool_size=1, max_overflow=0)
        with SnapshotStore(narrow, poll_interval=0.05, timeout=0.3, background=False) as store:
            begun = time.monotonic()
            while time.monotonic() - begun < 3:
                assert not allowed(store)
                time.sleep(0.05)
            proxy.mute(False)
            wait_until(lambda: allowed(store), 6)


def test_with_a_store_an_engine_still_connects_as_its_host_wants(postgresql: Engine) -> None:
    seen: list[Any] = []
    hosts = sa.create_engine(postgresql.url, poolclass=NullPool)
    with SnapshotStore(hosts, background=False) as store:
        assert allowed(store)
        sa.event.listen(hosts, "do_connect", lambda _dialect, _record, _arguments, options: seen.append(dict(options)))
        hosts.connect().close()
    assert "connect_timeout" not in seen[0]


def test_wrong_numbers_are_refused(engine: Engine) -> None:
    for options in ({"poll_interval": -1}, {"timeout": float("nan")}, {"heartbeat": float("inf")}, {"max_tenants": 0}):
        with pytest.raises(InvalidInput):
            SnapshotStore(engine, **options)  # type: ignore[arg-type]


# --- threads and processes ---------------------------------------------------------------------------------------


def ask_until(store: SnapshotStore, stop: threading.Event) -> None:
    while not stop.is_set():
        allowed(store)


def test_a_store_can_be_closed_while_it_is_asked(engine: Engine) -> None:
    for _ in range(5):
        store = SnapshotStore(engine, poll_interval=0.1)
        stop = threading.Event()
        asking = threading.Thread(target=ask_until, args=(store, stop))
        asking.start()
        time.sleep(0.05)
        closing = threading.Thread(target=store.close)
        closing.start()
        closing.join(5)
        stop.set()
        asking.join()
        assert not closing.is_alive()
        store.close()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_process_and_a_closed_store_listen_again_before_they_answer(postgresql: Engine) -> None:
    with SnapshotStore(postgresql, poll_interval=600.0, listen=True) as store:
        assert allowed(store)
        read_end, write_end = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.read(read_end, 1)  # until the parent has revoked
            begun = time.monotonic()
            while allowed(store) and time.monotonic() - begun < 5:
                time.sleep(0.01)
            os._exit(0 if time.monotonic() - begun < 1 else 1)
        revoke(postgresql)
        os.write(write_end, b"x")
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert allowed(store, "t1")
        store.close()
        revoke(postgresql, "t1")
        assert not allowed(store, "t1")


def revoke(engine: Engine, tenant_id: str = "acme") -> None:
    with Session(engine) as session:
        Registry(session, actor="test").licenses.end(tenant_id)
        session.commit()


def test_one_bad_row_does_not_stop_the_reading_ahead(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    with SnapshotStore(engine, poll_interval=0.2) as store:
        assert allowed(store)
        assert store._refresher is not None
        refreshed = store._refresher._refresh

        def fails(tenant_id: str) -> bool:
            store._refresher._refresh = refreshed  # type: ignore[union-attr]
            raise RuntimeError("a driver's bug")

        store._refresher._refresh = fails
        catalogue.revoke(engine)
        wait_until(lambda: not allowed(store), 2)
        assert "a driver's bug" in caplog.text
        assert store._refresher._thread is not None


# --- rows written past the services --------------------------------------------------------------------------------


def test_moments_beyond_the_calendar_are_read_as_what_they_mean(postgresql: Engine) -> None:
    with postgresql.begin() as connection:
        for tenant_id, starts_at, expires_at in (
            ("acme", "-infinity", "infinity"),
            ("t1", "infinity", None),
            ("t2", None, "-infinity"),
        ):
            connection.execute(
                sa.text("UPDATE tenant_license SET starts_at = :s, expires_at = :e WHERE tenant_id = :t"),
                {"s": starts_at, "e": expires_at, "t": tenant_id},
            )
    with SnapshotStore(postgresql, background=False) as store, Session(postgresql) as session:
        for entitlements in (Entitlements(store=store), Entitlements(session)):
            assert [entitlements.check(tenant, "f.a") for tenant in ("acme", "t1", "t2")] == [True, False, False]


GARBAGE = {
    "a moment": "UPDATE tenant_license SET expires_at = 'soon'",
    "a number for a moment": "UPDATE tenant_license SET expires_at = 7",
    "a rank": "UPDATE license_tier SET rank = 'high'",
    "a flag": "UPDATE feature_registry SET is_active = 'false'",
    "links": """UPDATE feature_registry SET conflicts_with = '"f.b"'""",
    "a document": "UPDATE license_tier_features SET feature_value = 'on'",
    "a deep document": "UPDATE license_tier_features SET feature_value = "
    f"""'{{"enabled": true, "value": {"[" * 900}{"]" * 900}}}'""",
    "text that is no text": "UPDATE license_tier_features SET feature_value = CAST(x'ff' AS TEXT)",
    "a version": "UPDATE tierwright_state SET version = 'x'",
}


@pytest.mark.parametrize("what", GARBAGE)
def test_what_cannot_be_read_denies_and_never_raises(tmp_path: Any, what: str) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'app.sqlite3'}")
    upgrade(engine)
    catalogue.small(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("PRAGMA ignore_check_constraints=ON")
        connection.exec_driver_sql(GARBAGE[what])
    expected = what == "a version"  # of which nothing else depends
    with SnapshotStore(engine, background=False) as store:
        assert allowed(store) is expected
    if what != "text that is no text":  # which the driver refuses to hand to anybody
        with Session(engine) as session:
            assert Entitlements(session).check("acme", "f.a") is expected


def test_a_tenant_that_cannot_be_read_takes_nothing_from_the_others(tmp_path: Any) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'app.sqlite3'}")
    upgrade(engine)
    catalogue.small(engine, tenants=3)
    with engine.begin() as connection:
        catalogue.override(connection, "t1", "f.a", {"enabled": True})
        connection.exec_driver_sql("UPDATE tenant_feature_override SET feature_value = CAST(x'ff' AS TEXT)")
    with SnapshotStore(engine, poll_interval=0.01, background=False) as store:
        for _ in range(20):
            assert not allowed(store, "t1")
            assert allowed(store)
            time.sleep(0.01)


# --- windows and versions ----------------------------------------------------------------------------------------


def test_a_window_that_ends_does_not_mix_old_licences_with_a_new_catalogue(engine: Engine) -> None:
    ends = catalogue.soon(0.8)
    with engine.begin() as connection:
        catalogue.feature(connection, "f.secret")
        basic = catalogue.tier(connection, "basic", rank=1)
        catalogue.override(connection, "acme", "f.b", {"enabled": True}, expires_at=ends)
    with SnapshotStore(engine, poll_interval=600.0, background=False) as store:
        assert allowed(store)
        with engine.begin() as connection:  # acme moves to basic, and pro gets what acme must never have
            bump_catalog(connection)
            licenses = TABLES["tenant_license"]
            connection.execute(licenses.update().where(licenses.c.tenant_id == "acme").values(license_tier_id=basic))
            [pro] = connection.scalars(sa.select(TABLES["license_tier"].c.id).where(sa.column("tier_key") == "pro"))
            grants = TABLES["license_tier_features"].insert()
            connection.execute(
                grants.values(license_tier_id=pro, feature_key="f.secret", feature_value={"enabled": True})
            )
        assert allowed(store, "nobody") is False  # has the store read the new catalogue
        while not store.entries["acme"].fresh_until < time.monotonic():
            time.sleep(0.02)
        time.sleep(0.05)
        assert not allowed(store, key="f.secret")
        assert not allowed(store, key="f.b")


def test_a_tenant_whose_readings_are_all_overtaken_is_denied(engine: Engine) -> None:
    with SnapshotStore(engine, poll_interval=0.01, background=False) as store:
        assert allowed(store)
        reader = store._reader.tenant

        def overtaken(tenant_id: str) -> Any:
            rows = reader(tenant_id)
            store.forget(tenant_id)
            return rows

        store._reader.tenant = overtaken  # type: ignore[method-assign]
        time.sleep(0.02)
        assert Entitlements(store=store).evaluate("acme", "f.a").reason is Reason.UNAVAILABLE
        store._reader.tenant = reader  # type: ignore[method-assign]
        assert allowed(store)


def test_an_engine_in_autocommit_mode_cannot_hide_a_kill_switch(engine: Engine, store: SnapshotStore) -> None:
    assert allowed(store)
    by_itself = engine.execution_options(isolation_level="AUTOCOMMIT")
    with Session(by_itself) as session:
        feature = session.exec(select(FeatureRegistry).where(FeatureRegistry.feature_key == "f.a")).one()
        feature.is_active = False
        session.commit()
        wait_until(lambda: not allowed(store), 2)
        session.execute(TABLES["feature_registry"].update().values(is_active=True))
        wait_until(lambda: allowed(store), 2)
        with pytest.raises(TransactionMissing):
            Registry(session, actor="test").features.retire("f.a")
        with pytest.raises(TransactionMissing):
            Registry(session, actor="test").licenses.end("acme")


# --- sessions ----------------------------------------------------------------------------------------------------


def test_a_licence_that_moves_to_another_tenant_is_lost_by_the_first(engine: Engine) -> None:
    """As a superuser can make it move, whatever the trigger says."""
    is_file = engine.dialect.name == "sqlite"
    past = "DROP TRIGGER trg_tenant_license_keeps_tenant" if is_file else "SET LOCAL session_replication_role = replica"
    with SnapshotStore(engine, poll_interval=600.0, background=False) as store, Session(engine) as session:
        assert allowed(store)
        assert not allowed(store, "globex")
        Entitlements(session, store=store)
        license = session.get(TenantLicense, ("acme", "main"))
        assert license is not None
        session.execute(sa.text(past))
        license.tenant_id = "globex"
        session.commit()
        assert not allowed(store)
        assert allowed(store, "globex")


def test_what_a_hosts_listener_adds_to_a_flush_is_seen_as_written(engine: Engine) -> None:
    class Hosts(Session):
        pass

    @sa.event.listens_for(Hosts, "before_flush")
    def add(session: Any, _context: Any, _instances: Any) -> None:
        if not any(row.feature_key == "f.b" for row in session.new if hasattr(row, "feature_key")):
            session.add(override_row())

    with SnapshotStore(engine, poll_interval=600.0, background=False) as store, Hosts(engine) as session:
        own = Entitlements(session, store=store)
        assert not own.check("acme", "f.b")
        session.add(override_row("t1"))
        session.flush()
        assert own.check("t1", "f.b")


def test_a_registry_of_sessions_is_no_session(engine: Engine, store: SnapshotStore) -> None:
    scoped = scoped_session(sessionmaker(engine, class_=Session))
    with pytest.raises(SessionMissing):
        Entitlements(scoped, store=store)  # type: ignore[arg-type]
    assert Entitlements(scoped(), store=store).check("acme", "f.a")
    scoped.remove()


def test_a_session_that_reads_from_a_replica_writes_and_announces_on_the_primary(engine: Engine, tmp_path: Any) -> None:
    replica = sa.create_engine(f"sqlite:///{tmp_path / 'replica.sqlite3'}")
    upgrade(replica)

    class Routing(Session):
        def get_bind(self, mapper: Any = None, *, clause: Any = None, **kw: Any) -> Any:
            return engine if self._flushing or isinstance(clause, sa.Update | sa.Delete) else replica

    with Routing() as session:
        session.add(override_row())
        session.flush()
        assert Entitlements(session).check("acme", "f.b")
        session.rollback()
        session.execute(TABLES["feature_registry"].update().values(is_active=False))
        session.commit()
    with engine.connect() as primary, replica.connect() as copy:
        version = sa.select(TABLES["tierwright_state"].c.version)
        assert primary.scalar(version) == 2
        assert copy.scalar(version) is None


def test_a_session_within_a_larger_transaction_goes_on_seeing_its_own_writes(
    engine: Engine, store: SnapshotStore
) -> None:
    with engine.connect() as connection:
        outer = connection.begin()
        connection.execute(TABLES["tenant_license"].update().values(is_active=True))  # SQLite begins with a write
        with Session(bind=connection, join_transaction_mode="create_savepoint") as session:
            own = Entitlements(session, store=store)
            session.add(override_row())
            session.commit()
            assert own.check("acme", "f.b")
        outer.rollback()
    assert not allowed(store, key="f.b")


def test_a_row_with_a_tenant_that_cannot_be_does_not_break_a_commit(engine: Engine) -> None:
    with SnapshotStore(engine, poll_interval=600.0, background=False) as store, Session(engine) as session:
        assert not allowed(store, key="f.b")
        Entitlements(session, store=store)
        row = override_row()
        row.tenant_id = " spaced"
        session.add(row)
        session.add(override_row())
        session.commit()
        assert allowed(store, key="f.b")
