"""What hosts get for their own tests: the plugin's fixtures, the memory store, dictated decisions, seeding."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session
from sqlmodel import SQLModel

from tierwright import AsyncEntitlements, Availability, Decision, Entitlements, Reason, SnapshotStore, Source
from tierwright.errors import EntitlementsUnavailable, FeatureDenied, InvalidInput, ReferenceUnknown
from tierwright.testing import MemoryStore
from tierwright.testing import override_features as dictate
from tierwright.testing import seed as seed_rows
from tierwright.testing.ground import async_engine_for, emptied
from tierwright.types import utc_now

DOCUMENT: dict[str, Any] = {
    "features": {
        "agents.canvas": False,
        "agents.teams": {"default_value": False, "depends_on": ["agents.canvas"]},
        "limits.seats": 2,
        "limits.ratio": 0.5,
        "ui.theme": "dark",
        "ui.layout": {"default_value": {"columns": 3}},
    },
    "tiers": {
        "free": {"is_default": True},
        "pro": {"rank": 10, "base": "free", "features": {"agents.canvas": True, "limits.seats": 50}},
    },
    "tenants": {
        "acme": {"licenses": ["pro"], "overrides": {"limits.seats": {"enabled": True, "unlimited": True}}},
        "trial": {"licenses": [{"tier": "pro", "expires_at": timedelta(days=14)}]},
        42: {"overrides": {"agents.canvas": {"feature_value": True, "expires_at": timedelta(days=1)}}},
    },
}


# --- the plugin ------------------------------------------------------------------------------------------------------


def test_loading_the_plugin_is_cheap() -> None:
    code = (
        "import sys, pytest; before = set(sys.modules); import tierwright.testing.plugin; "
        "print(sorted(name for name in set(sys.modules) - before if not name.startswith('tierwright')), "
        "sorted(name for name in sys.modules if name.startswith('tierwright')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] ['tierwright', 'tierwright.testing', 'tierwright.testing.plugin']"


HOST_TEST = """
import pytest
from tierwright import Entitlements
from tierwright.testing import MemoryStore

entitlements = Entitlements(store=MemoryStore({"features": {"f.a": False, "f.n": 1}}))

def test_grant(grant):
    assert not entitlements.check("acme", "f.a")
    grant("acme", "f.a")
    grant("acme", "f.n", 7)
    grant("globex", "f.n", unlimited=True)
    assert entitlements.check("acme", "f.a")
    assert not entitlements.check("globex", "f.a")
    assert entitlements.value("acme", "f.n") == 7
    assert entitlements.evaluate("globex", "f.n").unlimited

def test_the_grant_has_ended():
    assert not entitlements.check("acme", "f.a")
    assert entitlements.value("acme", "f.n") == 1

def test_override(override_features):
    override_features({"f.a": True}, "acme")
    with override_features({"f.a": False}):
        assert not entitlements.check("acme", "f.a")
    assert entitlements.check("acme", "f.a")

def test_the_override_has_ended():
    assert not entitlements.check("acme", "f.a")

def test_seed(seed, tmp_path):
    from sqlalchemy import create_engine
    from sqlalchemy.orm import Session
    from tierwright.migrations import upgrade

    engine = create_engine(f"sqlite:///{tmp_path}/app.db")
    upgrade(engine)
    with Session(engine) as session:
        seed(session, {"features": {"f.a": False}, "tenants": {"acme": {"overrides": {"f.a": True}}}})
        session.commit()
        assert Entitlements(session).check("acme", "f.a")
    engine.dispose()
"""


def test_a_host_uses_the_fixtures(tmp_path: Path) -> None:
    (tmp_path / "test_host.py").write_text(HOST_TEST, "utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert "5 passed" in done.stdout, done.stdout + done.stderr


HOST_SUITE = """
import pytest
from sqlalchemy import create_engine
from tierwright.migrations import upgrade
from tierwright.testing.suite import *

@pytest.fixture(scope="module")
def tierwright_engine(tmp_path_factory):
    engine = create_engine(f"sqlite:///{tmp_path_factory.mktemp('suite')}/app.db")
    upgrade(engine)
    yield engine
    engine.dispose()
