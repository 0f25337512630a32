"""The pure core beside a reference that is slow and follows the design word for word, and its rules one by one."""

from __future__ import annotations

import copy
import json
import pickle
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tierwright.errors import NotALimit
from tierwright.resolution.decision import Decision, Reason, Source
from tierwright.resolution.facts import MISSING, Feature, Grant, License, Override, Tier
from tierwright.resolution.frozen import freeze
from tierwright.resolution.graph import find_cycle
from tierwright.resolution.snapshot import CatalogSnapshot

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEYS = ["f.a", "f.b", "f.c", "f.d", "f.e"]
ON, OFF = Grant(True), Grant(False)


# --- the reference -----------------------------------------------------------------------------------------------


def reference(features, tiers, licenses, overrides, at):
    """Resolve by the text of the design: no index, no sharing, every feature from scratch."""

    def inside(window):
        return (window.starts_at is None or window.starts_at <= at) and (
            window.expires_at is None or at < window.expires_at
        )

    by_id = {tier.id: tier for tier in tiers}

    def with_bases(tier):
        chain = [tier]
        while chain[-1].base_id is not None:
            base = by_id[chain[-1].base_id]
            if base in chain:
                return [tier]
            chain.append(base)
        return chain

    valid = [license for license in licenses if inside(license)]
    sources = []
    if valid:
        held = sorted({license.tier_id for license in valid}, key=lambda id_: (-by_id[id_].rank, by_id[id_].key))
        seen = {}
        for id_ in held:
            ends = [license.expires_at for license in valid if license.tier_id == id_]
            end = None if None in ends else max(ends)
            for place, tier in enumerate(with_bases(by_id[id_])):
                end_here = seen.setdefault(tier.key, end)
                sources.append((tier, Source.BASE_TIER if place else Source.TIER, end_here))
    else:
        for tier in tiers:
            if tier.is_default and tier.is_active:
                sources += [(each, Source.DEFAULT_TIER, None) for each in with_bases(tier)]

    found = {}
    for feature in features:
        speaking = [
            (o.grant, Source.OVERRIDE, None, o.expires_at)
            for o in overrides
            if o.feature_key == feature.key and inside(o)
        ]
        speaking += [
            (tier.grants[feature.key], source, tier.key, end)
            for tier, source, end in sources
            if feature.key in tier.grants
        ]
        default = feature.default
        speaking.append(
            (default._replace(enabled=default.enabled and not feature.is_premium), Source.REGISTRY_DEFAULT, None, None)
        )
        grant, source, tier_key, end = speaking[0]
        if not feature.is_active:
            found[feature.key] = Decision(feature.key, False, None, False, Reason.DISABLED, Source.NONE)
        elif not grant.enabled:
            found[feature.key] = Decision(feature.key, False, None, False, Reason.NOT_GRANTED, source, tier_key, end)
        else:
            valued = [g for g, *_ in speaking if g.unlimited or g.value is not MISSING]
            value, unlimited = (valued[0].value, valued[0].unlimited) if valued else (None, False)
            found[feature.key] = Decision(
                feature.key, True, None if unlimited else value, unlimited, Reason.GRANTED, source, tier_key, end
            )

    def fixpoint(kept):
        result = set()
        while True:
            more = {f.key for f in features if f.key in kept and set(f.depends_on) <= result}
            if more == result:
                return result
            result = more

    enabled = {key for key, decision in found.items() if decision.enabled}
    partners = {(a.key, b) for a in features for b in a.conflicts_with}
    partners |= {(b, a) for a, b in partners}
    met = fixpoint(enabled)
    conflicting = {key: sorted({b for a, b in partners if a == key and b in met}) for key in met}
    kept = fixpoint({key for key in met if not conflicting[key]})
    for feature in features:
        key = feature.key
        if key not in enabled or key in kept:
            continue
        was = found[key]
        if conflicting.get(key):
            reason, blocked = Reason.CONFLICT, conflicting[key]
        else:
            reason, blocked = Reason.PREREQUISITE_NOT_MET, sorted(set(feature.depends_on) - kept)
        found[key] = Decision(key, False, None, False, reason, was.source, was.tier_key, was.expires_at, tuple(blocked))
    return found


# --- random catalogues -------------------------------------------------------------------------------------------

grants = st.builds(Grant, st.booleans(), st.one_of(st.just(MISSING), st.integers(0, 3))) | st.builds(
    Grant, st.booleans(), st.just(MISSING), st.just(True)
)
defaults = st.builds(Grant, st.booleans(), st.integers(0, 3))
moments = st.none() | st.integers(-3, 3).map(lambda days: NOW + timedelta(days=days))
some_keys = st.lists(st.sampled_from([*KEYS, "f.unknown"]), max_size=2).map(tuple)


