"""Writes of tiers: what they grant, what they inherit, and what heirs of them promise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy.engine import Engine
from sqlmodel import Session, select

from tests.support.registry import OFF, ON, everything, feature, history, integer, seed, tier, version, writer
from tierwright import tables
from tierwright.errors import (
    AlreadyExists,
    ConflictRefused,
    CycleRefused,
    InvalidInput,
    NotFound,
    PrerequisiteBroken,
    ReferenceUnknown,
)
from tierwright.services.registry import Registry, WriteResult
from tierwright.types import uuid7


@pytest.fixture
def session(migrated_engine: Engine) -> Iterator[Session]:
    with Session(migrated_engine) as session:
        yield session


@pytest.fixture
def registry(session: Session) -> Registry:
    return writer(session)


def five(value: Any = 5) -> dict[str, Any]:
    return {"enabled": True, "value": value}


def test_a_tier_is_created_changed_closed_and_opened(session: Session, registry: Registry) -> None:
    assert registry.tiers.create(tables.TierInput(**tier("free"))) == WriteResult(True)
    registry.tiers.create(tier("pro", rank=10), base="free")
    registry.tiers.change("pro", rank=20)
    registry.tiers.retire("pro")
    registry.tiers.restore("pro")
    assert registry.tiers.set_base("pro", None).changed
    assert not registry.tiers.set_base("pro", None).changed
    assert history(session)[1][4]["base"] == "free"
    assert [entry[2:] for entry in history(session, after=2)] == [
        ("updated", {"rank": 10}, {"rank": 20}),
        ("disabled", {"is_active": True}, {"is_active": False}),
        ("enabled", {"is_active": False}, {"is_active": True}),
        ("updated", {"base": "free"}, {"base": None}),
    ]


def test_keys_must_be_new_or_known(session: Session, registry: Registry) -> None:
    seed(registry, "a.one", pro={})
    with pytest.raises(AlreadyExists, match="pro"):
        registry.tiers.create(tier("pro"))
    for refused in (
        lambda: registry.tiers.create(tier("max"), base="nowhere"),
        lambda: registry.tiers.create(tier("max", base_tier_id=uuid7())),
        lambda: registry.tiers.set_base("pro", "nowhere"),
        lambda: registry.tiers.grant("pro", {"a.one": ON, "a.nowhere": ON}),
        lambda: registry.tiers.revoke("pro", ["a.nowhere"]),
    ):
        with pytest.raises(ReferenceUnknown, match="There is no"):
            refused()
    for missing in (
        lambda: registry.tiers.change("max", name="Max"),
        lambda: registry.tiers.set_base("max", "pro"),
        lambda: registry.tiers.grant("max", {"a.one": ON}),
        lambda: registry.tiers.revoke("max", ["a.one"]),
    ):
        with pytest.raises(NotFound, match="max"):
            missing()
    with pytest.raises(InvalidInput, match="base_tier_id"):
        registry.tiers.change("pro", base_tier_id=None)


def test_there_is_one_default(session: Session, registry: Registry) -> None:
    registry.tiers.create(tier("free", is_default=True))
    with pytest.raises(AlreadyExists, match="free is the default"):
        registry.tiers.create(tier("pro", is_default=True))
    registry.tiers.create(tier("pro"))
    with pytest.raises(AlreadyExists, match="free is the default"):
        registry.tiers.change("pro", is_default=True)
    assert "default tier" in registry.tiers.retire("free").warnings[0]
    registry.tiers.change("free", is_default=False)
    assert registry.tiers.change("pro", is_default=True).changed


def test_grants_are_written_and_revoked_one_entry_each(session: Session, registry: Registry) -> None:
    seed(registry, integer("a.one"), integer("a.two"), pro={})
    start = len(history(session))
    assert registry.tiers.grant("pro", {"a.two": five(), "a.one": five()}).changed
    assert registry.tiers.grant("pro", {"a.two": five(6), "a.one": five()}).changed
    assert not registry.tiers.grant("pro", {"a.two": five(6), "a.one": five()}).changed
    assert registry.tiers.revoke("pro", ["a.one", "a.one"]).changed
    assert not registry.tiers.revoke("pro", ["a.one"]).changed
    assert not registry.tiers.grant("pro", {}).changed
    assert history(session, after=start) == [
        ("tier_feature", "pro/a.one", "created", None, {"feature_value": five()}),
        ("tier_feature", "pro/a.two", "created", None, {"feature_value": five()}),
        ("tier_feature", "pro/a.two", "updated", {"feature_value": five()}, {"feature_value": five(6)}),
        ("tier_feature", "pro/a.one", "deleted", {"feature_value": five()}, None),
    ]
    assert version(session) == 1, "one transaction is one new version"


def test_the_host_sees_the_grants_in_a_tier_that_it_has_loaded(session: Session, registry: Registry) -> None:
    seed(registry, "a.one", pro={})
    loaded = session.exec(select(tables.LicenseTier)).one()
    assert loaded.features == []
    registry.tiers.grant("pro", {"a.one": ON})
    assert [each.feature_key for each in loaded.features] == ["a.one"]
    registry.tiers.revoke("pro", ["a.one"])
    assert loaded.features == []


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"enabled": "yes"},
        {"enabled": True, "value": "5"},
        {"enabled": True, "value": True},
        {"enabled": True, "x": 1},
    ],
)
def test_a_value_must_have_the_feature_s_type(session: Session, registry: Registry, document: dict[str, Any]) -> None:
    seed(registry, integer("a.one"), pro={})
    before = everything(session)
    with pytest.raises(InvalidInput, match=r"a\.one"):
        registry.tiers.grant("pro", {"a.one": document})
    assert everything(session) == before


def test_a_tier_grants_nothing_without_its_prerequisites(registry: Registry) -> None:
    seed(registry, "a.one", feature("a.two", depends_on=["a.one"]), pro={})
    with pytest.raises(PrerequisiteBroken, match=r"pro.*a\.two.*a\.one"):
        registry.tiers.grant("pro", {"a.two": ON})
    assert registry.tiers.grant("pro", {"a.two": ON, "a.one": ON}).changed
    with pytest.raises(PrerequisiteBroken, match=r"pro.*a\.two.*a\.one"):
        registry.tiers.revoke("pro", ["a.one"])
    with pytest.raises(PrerequisiteBroken):
        registry.tiers.grant("pro", {"a.one": OFF})
    assert registry.tiers.revoke("pro", ["a.one", "a.two"]).changed


def test_a_tier_grants_no_conflict(registry: Registry) -> None:
    seed(registry, "a.one", feature("a.two", conflicts_with=["a.one"]), pro={"a.one": ON})
    with pytest.raises(ConflictRefused, match=r"pro.*a\.one.*a\.two"):
        registry.tiers.grant("pro", {"a.two": ON})
    assert registry.tiers.grant("pro", {"a.two": ON, "a.one": OFF}).changed


def test_heirs_count(registry: Registry) -> None:
    """A base must not take away what an heir needs, nor grant what an heir excludes."""
    seed(
        registry,
        "a.one",
        feature("a.two", depends_on=["a.one"]),
        feature("a.three", conflicts_with=["a.two"]),
        free={"a.one": ON},
    )
    registry.tiers.create(tier("pro"), base="free")
    registry.tiers.create(tier("max"), base="pro")
    registry.tiers.grant("max", {"a.two": ON})
    with pytest.raises(PrerequisiteBroken, match=r"max.*a\.two.*a\.one"):
        registry.tiers.revoke("free", ["a.one"])
    with pytest.raises(PrerequisiteBroken, match="max"):
        registry.tiers.set_base("pro", None)
    with pytest.raises(ConflictRefused, match="max"):
        registry.tiers.grant("free", {"a.three": ON})
    registry.tiers.grant("max", {"a.one": ON})
    assert registry.tiers.set_base("pro", None).changed


def test_base_tiers_do_not_run_in_a_circle(registry: Registry) -> None:
    seed(registry, free={}, pro={}, max={})
    registry.tiers.set_base("pro", "free")
    registry.tiers.set_base("max", "pro")
    with pytest.raises(CycleRefused, match="free → max → pro → free"):
        registry.tiers.set_base("free", "max")
    with pytest.raises(CycleRefused, match="free → free"):
        registry.tiers.set_base("free", "free")
