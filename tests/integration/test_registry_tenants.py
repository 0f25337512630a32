"""Writes about one tenant: licences, overrides, and the end of them all."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.engine import Engine
from sqlmodel import Session, select

from tests.support.registry import OFF, ON, everything, feature, history, integer, seed, tier, version, writer
from tests.support.rows import fill
from tierwright import tables
from tierwright.errors import ConflictRefused, InvalidInput, NotFound, ReferenceUnknown, TierClosed
from tierwright.services.entitlements import Entitlements
from tierwright.services.registry import Registry, WriteResult
from tierwright.types import utc_now

HOUR = timedelta(hours=1)


@pytest.fixture
def session(migrated_engine: Engine) -> Iterator[Session]:
    with Session(migrated_engine) as session:
        yield session


@pytest.fixture
def registry(session: Session) -> Registry:
    return writer(session)


def license_of(session: Session, key: str = "main") -> tables.TenantLicense | None:
    return session.get(tables.TenantLicense, ("acme", key), populate_existing=True)


def override_of(session: Session, key: str) -> tables.TenantFeatureOverride | None:
    return session.get(tables.TenantFeatureOverride, ("acme", key), populate_existing=True)


class TestLicenses:
    def test_moving_a_licence_into_the_future_says_what_the_tenant_loses_until_then(
        self, session: Session, registry: Registry
    ) -> None:
        seed(registry, free={}, pro={})
        assert registry.licenses.assign("acme", "free").warnings == ()
        moved = registry.licenses.assign("acme", "pro", starts_at=utc_now() + HOUR)
        assert "the licence main gives nothing" in moved.warnings[0]
        assert registry.licenses.assign("acme", "free", starts_at=utc_now() + HOUR).warnings == ()

    def test_a_registry_may_know_who_writes(self, session: Session) -> None:
        registry = Registry(session, actor="ada", reason="spring prices")
        registry.tiers.create({"tier_key": "pro", "name": "Pro"})
        [entry] = session.exec(select(tables.FeatureAuditLog)).all()
        assert (entry.performed_by, entry.reason) == ("ada", "spring prices")
        with pytest.raises(TypeError):
            Registry(session, reason="nobody's")

    def test_assigning_writes_changes_and_repeats(self, session: Session, registry: Registry) -> None:
        seed(registry, free={}, pro={})
        start, before = len(history(session)), version(session)
        end = utc_now() + HOUR
        assert registry.licenses.assign("acme", "free") == WriteResult(True)
        assert registry.licenses.assign("acme", "free") == WriteResult(False)
        first = license_of(session).updated_at
        assert registry.licenses.assign("acme", "pro", expires_at=end).changed
        assert license_of(session).updated_at > first
        assert registry.licenses.assign("acme", "pro", license_key="add-on").changed
        assert history(session, after=start) == [
            (
                "tenant_license",
                "acme/main",
                "created",
                None,
                {"tier_key": "free", "starts_at": None, "expires_at": None, "is_active": True},
            ),
            (
                "tenant_license",
                "acme/main",
                "updated",
                {"tier_key": "free", "expires_at": None},
                {"tier_key": "pro", "expires_at": end.isoformat()},
            ),
            (
                "tenant_license",
                "acme/add-on",
                "created",
                None,
                {"tier_key": "pro", "starts_at": None, "expires_at": None, "is_active": True},
            ),
        ]
        assert version(session) == before  # a tenant's write is no change of the catalogue

    def test_a_trial_ends_by_itself_and_leaves_the_licence_below_it(self, session: Session, registry: Registry) -> None:
        seed(registry, "a.one", free={}, pro={"a.one": ON})
        registry.licenses.assign("acme", "free")
        assert registry.licenses.trial("acme", "pro", days=14).changed
        trial = license_of(session, "trial")
        assert trial.expires_at - trial.starts_at == timedelta(days=14)
        entitlements = Entitlements(session)
        assert entitlements.check("acme", "a.one")
        assert not entitlements.check("acme", "a.one", at=trial.expires_at)
        assert license_of(session).license_tier_id != trial.license_tier_id

    def test_a_trial_has_whole_days(self, registry: Registry) -> None:
        for days in (0, -1, 3651, True, 1.5, "14", 10**5000):
            with pytest.raises(InvalidInput, match="days"):
                registry.licenses.trial("acme", "pro", days=days)  # type: ignore[arg-type]  # wrong on purpose

    def test_ending_keeps_the_past(self, session: Session, registry: Registry) -> None:
        seed(registry, "a.one", pro={"a.one": ON})
        with pytest.raises(NotFound, match="main"):
            registry.licenses.end("acme")
        registry.licenses.assign("acme", "pro")
        assert Entitlements(session).check("acme", "a.one")
        assert registry.licenses.end("acme") == WriteResult(True)
        assert registry.licenses.end("acme") == WriteResult(False)
        assert not Entitlements(session).check("acme", "a.one")
        assert license_of(session).expires_at <= utc_now()
        assert registry.licenses.assign("acme", "pro").changed
        assert Entitlements(session).check("acme", "a.one")

    def test_ending_what_has_not_begun_deletes_it(self, session: Session, registry: Registry) -> None:
        seed(registry, pro={})
        registry.licenses.assign("acme", "pro", starts_at=utc_now() + HOUR)
        assert registry.licenses.end("acme").changed
        assert license_of(session) is None
        assert history(session)[-1][2] == "deleted"

    def test_a_closed_tier_is_for_its_holders(self, session: Session, registry: Registry) -> None:
        seed(registry, pro={}, free={})
        registry.licenses.assign("acme", "pro")
        registry.licenses.assign("lapsed", "pro")
        registry.licenses.end("lapsed")
        registry.tiers.retire("pro")
        assert registry.licenses.assign("acme", "pro", expires_at=utc_now() + HOUR).changed
        for tenant, license_key in (("globex", "main"), ("acme", "second"), ("lapsed", "main")):
            with pytest.raises(TierClosed, match="pro"):
                registry.licenses.assign(tenant, "pro", license_key=license_key)
        with pytest.raises(TierClosed):
            registry.licenses.trial("globex", "pro", days=1)
        registry.licenses.assign("acme", "free")
        with pytest.raises(TierClosed):  # who left does not come back
            registry.licenses.assign("acme", "pro")

    def test_what_a_licence_names_must_make_sense(self, session: Session, registry: Registry) -> None:
        seed(registry, pro={})
        before = everything(session)
        with pytest.raises(ReferenceUnknown, match="nowhere"):
            registry.licenses.assign("acme", "nowhere")
        for refused in (
            {"starts_at": datetime(2026, 1, 1)},
            {"expires_at": "2026-01-01T00:00:00Z "},
            {"starts_at": utc_now() + HOUR, "expires_at": utc_now()},
            {"license_key": ""},
        ):
            with pytest.raises(InvalidInput):
                registry.licenses.assign("acme", "pro", **refused)
        assert everything(session) == before


class TestOverrides:
    def test_setting_writes_changes_and_repeats(self, session: Session, registry: Registry) -> None:
        seed(registry, integer("a.one"))
        start = len(history(session))
        value = {"enabled": True, "value": 5}
        assert registry.overrides.set("acme", "a.one", value, reason="big customer") == WriteResult(True)
        assert registry.overrides.set("acme", "a.one", value, reason="asked again") == WriteResult(False)
        first = override_of(session, "a.one").updated_at
        assert registry.overrides.set("acme", "a.one", {"enabled": True, "unlimited": True}, reason="more").changed
        assert override_of(session, "a.one").updated_at > first
        assert history(session, after=start) == [
            (
                "tenant_override",
                "acme/a.one",
                "created",
                None,
                {"feature_value": value, "starts_at": None, "expires_at": None, "reason": "big customer"},
            ),
            (
                "tenant_override",
                "acme/a.one",
                "updated",
                {"feature_value": value, "reason": "big customer"},
                {"feature_value": {"enabled": True, "unlimited": True}, "reason": "more"},
            ),
        ]

    def test_removing_keeps_the_past(self, session: Session, registry: Registry) -> None:
        seed(registry, "a.one")
        with pytest.raises(NotFound, match=r"a\.one"):
            registry.overrides.remove("acme", "a.one")
        registry.overrides.set("acme", "a.one", ON)
        assert Entitlements(session).check("acme", "a.one")
        assert registry.overrides.remove("acme", "a.one") == WriteResult(True)
        assert registry.overrides.remove("acme", "a.one") == WriteResult(False)
        assert not Entitlements(session).check("acme", "a.one")
        assert override_of(session, "a.one").expires_at <= utc_now()

    def test_removing_what_has_not_begun_deletes_it(self, session: Session, registry: Registry) -> None:
        seed(registry, "a.one")
        registry.overrides.set("acme", "a.one", ON, starts_at=utc_now() + HOUR)
        assert registry.overrides.remove("acme", "a.one").changed
        assert override_of(session, "a.one") is None

    def test_a_missing_prerequisite_is_a_warning_that_names_it(self, session: Session, registry: Registry) -> None:
        seed(registry, "a.one", feature("a.two", depends_on=["a.one"]))
        result = registry.overrides.set("acme", "a.two", ON)
        assert result == WriteResult(True, ("a.two stays off, because it needs a.one.",))
        assert registry.overrides.set("acme", "a.two", ON).warnings == result.warnings
        assert registry.overrides.set("acme", "a.one", ON) == WriteResult(True)
        assert Entitlements(session).check("acme", "a.two")
        lost = registry.overrides.set("acme", "a.one", OFF)
        assert lost.warnings == ("a.two goes off with it, because it needs a.one.",)
        registry.features.retire("a.two")
        assert "retired" in registry.overrides.set("acme", "a.two", ON).warnings[0]

    def test_a_conflict_is_refused_unless_the_call_denies_the_other_side(
        self, session: Session, registry: Registry
    ) -> None:
        seed(registry, "a.one", feature("a.two", conflicts_with=["a.one"]), "a.three", pro={"a.one": ON})
        registry.licenses.assign("acme", "pro")
        before = everything(session)
        for deny in ((), ["a.three"]):
            with pytest.raises(ConflictRefused, match=r"a\.two and a\.one") as caught:
                registry.overrides.set("acme", "a.two", ON, deny=deny)
            assert caught.value.details["blocked_by"] == ["a.one"]
            assert everything(session) == before
        assert registry.overrides.set("globex", "a.two", ON).changed  # has nothing that excludes it
        start = len(history(session))
        end = utc_now() + HOUR
        assert registry.overrides.set("acme", "a.two", ON, expires_at=end, deny=["a.one"]) == WriteResult(True)
        denied = override_of(session, "a.one")
        assert (denied.feature_value, denied.expires_at) == (OFF, end)
        assert [entry[1:3] for entry in history(session, after=start)] == [
            ("acme/a.two", "created"),
            ("acme/a.one", "created"),
        ]
        entitlements = Entitlements(session)
        assert (entitlements.check("acme", "a.two"), entitlements.check("acme", "a.one")) == (True, False)
        # Removing one half brings the conflict back; that is said, not hidden.
        assert registry.overrides.remove("acme", "a.one").warnings == ("a.two goes off, because it excludes a.one.",)

    def test_a_conflict_later_in_the_window_counts(self, session: Session, registry: Registry) -> None:
        seed(registry, "a.one", feature("a.two", conflicts_with=["a.one"]), pro={"a.one": ON})
        registry.licenses.assign("acme", "pro", starts_at=utc_now() + HOUR)
        with pytest.raises(ConflictRefused):
            registry.overrides.set("acme", "a.two", ON)
        assert registry.overrides.set("acme", "a.two", ON, expires_at=utc_now() + HOUR / 2).changed

    def test_a_conflict_of_a_dependent_counts(self, registry: Registry) -> None:
        seed(
            registry,
            "a.base",
            feature("a.two", depends_on=["a.base"]),
            feature("a.three", conflicts_with=["a.two"]),
        )
        registry.overrides.set("acme", "a.two", ON)
        registry.overrides.set("acme", "a.three", ON)
        with pytest.raises(ConflictRefused, match=r"a\.three and a\.two|a\.two and a\.three"):
            registry.overrides.set("acme", "a.base", ON)

    def test_a_switched_off_partner_is_still_a_conflict(self, registry: Registry) -> None:
        seed(registry, "a.one", feature("a.two", conflicts_with=["a.one"]))
        registry.overrides.set("acme", "a.one", ON)
        registry.features.retire("a.one")
        with pytest.raises(ConflictRefused):
            registry.overrides.set("acme", "a.two", ON)

    def test_what_an_override_names_must_make_sense(self, session: Session, registry: Registry) -> None:
        seed(registry, integer("a.one"), "a.two")
        before = everything(session)
        for key, deny in (("a.nowhere", ()), ("a.one", ["a.nowhere"])):
            with pytest.raises(ReferenceUnknown, match=r"a\.nowhere"):
                registry.overrides.set("acme", key, ON, deny=deny)
        for value, more in (
            ({"enabled": True, "value": "5"}, {}),
            ({"value": 5}, {}),
            (ON, {"deny": ["a.one"]}),
            (ON, {"deny": "a.two"}),
            (ON, {"deny": 5}),
            (ON, {"starts_at": datetime(2026, 1, 1)}),
            (ON, {"starts_at": utc_now(), "expires_at": utc_now() - HOUR}),
        ):
            with pytest.raises(InvalidInput):
                registry.overrides.set("acme", "a.one", value, **more)
        assert everything(session) == before


class TestPurge:
    def test_everything_of_one_tenant_goes_and_one_entry_stays(self, session: Session, registry: Registry) -> None:
        fill(session.connection())
        registry.licenses.assign("globex", "pro")
        start = len(history(session))
        other = [row for row in everything(session)["tenant_integration_configs"] if "globex" in row]
        result = registry.purge("acme", reason="left")
        counts = {"tenant_license": 1, "tenant_feature_override": 1, "tenant_integration_configs": 1}
        assert (result.changed, dict(result.deleted)) == (True, counts)
        assert history(session, after=start) == [("tenant", "acme", "purged", None, counts)]
        left = everything(session)
        assert left["tenant_integration_configs"] == other
        assert len(left["tenant_license"]) == 1
        assert not registry.purge("acme").changed
        assert everything(session) == left

    def test_any_tenant_can_be_named(self, session: Session, registry: Registry) -> None:
        seed(registry, "a.one", pro={})
        for tenant in ("100%", "o'hara", 'a"b', "%s", "%(x)s", ":x", "a;--", "Ω", 7):
            registry.licenses.assign(tenant, "pro")
            registry.overrides.set(tenant, "a.one", ON)
            assert Entitlements(session).check(tenant, "a.one")
            assert registry.purge(tenant).changed


def test_a_write_in_a_loaded_session_shows_what_the_database_has(migrated_engine: Engine) -> None:
    """What a session loaded earlier is read again under the lock."""
    with Session(migrated_engine) as session:
        seed(writer(session), tier_free={})
        session.commit()
    with Session(migrated_engine) as first, Session(migrated_engine) as second:
        stale = first.exec(select(tables.LicenseTier)).one()
        assert stale.rank == 0
        first.commit()
        first.refresh(stale)
        first.commit()
        writer(second).tiers.change("tier_free", rank=5)
        second.commit()
        assert not writer(first).tiers.change("tier_free", rank=5).changed
        first.commit()


def test_pending_rows_of_the_host_are_part_of_what_is_validated(session: Session, registry: Registry) -> None:
    session.add(tables.FeatureInput(**feature("a.one")).to_row())
    session.add(tables.TierInput(**tier("pro")).to_row())
    with session.no_autoflush:
        assert registry.tiers.grant("pro", {"a.one": ON}).changed


def test_moments_are_kept_in_utc(session: Session, registry: Registry) -> None:
    seed(registry, pro={})
    registry.licenses.assign("acme", "pro", starts_at=datetime.fromisoformat("2026-01-01T02:00:00+02:00"))
    assert license_of(session).starts_at == datetime(2026, 1, 1, tzinfo=UTC)
