"""The behaviour suite, to be run on a database of your own.

    from tierwright.testing.suite import *

    @pytest.fixture(scope="module")
    def tierwright_engine():
        engine = create_engine("postgresql+psycopg://...")   # empty, at head
        yield engine
        engine.dispose()

Every case of the decision table is asked in four ways: of a session and of a store, synchronously and not. The
asynchronous ways use an engine for the same URL (aiosqlite, psycopg); define ``tierwright_async_engine`` for another.
The tables must be empty; each test empties them again.
"""
# ruff: noqa: S101  these are tests

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import datetime, timedelta
from typing import Any
from unittest import mock

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.orm import Session

from tierwright.errors import FeatureDenied, HistoryRequired, InvalidInput
from tierwright.resolution.decision import Decision
from tierwright.services.aio import AsyncEntitlements
from tierwright.services.entitlements import Entitlements
from tierwright.store.snapshot_store import SnapshotStore
from tierwright.testing.decision_table import CASES, Case
from tierwright.testing.ground import async_engine_for, emptied
from tierwright.testing.seeding import seed
from tierwright.types import utc_now

__all__ = [
    "test_a_rolled_back_write_never_shows",
    "test_a_session_sees_its_own_writes_before_the_store",
    "test_a_store_sees_what_another_process_commits",
    "test_decision_table",
    "test_malformed_tenants_are_refused_before_any_sql",
    "test_the_past_is_not_answered_from_the_present",
    "tierwright_async_engine",
    "tierwright_ground",
]

Answers = dict[str, dict[str, Decision]]


@pytest.fixture
def tierwright_async_engine(tierwright_engine: Engine) -> Any:
    """Return an AsyncEngine on the same database."""
    return async_engine_for(tierwright_engine)


@pytest.fixture
def tierwright_ground(tierwright_engine: Engine) -> Iterator[Engine]:
    """Yield the engine on empty tables, and leave them empty."""
    with emptied(tierwright_engine):
        yield tierwright_engine


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_decision_table(case: Case, tierwright_ground: Engine, tierwright_async_engine: Any) -> None:
    """A session and a store give the expected decisions, synchronously and not."""
    now = utc_now()
    with Session(tierwright_ground) as session:
        seed(session, case.document, now=now)
        session.commit()
    moment = None if case.after is None else now + case.after
    expected = case.decisions(now)
    found = {
        "session": _ask(tierwright_ground, case, moment, is_warm=False),
        "store": _ask(tierwright_ground, case, moment, is_warm=True),
        "async session": asyncio.run(_ask_async(tierwright_async_engine, case, moment, None)),
    }
    with _store(tierwright_ground) as store:
        found["async store"] = asyncio.run(_ask_async(tierwright_async_engine, case, moment, store))
    for way, answers in found.items():
        assert answers == expected, way


def test_a_session_sees_its_own_writes_before_the_store(tierwright_ground: Engine) -> None:
    """What a session has written holds for it at once, and for others when it commits."""
    with _store(tierwright_ground) as store, Session(tierwright_ground) as session:
        seed(session, {"features": {"f.a": False}})
        session.commit()
        mine, others = Entitlements(session, store=store), Entitlements(store=store)
        assert not mine.check("acme", "f.a")
        seed(session, {"tenants": {"acme": {"overrides": {"f.a": True}}}})
        assert mine.check("acme", "f.a")
        assert not others.check("acme", "f.a")
        session.commit()
        assert mine.check("acme", "f.a")
        assert others.check("acme", "f.a")


def test_a_rolled_back_write_never_shows(tierwright_ground: Engine) -> None:
    """What was rolled back was never granted to anybody else, and is not granted to the session any more."""
    with _store(tierwright_ground) as store, Session(tierwright_ground) as session:
        seed(session, {"features": {"f.a": False}})
        session.commit()
        mine, others = Entitlements(session, store=store), Entitlements(store=store)
        seed(session, {"tenants": {"acme": {"overrides": {"f.a": True}}}})
        assert mine.check("acme", "f.a")
        session.rollback()
        assert not mine.check("acme", "f.a")
        assert not others.check("acme", "f.a")


def test_a_store_sees_what_another_process_commits(tierwright_ground: Engine) -> None:
    """A revocation that nobody announced is seen within the poll interval."""
    with Session(tierwright_ground) as session:
        seed(session, {"features": {"f.a": False}, "tenants": {"acme": {"overrides": {"f.a": True}}}})
        session.commit()
    with _store(tierwright_ground, poll_interval=0.2) as store:
        entitlements = Entitlements(store=store)
        assert entitlements.check("acme", "f.a")
        with tierwright_ground.begin() as connection:  # past every session, as another process would
            connection.execute(sa.text("DELETE FROM tenant_feature_override"))
        asyncio.run(asyncio.sleep(0.25))
        with pytest.raises(FeatureDenied):
            entitlements.require("acme", "f.a")