def one_feature(key):
    return st.builds(
        Feature,
        st.just(key),
        defaults,
        st.booleans(),
        st.sampled_from([True, True, True, False]),
        some_keys,
        some_keys,
    )


def one_tier(number):
    return st.builds(
        Tier,
        st.just(number),
        st.just(f"t{number}"),
        st.dictionaries(st.sampled_from(KEYS), grants, max_size=5),
        st.integers(0, 2),
        st.none() | st.integers(0, 3).filter(lambda base: base != number),
        st.just(number == 0),
        st.sampled_from([True, True, False]),
    )


@st.composite
def cases(draw):
    features = [draw(one_feature(key)) for key in KEYS]
    tiers = [draw(one_tier(number)) for number in range(4)]
    licenses = draw(st.lists(st.builds(License, st.integers(0, 3), moments, moments), max_size=3))
    given_keys = draw(st.lists(st.sampled_from(KEYS), unique=True, max_size=3))
    overrides = [draw(st.builds(Override, st.just(key), grants, moments, moments)) for key in given_keys]
    return features, tiers, licenses, overrides


MICROSECOND = timedelta(microseconds=1)
#: Every moment at which a window of a random case can open or close, with what is just beside it.
AROUND = [NOW + timedelta(days=day) + beside for day in range(-3, 4) for beside in (-MICROSECOND, MICROSECOND * 0)]


@pytest.mark.no_cover  # half of its time would be the measuring; what it runs is measured elsewhere
@settings(max_examples=1000, deadline=None)
@given(cases())
def test_the_compiled_snapshot_decides_as_the_reference_does_at_every_moment(case):
    features, tiers, licenses, overrides = case
    snapshot = CatalogSnapshot(features, tiers)
    boundaries = {moment for window in (*licenses, *overrides) for moment in window[-2:] if moment is not None}
    for at in AROUND:  # 14,000 cases in all
        found = snapshot.resolve(licenses, overrides, at)
        expected = reference(features, tiers, licenses, overrides, at)
        assert found.all() == expected
        assert {key: found.decisions[key] for key in KEYS} == expected
        assert {key for key in (*KEYS, "f.unknown") if key in found.granted} == {
            key for key, decision in expected.items() if decision.enabled
        }
        assert found.until == min((moment for moment in boundaries if moment > at), default=None)


@pytest.mark.no_cover
@settings(max_examples=100, deadline=None)
@given(cases(), st.sets(st.sampled_from([*KEYS, "f.unknown"])))
def test_the_snapshot_around_some_features_decides_them_as_the_whole_does(case, keys):
    features, tiers, licenses, overrides = case
    whole = CatalogSnapshot(features, tiers)
    part = whole.around(keys)
    assert keys & whole.features.keys() <= part.features.keys()
    expected = whole.resolve(licenses, overrides, NOW).all()
    assert part.resolve(licenses, overrides, NOW).all() == {key: expected[key] for key in part.features}
    # Nor does a change of theirs reach any other feature.
    denied = [Override(key, Grant(False), None, None) for key in keys]
    rest = [override for override in overrides if override.feature_key not in keys]
    changed = whole.resolve(licenses, [*rest, *denied], NOW).all()
    assert {key for key in expected if changed[key] != expected[key]} <= part.features.keys()


# --- rules, one by one -------------------------------------------------------------------------------------------


def decide(features, tiers=(), licenses=(), overrides=(), at=NOW):
    return CatalogSnapshot(features, tiers).resolve(licenses, overrides, at).all()


def test_features_in_a_conflict_triangle_are_all_denied_at_once_and_named():
    found = decide(
        [
            Feature("f.a", ON, conflicts_with=("f.b", "f.c")),
            Feature("f.b", ON, conflicts_with=("f.c",)),
            Feature("f.c", ON),
            Feature("f.d", ON, depends_on=("f.c",)),
        ]
    )
    assert {key: decision.reason for key, decision in found.items()} == {
        "f.a": Reason.CONFLICT,
        "f.b": Reason.CONFLICT,
        "f.c": Reason.CONFLICT,
        "f.d": Reason.PREREQUISITE_NOT_MET,
    }
    assert found["f.a"].blocked_by == ("f.b", "f.c")
    assert found["f.d"].blocked_by == ("f.c",)


def test_features_that_depend_on_each_other_or_on_an_unknown_one_are_denied():
    found = decide(
        [
            Feature("f.a", ON, depends_on=("f.b",)),
            Feature("f.b", ON, depends_on=("f.a",)),
            Feature("f.c", ON, depends_on=("f.unknown",)),
        ]
    )
    assert {decision.reason for decision in found.values()} == {Reason.PREREQUISITE_NOT_MET}


