"""The effect, computed over plain data: beside the whole resolver, and which memory and work it takes."""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import random_catalogue
from tierwright.catalog import CatalogDocument
from tierwright.catalog.comparison import Comparison
from tierwright.catalog.holders import Holder
from tierwright.catalog.outcome import Outcome, OutcomeKind, kind_of, outcome_of
from tierwright.catalog.tally import Count, Tally
from tierwright.resolution.decision import Decision, Reason, Source, not_found
from tierwright.resolution.facts import Feature, Grant, License, Override, Tier
from tierwright.resolution.snapshot import CatalogSnapshot
from tierwright.types import utc_now

NOW = utc_now()


def compiled(document: CatalogDocument) -> CatalogSnapshot:
    """Return the compiled catalogue of a document; tiers have their keys as ids."""
    features = [
        Feature(
            key,
            Grant.from_document(each.default_value),
            each.is_premium,
            each.is_active,
            tuple(each.depends_on),
            tuple(each.conflicts_with),
        )
        for key, each in document.features.items()
    ]
    tiers = [
        Tier(
            key,
            key,
            {feature: Grant.from_document(value) for feature, value in each.features.items()},
            each.rank,
            each.base,
            each.is_default,
            each.is_active,
        )
        for key, each in document.tiers.items()
    ]
    return CatalogSnapshot(features, tiers)


def whole(before: CatalogSnapshot, after: CatalogSnapshot, holder: Holder) -> dict[str, tuple[Any, ...]]:
    """Return what changes for a tenant, by deciding everything about it."""
    decisions = []
    for snapshot in (before, after):
        licenses = [License(tier) for tier in holder.tier_ids if tier in snapshot.tiers]
        decisions.append(snapshot.resolve(licenses, holder.overrides.values(), NOW).all())
    found = {}
    for key in decisions[0].keys() | decisions[1].keys():
        old, new = (each.get(key, not_found(key)) for each in decisions)
        kind = kind_of(old, new)
        if kind is not None:
            found[key] = (kind, old, new)
    return found


def holder(source: Random, number: int) -> Holder:
    """Return a random tenant."""
    tiers = tuple(sorted(source.sample(random_catalogue.TIER_KEYS, source.choice([0, 1, 1, 2]))))
    keys = source.sample(list(random_catalogue.TYPES), source.choice([0, 0, 1, 3]))
    overrides = {key: Override(key, Grant.from_document(random_catalogue.value(source, key))) for key in keys}
    return Holder(f"tenant-{number:02d}", True, tiers, overrides, ())


