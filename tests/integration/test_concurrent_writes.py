"""Writers at the same time: circles in two halves, sixteen on one tier, tenants that do not wait for each other."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.orm import Session as SqlAlchemySession
from sqlalchemy.orm import sessionmaker
from sqlmodel import Session, select

from tests.support.registry import ON, feature, history, integer, seed, writer
from tierwright import tables
from tierwright.errors import CycleRefused, PrerequisiteBroken, RetryTransaction, StillInUse, TierwrightError
from tierwright.migrations import upgrade
from tierwright.services.audit import AuditContext
from tierwright.services.registry import Registry, WriteResult
from tierwright.services.transactions import run_in_transaction, run_in_transaction_async
from tierwright.testing.ground import async_engine_for

WRITERS = 16
ROUNDS = 5
DONE = WriteResult(True)


@pytest.fixture
def sessions(migrated_engine: Engine) -> sessionmaker[Session]:
    return sessionmaker(migrated_engine, class_=Session)


def prepare(sessions: sessionmaker[Session], work: Callable[[Registry], Any]) -> None:
    run_in_transaction(sessions, lambda session: work(writer(session)))


def together(*works: Callable[[], Any]) -> list[Any]:
    """Run the works at once, in threads; return their results or errors of ours."""
    start = threading.Barrier(len(works))

    def run(work: Callable[[], Any]) -> Any:
        start.wait()
        try:
            return work()
        except TierwrightError as error:
            return error

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(run, works))


def test_two_halves_of_a_circle_never_meet(sessions: sessionmaker[Session]) -> None:
    for attempt in range(10):
        one, two = f"a.one-{attempt}", f"a.two-{attempt}"
        prepare(sessions, lambda registry, one=one, two=two: seed(registry, one, two))

        def link(key: str, needed: str) -> Callable[[], Any]:
            return lambda: run_in_transaction(
                sessions, lambda session: writer(session).features.change(key, depends_on=[needed])
            )

        outcomes = together(link(one, two), link(two, one))
        assert sorted(type(each).__name__ for each in outcomes) == ["CycleRefused", "WriteResult"], outcomes
    with sessions() as session:
        linked = [row for row in session.exec(select(tables.FeatureRegistry)) if row.depends_on]
    assert len(linked) == 10


def test_two_halves_of_a_circle_of_tiers_never_meet(sessions: sessionmaker[Session]) -> None:
    prepare(sessions, lambda registry: seed(registry, one={}, two={}))

    def inherit(key: str, base: str) -> Callable[[], Any]:
        return lambda: run_in_transaction(sessions, lambda session: writer(session).tiers.set_base(key, base))

    outcomes = together(inherit("one", "two"), inherit("two", "one"))
    assert [isinstance(each, CycleRefused) for each in outcomes].count(True) == 1


def test_a_prerequisite_and_its_grant_never_meet(sessions: sessionmaker[Session]) -> None:
    prepare(sessions, lambda registry: seed(registry, "a.one", "a.two", pro={}))
    outcomes = together(
        lambda: run_in_transaction(sessions, lambda s: writer(s).features.change("a.two", depends_on=["a.one"])),
        lambda: run_in_transaction(sessions, lambda s: writer(s).tiers.grant("pro", {"a.two": ON})),
    )
    assert [isinstance(each, PrerequisiteBroken) for each in outcomes].count(True) == 1


def test_sixteen_writers_on_one_tier_are_as_good_as_one_after_the_other(sessions: sessionmaker[Session]) -> None:
    prepare(
        sessions, lambda registry: seed(registry, integer("a.count"), pro={"a.count": {"enabled": True, "value": 0}})
    )

    def add_one(session: Session) -> None:
        registry = writer(session)
        # The tier's rank is written first, which takes the lock; what is read after that is the newest.
        registry.tiers.change("pro", description=threading.current_thread().name)
        row = session.exec(select(tables.LicenseTierFeatures)).one()
        value = row.feature_value["value"] + 1
        registry.tiers.grant("pro", {"a.count": {"enabled": True, "value": value}}, actor=f"writer-{value}")

    def work() -> None:
        for _ in range(ROUNDS):
            run_in_transaction(sessions, add_one)

    outcomes = together(*[work] * WRITERS)
    assert outcomes == [None] * WRITERS
    with sessions() as session:
        values = [
            (None if old is None else old["feature_value"]["value"], new["feature_value"]["value"])
            for entity, _, _, old, new in history(session)
            if entity == "tier_feature"
        ]
        assert values == [(None, 0), *((n, n + 1) for n in range(WRITERS * ROUNDS))]
        assert session.exec(select(tables.LicenseTierFeatures)).one().feature_value["value"] == WRITERS * ROUNDS


def test_sixteen_writers_of_blind_changes_leave_a_chain(sessions: sessionmaker[Session]) -> None:
    prepare(sessions, lambda registry: seed(registry, integer("a.count"), pro={}))

    def work(number: int) -> Callable[[], Any]:
        def write(session: Session) -> None:
            writer(session).tiers.grant("pro", {"a.count": {"enabled": True, "value": number}})

        return lambda: run_in_transaction(sessions, write)

    assert together(*map(work, range(WRITERS))) == [None] * WRITERS
    with sessions() as session:
        entries = [entry[2:] for entry in history(session) if entry[0] == "tier_feature"]
        assert [entry[0] for entry in entries] == ["created", *["updated"] * (WRITERS - 1)]
        for (_, _, new), (_, old, _) in pairwise(entries):
            assert old == new
        assert session.exec(select(tables.LicenseTierFeatures)).one().feature_value == entries[-1][2]["feature_value"]
        assert sorted(entry[2]["feature_value"]["value"] for entry in entries) == list(range(WRITERS))


def test_writers_of_one_tenant_wait_for_each_other(sessions: sessionmaker[Session]) -> None:
    prepare(sessions, lambda registry: seed(registry, "a.one", feature("a.two", conflicts_with=["a.one"]), pro={}))

    def override(key: str) -> Callable[[], Any]:
        return lambda: run_in_transaction(sessions, lambda session: writer(session).overrides.set("acme", key, ON))

    outcomes = together(override("a.one"), override("a.two"))
    assert sorted(type(each).__name__ for each in outcomes) == ["ConflictRefused", "WriteResult"]
    same = together(
        *[lambda: run_in_transaction(sessions, lambda session: writer(session).licenses.assign("acme", "pro"))] * 8
    )
    assert sorted(each.changed for each in same) == [False] * 7 + [True]


def test_a_type_does_not_change_under_an_override(sessions: sessionmaker[Session]) -> None:
    for attempt in range(5):
        key = f"a.n{attempt}"
        prepare(sessions, lambda registry, key=key: seed(registry, integer(key)))
        text = {"feature_type": "string", "default_value": {"enabled": False, "value": ""}}
        outcomes = together(
            lambda key=key: run_in_transaction(
                sessions, lambda s: writer(s).overrides.set("acme", key, {"enabled": True, "value": 5})
            ),
            lambda key=key, text=text: run_in_transaction(sessions, lambda s: writer(s).features.change(key, **text)),
        )
        refused = [each for each in outcomes if isinstance(each, TierwrightError)]
        assert len(refused) == 1, outcomes
        assert isinstance(refused[0], StillInUse) or "string" in str(refused[0])


def test_tenants_do_not_wait_for_each_other_on_postgresql(postgresql_engine: Engine) -> None:
    upgrade(postgresql_engine)
    sessions = sessionmaker(postgresql_engine, class_=Session)
    prepare(sessions, lambda registry: seed(registry, pro={}))
    with sessions() as first, sessions() as second:
        writer(first).licenses.assign("acme", "pro")
        second.execute(sa.text("SET LOCAL lock_timeout = '100ms'"))
        assert writer(second).licenses.assign("globex", "pro").changed
        with pytest.raises(RetryTransaction):
            writer(second).licenses.assign("acme", "pro")


def test_a_read_that_was_overtaken_asks_for_a_retry(database_kind: str, migrated_engine: Engine) -> None:
    """SQLite in a deferred transaction, PostgreSQL in REPEATABLE READ: both see an older state, and cannot write."""
    if database_kind == "sqlite":
        _begin_deferred(migrated_engine)
        engine = migrated_engine
    else:
        engine = migrated_engine.execution_options(isolation_level="REPEATABLE READ")
    sessions = sessionmaker(engine, class_=Session)
    prepare(sessions, lambda registry: seed(registry, "a.one"))
    seen: list[bool] = []

    def overtaken(session: Session) -> bool:
        session.exec(select(tables.FeatureRegistry)).all()
        if not seen:
            seen.append(True)
            with sessions() as other:
                writer(other).features.change("a.one", description="first")
                other.commit()
        return writer(session).features.change("a.one", description="second").changed

    with sessions() as session, pytest.raises(RetryTransaction):
        overtaken(session)
    seen.clear()
    assert run_in_transaction(sessions, overtaken) is True
    with sessions() as session:
        assert [entry[3:] for entry in history(session)][-1] == ({"description": "first"}, {"description": "second"})


def test_other_errors_pass_and_nothing_is_written(sessions: sessionmaker[Session]) -> None:
    calls: list[int] = []

    def fails(session: Session) -> None:
        calls.append(1)
        seed(writer(session), "a.one")
        raise LookupError("of the host")

    with pytest.raises(LookupError, match="of the host"):
        run_in_transaction(sessions, fails)
    assert len(calls) == 1
    with sessions() as session:
        assert history(session) == []


def test_the_attempts_are_counted(sessions: sessionmaker[Session], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tierwright.services.transactions._PAUSE_LONGEST", 0)
    calls: list[int] = []

    def always(_: Session) -> None:
        calls.append(1)
        raise RetryTransaction("Another transaction came first.", remedy="Again.")

    with pytest.raises(RetryTransaction):
        run_in_transaction(sessions, always, attempts=3)
    assert len(calls) == 3


def test_asynchronous_hosts_have_the_same(migrated_engine: Engine) -> None:
    from sqlalchemy.ext.asyncio import async_sessionmaker

    engine = async_engine_for(migrated_engine)
    made = async_sessionmaker(engine)
    lost: list[int] = []

    def write(session: SqlAlchemySession) -> WriteResult:
        if not lost:
            lost.append(1)
            raise RetryTransaction("Another transaction came first.", remedy="Again.")
        return Registry(session).features.create(feature("a.async"), actor="tester")

    async def host() -> WriteResult:
        try:
            async with made() as session:
                AuditContext("alice").attach(session)
                assert await session.run_sync(lambda sync: Registry(sync).features.create(feature("a.one"))) == DONE
                await session.commit()
            return await run_in_transaction_async(made, write)
        finally:
            await engine.dispose()

    assert asyncio.run(host()) == DONE
    with Session(migrated_engine) as session:
        found = session.exec(select(tables.FeatureAuditLog).order_by(tables.FeatureAuditLog.id)).all()
        assert [(each.entity_id, each.performed_by) for each in found] == [("a.one", "alice"), ("a.async", "tester")]


def _begin_deferred(engine: Engine) -> None:
    """Let SQLAlchemy begin every transaction, reads included, as its documentation recommends for pysqlite."""

    @sa.event.listens_for(engine, "connect")
    def _own_transactions(driver: Any, _record: Any) -> None:
        driver.isolation_level = None
        driver.execute("PRAGMA journal_mode=WAL")  # or the reader would keep the other writer from its commit

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN")
