"""A deleted tier is given to nobody and stays with those who hold it, until they are moved to another one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.orm import sessionmaker
from sqlmodel import Session

from tests.conftest import SERVERS
from tests.support.registry import OFF, ON, everything, history, integer, seed, tier, writer
from tierwright import Entitlements, SnapshotStore, catalog
from tierwright.audit import AuditLog, AuditQuestion, tenant_history
from tierwright.catalog import CatalogDocument, move_tenants, plan_move
from tierwright.doctor import examine
from tierwright.errors import (
    AlreadyExists,
    InvalidInput,
    LossRefused,
    NotFound,
    StillInUse,
    TierClosed,
    TierDeleted,
)
from tierwright.services import support
from tierwright.services.audit import AuditContext
from tierwright.services.registry import Registry
from tierwright.services.registry.rows import apply
from tierwright.services.tenant_search import on_tier
from tierwright.tables import LicenseTier, LicenseTierFeatures, TenantLicense
from tierwright.types import FeatureType, utc_now

TIERS = LicenseTier.__table__  # type: ignore[attr-defined]  # made by the metaclass
LICENSES = TenantLicense.__table__  # type: ignore[attr-defined]  # made by the metaclass


@pytest.fixture
def session(migrated_engine: Engine) -> Iterator[Session]:
    """Yield a session on a database where acme holds pro, globex a trial of it, and initech the free default."""
    with Session(migrated_engine, expire_on_commit=False) as session:
        registry = writer(session)
        limit = {"enabled": True, "value": 5}
        seed(registry, "a.one", "a.two", integer("a.limit"), pro={"a.one": ON, "a.limit": limit}, free={"a.two": ON})
        registry.tiers.create(tier("plus", rank=2))
        registry.tiers.grant("plus", {"a.one": ON, "a.two": ON, "a.limit": {"enabled": True, "value": 9}})
        registry.licenses.assign("acme", "pro")
        registry.licenses.trial("globex", "pro", days=10)
        session.commit()
        yield session


@pytest.fixture
def registry(session: Session) -> Registry:
    return Registry(session)


def the(session: Session, **where: Any) -> LicenseTier:
    return session.scalars(sa.select(LicenseTier).filter_by(**where)).one()


def held(session: Session, tenant_id: str, key: str) -> TenantLicense:
    row = session.get(TenantLicense, (tenant_id, key))  # get_one() is newer than the SQLAlchemy that is promised
    assert row is not None
    return row


def test_a_deleted_tier_can_be_assigned_nowhere(session: Session, registry: Registry) -> None:
    result = registry.tiers.delete("pro")
    assert result.changed
    assert "until they are moved" in result.warnings[0]
    row = the(session, tier_key="pro")
    assert (row.is_active, row.deleted_at is not None) == (False, True)
    before = everything(session)
    for refused in (
        lambda: registry.licenses.assign("acme", "pro"),
        lambda: registry.licenses.assign("new", "pro"),
        lambda: registry.licenses.trial("new", "pro", days=3),
        lambda: registry.tiers.create(tier("heir"), base="pro"),
        lambda: registry.tiers.create(tier("heir", base_tier_id=row.id)),
        lambda: registry.tiers.set_base("free", "pro"),
        lambda: registry.tiers.set_base("pro", "free"),
        lambda: registry.tiers.change("pro", is_default=True),
        lambda: registry.tiers.restore("pro"),
        lambda: registry.tiers.delete("pro"),
        lambda: registry.tiers.grant("pro", {"a.two": ON}),
        lambda: registry.tiers.revoke("pro", ["a.one"]),
        lambda: plan_move(session, "free", "pro"),
    ):
        with pytest.raises(TierDeleted, match="was deleted"):
            refused()
    assert everything(session) == before
    # Whoever writes it: neither the default nor open, which keeps the previous release from giving it away.
    for column in ("is_default", "is_active"):
        with pytest.raises(sa.exc.IntegrityError, match="chk_license_tier_deleted"), session.begin_nested():
            session.connection().execute(sa.update(TIERS).where(TIERS.c.id == row.id).values({column: True}))


def ways_past_the_services(session: Session) -> Iterator[Callable[[], Any]]:
    """Yield how a host could give away the deleted tier, or change it."""
    pro, free = the(session, tier_key="pro"), the(session, tier_key="free")
    globex = held(session, "globex", "trial")
    session.execute(sa.update(TenantLicense).values(license_tier_id=free.id))
    [one] = session.scalars(sa.select(LicenseTierFeatures).filter_by(license_tier_id=pro.id, feature_key="a.one"))
    license_ = {"tenant_id": "new", "license_tier_id": pro.id}
    grant = {"license_tier_id": pro.id, "feature_key": "a.two", "feature_value": ON}
    heir = {"tier_key": "heir", "name": "Heir", "base_tier_id": pro.id}
    of_globex = sa.update(TenantLicense).where(LICENSES.c.tenant_id == "globex")
    is_pro = TIERS.c.id == pro.id
    for row in (TenantLicense(**license_), LicenseTierFeatures(**grant), LicenseTier(**heir)):
        yield partial(session.add, row)
    for changed, name, value in (
        (globex, "license_tier_id", pro.id),
        (free, "base_tier_id", pro.id),
        (pro, "rank", 7),
        (pro, "tier_key", "other"),
        (one, "feature_value", OFF),
    ):
        yield partial(setattr, changed, name, value)
    yield partial(session.delete, one)
    for model, values in ((TenantLicense, license_), (LicenseTierFeatures, grant), (LicenseTier, heir)):
        yield partial(session.execute, sa.insert(model).values(values))
        yield partial(session.execute, sa.insert(model), [values])
    yield partial(session.execute, of_globex.values(license_tier_id=pro.id))
    yield partial(session.execute, of_globex.values(license_tier_id=sa.bindparam("tier")), {"tier": pro.id})
    by_key = {"tenant_id": "globex", "license_key": "trial", "license_tier_id": pro.id}
    yield partial(session.execute, sa.update(TenantLicense), [by_key])
    yield partial(session.execute, sa.update(LicenseTier).where(TIERS.c.id == free.id).values(base_tier_id=pro.id))
    yield partial(session.execute, sa.update(LicenseTier).where(is_pro).values(rank=7))
    yield partial(session.execute, sa.delete(LicenseTierFeatures).filter_by(license_tier_id=pro.id))
    yield partial(session.execute, sa.update(LicenseTierFeatures).values(feature_value=OFF))


def test_nor_past_the_services(session: Session, registry: Registry, migrated_engine: Engine) -> None:
    registry.tiers.delete("pro")
    session.commit()
    before = everything(session)
    for number in range(len(list(ways_past_the_services(session)))):
        session.rollback()
        write = list(ways_past_the_services(session))[number]
        with pytest.raises(TierDeleted, match="pro was deleted"):  # noqa: PT012  the write, at once or in a flush
            write()
            session.flush()
        session.rollback()
    of_globex = sa.update(TenantLicense).where(LICENSES.c.tenant_id == "globex")
    with pytest.raises(InvalidInput, match="for the database to work out"):
        session.execute(of_globex.values(license_tier_id=sa.select(TIERS.c.id).limit(1).scalar_subquery()))
    session.rollback()
    assert everything(session) == before
    with Session(migrated_engine.execution_options(isolation_level="AUTOCOMMIT")) as alone:
        pro_id = the(alone, tier_key="pro").id
        heir = LicenseTier(tier_key="heir", name="Heir", base_tier_id=pro_id)
        for row in (TenantLicense(tenant_id="new", license_tier_id=pro_id), heir):
            alone.add(row)
            with pytest.raises(TierDeleted, match="pro was deleted"):
                alone.flush()
            alone.rollback()
    assert everything(session) == before
    # What goes past the session is found.
    pro = the(session, tier_key="pro")
    session.connection().execute(sa.update(TIERS).where(TIERS.c.tier_key == "plus").values(base_tier_id=pro.id))
    session.connection().execute(sa.insert(LICENSES).values(tenant_id="new", license_tier_id=pro.id))
    session.commit()
    found = {each.code: each.message for each in examine(session.get_bind()).findings if each.code.startswith("tier-")}
    assert found == {
        "tier-base-deleted": "1 tier(s) inherit from a deleted one: plus/pro.",
        "tier-given-deleted": "1 licence(s) were made for a tier that had been deleted: new/main/pro.",
    }
    # Whoever holds it keeps it, and its licence changes in all other ways.
    session.execute(of_globex.values(expires_at=None))
    held(session, "acme", "main").is_active = False
    session.commit()


def test_a_host_deletes_and_revives_tiers_by_the_same_rules(session: Session, registry: Registry) -> None:
    registry.tiers.create(tier("heir"), base="pro")
    session.commit()
    pro, heir = the(session, tier_key="pro"), the(session, tier_key="heir")
    ended = {"deleted_at": utc_now(), "is_active": False}
    for end in (
        lambda: apply(pro, ended),
        lambda: session.execute(sa.update(LicenseTier).where(TIERS.c.id == pro.id).values(ended)),
        lambda: session.execute(sa.update(LicenseTier), [{"id": pro.id, **ended}]),
    ):
        with pytest.raises(StillInUse, match="heir"):  # noqa: PT012
            end()
            session.flush()
        session.rollback()
    session.execute(sa.update(LicenseTier).where(TIERS.c.tier_key.in_(["pro", "heir"])).values(ended))
    session.commit()
    for revive in (
        lambda: apply(heir, {"deleted_at": None, "is_active": True}),
        lambda: session.execute(sa.update(LicenseTier).where(TIERS.c.id == heir.id).values(deleted_at=None)),
    ):
        with pytest.raises(TierDeleted, match="pro was deleted"):  # noqa: PT012
            revive()
            session.flush()
        session.rollback()
    apply(pro, {"deleted_at": None, "is_active": True})
    apply(heir, {"deleted_at": None, "is_active": True})
    session.commit()
    assert registry.licenses.assign("new", "heir").changed


def test_a_move_to_the_tier_that_has_the_key_now_is_recorded(session: Session, registry: Registry) -> None:
    registry.tiers.delete("pro")
    registry.tiers.create(tier("pro", rank=0))
    registry.tiers.grant("pro", {"a.two": ON})
    session.commit()
    new = the(session, tier_key="pro", is_active=True)
    held(session, "acme", "main").license_tier_id = new.id
    session.execute(sa.update(TenantLicense).where(LICENSES.c.tenant_id == "globex").values(license_tier_id=new.id))
    session.commit()
    for tenant in ("acme", "globex"):
        entry = AuditLog(session).page(AuditQuestion(tenant=tenant)).entries[0]
        assert (entry.action, entry.old_value, entry.new_value) == (
            "updated",
            {"tier_key": "pro (deleted)"},
            {"tier_key": "pro"},
        )
        assert tenant_history(session, tenant, at=utc_now()).gaps == ()


def test_what_others_need_cannot_be_deleted(registry: Registry) -> None:
    registry.tiers.create(tier("heir"), base="pro")
    registry.tiers.change("free", is_default=True)
    with pytest.raises(StillInUse, match="heir"):
        registry.tiers.delete("pro")
    with pytest.raises(StillInUse, match="default"):
        registry.tiers.delete("free")
    with pytest.raises(NotFound):
        registry.tiers.delete("nobody")
    registry.tiers.delete("heir")
    registry.tiers.delete("pro")
    with pytest.raises(TierDeleted, match="pro"):  # its base
        registry.tiers.undelete("heir")
    registry.tiers.undelete("pro")
    registry.tiers.undelete("heir")


def test_holders_keep_it_and_are_told(session: Session, registry: Registry) -> None:
    asked = Entitlements(session)
    before = asked.evaluate_all("acme")
    registry.tiers.delete("pro")
    session.commit()
    after = asked.evaluate_all("acme")
    assert {key: (one.enabled, one.value) for key, one in after.items()} == {
        key: (one.enabled, one.value) for key, one in before.items()
    }
    assert (after["a.one"].tier_key, after["a.one"].tier_deleted, before["a.one"].tier_deleted) == ("pro", True, False)
    said = asked.explain("acme", "a.one").sentence
    assert "its tier pro, which was deleted and counts until the tenant is moved," in said
    with SnapshotStore(session.get_bind(), background=False) as store:
        assert Entitlements(store=store).evaluate("acme", "a.one") == after["a.one"]
    held = support.licenses_of(session.connection(), "acme")
    assert [(each.tier_key, each.tier_deleted) for each in held] == [("pro", True)]
    assert [tenant for tenant, _ in on_tier(session.connection(), "pro", utc_now(), is_deleted=True)] == [
        "acme",
        "globex",
    ]
    with pytest.raises(TierDeleted):
        on_tier(session.connection(), "pro", utc_now())
    assert support.said_about(session.connection(), "a.one").keys() == {"plus"}


def test_its_key_is_used_again_and_nothing_is_mixed_up(session: Session, registry: Registry) -> None:
    registry.tiers.delete("pro")
    registry.tiers.create(tier("pro", rank=0))
    registry.tiers.grant("pro", {"a.two": ON})
    registry.licenses.assign("new", "pro", expires_at=utc_now() + timedelta(days=1))
    registry.licenses.assign("both", "pro", expires_at=utc_now() + timedelta(days=1))
    session.commit()
    old, new = the(session, is_active=False), the(session, tier_key="pro", is_active=True)
    # As raw SQL could: a tenant may also have held the old one all the time.
    values = {"tenant_id": "both", "license_key": "old", "license_tier_id": old.id}
    session.connection().execute(sa.insert(LICENSES).values(values))
    session.commit()
    asked = Entitlements(session)
    for tenant, key, granted, is_old in (
        ("acme", "a.one", True, True),
        ("acme", "a.two", False, False),
        ("new", "a.two", True, False),
        ("new", "a.one", False, False),
        ("both", "a.one", True, True),
        ("both", "a.two", True, False),
    ):
        decision = asked.evaluate(tenant, key)
        assert (decision.enabled, decision.tier_deleted) == (granted, is_old), (tenant, key)
    # The ends of the two are not mixed up either, with and without an override.
    registry.overrides.set("both", "a.limit", OFF)
    session.commit()
    found = asked.evaluate_all("both")
    assert (found["a.one"].expires_at, found["a.two"].expires_at is not None) == (None, True)
    with pytest.raises(sa.exc.IntegrityError), session.begin_nested():
        session.execute(sa.update(TIERS).where(TIERS.c.id == new.id).values(tier_key="plus"))

    with pytest.raises(AlreadyExists, match="new_key"):
        registry.tiers.undelete("pro")
    assert registry.tiers.undelete("pro", new_key="pro-2025").changed
    session.commit()
    assert asked.evaluate("acme", "a.one").tier_key == "pro-2025"
    registry.tiers.delete("pro")
    registry.tiers.delete("pro-2025")
    with pytest.raises(NotFound):
        registry.tiers.undelete("nobody")


def test_of_several_deleted_tiers_the_id_says_which(session: Session, registry: Registry) -> None:
    registry.tiers.delete("pro")
    registry.tiers.create(tier("pro"))
    registry.tiers.delete("pro")
    ids = session.scalars(sa.select(TIERS.c.id).where(TIERS.c.tier_key == "pro").order_by(TIERS.c.deleted_at)).all()
    with pytest.raises(InvalidInput, match="Several") as caught:
        registry.tiers.undelete("pro")
    assert caught.value.details["ids"] == [str(each) for each in ids]
    assert registry.tiers.undelete("pro", tier_id=ids[0]).changed
    assert Entitlements(session).evaluate("acme", "a.one").tier_deleted is False


def test_the_history_tells_it_and_can_be_replayed(session: Session, registry: Registry) -> None:
    count = len(history(session))
    registry.tiers.delete("pro")
    session.commit()
    registry.tiers.create(tier("pro"))
    registry.licenses.assign("new", "pro")
    session.commit()
    kept = tenant_history(session, "acme", at=utc_now())
    assert {key: decision.enabled for key, decision in kept.decisions.items()} == {
        "a.one": True,
        "a.two": False,
        "a.limit": True,
    }
    assert not tenant_history(session, "new", at=utc_now()).decisions["a.one"].enabled
    registry.tiers.undelete("pro", new_key="old")
    session.commit()
    told = [(kind, key, action) for kind, key, action, *_ in history(session, after=count) if kind == "tier"]
    assert told == [
        ("tier", "pro", "archived"),
        ("tier", "pro", "created"),
        ("tier", "pro", "restored"),
        ("tier", "old", "restored"),
    ]
    assert tenant_history(session, "acme", at=utc_now()).decisions["a.one"].tier_key == "old"
    row = the(session, tier_key="plus")  # by the host itself
    row.is_active, row.deleted_at = False, utc_now()
    session.commit()
    assert history(session)[-1][:3] == ("tier", "plus", "archived")


# --- documents -------------------------------------------------------------------------------------------------------


def test_documents_leave_deleted_tiers_alone(session: Session, registry: Registry) -> None:
    registry.tiers.create(tier("heir"), base="free")
    registry.licenses.assign("heirs", "heir")
    registry.tiers.delete("heir")
    registry.tiers.delete("pro")
    session.commit()
    document = catalog.export(session)
    assert set(document.tiers) == {"free", "plus"}
    same = catalog.plan(session, document)
    assert same.is_empty
    assert "2 licences are for the deleted tier pro" in " ".join(same.warnings)
    # A document that makes the key again makes another tier.
    again = document.model_copy(update={"tiers": {**document.tiers, "pro": document.tiers["plus"]}})
    planned = catalog.plan(session, again)
    assert [(change.kind, change.key) for change in planned.changes if change.entity == "tier"] == [("create", "pro")]
    assert "The tier pro is another one than the deleted tier that had this key." in planned.warnings
    assert planned.effect.takes_away is False
    assert catalog.apply(session, planned).changed
    session.commit()
    assert Entitlements(session).evaluate("acme", "a.limit").value == 5
    renamed = again.model_copy(
        update={"tiers": {**again.tiers, "pro": again.tiers["pro"].model_copy(update={"name": "Other"})}}
    )
    catalog.apply(session, renamed)
    session.commit()
    assert {row.name for row in session.scalars(sa.select(LicenseTier).filter_by(tier_key="pro"))} == {"Pro", "Other"}
    # What a deleted tier needs is not pruned: its base, and the features that it grants to those who hold it.
    result = catalog.apply(session, CatalogDocument(), prune=True, allow_loss=True)
    session.commit()
    assert any("free is retired, not deleted, because 1 deleted tier" in warning for warning in result.warnings)
    assert {row.tier_key for row in session.scalars(sa.select(LicenseTier))} == {"free", "heir", "pro"}
    kept = session.execute(sa.text("SELECT feature_key FROM feature_registry")).scalars().all()
    assert set(kept) == {"a.one", "a.two", "a.limit"}


def test_a_feature_keeps_its_type_while_a_deleted_tier_has_a_value(session: Session, registry: Registry) -> None:
    registry.tiers.delete("pro")
    registry.tiers.revoke("plus", ["a.limit"])
    default = {"enabled": False, "value": "none"}
    with pytest.raises(StillInUse, match="pro"):
        registry.features.change("a.limit", feature_type="string", default_value=default)
    document = catalog.export(session)
    changes = {"feature_type": FeatureType.STRING, "default_value": default}
    entry = document.features["a.limit"].model_copy(update=changes)
    with pytest.raises(StillInUse, match="pro"):
        catalog.plan(session, document.model_copy(update={"features": {**document.features, "a.limit": entry}}))


# --- moving tenants --------------------------------------------------------------------------------------------------


def test_a_preview_says_who_gains_and_loses_what(session: Session, registry: Registry) -> None:
    registry.tiers.create(tier("heir"), base="pro")
    registry.licenses.assign("heirs", "heir")
    registry.licenses.assign("later", "pro", starts_at=utc_now() + timedelta(days=3))
    registry.overrides.set("globex", "a.two", OFF)
    registry.integrations.create(
        {"integration_key": "chat", "integration_name": "C", "category": "c", "feature_key": "a.one"}
    )
    session.commit()
    up = plan_move(session, "pro", "plus")
    assert (up.licenses, up.effect.tenants, up.effect.takes_away) == (3, 3, False)
    assert {(each.tenant_id, each.outcome.feature_key, str(each.outcome.kind)) for each in up.iterate(session)} == {
        ("acme", "a.limit", "changed"),
        ("acme", "a.two", "gain"),
        ("globex", "a.limit", "changed"),
    }
    down = plan_move(session, "pro", "free")
    lost = {(each.tenant_id, each.outcome.feature_key, str(each.outcome.kind)) for each in down.iterate(session)}
    assert lost >= {("acme", "a.one", "loss"), ("globex", "a.limit", "loss"), ("acme", "a.two", "gain")}
    assert (down.effect.takes_away, down.effect.less.tenants) == (True, 2)
    assert not any(tenant == "heirs" for tenant, *_ in lost)
    # To an heir of the same tier, nobody notices anything.
    assert not list(plan_move(session, "pro", "heir").iterate(session))
    registry.tiers.retire("free")
    for target, error in (("pro", InvalidInput), ("free", TierClosed), ("nobody", NotFound)):
        with pytest.raises(error):
            plan_move(session, "pro", target)


def holders(session: Session, key: str) -> set[str]:
    statement = sa.select(LICENSES.c.tenant_id).join(TIERS, TIERS.c.id == LICENSES.c.license_tier_id)
    return set(session.scalars(statement.where(TIERS.c.tier_key == key)))


def test_tenants_are_moved_in_batches_and_a_stopped_move_goes_on(session: Session, registry: Registry) -> None:
    now = utc_now()
    for number in range(9):
        registry.licenses.assign(f"t{number}", "pro", expires_at=now + timedelta(days=30))
    registry.licenses.assign("gone", "pro", starts_at=now - timedelta(days=9), expires_at=now - timedelta(days=1))
    registry.tiers.delete("pro")
    session.commit()
    sessions = sessionmaker(session.get_bind(), class_=Session)
    with pytest.raises(LossRefused):
        move_tenants(sessions, "pro", "free", is_deleted=True, actor="ops")
    stops = iter(range(2))

    def stop(_moved: int) -> None:
        if next(stops, None) is None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        move_tenants(sessions, "pro", "plus", is_deleted=True, batch_size=2, actor="ops", progress=stop)
    session.rollback()
    assert len(holders(session, "plus")) == 6  # three batches were committed
    session.rollback()
    report = move_tenants(sessions, "pro", "plus", is_deleted=True, batch_size=2, actor="ops", reason="pro ends")
    assert (report.moved, report.remaining) == (5, 0)
    assert move_tenants(sessions, "pro", "plus", is_deleted=True, actor="ops").moved == 0
    assert holders(session, "pro") == {"gone"}  # of the past
    entries = [entry for entry in history(session) if entry[4] == {"tier_key": "plus"}]
    assert len(entries) == 11
    assert entries[0][:3] == ("tenant_license", "acme/main", "updated")
    kept = session.execute(sa.select(LICENSES.c.expires_at).where(LICENSES.c.tenant_id == "t1")).scalar_one()
    assert kept == now + timedelta(days=30)
    assert Entitlements(session).evaluate("t1", "a.limit").value == 9


def test_a_move_stops_where_another_tier_has_the_key_by_now(session: Session, registry: Registry) -> None:
    sessions = sessionmaker(session.get_bind(), class_=Session)

    def replace_target(_moved: int) -> None:
        registry.tiers.delete("plus")
        registry.tiers.create(tier("plus", rank=1))
        session.commit()

    with pytest.raises(TierDeleted, match="plus was deleted"):
        move_tenants(sessions, "pro", "plus", batch_size=1, actor="ops", progress=replace_target)
    session.expire_all()
    by_tier = sa.select(TIERS.c.tier_key, TIERS.c.is_active).join(LICENSES, LICENSES.c.license_tier_id == TIERS.c.id)
    assert sorted(map(tuple, session.execute(by_tier))) == [("plus", False), ("pro", True)]


def test_a_store_hears_of_a_move(session: Session, migrated_engine: Engine) -> None:
    sessions = sessionmaker(migrated_engine, class_=Session)
    move_tenants(sessions, "pro", "plus", actor="ops")
    with SnapshotStore(migrated_engine, background=False, poll_interval=0) as store:
        assert Entitlements(store=store).check("acme", "a.two")


MOVING = """
import sys
from sqlalchemy.orm import sessionmaker
from tierwright.catalog import move_tenants
from tierwright.migrations.urls import migration_engine

def told(moved):
    print(moved, flush=True)
    sys.stdin.readline()

move_tenants(sessionmaker(migration_engine(sys.argv[1])), "pro", "plus", batch_size=1, actor="ops", progress=told)
"""


@pytest.mark.parametrize("database_kind", ["sqlite", SERVERS[-1]], indirect=True)
def test_a_move_that_is_killed_loses_nothing(session: Session, registry: Registry, migrated_url: str) -> None:
    for number in range(4):
        registry.licenses.assign(f"t{number}", "pro")
    session.commit()
    process = subprocess.Popen(
        [sys.executable, "-c", MOVING, migrated_url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == "1\n"
    process.stdin.write("\n")
    process.stdin.flush()
    process.kill()
    process.communicate()
    sessions = sessionmaker(session.get_bind(), class_=Session)
    AuditContext("ops").attach(session)
    move_tenants(sessions, "pro", "plus", actor="ops")
    assert len(holders(session, "plus")) == 6
    told = [entry[1] for entry in history(session) if entry[4] == {"tier_key": "plus"}]
    assert sorted(told) == ["acme/main", "globex/trial", "t0/main", "t1/main", "t2/main", "t3/main"]
