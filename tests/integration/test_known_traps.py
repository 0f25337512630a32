"""What goes wrong elsewhere, each as a test of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.orm import Session
from sqlmodel import SQLModel

from tests.support.cli import invoke
from tierwright import AuditContext, Entitlements, Reason, Registry, SnapshotStore, Source
from tierwright.store.reader import Unreadable
from tierwright.testing import seed
from tierwright.types import utc_now

OVERRIDES = SQLModel.metadata.tables["tenant_feature_override"]
ON = {"enabled": True}


def write(engine: Engine, change: Callable[[Registry], Any]) -> None:
    """Commit one write, as another process would: no store in this one hears of it."""
    with Session(engine) as session:
        AuditContext("test").attach(session)
        change(Registry(session))
        session.commit()


@pytest.fixture
def plan(migrated_engine: Engine) -> Engine:
    """Return an engine on a database with a paid tier over a free one, and the tenant acme on it."""
    with Session(migrated_engine) as session:
        seed(
            session,
            {
                "features": {
                    "f.base": False,
                    "f.own": False,
                    "f.everybody": True,
                    "limits.seats": {"default_value": 2},
                },
                "tiers": {
                    "free": {"rank": 0, "features": {"f.base": True, "limits.seats": 5}},
                    "pro": {"rank": 1, "base": "free", "features": {"f.own": True, "limits.seats": 50}},
                },
                "tenants": {"acme": {"licenses": ["pro"]}},
            },
        )
        session.commit()
    return migrated_engine


# --- an inherited value is never copied as an override ---------------------------------------------------------------


def test_a_tenant_loses_what_its_tier_loses(plan: Engine) -> None:
    with SnapshotStore(plan, poll_interval=0.05, background=False) as store, Session(plan) as session:
        warm = Entitlements(store=store)
        assert warm.check("acme", "f.base")
        assert warm.check("acme", "f.own")
        warm.evaluate_all("acme")
        Entitlements(session).evaluate_all("acme")
        session.rollback()
        write(plan, lambda registry: registry.tiers.revoke("free", ["f.base"]))
        write(plan, lambda registry: registry.tiers.revoke("pro", ["f.own"]))
        time.sleep(0.1)
        for entitlements in (warm, Entitlements(session)):
            assert entitlements.evaluate("acme", "f.base").source is Source.REGISTRY_DEFAULT
            assert not entitlements.check("acme", "f.base")
            assert not entitlements.check("acme", "f.own")


def test_no_write_about_a_licence_or_tier_makes_an_override(plan: Engine) -> None:
    write(plan, lambda registry: registry.licenses.trial("globex", "pro", days=14))
    write(plan, lambda registry: registry.licenses.assign("acme", "free"))
    write(plan, lambda registry: registry.tiers.grant("pro", {"limits.seats": {"enabled": True, "value": 60}}))
    write(plan, lambda registry: registry.licenses.end("globex", "trial"))
    with plan.connect() as connection:
        assert connection.execute(sa.select(OVERRIDES)).all() == []


def test_an_override_holds_only_what_was_said(plan: Engine) -> None:
    write(plan, lambda registry: registry.overrides.set("acme", "limits.seats", ON))
    with plan.connect() as connection:
        assert connection.execute(sa.select(OVERRIDES.c.feature_value)).scalars().all() == [ON]


# --- a missing limit is never "unlimited" ----------------------------------------------------------------------------


@pytest.mark.parametrize("document", [{"enabled": True}, {"enabled": True, "value": None}])
def test_a_missing_limit_is_not_unlimited(migrated_engine: Engine, document: dict[str, Any]) -> None:
    """Not even in rows that were written past the services, where the default has no value either."""
    with Session(migrated_engine) as session:
        seed(session, {"features": {"limits.seats": 2}, "tenants": {"acme": {"overrides": {"limits.seats": ON}}}})
        session.execute(sa.update(OVERRIDES).values(feature_value=document))
        features = SQLModel.metadata.tables["feature_registry"]
        session.execute(sa.update(features).values(default_value={"enabled": True}))
        decision = Entitlements(session).evaluate("acme", "limits.seats")
        assert not decision.unlimited
        assert decision.value is None


def test_a_limit_falls_through_to_the_default(plan: Engine) -> None:
    write(plan, lambda registry: registry.overrides.set("nobody", "limits.seats", ON))
    with Session(plan) as session:
        decision = Entitlements(session).evaluate("nobody", "limits.seats")
        assert (decision.value, decision.unlimited, decision.source) == (2, False, Source.OVERRIDE)
        assert decision.allows(2)
        assert not decision.allows(3)


@pytest.mark.parametrize("unlimited", ["true", 1, "yes", None, False])
def test_only_true_is_unlimited(plan: Engine, unlimited: Any) -> None:
    write(plan, lambda registry: registry.overrides.set("acme", "limits.seats", ON))
    with Session(plan) as session:
        session.execute(sa.update(OVERRIDES).values(feature_value={"enabled": True, "unlimited": unlimited}))
        assert not Entitlements(session).evaluate("acme", "limits.seats").unlimited


# --- a partial override does not drop inherited fields ---------------------------------------------------------------


def test_a_partial_override_follows_the_inherited_value(plan: Engine) -> None:
    write(plan, lambda registry: registry.overrides.set("acme", "limits.seats", ON))
    with Session(plan) as session:
        assert Entitlements(session).value("acme", "limits.seats") == 50
    write(plan, lambda registry: registry.tiers.grant("pro", {"limits.seats": {"enabled": True, "value": 70}}))
    with Session(plan) as session:
        assert Entitlements(session).value("acme", "limits.seats") == 70
    write(plan, lambda registry: registry.tiers.revoke("pro", ["limits.seats"]))
    with Session(plan) as session:
        assert Entitlements(session).value("acme", "limits.seats") == 5


def test_overriding_one_feature_leaves_the_others(plan: Engine) -> None:
    with Session(plan) as session:
        before = dict(Entitlements(session).evaluate_all("acme"))
    write(plan, lambda registry: registry.overrides.set("acme", "limits.seats", {"enabled": True, "value": 51}))
    with Session(plan) as session:
        after = Entitlements(session).evaluate_all("acme")
    assert {key for key in before if after[key] != before[key]} == {"limits.seats"}


# --- a racing read cannot preserve the old tier after the change is visible -------------------------------------------


class Held:
    """Holds a store's next reading of a tenant after it has its rows, and before they are kept."""

    def __init__(self, store: SnapshotStore, monkeypatch: pytest.MonkeyPatch) -> None:
        self.has_read, self.may_go_on = threading.Event(), threading.Event()
        reader = store._reader
        read = reader.tenant

        def tenant(tenant_id: str) -> Any:
            rows = read(tenant_id)
            if not self.has_read.is_set():
                self.has_read.set()
                assert self.may_go_on.wait(10)
            return rows

        monkeypatch.setattr(reader, "tenant", tenant)


