"""Applying documents: what is written, in which order, what is refused, and that nothing is then written."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
from sqlalchemy.engine import Engine
from sqlmodel import Session, select

from tests.integration.test_catalog_plan import FEATURE, SMALL, TABLES, WHO, configure, document, hold
from tests.support.registry import everything, history, version
from tierwright import Entitlements, SnapshotStore, tables
from tierwright.catalog import CatalogDocument, apply, export, plan
from tierwright.errors import (
    AlreadyExists,
    AuditContextMissing,
    CatalogChanged,
    ConflictRefused,
    CycleRefused,
    DocumentChanged,
    InvalidInput,
    LossRefused,
    PrerequisiteBroken,
    ReferenceUnknown,
    StillInUse,
    TierwrightError,
)
from tierwright.services.audit import AuditContext
from tierwright.services.registry import Registry

ON = {"enabled": True}


@pytest.fixture
def session(migrated_engine: Engine) -> Iterator[Session]:
    with Session(migrated_engine) as session:
        yield session


def small(**changes: Any) -> CatalogDocument:
    return document(**{**SMALL, **changes})


def override(session: Session, key: str, value: Any, tenant: str = "acme", **window: Any) -> None:
    row = {"tenant_id": tenant, "feature_key": key, "feature_value": value, **window}
    session.execute(TABLES["tenant_feature_override"].insert().values(**row))


def test_everything_is_written_with_one_entry_each_and_one_version(session: Session) -> None:
    AuditContext("someone", reason="Contract 7").attach(session)
    result = apply(session, small(models={"openai": {"gpt/4": {"model_type": "chat", "feature_key": "a.one"}}}))
    session.commit()
    assert result.changed
    assert version(session) == 1
    assert [entry[:3] for entry in history(session)] == [
        ("feature", "a.one", "created"),
        ("feature", "a.two", "created"),
        ("tier", "pro", "created"),
        ("tier_feature", "pro/a.one", "created"),
        ("tier_feature", "pro/a.two", "created"),
        ("model", "openai/gpt/4", "created"),
        ("integration", "slack", "created"),
    ]
    log = sorted(session.exec(select(tables.FeatureAuditLog)).all(), key=lambda entry: entry.id)
    assert {(entry.performed_by, entry.reason) for entry in log} == {("someone", "Contract 7")}
    assert [entry.feature_key for entry in log] == ["a.one", "a.two", None, "a.one", "a.two", "a.one", "a.two"]
    features = session.exec(select(tables.FeatureRegistry)).all()
    assert {feature.created_by for feature in features} == {"someone"}
    assert len({feature.created_at for feature in features}) == 1


def test_a_second_apply_writes_nothing(session: Session) -> None:
    made = plan(session, small())
    apply(session, made, **WHO)
    session.commit()
    before = everything(session)
    result = apply(session, small(), **WHO)
    session.commit()
    assert not result.changed
    assert everything(session) == before


def test_entries_say_what_was_done(session: Session) -> None:
    apply(session, small(), **WHO)
    apply(session, document(features={"a.one": FEATURE}, tiers={"pro": {"features": {"a.one": 6}}}), **WHO)
    apply(session, small(), **WHO)
    apply(session, document(), prune=True, **WHO)
    assert [entry[:5] for entry in history(session, after=6)] == [
        ("feature", "a.two", "disabled", {"is_active": True}, {"is_active": False}),
        ("tier_feature", "pro/a.one", "updated", {"feature_value": five(5)}, {"feature_value": five(6)}),
        ("tier_feature", "pro/a.two", "deleted", {"feature_value": five(7)}, None),
        ("integration", "slack", "disabled", {"is_active": True}, {"is_active": False}),
        ("feature", "a.two", "enabled", {"is_active": False}, {"is_active": True}),
        ("tier_feature", "pro/a.one", "updated", {"feature_value": five(6)}, {"feature_value": five(5)}),
        ("tier_feature", "pro/a.two", "created", None, {"feature_value": five(7)}),
        ("integration", "slack", "enabled", {"is_active": False}, {"is_active": True}),
        *((entity, key, "deleted", history_of(session, entity, key), None) for entity, key in DELETED),
    ]
    assert not export(session).features
    assert version(session) == 1  # all in one transaction


DELETED = [("feature", "a.one"), ("feature", "a.two"), ("tier", "pro"), ("integration", "slack")]


def five(value: int) -> dict[str, Any]:
    return {"enabled": True, "value": value}


def history_of(session: Session, entity: str, key: str) -> Any:
    """Return what the last entry about a thing says it was."""
    return [entry[3] for entry in history(session) if entry[:2] == (entity, key)][-1]


def test_a_deleted_tier_is_remembered_with_what_it_granted(session: Session) -> None:
    apply(session, small(), **WHO)
    apply(session, document(features=SMALL["features"]), prune=True, **WHO)
    assert history_of(session, "tier", "pro")["features"] == {"a.one": five(5), "a.two": five(7)}


def test_nobody_writes_without_a_name(session: Session) -> None:
    with pytest.raises(AuditContextMissing):
        apply(session, small())


def tiers(**given: Any) -> CatalogDocument:
    return document(tiers=given)


MOVES = [
    (tiers(a={"is_default": True}, b={}), tiers(a={}, b={"is_default": True})),
    (tiers(a={"is_default": True}), tiers(b={"is_default": True})),
    (tiers(b={"is_default": True}), tiers(a={"is_default": True}, b={})),
    (tiers(a={"base": "b"}, b={}), tiers(a={}, b={"base": "a"})),
    (tiers(a={"base": "b"}, b={"base": "c"}, c={}), tiers(c={"base": "b"}, b={"base": "a"}, a={})),
    (tiers(a={}), tiers(a={"base": "z"}, z={"base": "y"}, y={"is_default": True})),
    (tiers(a={"base": "b"}, b={}), tiers()),
]


def test_no_constraint_breaks_half_way(session: Session) -> None:
    for prune, (first, then) in product((False, True), MOVES):
        for one, other in ((first, then), (then, first)):
            apply(session, one, prune=True, **WHO)
            apply(session, other, prune=prune, **WHO)
            assert plan(session, other, prune=prune).is_empty
            found = {key: tier for key, tier in export(session).tiers.items() if key in other.tiers}
            assert document(tiers={key: tier.model_dump() for key, tier in found.items()}) == other
        session.rollback()


def test_features_come_before_what_names_them_and_go_after_it(session: Session) -> None:
    other = {
        "features": {"z.new": FEATURE},
        "tiers": {"pro": {"features": {"z.new": 1}}},
        "models": {"p": {"m": {"model_type": "chat", "feature_key": "z.new"}}},
        "integrations": {"slack": {"category": "chat", "feature_key": "z.new"}},
    }
    for wanted in (small(), document(**other), small(), document(**other)):
        apply(session, wanted, prune=True, **WHO)
        assert export(session) == wanted


def test_a_loss_is_refused_unless_it_is_allowed(session: Session) -> None:
    apply(session, small(), **WHO)
    hold(session, "acme")
    hold(session, "globex")
    override(session, "a.two", ON, tenant="globex")
    session.commit()
    before = everything(session)
    less = small(tiers={"pro": {"features": {"a.one": 4}}})
    with pytest.raises(LossRefused, match=r"2 tenants .*acme a\.") as refused:
        apply(session, less, **WHO)
    session.rollback()
    assert everything(session) == before
    counts = {name: refused.value.details[name] for name in ("tenants", "losses", "lowered")}
    assert counts == {"tenants": 2, "losses": 1, "lowered": 3}
    assert {each["tenant_id"] for each in refused.value.details["samples"]} == {"acme", "globex"}
    assert apply(session, less, allow_loss=True, **WHO).effect.losses == (1, 1)


def test_a_loss_of_tenants_without_any_row_counts(session: Session) -> None:
    apply(session, small(tiers={"free": {"is_default": True, "features": {"a.one": True}}}), **WHO)
    with pytest.raises(LossRefused, match="without any row") as refused:
        apply(session, small(tiers={"free": {"is_default": True}}), **WHO)
    assert [each["feature_key"] for each in refused.value.details["elsewhere"]] == ["a.one"]


def test_a_tenant_that_came_after_the_plan_counts(session: Session) -> None:
    apply(session, small(), **WHO)
    made = plan(session, small(tiers={"pro": {}}))
    assert not made.effect.takes_away
    hold(session)
    with pytest.raises(LossRefused):
        apply(session, made, **WHO)


def test_a_plan_is_applied_only_to_what_it_was_made_for(session: Session) -> None:
    made = plan(session, small())
    Registry(session, actor="x").tiers.create({"tier_key": "free", "name": "Free"})
    with pytest.raises(CatalogChanged):
        apply(session, made, **WHO)
    session.rollback()
    with pytest.raises(DocumentChanged):
        apply(session, made, document=document(), **WHO)
    apply(session, made, document=small(), **WHO)


def test_a_version_that_moved_is_no_other_catalogue(session: Session) -> None:
    made = plan(session, small())
    registry = Registry(session, actor="x")
    registry.features.create({"feature_key": "a.x", "feature_name": "x", "category": "x", **FEATURE})
    session.execute(TABLES["feature_registry"].delete())
    session.commit()
    assert apply(session, made, **WHO).changed


REFUSED: dict[str, tuple[dict[str, Any], type[TierwrightError]]] = {
    "unknown prerequisite": ({"features": {"a.one": {**FEATURE, "depends_on": ["a.no"]}}}, ReferenceUnknown),
    "unknown conflict": ({"features": {"a.one": {**FEATURE, "conflicts_with": ["a.no"]}}}, ReferenceUnknown),
    "unknown grant": ({"tiers": {"pro": {"features": {"a.no": True}}}}, ReferenceUnknown),
    "unknown base": ({"tiers": {"pro": {"base": "no"}}}, ReferenceUnknown),
    "unknown feature of a model": (
        {"models": {"p": {"m": {"model_type": "chat", "feature_key": "a.no"}}}},
        ReferenceUnknown,
    ),
    "unknown feature of a component": (
        {"components": {"c": {"category": "x", "feature_key": "a.no"}}},
        ReferenceUnknown,
    ),
    "unknown feature of an integration": (
        {"integrations": {"i": {"category": "x", "feature_key": "a.one", "required_features": ["a.no"]}}},
        ReferenceUnknown,
    ),
    "a feature that left": ({"features": {"a.two": {**FEATURE, "depends_on": ["a.one"]}}}, ReferenceUnknown),
    "itself": ({"features": {"a.one": {**FEATURE, "depends_on": ["a.one"]}}}, CycleRefused),
    "circle": (
        {"features": {"a.one": {**FEATURE, "depends_on": ["a.two"]}, "a.two": {**FEATURE, "depends_on": ["a.one"]}}},
        CycleRefused,
    ),
    "circle of tiers": ({"tiers": {"a": {"base": "b"}, "b": {"base": "a"}}}, CycleRefused),
    "two defaults": ({"tiers": {"a": {"is_default": True}, "b": {"is_default": True}}}, AlreadyExists),
    "grant without its prerequisite": ({**SMALL, "tiers": {"pro": {"features": {"a.two": 1}}}}, PrerequisiteBroken),
    "inherited without its prerequisite": (
        {**SMALL, "tiers": {**SMALL["tiers"], "max": {"base": "pro", "features": {"a.one": False}}}},
        PrerequisiteBroken,
    ),
    "conflict": (
        {
            "features": {"a.one": FEATURE, "a.two": {**FEATURE, "conflicts_with": ["a.one"]}},
            "tiers": {"pro": {"features": {"a.one": 1, "a.two": 1}}},
        },
        ConflictRefused,
    ),
    "value of another type": (
        {"features": {"a.one": FEATURE}, "tiers": {"pro": {"features": {"a.one": "x"}}}},
        InvalidInput,
    ),
    "value past the schema": (
        {
            "features": {"a.one": {**FEATURE, "value_schema": {"maximum": 3}}},
            "tiers": {"pro": {"features": {"a.one": 4}}},
        },
        InvalidInput,
    ),
    "default past the schema": ({"features": {"a.one": {**FEATURE, "value_schema": {"minimum": 3}}}}, InvalidInput),
    "unusable schema": ({"features": {"a.one": {**FEATURE, "value_schema": {"type": 3}}}}, InvalidInput),
}


def test_what_contradicts_itself_is_refused_and_nothing_is_written(session: Session) -> None:
    apply(session, small(), **WHO)
    session.commit()
    before = everything(session)
    for name, (given, error) in REFUSED.items():
        wanted = document(**given)
        with pytest.raises(error):
            plan(session, wanted)
        with pytest.raises(error):
            apply(session, wanted, **WHO)
        session.commit()
        assert everything(session) == before, name


def test_values_that_tenants_hold_stop_another_type(session: Session) -> None:
    apply(session, small(), **WHO)
    override(session, "a.one", {"enabled": True, "value": 9})
    text = {**FEATURE, "feature_type": "string", "default_value": {"enabled": False, "value": ""}}
    wanted = document(
        features={**SMALL["features"], "a.one": text}, tiers={"pro": {"features": {"a.one": "x", "a.two": 7}}}
    )
    with pytest.raises(StillInUse, match="1 tenants, such as acme"):
        apply(session, wanted, **WHO)
    session.execute(TABLES["tenant_feature_override"].update().values(feature_value=ON))
    apply(session, wanted, **WHO)  # the tier's value changes with the type
    gone = document(features={**SMALL["features"]}, tiers={})
    with pytest.raises(StillInUse, match="the tiers pro"):
        apply(session, gone, **WHO)


def test_what_was_wrong_before_stays_as_it_is(session: Session) -> None:
    apply(session, small(), **WHO)
    past = session.connection()  # past the session, which refuses it
    past.execute(TABLES["feature_registry"].update().filter_by(feature_key="a.one").values(depends_on=["a.gone"]))
    past.execute(
        TABLES["component_registry"]
        .insert()
        .values(component_key="c", component_name="c", display_name="c", category="x", required_features=["a.gone"])
    )
    found = export(session)
    assert plan(session, found).is_empty
    more = found.model_copy(
        update={"features": {**found.features, "b.new": document(features={"b.new": FEATURE}).features["b.new"]}}
    )
    assert [change.key for change in apply(session, more, **WHO).changes] == ["b.new"]


def test_prune_keeps_what_something_refers_to(session: Session) -> None:
    given: dict[str, Any] = {
        "features": dict.fromkeys(("a.one", "a.held", "a.tier", "a.integration", "a.loose"), FEATURE),
        "tiers": {"held": {"base": "base", "features": {"a.tier": True}}, "base": {}, "loose": {}},
        "integrations": {
            "used": {"category": "x", "feature_key": "a.integration"},
            "unused": {"category": "x", "feature_key": "a.loose"},
        },
        "components": {"c": {"category": "x", "feature_key": "a.loose"}},
        "models": {"p": {"m": {"model_type": "chat", "feature_key": "a.loose"}}},
    }
    given["features"]["a.held"] = {**FEATURE, "depends_on": ["a.one"]}
    apply(session, document(**given), **WHO)
    override(session, "a.held", ON)
    hold(session, "acme", "held")
    configure(session, "acme", "used", is_enabled=False)
    made = plan(session, document(), prune=True)
    apply(session, made, allow_loss=True, **WHO)
    found = export(session)
    assert set(found.features) == {"a.one", "a.held", "a.tier", "a.integration"}
    assert set(found.tiers) == {"held", "base"}
    assert set(found.integrations) == {"used"}
    assert not found.components
    assert not any(found.models.values())
    assert not any(entry.is_active for entry in (*found.features.values(), *found.tiers.values()))
    kept = {warning.partition(" is retired")[0]: warning for warning in made.warnings if "not deleted" in warning}
    assert set(kept) == {
        *(f"The feature {key}" for key in ("a.held", "a.integration", "a.one", "a.tier")),
        "The integration used",
        "The tier base",
        "The tier held",
    }
    assert "1 override" in kept["The feature a.held"]
    assert "the feature a.held" in kept["The feature a.one"]
    assert plan(session, document(), prune=True).is_empty


def test_what_the_session_had_loaded_is_read_again(session: Session) -> None:
    apply(session, small(), **WHO)
    tier = session.exec(select(tables.LicenseTier)).one()
    assert tier.rank == 0
    apply(session, small(tiers={"pro": {"rank": 7}}), **WHO)
    assert tier.rank == 7


def test_pending_rows_of_the_host_are_part_of_it(session: Session) -> None:
    session.add(tables.TierInput(tier_key="mine", name="Mine").to_row())
    apply(session, small(), **WHO)
    assert not export(session).tiers["mine"].is_active


def test_entitlements_of_the_session_and_of_a_store_see_it(migrated_engine: Engine, session: Session) -> None:
    apply(session, small(), **WHO)
    hold(session)
    session.commit()
    with SnapshotStore(migrated_engine, background=False, poll_interval=0.0) as store:
        entitlements = Entitlements(session, store=store)
        assert entitlements.check("acme", "a.one")
        apply(session, small(tiers={"pro": {}}), allow_loss=True, **WHO)
        assert not entitlements.check("acme", "a.one")
        session.commit()
        assert not Entitlements(store=store).check("acme", "a.one")