@given(st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_less_is_decided_and_the_outcome_is_the_same(seed: int) -> None:
    source = Random(seed)
    before, after = (compiled(random_catalogue.catalogue(source)) for _ in range(2))
    comparison = Comparison(before, after)
    tally = Tally(comparison, sample=2)
    holders = [holder(source, number) for number in range(12)]
    expected: dict[str, dict[str, Any]] = {}
    for each in holders:
        relevant = {key: given for key, given in each.overrides.items() if key in comparison.keys}
        tally.add(each._replace(overrides=relevant))
        expected[each.tenant_id] = whole(before, after, each)
        outcomes = dict(comparison.outcomes(each.tier_ids))
        if relevant:
            keys, own = comparison.overridden(each.tier_ids, relevant)
            outcomes = {key: outcome for key, outcome in outcomes.items() if key not in keys} | dict(own)
        found = {key: (outcome.kind, outcome.before, outcome.after) for key, outcome in outcomes.items()}
        assert found == expected[each.tenant_id]
    counts, by_feature = tally.counted()
    losses = [sum(kind == "loss" for kind, *_ in found.values()) for found in expected.values()]
    assert counts["losses"] == Count(sum(losses), sum(map(bool, losses)))
    assert sum(found.get(OutcomeKind.LOSS, 0) for found in by_feature.values()) == sum(losses)
    assert all(
        (each.outcome.kind, each.outcome.before, each.outcome.after)
        == expected[each.tenant_id][each.outcome.feature_key]
        for each in tally.samples()
    )


def decision(enabled: bool = True, value: Any = None, *, unlimited: bool = False) -> Decision:
    reason = Reason.GRANTED if enabled else Reason.NOT_GRANTED
    return Decision("a.b", enabled, value, unlimited, reason, Source.TIER, "pro")


def test_kinds() -> None:
    on, off = decision(), decision(False)
    assert kind_of(off, on) is OutcomeKind.GAIN
    assert kind_of(on, off) is OutcomeKind.LOSS
    assert kind_of(off, decision(False)) is None
    assert kind_of(on, on) is None
    for old, new, kind in (
        (5, 4, OutcomeKind.LOWERED),
        (5, 6, OutcomeKind.CHANGED),
        (5, 5.0, None),
        (1, True, OutcomeKind.CHANGED),
        (True, False, OutcomeKind.CHANGED),
        ("b", "a", OutcomeKind.CHANGED),
        ([1], [True], OutcomeKind.CHANGED),
        (0, None, OutcomeKind.CHANGED),
    ):
        assert kind_of(decision(value=old), decision(value=new)) is kind, (old, new)
    assert kind_of(decision(unlimited=True), decision(value=10**9)) is OutcomeKind.LOWERED
    assert kind_of(decision(value=10**9), decision(unlimited=True)) is OutcomeKind.CHANGED


def test_outcomes_come_back_from_json() -> None:
    old = Decision("a.b", False, None, False, Reason.CONFLICT, Source.OVERRIDE, None, None, ("a.c",))
    for outcome in (
        Outcome("a.b", OutcomeKind.GAIN, old, decision(value={"x": [1]})),
        Outcome("a.b", OutcomeKind.LOWERED, decision(unlimited=True), decision(value=1)),
    ):
        assert outcome_of(outcome.to_json()) == outcome


def grants(count: int, *, value: int) -> dict[str, Grant]:
    return {f"a.f{number}": Grant(True, value) for number in range(count)}


def test_only_what_can_differ_is_decided() -> None:
    features = [Feature(f"a.f{number}", Grant(False, 0)) for number in range(50)]
    features[7] = features[7]._replace(depends_on=("a.f8",))
    tiers = [Tier(key, key, grants(50, value=1)) for key in ("one", "two")]
    changed = [tiers[0], Tier("two", "two", {**tiers[1].grants, "a.f8": Grant(True, 2)})]
    comparison = Comparison(CatalogSnapshot(features, tiers), CatalogSnapshot(features, changed))
    assert comparison.keys == {"a.f7", "a.f8"}
    assert set(comparison.outcomes(("two",))) == {"a.f8"}
    assert not comparison.outcomes(("one",))
    same = Comparison(CatalogSnapshot(features, tiers), CatalogSnapshot(features, tiers))
    assert not same.keys


def test_memory_does_not_grow_with_tenants() -> None:
    features = [Feature(f"a.f{number}", Grant(False, 0)) for number in range(100)]
    before = CatalogSnapshot(features, [Tier("pro", "pro", grants(100, value=1))])
    after = CatalogSnapshot(features, [Tier("pro", "pro", {})])
    tally = Tally(Comparison(before, after), sample=5)
    given = {"a.f3": Override("a.f3", Grant(True))}
    for number in range(20_000):
        tally.add(Holder(f"t{number:05d}", True, ("pro",), given if number % 10 == 0 else {}, ()))
    kept = [len(vars(tally)[name]) for name in ("_by_tiers", "_otherwise", "_by_feature", "_first")]
    assert max(kept) <= 2
    counts, by_feature = tally.counted()
    # Those with the override keep the feature, whose value is now the default's.
    assert counts["losses"] == Count(20_000 * 100 - 2_000, 20_000)
    assert counts["lowered"] == Count(2_000, 2_000)
    assert by_feature["a.f3"] == {OutcomeKind.LOSS: 18_000, OutcomeKind.LOWERED: 2_000}
    assert len(tally.samples()) == 10