def _read_while(store: SnapshotStore, held: Held, change: Callable[[], None]) -> bool:
    """Run ``change`` while a thread reads acme; return what the thread was told."""
    told: list[bool] = []
    thread = threading.Thread(target=lambda: told.append(Entitlements(store=store).check("acme", "f.own")))
    thread.start()
    assert held.has_read.wait(10)
    change()
    held.may_go_on.set()
    thread.join(10)
    return told[0]


def test_a_read_that_an_announced_change_overtook_is_not_kept(plan: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    with SnapshotStore(plan, poll_interval=60, background=False) as store:

        def change() -> None:
            with Session(plan) as session:
                Entitlements(session, store=store)  # so that the session's commit is announced to the store
                Registry(session).licenses.assign("acme", "free", actor="test")
                session.commit()

        assert not _read_while(store, Held(store, monkeypatch), change)
        assert not Entitlements(store=store).check("acme", "f.own")


def test_a_read_that_a_silent_change_overtook_is_old_from_its_beginning(
    plan: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its age counts from before the rows were read, so that the poll interval is a promise."""
    interval = 0.5
    with SnapshotStore(plan, poll_interval=interval, background=False) as store:

        def change() -> None:
            write(plan, lambda registry: registry.licenses.assign("acme", "free"))
            time.sleep(interval)

        _read_while(store, Held(store, monkeypatch), change)
        assert not Entitlements(store=store).check("acme", "f.own")


def test_a_catalogue_that_changed_meanwhile_is_not_mixed_with_the_old_one(
    plan: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows of the tenant carry the version of the catalogue that they belong to."""
    with SnapshotStore(plan, poll_interval=0.5, background=False) as store:
        assert Entitlements(store=store).check("warm", "f.everybody")
        write(plan, lambda registry: registry.tiers.revoke("pro", ["f.own"]))
        assert not Entitlements(store=store).check("acme", "f.own")


# --- an expired trial never becomes permanent ------------------------------------------------------------------------


def _trial(engine: Engine, seconds: float) -> None:
    with Session(engine) as session:
        seed(session, {"tenants": {"trial": {"licenses": [{"tier": "pro", "expires_at": timedelta(seconds=seconds)}]}}})
        session.commit()


@pytest.mark.parametrize("is_down", [False, True], ids=["database-up", "database-down"])
@pytest.mark.parametrize("background", [False, True])
def test_a_trial_ends_in_a_warm_store(
    plan: Engine, monkeypatch: pytest.MonkeyPatch, is_down: bool, background: bool
) -> None:
    """To the millisecond, long before the next reading, and also where there is none."""
    with SnapshotStore(plan, poll_interval=60, background=background) as store:
        entitlements = Entitlements(store=store)
        _trial(plan, 0.8)
        decision = entitlements.evaluate("trial", "f.own")
        assert decision.enabled
        ends = decision.expires_at
        assert ends is not None
        if is_down:

            def down(*_: Any) -> Any:
                raise Unreadable("down")

            monkeypatch.setattr(store._reader, "tenant", down)
            store.forget()
        while True:
            before = utc_now()
            is_on = entitlements.check("trial", "f.own")
            after = utc_now()
            if after < ends:
                assert is_on
            if before >= ends:
                assert not is_on
                break
            time.sleep(0.001)
        for _ in range(100):
            assert not entitlements.check("trial", "f.own")
            assert not entitlements.check("trial", "f.base")
        assert entitlements.check("trial", "f.everybody")


def test_a_trial_that_ended_before_it_was_first_read(plan: Engine) -> None:
    _trial(plan, -1)
    with SnapshotStore(plan, background=False) as store, Session(plan) as session:
        for entitlements in (Entitlements(session), Entitlements(store=store), Entitlements(session, store=store)):
            assert not entitlements.check("trial", "f.own")
            assert entitlements.evaluate("trial", "f.own").source is Source.REGISTRY_DEFAULT


def test_an_override_that_ended_uncovers_what_was_below(plan: Engine) -> None:
    end = timedelta(seconds=0.5)
    with Session(plan) as session:
        override = {"feature_value": {"enabled": True, "unlimited": True}, "expires_at": end}
        seed(session, {"tenants": {"acme2": {"licenses": ["pro"], "overrides": {"limits.seats": override}}}})
        session.commit()
    with SnapshotStore(plan, poll_interval=60, background=False) as store:
        entitlements = Entitlements(store=store)
        assert entitlements.evaluate("acme2", "limits.seats").unlimited
        time.sleep(0.6)
        decision = entitlements.evaluate("acme2", "limits.seats")
        assert (decision.value, decision.unlimited, decision.source) == (50, False, Source.TIER)


# --- a feature that is on for everybody does not show as "nobody has it" ----------------------------------------------


def test_on_by_default_is_on_for_who_has_no_row(plan: Engine) -> None:
    with Session(plan) as session:
        entitlements = Entitlements(session)
        assert entitlements.check("nobody", "f.everybody")
        assert entitlements.evaluate_all("nobody")["f.everybody"].reason is Reason.GRANTED
        assert "default grants it" in entitlements.explain("nobody", "f.everybody").sentence


@pytest.mark.parametrize("way", ["registry-default", "default-tier"])
def test_the_command_line_says_that_everybody_has_it(plan: Engine, way: str) -> None:
    feature = "f.everybody"
    if way == "default-tier":
        feature = "f.base"
        write(plan, lambda registry: registry.tiers.change("free", is_default=True))
    url = plan.url.render_as_string(hide_password=False)
    found = invoke("tenants", "--with", feature, url=url)
    assert found.exit_code == 0, found.output
    assert "everybody" in found.output.lower() or "every tenant" in found.output.lower(), found.output
    assert "acme" in found.output
