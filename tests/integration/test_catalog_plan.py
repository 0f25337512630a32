"""Plans: what they predict is what happens, for every tenant and feature; what they say, and how they are kept."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import Engine
from sqlmodel import Session

from tests.support import random_catalogue
from tests.support.random_catalogue import TABLES, TENANTS
from tests.support.registry import everything
from tierwright import Entitlements
from tierwright.catalog import CatalogDocument, Plan, apply, export, plan
from tierwright.catalog.outcome import kind_of
from tierwright.errors import CatalogChanged, InvalidInput
from tierwright.resolution.decision import Decision, not_found

NOBODY = "nobody-knows-this-one"
WHO = {"actor": "tester"}


def examples(kind: str, sqlite: int, postgresql: int) -> Callable[[Callable[[int], None]], Callable[[], None]]:
    """Run a function with random numbers, more often where it is fast."""
    how_many = sqlite if kind == "sqlite" else postgresql

    def decorated(function: Callable[[int], None]) -> Callable[[], None]:
        slow = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
        run = settings(max_examples=how_many, deadline=None, suppress_health_check=slow, database=None)
        return run(given(st.integers(0, 2**32))(function))

    return decorated


@pytest.fixture
def session(migrated_engine: Engine) -> Iterator[Session]:
    with Session(migrated_engine) as session:
        yield session


def decisions(session: Session) -> dict[str, dict[str, Decision]]:
    entitlements = Entitlements(session)
    return {tenant: dict(entitlements.evaluate_all(tenant)) for tenant in (*TENANTS, NOBODY)}


def measured(before: Any, after: Any, tenant: str) -> dict[str, tuple[Any, ...]]:
    """Return what has changed for a tenant, by feature."""
    found = {}
    for key in before[tenant].keys() | after[tenant].keys():
        old, new = (each[tenant].get(key, not_found(key)) for each in (before, after))
        kind = kind_of(old, new)
        if kind is not None:
            found[key] = (kind, old.enabled, old.value, old.unlimited, new.enabled, new.value, new.unlimited)
    return found


def predicted(outcome: Any) -> tuple[Any, ...]:
    old, new = outcome.before, outcome.after
    return (outcome.kind, old.enabled, old.value, old.unlimited, new.enabled, new.value, new.unlimited)


def test_the_effect_is_what_is_measured_before_and_after(migrated_engine: Engine, database_kind: str) -> None:
    @examples(database_kind, 60, 12)
    def check(seed: int) -> None:
        source = Random(seed)
        with Session(migrated_engine) as session:
            apply(session, random_catalogue.catalogue(source), allow_loss=True, **WHO)
            random_catalogue.tenants(session, source)
            made = plan(session, random_catalogue.catalogue(source), prune=source.random() < 0.3, sample=3)
            before = decisions(session)
            told: dict[str, dict[str, Any]] = {tenant: {} for tenant in TENANTS}
            for tenant_id, outcome in made.iterate(session):
                told[tenant_id][outcome.feature_key] = predicted(outcome)
            assert list(made.iterate(session)) == sorted(made.iterate(session), key=lambda each: (each[0], each[1][0]))
            result = apply(session, Plan.from_json(made.to_json()), allow_loss=True, **WHO)
            after = decisions(session)
            elsewhere = {each.feature_key: predicted(each) for each in made.effect.elsewhere}
            assert elsewhere == measured(before, after, NOBODY)
            known = known_tenants(session)
            for tenant in TENANTS:
                expected = measured(before, after, tenant)
                assert (told[tenant] if tenant in known else elsewhere) == expected
            check_counts(made, told)
            assert result.changes == made.changes
            session.rollback()

    check()


def known_tenants(session: Session) -> set[str]:
    tables = (TABLES["tenant_license"], TABLES["tenant_feature_override"])
    return {row.tenant_id for table in tables for row in session.execute(table.select())}


def check_counts(made: Plan, told: dict[str, dict[str, Any]]) -> None:
    """Compare the counts and samples with the complete list."""
    groups = {
        "gains": {"gain"},
        "losses": {"loss"},
        "value_changes": {"lowered", "changed"},
        "lowered": {"lowered"},
        "less": {"loss", "lowered"},
    }
    for name, kinds in groups.items():
        of_tenants = [sum(each[0] in kinds for each in found.values()) for found in told.values()]
        assert getattr(made.effect, name) == (sum(of_tenants), sum(map(bool, of_tenants))), name
    by_feature = Counter((key, each[0]) for found in told.values() for key, each in found.items())
    assert by_feature == {
        (key, kind): count for key, found in made.effect.by_feature.items() for kind, count in found.items()
    }
    sampled = Counter(each.outcome.kind for each in made.effect.samples)
    for each in made.effect.samples:
        assert told[each.tenant_id][each.outcome.feature_key] == predicted(each.outcome)
    assert len({(each.tenant_id, each.outcome.feature_key) for each in made.effect.samples}) == sampled.total()
    for kind in ("gain", "loss", "lowered", "changed"):
        assert sampled[kind] == min(3, sum(number for (_, found), number in by_feature.items() if found == kind))


def test_a_round_trip_loses_nothing(migrated_engine: Engine, database_kind: str) -> None:
    @examples(database_kind, 40, 12)
    def check(seed: int) -> None:
        source = Random(seed)
        first, second = random_catalogue.catalogue(source), random_catalogue.catalogue(source)
        with Session(migrated_engine) as session:
            apply(session, first, allow_loss=True, **WHO)
            assert export(session) == first
            assert plan(session, first).is_empty
            assert plan(session, export(session)).is_empty
            made = plan(session, second)
            apply(session, made, allow_loss=True, **WHO)
            assert plan(session, second).is_empty
            both = export(session)
            assert {key: both.features[key] for key in second.features} == second.features
            assert not any(both.features[key].is_active for key in first.features.keys() - second.features.keys())
            apply(session, second, prune=True, allow_loss=True, **WHO)  # nobody holds anything
            assert export(session) == second
            session.rollback()

    check()


def test_planning_writes_nothing(session: Session) -> None:
    source = Random(1)
    apply(session, random_catalogue.catalogue(source), allow_loss=True, **WHO)
    random_catalogue.tenants(session, source)
    session.commit()
    before = everything(session)
    list(plan(session, random_catalogue.catalogue(source)).iterate(session))
    assert everything(session) == before


def document(**sections: Any) -> CatalogDocument:
    return CatalogDocument.model_validate(sections)


FEATURE = {"feature_type": "integer", "default_value": {"enabled": False, "value": 0}}
SMALL: dict[str, Any] = {
    "features": {"a.one": FEATURE, "a.two": {**FEATURE, "depends_on": ["a.one"]}},
    "tiers": {"pro": {"features": {"a.one": 5, "a.two": 7}}},
    "integrations": {"slack": {"category": "chat", "feature_key": "a.two"}},
}


def hold(session: Session, tenant: str = "acme", tier: str = "pro") -> None:
    tier_id = session.execute(TABLES["license_tier"].select().filter_by(tier_key=tier)).one().id
    session.execute(TABLES["tenant_license"].insert().values(tenant_id=tenant, license_tier_id=tier_id))


def configure(session: Session, tenant: str = "acme", key: str = "slack", *, is_enabled: bool = True) -> None:
    row = {"tenant_id": tenant, "integration_key": key, "is_enabled": is_enabled}
    session.execute(TABLES["tenant_integration_configs"].insert().values(**row))


def test_changes_are_told_with_what_was_and_what_will_be(session: Session) -> None:
    apply(session, document(**SMALL), **WHO)
    later = {
        "features": {"a.one": {**FEATURE, "is_premium": True}, "b.new": FEATURE},
        "tiers": {"pro": {"rank": 3, "features": {"a.one": 6, "b.new": True}}},
    }
    made = plan(session, document(**later))
    assert [(change.kind, str(change.entity), change.key) for change in made.changes] == [
        ("change", "feature", "a.one"),
        ("retire", "feature", "a.two"),
        ("create", "feature", "b.new"),
        ("change", "tier", "pro"),
        ("change", "tier_feature", "pro/a.one"),
        ("delete", "tier_feature", "pro/a.two"),
        ("create", "tier_feature", "pro/b.new"),
        ("retire", "integration", "slack"),
    ]
    assert (made.changes[0].old, made.changes[0].new) == ({"is_premium": False}, {"is_premium": True})
    apply(session, made, allow_loss=True, **WHO)
    again = plan(session, document(**SMALL))
    assert ("restore", "a.two") in [(change.kind, change.key) for change in again.changes]


def test_integrations_that_tenants_could_not_use_any_more_are_warned_of(session: Session) -> None:
    apply(session, document(**SMALL), **WHO)
    hold(session, "acme")
    hold(session, "globex")
    configure(session, "acme")
    configure(session, "globex", is_enabled=False)
    configure(session, "hooli")  # could not use it before either
    less = {**SMALL, "tiers": {"pro": {"features": {"a.one": 5}}}}
    made = plan(session, document(**less))
    assert [(each.integration_key, each.missing, each.tenants) for each in made.effect.locked] == [
        ("slack", ("a.two",), 1)
    ]
    assert any(
        "1 tenant that has enabled the integration slack" in warning and "acme" in warning for warning in made.warnings
    )
    more = {**SMALL, "features": {**SMALL["features"], "b.new": FEATURE}}
    more["integrations"] = {"slack": {"category": "chat", "feature_key": "a.two", "required_features": ["b.new"]}}
    assert [each.missing for each in plan(session, document(**more)).effect.locked] == [("b.new",)]
    gone = plan(session, document(features=SMALL["features"], tiers=SMALL["tiers"]))
    assert any("slack goes, and 2 tenants have enabled it" in warning for warning in gone.warnings)
    stuck = {**SMALL, "features": {**SMALL["features"], "a.two": {**FEATURE, "is_active": False}}}
    assert any("integrations stay active" in warning for warning in plan(session, document(**stuck)).warnings)


def test_a_default_tier_that_goes_is_warned_of(session: Session) -> None:
    apply(session, document(tiers={"free": {"is_default": True}}), **WHO)
    assert any("default" in warning for warning in plan(session, document()).warnings)


def test_a_plan_is_kept_as_text(session: Session) -> None:
    apply(session, document(**SMALL), **WHO)
    hold(session)
    made = plan(session, document(**{**SMALL, "tiers": {"pro": {"features": {"a.one": 4}}}}))
    kept = Plan.from_json(made.to_json())
    assert kept == made
    assert list(kept.iterate(session)) == list(made.iterate(session))
    apply(session, document(**SMALL, components={"c": {"category": "x"}}), **WHO)
    with pytest.raises(CatalogChanged):
        list(kept.iterate(session))


NO_PLANS: list[dict[str, Any]] = [
    {"format": "other"},
    {"format_version": 2},
    {"document_hash": "0"},
    {"document": {"features": {"a.one": {}}}},
    {"changes": [{"kind": "explode"}]},
    {"changes": None},
    {"effect": {}},
    {"base": {"hash": "x"}},
]


def test_what_is_no_plan_is_refused(session: Session) -> None:
    text = plan(session, document(**SMALL)).to_json()
    for change in NO_PLANS:
        with pytest.raises(InvalidInput):
            Plan.from_json(json.dumps(json.loads(text) | change))


def test_other_text_is_no_plan() -> None:
    for text in ("", "[]", "{", "[" * 100_000, '"x"'):
        with pytest.raises(InvalidInput):
            Plan.from_json(text)
