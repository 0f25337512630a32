"""Writes of features: references, circles, what tiers promise, values that are held, the kill switch."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlmodel import Session, select

from tests.support.registry import OFF, ON, Statements, everything, feature, history, integer, seed, version, writer
from tierwright import tables
from tierwright.errors import (
    AlreadyExists,
    AuditContextMissing,
    ConflictRefused,
    CycleRefused,
    DependencyMissing,
    InvalidInput,
    NotFound,
    PrerequisiteBroken,
    ReferenceUnknown,
    StillInUse,
    WriteRefused,
)
from tierwright.resolution import values
from tierwright.services.registry import Registry, WriteResult

FEATURES = tables.FeatureRegistry.__table__  # type: ignore[attr-defined]  # made by the metaclass
DEFAULT_ON = {"enabled": True, "value": True}


@pytest.fixture
def session(migrated_engine: Engine) -> Iterator[Session]:
    with Session(migrated_engine) as session:
        yield session


@pytest.fixture
def registry(session: Session) -> Registry:
    return writer(session)


def row(session: Session, key: str) -> tables.FeatureRegistry:
    return session.exec(select(tables.FeatureRegistry).where(tables.FeatureRegistry.feature_key == key)).one()


def test_a_feature_is_created_changed_retired_and_restored(session: Session, registry: Registry) -> None:
    made = registry.features.create(tables.FeatureInput(**feature("a.one")), reason="first")
    assert made == WriteResult(True)
    created = row(session, "a.one")
    assert (created.created_by, created.created_at.tzinfo is not None) == ("tester", True)
    moments = [created.updated_at]
    for write in (
        lambda: registry.features.change("a.one", feature_name="One", default_value={"enabled": True, "value": False}),
        lambda: registry.features.retire("a.one", actor="ops", reason="incident"),
        lambda: registry.features.restore("a.one"),
    ):
        session.commit()
        assert write().changed
        session.expire_all()
        moments.append(row(session, "a.one").updated_at)
    assert moments == sorted(set(moments))
    assert [(action, old, new) for _, _, action, old, new in history(session, after=1)] == [
        (
            "updated",
            {"feature_name": "a.one", "default_value": {"enabled": False, "value": True}},
            {"feature_name": "One", "default_value": {"enabled": True, "value": False}},
        ),
        ("disabled", {"is_active": True}, {"is_active": False}),
        ("enabled", {"is_active": False}, {"is_active": True}),
    ]
    assert version(session) == 4


def test_what_changes_nothing_writes_nothing(session: Session, registry: Registry) -> None:
    seed(registry, "a.one")
    session.commit()
    before = everything(session)
    assert registry.features.change("a.one", feature_name="a.one", depends_on=[]) == WriteResult(False)
    assert registry.features.restore("a.one") == WriteResult(False)
    assert everything(session) == before


def test_true_is_not_one(session: Session, registry: Registry) -> None:
    seed(registry, feature("a.json", feature_type="json", default_value={"enabled": True, "value": 1}))
    assert registry.features.change("a.json", default_value={"enabled": True, "value": True}).changed
    session.expire_all()
    assert row(session, "a.json").default_value["value"] is True


def test_keys_must_be_new_or_known(registry: Registry) -> None:
    seed(registry, "a.one")
    with pytest.raises(AlreadyExists, match=r"a\.one"):
        registry.features.create(feature("a.one"))
    with pytest.raises(NotFound, match=r"a\.two"):
        registry.features.change("a.two", feature_name="Two")
    for field in ("depends_on", "conflicts_with"):
        with pytest.raises(ReferenceUnknown, match=r"a\.nowhere"):
            registry.features.create(feature("a.two", **{field: ["a.one", "a.nowhere"]}))
        with pytest.raises(ReferenceUnknown, match=r"a\.nowhere"):
            registry.features.change("a.one", **{field: ["a.nowhere"]})


def test_a_circle_of_prerequisites_is_named(session: Session, registry: Registry) -> None:
    seed(registry, "a.one", feature("a.two", depends_on=["a.one"]), feature("a.three", depends_on=["a.two"]))
    with pytest.raises(CycleRefused, match=r"a\.one → a\.three → a\.two → a\.one"):
        registry.features.change("a.one", depends_on=["a.three"])
    for write in (
        lambda: registry.features.change("a.one", depends_on=["a.one"]),
        lambda: registry.features.create(feature("a.four", depends_on=["a.four"])),
    ):
        with pytest.raises(CycleRefused, match=r"(a\.\w+) → \1"):
            write()


def test_an_old_circle_does_not_stand_in_the_way_of_other_writes(session: Session, registry: Registry) -> None:
    seed(registry, "a.one", "a.two", "a.three")
    for key, needed in (("a.one", "a.two"), ("a.two", "a.one")):
        past = sa.update(FEATURES).where(FEATURES.c.feature_key == key).values(depends_on=[needed])
        session.connection().execute(past)  # past the session
    assert registry.features.change("a.three", depends_on=["a.one"]).changed
    assert registry.features.change("a.one", description="still editable").changed


def test_a_new_prerequisite_must_hold_in_every_tier(session: Session, registry: Registry) -> None:
    seed(registry, "a.one", "a.two", pro={"a.one": ON, "a.two": ON}, free={"a.one": ON})
    assert registry.features.change("a.two", depends_on=["a.one"]).changed
    assert registry.features.change("a.two", depends_on=[]).changed
    with pytest.raises(PrerequisiteBroken) as caught:
        registry.features.change("a.one", depends_on=["a.two"])
    assert "free" in str(caught.value)
    assert "a.one" in str(caught.value)
    assert caught.value.details["breaks"] == [{"tier_key": "free", "feature_key": "a.one", "blocked_by": ["a.two"]}]


def test_a_new_conflict_must_not_be_in_any_tier(registry: Registry) -> None:
    seed(registry, "a.one", "a.two", pro={"a.one": ON, "a.two": ON})
    with pytest.raises(ConflictRefused, match=r"pro.*a\.one.*a\.two"):
        registry.features.change("a.two", conflicts_with=["a.one"])


def test_a_default_counts_in_tiers(registry: Registry) -> None:
    seed(registry, "a.one", feature("a.two", depends_on=["a.one"]), free={})
    for write in (
        lambda: registry.features.change("a.two", default_value=DEFAULT_ON),
        lambda: registry.features.create(feature("a.three", depends_on=["a.one"], default_value=DEFAULT_ON)),
    ):
        with pytest.raises(PrerequisiteBroken, match=r"free.*a\.one"):
            write()
    # A premium feature is never on by default, so nothing is promised.
    registry.features.change("a.two", default_value=DEFAULT_ON, is_premium=True)
    with pytest.raises(PrerequisiteBroken):
        registry.features.change("a.two", is_premium=False)


def test_what_was_broken_before_is_left_alone(session: Session, registry: Registry) -> None:
    seed(registry, "a.one", feature("a.two", depends_on=["a.one"]), "a.three", pro={"a.one": ON, "a.two": ON})
    grants = session.exec(select(tables.LicenseTierFeatures)).all()
    session.delete(next(each for each in grants if each.feature_key == "a.one"))  # past the services
    registry.features.change("a.three", depends_on=["a.one"])
    registry.tiers.grant("pro", {"a.three": OFF})
    with pytest.raises(PrerequisiteBroken, match=r"a\.three"):
        registry.tiers.grant("pro", {"a.three": ON})


def test_retiring_is_allowed_and_names_what_goes_off_with_it(registry: Registry) -> None:
    seed(
        registry,
        "a.one",
        feature("a.two", depends_on=["a.one"]),
        feature("a.three", depends_on=["a.two"]),
        pro={"a.one": ON, "a.two": ON, "a.three": ON},
    )
    result = registry.features.retire("a.one")
    assert result.warnings == ("These go off with it, because they need a.one: a.three, a.two.",)
    # A switched-off prerequisite is still granted, so the tier may be worked on during the incident.
    assert registry.tiers.revoke("pro", ["a.three"]).changed
    assert registry.tiers.grant("pro", {"a.three": ON}).changed
    assert registry.features.restore("a.one") == WriteResult(True)
    assert registry.features.retire("a.three").warnings == ()


def test_a_type_stays_while_values_of_it_are_held(session: Session, registry: Registry) -> None:
    seed(registry, integer("a.one"), integer("a.two"), integer("a.three"), pro={"a.one": {"enabled": True, "value": 5}})
    registry.overrides.set("acme", "a.two", {"enabled": True, "unlimited": True})
    registry.tiers.grant("pro", {"a.three": ON})  # says nothing about a value
    text = {"feature_type": "string", "default_value": {"enabled": False, "value": ""}}
    with pytest.raises(StillInUse, match="the tiers pro") as caught:
        registry.features.change("a.one", **text)
    assert (caught.value.details["tiers"], caught.value.details["tenants"]) == (["pro"], [])
    with pytest.raises(StillInUse, match="acme"):
        registry.features.change("a.two", **text)
    assert registry.features.change("a.three", **text).changed
    assert registry.features.change("a.one", feature_type="number").changed  # 5 is a number as well
    registry.overrides.remove("acme", "a.two")
    assert registry.features.change("a.two", **text).changed


def test_a_value_schema_holds_for_all_values(registry: Registry) -> None:
    limited = integer("a.one", value_schema={"maximum": 5})
    with pytest.raises(InvalidInput, match="default_value"):
        registry.features.create({**limited, "default_value": {"enabled": False, "value": 6}})
    seed(registry, limited, pro={})
    with pytest.raises(InvalidInput, match=r"a\.one.*maximum"):
        registry.tiers.grant("pro", {"a.one": {"enabled": True, "value": 6}})
    with pytest.raises(InvalidInput, match=r"a\.one.*maximum"):
        registry.overrides.set("acme", "a.one", {"enabled": True, "value": 6})
    registry.tiers.grant("pro", {"a.one": {"enabled": True, "value": 5}})
    with pytest.raises(StillInUse, match="pro"):
        registry.features.change("a.one", value_schema={"maximum": 4})
    with pytest.raises(InvalidInput, match="value_schema"):
        registry.features.change("a.one", value_schema={"$ref": "https://example.com/"})
    assert registry.features.change("a.one", value_schema={"maximum": 50}).changed


def test_a_schema_without_its_package_fails_closed(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    seed(registry, integer("a.one", value_schema={"maximum": 5}), pro={})
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    values._tools.cache_clear()
    for write in (
        lambda: registry.features.create(integer("a.two", value_schema={})),
        lambda: registry.tiers.grant("pro", {"a.one": {"enabled": True, "value": 5}}),
        lambda: registry.overrides.set("acme", "a.one", {"enabled": True, "value": 5}),
    ):
        with pytest.raises(DependencyMissing, match=r"tierwright\[schemas\]"):
            write()
    assert registry.tiers.grant("pro", {"a.one": ON}).changed  # no value, so nothing to check
    values._tools.cache_clear()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"feature_name": ""}, "feature_name"),
        ({"feature_name": 5}, "feature_name"),
        ({"surprise": 1}, "surprise"),
        ({"feature_key": "a.two"}, "feature_key"),
        ({"help_url": "javascript:alert(1)"}, "help_url"),
        ({"default_value": {"enabled": True}}, "needs a value"),
        ({"default_value": {"enabled": True, "value": "text"}}, "boolean"),
        ({"depends_on": ["a.two"], "conflicts_with": ["a.two"]}, "prerequisite is a conflict"),
    ],
)
def test_a_change_passes_through_the_input_schema(
    session: Session, registry: Registry, changes: dict[str, object], said: str
) -> None:
    seed(registry, "a.one", "a.two")
    before = everything(session)
    with pytest.raises(InvalidInput, match=said):
        registry.features.change("a.one", **changes)
    assert everything(session) == before


def test_without_an_actor_nothing_runs(migrated_engine: Engine) -> None:
    statements = Statements(migrated_engine)
    with Session(migrated_engine) as session:
        registry = Registry(session)
        for write in (
            lambda: registry.features.create(feature("a.one"), reason="no actor"),
            lambda: registry.tiers.retire("pro"),
            lambda: registry.licenses.end("acme"),
            lambda: registry.overrides.remove("acme", "a.one"),
            lambda: registry.models.retire("openai", "gpt"),
            lambda: registry.purge("acme"),
        ):
            with pytest.raises(AuditContextMissing):
                write()
    assert statements.count == 0


def test_a_refused_write_leaves_everything_as_it_was(session: Session, registry: Registry) -> None:
    seed(registry, "a.one", feature("a.two", depends_on=["a.one"]), pro={"a.one": ON, "a.two": ON})
    before = everything(session)
    for write in (
        lambda: registry.features.create(feature("a.one")),
        lambda: registry.features.change("a.one", depends_on=["a.two"]),
        lambda: registry.tiers.revoke("pro", ["a.one"]),
        lambda: registry.tiers.grant("pro", {"a.nowhere": ON}),
    ):
        with pytest.raises(WriteRefused):
            write()
        assert not session.new
        assert not session.dirty
        assert everything(session) == before
    session.commit()
    assert everything(session) == before