def test_a_window_is_open_at_its_start_and_closed_at_its_end():
    tier = Tier(1, "pro", {"f.a": ON})
    license = License(1, NOW, NOW + timedelta(days=1))
    for at, enabled in (
        (NOW - timedelta(microseconds=1), False),
        (NOW, True),
        (NOW + timedelta(days=1, microseconds=-1), True),
        (NOW + timedelta(days=1), False),
    ):
        assert decide([Feature("f.a", OFF)], [tier], [license], at=at)["f.a"].enabled is enabled


def test_a_partial_override_takes_the_value_of_the_next_source_and_a_missing_limit_is_not_unlimited():
    tier = Tier(1, "pro", {"f.a": Grant(True, 5)})
    feature = Feature("f.a", Grant(False, 1))
    found = decide([feature], [tier], [License(1)], [Override("f.a", ON)])["f.a"]
    assert (found.value, found.unlimited, found.source) == (5, False, Source.OVERRIDE)
    assert decide([feature], [], [], [Override("f.a", ON)])["f.a"].value == 1


def test_a_premium_feature_is_never_enabled_by_its_default_but_by_any_tier():
    premium = Feature("f.a", ON, is_premium=True)
    assert decide([premium])["f.a"].reason is Reason.NOT_GRANTED
    tier = Tier(1, "free", {"f.a": ON}, is_default=True)
    assert decide([premium], [tier])["f.a"].source is Source.DEFAULT_TIER


def test_a_closed_default_tier_gives_nothing_and_a_closed_tier_is_honoured_for_its_holders():
    feature = Feature("f.a", OFF)
    closed = Tier(1, "old", {"f.a": ON}, is_default=True, is_active=False)
    assert not decide([feature], [closed])["f.a"].enabled
    assert decide([feature], [closed], [License(1)])["f.a"].enabled


def test_bases_in_a_circle_contribute_nothing_while_the_tier_itself_speaks():
    tiers = [Tier(1, "a", {"f.a": ON}, base_id=2), Tier(2, "b", {"f.b": ON}, base_id=1)]
    found = decide([Feature("f.a", OFF), Feature("f.b", OFF)], tiers, [License(1)])
    assert found["f.a"].enabled
    assert not found["f.b"].enabled


def test_tenants_with_the_same_tiers_share_one_table():
    catalog = CatalogSnapshot([Feature("f.a", OFF)], [Tier(1, "pro", {"f.a": ON})])
    first, second = (catalog.resolve([License(1)], [], NOW).decisions for _ in range(2))
    assert first is second


@pytest.mark.parametrize("document", [None, [], "on", {"enabled": 1}, {"enabled": "true"}, {"value": 5}])
def test_a_row_that_does_not_plainly_enable_denies(document):
    assert not Grant.from_document(document).enabled


def test_a_limit_allows_up_to_its_value_and_denies_when_denied():
    limit = decide([Feature("f.a", Grant(True, 5))])["f.a"]
    assert limit.allows(5)
    assert not limit.allows(6)
    assert not limit.allows(float("nan"))
    assert decide([Feature("f.a", Grant(True, MISSING, True))])["f.a"].allows(10**9)
    assert not decide([Feature("f.a", Grant(False, 5))])["f.a"].allows(0)
    with pytest.raises(NotALimit):
        decide([Feature("f.a", Grant(True, True))])["f.a"].allows(1)


def test_a_decision_refuses_to_be_taken_for_a_truth_value():
    with pytest.raises(TypeError, match="enabled"):
        bool(decide([Feature("f.a", OFF)])["f.a"])


def test_a_shared_value_cannot_be_changed_and_its_copies_can():
    value = freeze({"a": [1, {"b": 2}]})
    for change in (
        lambda: value.update(a=1),
        lambda: value.__setitem__("a", 1),
        lambda: value["a"].append(1),
        lambda: value["a"][1].clear(),
        lambda: value["a"].sort(),
    ):
        with pytest.raises(TypeError, match="cannot be changed"):
            change()
    assert value == {"a": [1, {"b": 2}]}
    assert json.loads(json.dumps(value)) == value
    assert pickle.loads(pickle.dumps(value)) == value
    copied = copy.deepcopy(value)
    copied["a"].append(3)
    assert value["a"] == [1, {"b": 2}]


@pytest.mark.parametrize(
    ("edges", "cycle"),
    [
        ({}, ()),
        ({"a": ["b"], "b": ["c"]}, ()),
        ({"a": ["a"]}, ("a", "a")),
        ({"a": ["b", "c"], "b": ["d"], "c": ["d"], "d": []}, ()),
        ({"a": ["b"], "b": ["c"], "c": ["b"]}, ("b", "c", "b")),
    ],
)
def test_a_cycle_is_found_and_named(edges, cycle):
    assert find_cycle(edges) == cycle


def test_a_chain_of_ten_thousand_prerequisites_does_not_exhaust_the_stack():
    edges = {str(number): [str(number + 1)] for number in range(10_000)}
    assert find_cycle(edges) == ()