@pytest.mark.parametrize("tenant", [None, True, "", " acme", "a\x00", "\ud800", "x" * 256, 10**300, 1.5, b"acme"])
def test_malformed_tenants_are_refused_before_any_sql(tenant: Any, tierwright_engine: Engine) -> None:
    """A tenant that cannot be one is a typed error, whoever answers."""
    with Session(tierwright_engine) as session, _counted(tierwright_engine) as statements:
        for ask in (Entitlements(session).check, Entitlements(session).evaluate, Entitlements(session).value):
            with pytest.raises(InvalidInput):
                ask(tenant, "f.a")
        with pytest.raises(InvalidInput):
            Entitlements(session).evaluate_all(tenant)
        assert statements == []


def test_the_past_is_not_answered_from_the_present(tierwright_ground: Engine) -> None:
    """A moment before the newest change needs history; a later one is answered."""
    with Session(tierwright_ground) as session:
        seed(session, {"features": {"f.a": True}})
        session.commit()
        with pytest.raises(HistoryRequired):
            Entitlements(session).check("acme", "f.a", at=utc_now() - timedelta(days=1))
        assert Entitlements(session).check("acme", "f.a", at=utc_now() + timedelta(days=1))


def _store(engine: Engine, **options: Any) -> SnapshotStore:
    return SnapshotStore(engine, **{"poll_interval": 60.0, "background": False, "timeout": 30.0, **options})


def _ask(engine: Engine, case: Case, moment: datetime | None, *, is_warm: bool) -> Answers:
    """Ask for every decision of a case in every way; they must agree with each other."""
    if not is_warm:
        with Session(engine) as session:
            return _answers(Entitlements(session), case, moment)
    with _store(engine) as store, Session(engine) as session, _clock(moment):
        entitlements = Entitlements(session, store=store)
        _answers(entitlements, case, None)
        return _answers(entitlements, case, None)  # this time from memory


def _answers(entitlements: Entitlements, case: Case, moment: datetime | None) -> Answers:
    found: Answers = {}
    for tenant, features in case.expected.items():
        everything = entitlements.evaluate_all(tenant, at=moment)
        found[tenant] = {key: entitlements.evaluate(tenant, key, at=moment) for key in features}
        assert {key: everything.get(key, decision) for key, decision in found[tenant].items()} == found[tenant]
        for key, decision in _some(found[tenant]):
            assert entitlements.check(tenant, key, at=moment) is decision.enabled
            assert entitlements.value(tenant, key, default="denied", at=moment) == _value(decision)
    return found


async def _ask_async(engine: Any, case: Case, moment: datetime | None, store: SnapshotStore | None) -> Answers:
    from sqlalchemy.ext.asyncio import AsyncSession

    async with AsyncSession(engine) as session:
        entitlements = AsyncEntitlements(session, store=store)
        if store is None:
            found = await _async_answers(entitlements, case, moment)
        else:
            with _clock(moment):
                found = await _async_answers(entitlements, case, None)
    await engine.dispose()
    return found


async def _async_answers(entitlements: AsyncEntitlements, case: Case, moment: datetime | None) -> Answers:
    found: Answers = {}
    for tenant, features in case.expected.items():
        everything = await entitlements.evaluate_all(tenant, at=moment)
        found[tenant] = {key: await entitlements.evaluate(tenant, key, at=moment) for key in features}
        assert {key: everything.get(key, decision) for key, decision in found[tenant].items()} == found[tenant]
        for key, decision in _some(found[tenant]):
            assert await entitlements.check(tenant, key, at=moment) is decision.enabled
            assert await entitlements.value(tenant, key, default="denied", at=moment) == _value(decision)
    return found


def _clock(moment: datetime | None) -> Any:
    """Let it be a moment for the store: asked with ``at=``, the database would answer in its place."""
    return nullcontext() if moment is None else mock.patch("tierwright.store.entry.utc_now", return_value=moment)


def _some(decisions: dict[str, Decision]) -> list[tuple[str, Decision]]:
    """Return the decisions about which every other question is asked too; the matrices have hundreds."""
    return list(decisions.items())[:12]


def _value(decision: Decision) -> Any:
    return decision.value if decision.enabled else "denied"


@contextmanager
def _counted(engine: Engine) -> Iterator[list[str]]:
    statements: list[str] = []

    def listener(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        statements.append(statement)

    sa.event.listen(engine, "before_cursor_execute", listener)
    try:
        yield statements
    finally:
        sa.event.remove(engine, "before_cursor_execute", listener)