"""


def test_a_host_runs_the_suite_on_its_own_database(tmp_path: Path) -> None:
    (tmp_path / "test_entitlements.py").write_text(HOST_SUITE, "utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run([*command, "-k", "not matrix"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


# --- the memory store ------------------------------------------------------------------------------------------------


def test_a_memory_store_resolves_for_real() -> None:
    entitlements = Entitlements(store=MemoryStore(DOCUMENT))
    assert entitlements.check("acme", "agents.canvas")
    assert not entitlements.check("acme", "agents.teams")
    assert entitlements.evaluate("acme", "limits.seats").unlimited
    assert entitlements.value("trial", "limits.seats") == 50
    assert entitlements.value("nobody", "limits.seats") == 2
    assert entitlements.value("nobody", "ui.layout") == {"columns": 3}
    assert entitlements.check(42, "agents.canvas")
    assert entitlements.evaluate_all("acme").keys() == DOCUMENT["features"].keys()
    assert entitlements.explain("nobody", "agents.canvas").decision.reason is Reason.NOT_GRANTED


def test_a_memory_store_serves_coroutines() -> None:
    entitlements = AsyncEntitlements(store=MemoryStore(DOCUMENT))
    assert asyncio.run(entitlements.value("trial", "limits.seats")) == 50


def test_a_memory_store_follows_its_clock() -> None:
    moments = [datetime(2026, 1, 1, tzinfo=UTC)]
    store = MemoryStore(DOCUMENT, clock=lambda: moments[-1])
    entitlements = Entitlements(store=store)
    assert entitlements.evaluate("trial", "agents.canvas").expires_at == moments[0] + timedelta(days=14)
    moments.append(moments[0] + timedelta(days=14))
    assert not entitlements.check("trial", "agents.canvas")


def test_a_memory_store_and_the_same_rows_decide_alike(migrated_engine: Engine) -> None:
    now = utc_now()
    from_memory = Entitlements(store=MemoryStore(DOCUMENT, clock=lambda: now))
    with Session(migrated_engine) as session:
        seed_rows(session, DOCUMENT, now=now)
        from_rows = Entitlements(session)
        for tenant in ("acme", "trial", 42, "nobody"):
            assert from_memory.evaluate_all(tenant) == from_rows.evaluate_all(tenant)


def test_a_memory_store_is_a_store() -> None:
    with MemoryStore({}) as store:
        assert isinstance(store, SnapshotStore)
        store.forget("acme")
        store.forget()
        assert store.refresh("acme")


@pytest.mark.parametrize(
    "document",
    [
        {"feature": {}},
        {"features": {"nodot": True}},
        {"features": {"f.a": {"default_value": 5, "feature_type": "boolean"}}},
        {"features": {"f.a": {"colour": "red"}}},
        {"features": {"f.a": {"default_value": {"enabled": 1}}}},
        {"tiers": {"pro": {"features": {"f.a": {"enabled": True, "value": 1, "unlimited": True}}}}},
        {"features": {"f.a": 1}, "tiers": {"pro": {"features": {"f.a": "many"}}}},
        {"features": {"f.a": 1}, "tenants": {"acme": {"overrides": {"f.a": "many"}}}},
        {"tenants": {"": {}}},
        {"tenants": {"acme": {"license": ["pro"]}}},
        {"tenants": {"acme": {"licenses": [{"expires_at": timedelta(1)}]}}},
        {"tenants": {"acme": {"licenses": [{"tier": "pro", "expires_at": datetime(2026, 1, 1)}]}}},
        {"tenants": {"acme": "pro"}},
        [],
    ],
)
def test_a_wrong_document_is_refused(document: Any) -> None:
    with pytest.raises(InvalidInput):
        MemoryStore(document)


# --- seeding ---------------------------------------------------------------------------------------------------------


def test_seeding_is_seen_by_a_store_that_is_warm(migrated_engine: Engine) -> None:
    with Session(migrated_engine) as session, SnapshotStore(migrated_engine, background=False) as store:
        seed_rows(session, {"features": {"f.a": False}})
        session.commit()
        entitlements = Entitlements(session, store=store)
        assert not entitlements.check("acme", "f.a")
        seed_rows(session, {"tiers": {"pro": {"features": {"f.a": True}}}, "tenants": {"acme": {"licenses": ["pro"]}}})
        session.commit()
        assert entitlements.check("acme", "f.a")


def test_seeding_an_async_session(migrated_engine: Engine) -> None:
    async def run() -> bool:
        engine = async_engine_for(migrated_engine)
        async with AsyncSession(engine) as session:
            await session.run_sync(seed_rows, DOCUMENT)
            return await AsyncEntitlements(session).check("acme", "agents.canvas")

    assert asyncio.run(run())


def test_seeding_an_unknown_tier_is_refused(migrated_engine: Engine) -> None:
    with Session(migrated_engine) as session:
        with pytest.raises(ReferenceUnknown):
            seed_rows(session, {"tenants": {"acme": {"licenses": ["ghost"]}}})
        with pytest.raises(ReferenceUnknown):
            seed_rows(session, {"tiers": {"pro": {"base": "ghost"}}})


def test_the_suite_does_not_touch_a_database_with_rows(migrated_engine: Engine) -> None:
    with Session(migrated_engine) as session:
        seed_rows(session, {"features": {"f.a": True}})
        session.commit()
    with pytest.raises(RuntimeError, match="feature_registry has rows"), emptied(migrated_engine):
        pass
    with migrated_engine.connect() as connection:
        table = SQLModel.metadata.tables["feature_registry"]
        assert connection.execute(sa.select(table.c.feature_key)).scalars().all() == ["f.a"]


# --- dictated decisions ----------------------------------------------------------------------------------------------


class Unreadable(MemoryStore):
    """A store that must not be asked."""

    def entry(self, tenant_id: str) -> Any:
        raise AssertionError("the store was asked")


def _all_faces(store: SnapshotStore) -> list[Any]:
    asynchronous = AsyncEntitlements(store=store)

    class Blocking:
        """The asynchronous face, called as the synchronous one is."""

        def __getattr__(self, name: str) -> Any:
            return lambda *args, **kwargs: asyncio.run(getattr(asynchronous, name)(*args, **kwargs))

    return [Entitlements(store=store), Blocking()]


@pytest.mark.parametrize("face", [0, 1], ids=["sync", "async"])
def test_what_is_dictated_asks_nobody(face: int) -> None:
    entitlements = _all_faces(Unreadable(DOCUMENT))[face]
    features = {"agents.canvas": True, "agents.teams": False, "limits.seats": 7, "ui.theme": Reason.UNAVAILABLE}
    with dictate(features, tenant="acme"):
        assert entitlements.check("acme", "agents.canvas")
        assert entitlements.evaluate("acme", "agents.canvas").source is Source.OVERRIDE
        assert entitlements.value("acme", "agents.canvas") is True
        assert not entitlements.check("acme", "agents.teams")
        assert entitlements.value("acme", "agents.teams", default="none") == "none"
        assert entitlements.value("acme", "limits.seats") == 7
        assert entitlements.require("acme", "limits.seats").allows(7)
        assert entitlements.explain("acme", "agents.teams").decision.reason is Reason.NOT_GRANTED
        with pytest.raises(FeatureDenied):
            entitlements.require("acme", "agents.teams")
        with pytest.raises(FeatureDenied):
            entitlements.value("acme", "agents.teams")
        with pytest.raises(EntitlementsUnavailable):
            entitlements.require("acme", "ui.theme")
        with pytest.raises(AssertionError, match="the store was asked"):
            entitlements.check("globex", "agents.canvas")
        with pytest.raises(InvalidInput):
            entitlements.check("", "agents.canvas")
    with pytest.raises(AssertionError, match="the store was asked"):
        entitlements.check("acme", "agents.canvas")


@pytest.mark.parametrize("face", [0, 1], ids=["sync", "async"])
def test_everything_else_is_as_without_it(face: int) -> None:
    entitlements = _all_faces(MemoryStore(DOCUMENT))[face]
    before = entitlements.evaluate_all("trial")
    with dictate({"agents.canvas": False, "agents.ghost": True}):
        within = entitlements.evaluate_all("trial")
        assert entitlements.value("trial", "limits.seats") == 50
    assert within["agents.ghost"].enabled
    assert {key for key in before if within[key] != before[key]} == {"agents.canvas"}
    assert entitlements.evaluate_all("trial") == before


@pytest.mark.parametrize("with_store", [True, False])
def test_it_reaches_sessions_stores_and_resources(migrated_engine: Engine, with_store: bool) -> None:
    with Session(migrated_engine) as session, SnapshotStore(migrated_engine, background=False) as store:
        seed_rows(session, DOCUMENT)
        component = SQLModel.metadata.tables["component_registry"]
        row = {"component_key": "canvas", "component_name": "c", "display_name": "C", "category": "x"}
        session.execute(sa.insert(component).values(feature_key="agents.canvas", **row))
        session.commit()
        entitlements = Entitlements(session, store=store if with_store else None)
        for _ in range(2):  # the second time the store is warm
            assert entitlements.check("acme", "agents.canvas")
            assert [each.availability for each in entitlements.components("acme")] == [Availability.AVAILABLE]
            with dictate({"agents.canvas": False}):
                assert not entitlements.check("acme", "agents.canvas")
                assert [each.availability for each in entitlements.components("acme")] == [Availability.LOCKED]
            with dictate({"agents.canvas": True}, tenant="nobody"):
                assert entitlements.check("nobody", "agents.canvas")
                assert [each.availability for each in entitlements.components("nobody")] == [Availability.AVAILABLE]


def test_the_innermost_block_wins_and_blocks_end_in_any_order() -> None:
    entitlements = Entitlements(store=MemoryStore(DOCUMENT))
    outer, inner = dictate({"limits.seats": 5}), dictate({"limits.seats": 6}, tenant="acme")
    with outer:
        inner.__enter__()
        assert entitlements.value("acme", "limits.seats") == 6
        assert entitlements.value("globex", "limits.seats") == 5
    assert entitlements.value("acme", "limits.seats") == 6
    assert entitlements.value("globex", "limits.seats") == 2
    inner.__exit__()
    inner.__exit__()
    assert entitlements.evaluate("acme", "limits.seats").unlimited


def test_it_holds_in_every_thread() -> None:
    entitlements = Entitlements(store=MemoryStore(DOCUMENT))
    found: list[bool] = []
    with dictate({"agents.canvas": True}):
        thread = threading.Thread(target=lambda: found.append(entitlements.check("nobody", "agents.canvas")))
        thread.start()
        thread.join()
    assert found == [True]


def test_the_hook_hears_of_dictated_decisions() -> None:
    heard: list[Decision] = []
    store = MemoryStore(DOCUMENT)
    with dictate({"agents.canvas": True}):
        Entitlements(store=store, on_decision=lambda _, decision: heard.append(decision)).check("x", "agents.canvas")
        asynchronous = AsyncEntitlements(store=store, on_decision=lambda _, decision: heard.append(decision))
        asyncio.run(asynchronous.value("x", "agents.canvas"))
        asyncio.run(asynchronous.check("x", "agents.canvas"))
    assert [each.source for each in heard] == [Source.OVERRIDE] * 3


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (True, Decision("f.a", True, True, False, Reason.GRANTED, Source.OVERRIDE)),
        (False, Decision("f.a", False, None, False, Reason.NOT_GRANTED, Source.OVERRIDE)),
        (0, Decision("f.a", True, 0, False, Reason.GRANTED, Source.OVERRIDE)),
        ("x", Decision("f.a", True, "x", False, Reason.GRANTED, Source.OVERRIDE)),
        ({"enabled": True}, Decision("f.a", True, None, False, Reason.GRANTED, Source.OVERRIDE)),
        ({"enabled": True, "unlimited": True}, Decision("f.a", True, None, True, Reason.GRANTED, Source.OVERRIDE)),
        (Reason.CONFLICT, Decision("f.a", False, None, False, Reason.CONFLICT, Source.NONE)),
        (
            Decision("f.a", False, None, False, Reason.CONFLICT, Source.TIER, "pro", None, ("f.b",)),
            Decision("f.a", False, None, False, Reason.CONFLICT, Source.TIER, "pro", None, ("f.b",)),
        ),
    ],
)
def test_what_the_shorthand_means(given: Any, expected: Decision) -> None:
    with dictate({"f.a": given}):
        assert Entitlements(store=MemoryStore({})).evaluate("acme", "f.a") == expected
