"""Known tenants: one feature at a time, and all of them, beside the floors and the peers."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa

from benchmarks import flipper, peers
from benchmarks.rounds import Case, always, goal, interleaved, ratio, summary
from benchmarks.tenants import sqlite
from benchmarks.truth import Truth, TwoLookups
from tierwright.services.entitlements import Entitlements
from tierwright.store import SnapshotStore

FLOOR = "floor: method with two .get and defaults"
CHECK = "tierwright check"
EVALUATE = "tierwright evaluate"
COPY = "floor: dict copy"
ALL = "tierwright evaluate_all"
_FRESH = "floor: the same method, new str objects"
_SAMPLES = 1000
Pairs = list[tuple[str, str]]


def run(sizes: dict[str, int], calls: int, rounds: int, flipper_python: str | None) -> dict[str, Any]:
    """Measure ours, the floors and the peers that are installed, in turns in this process.

    Args:
        sizes: of the data set.
        calls: of ours and of the floors in a round; the peers' are fewer in proportion.
        rounds: how many.
        flipper_python: the interpreter of the environment in which flipper-client is installed.
    """
    truth = Truth(**sizes)
    with sqlite(truth) as place, tempfile.TemporaryDirectory(prefix="tierwright-bench-") as folder:
        engine = sa.create_engine(place.url)
        with SnapshotStore(engine, poll_interval=1000, background=False) as store:
            entitlements = Entitlements(store=store)
            _prove(truth, entitlements)
            loaded, skipped = peers.load(truth, folder)
            try:
                return _measured(truth, entitlements, loaded, skipped, calls, rounds, flipper_python)
            finally:
                for peer in loaded:
                    peer.close()
                engine.dispose()


def _measured(
    truth: Truth,
    entitlements: Entitlements,
    loaded: list[peers.Loaded],
    skipped: dict[str, str],
    calls: int,
    rounds: int,
    flipper_python: str | None,
) -> dict[str, Any]:
    share = calls / 300_000
    pairs = truth.pairs(calls)
    one = [*_floors(truth, pairs), *_ours(truth, entitlements, pairs)]
    one += [_peer_case(truth, peer, pairs[: max(5, int(peer.calls * share))]) for peer in loaded]
    found = summary(interleaved(one, rounds), FLOOR)
    fresh = found["tierwright check, new str objects"]
    fresh["ratio_to_same_keys"] = ratio(fresh["rounds"], found[_FRESH]["rounds"])
    whole = summary(interleaved(_bulk(truth, entitlements, loaded, share), rounds), COPY)
    versions = peers.versions()
    if flipper_python is None:
        skipped[flipper.NAME] = "no --flipper-python"
    else:
        measured = flipper.in_environment(flipper_python, truth, max(5, int(20_000 * share)), rounds)
        found[flipper.NAME], whole[flipper.NAME] = measured["one"], measured["all"]
        versions["flipper-client"] = measured["version"]
    return {
        "one_feature": found,
        "all_features": whole,
        "skipped": skipped,
        "versions": versions,
        "goals": [
            goal("check of a known tenant, to two lookups", found[CHECK]["ratio"], 2.0),
            goal("evaluate of a known tenant, to two lookups", found[EVALUATE]["ratio"], 2.5),
            goal("all features of a known tenant, to a dict copy", whole[ALL]["ratio"], 2.0),
        ],
    }


def _prove(truth: Truth, entitlements: Entitlements) -> None:
    """Compare the answers about all features of every tenant with the truth; from here on every tenant is known."""
    for tenant in truth.tenants:
        answers = entitlements.evaluate_all(tenant)
        if {key: decision.enabled for key, decision in answers.items()} != truth.of(tenant):
            raise AssertionError(f"{tenant}: wrong answers")
    for number, key in enumerate(truth.features):  # values too, of one tenant
        tenant = truth.tenants[0]
        document = truth.document(truth.tiers.index(truth.tier_of[tenant]), number)
        if entitlements.evaluate(tenant, key).value != document.get("value"):
            raise AssertionError(f"{tenant}, {key}: wrong value")


# --- one feature -----------------------------------------------------------------------------------------------------


def calling(check: Callable[[Any, Any], Any]) -> Callable[[Sequence[Any]], int]:
    """Return the loop around a method that is given both of a pair."""

    def loop(items: Sequence[Any]) -> int:
        granted = 0
        for one, other in items:
            if check(one, other):
                granted += 1
        return granted

    return loop


def _ours(truth: Truth, entitlements: Entitlements, pairs: Pairs) -> list[Case]:
    evaluate = entitlements.evaluate

    def evaluating(items: Sequence[Any]) -> int:
        granted = 0
        for tenant, feature in items:
            if evaluate(tenant, feature).enabled:
                granted += 1
        return granted

    same = always(pairs, truth.granted_among(pairs))
    return [
        Case(CHECK, calling(entitlements.check), same),
        Case(EVALUATE, evaluating, same),
        Case("tierwright check, new str objects", calling(entitlements.check), _new_objects(truth, pairs)),
    ]


def _floors(truth: Truth, pairs: Pairs) -> list[Case]:
    of = {tenant: truth.of(tenant) for tenant in truth.tenants}
    tier_of, granted_by = truth.tier_of, truth.granted
    check = TwoLookups(of).check

    def inline(items: Sequence[Any]) -> int:
        granted = 0
        for tenant, feature in items:
            if of[tenant][feature]:
                granted += 1
        return granted

    @functools.cache
    def cached(tenant: str, feature: str) -> bool:
        return granted_by[tier_of[tenant]][feature]

    same = always(pairs, truth.granted_among(pairs))
    return [
        Case(FLOOR, calling(check), same),
        Case("floor: dict[tenant][feature] in the loop", inline, same),
        Case(_FRESH, calling(check), _new_objects(truth, pairs)),
        Case("floor: functools.cache on (tenant, feature)", calling(cached), same),
    ]


def _new_objects(truth: Truth, pairs: Pairs) -> Callable[[int], tuple[Sequence[Any], int]]:
    """Return the pairs as a request brings them: texts whose hash nobody has computed yet."""
    granted = truth.granted_among(pairs)
    return lambda _round: ([(one.encode().decode(), other.encode().decode()) for one, other in pairs], granted)


def _peer_case(truth: Truth, peer: peers.Loaded, pairs: Pairs) -> Case:
    sample = truth.pairs(min(_SAMPLES, len(pairs)), seed=99)
    wrong = [pair for pair in sample if bool(peer.check(*peer.prepare(*pair))) != truth.expects(*pair)]
    if wrong:
        raise AssertionError(f"{peer.name} is set up wrongly: {len(wrong)} of {len(sample)} answers are wrong")
    return Case(
        peer.name, calling(peer.check), always([peer.prepare(*pair) for pair in pairs], truth.granted_among(pairs))
    )


# --- all features ----------------------------------------------------------------------------------------------------


def _bulk(truth: Truth, entitlements: Entitlements, loaded: list[peers.Loaded], share: float) -> list[Case]:
    of = {tenant: truth.of(tenant) for tenant in truth.tenants}
    ways: list[tuple[str, Callable[[str], Any], float]] = [
        (COPY, lambda tenant: dict(of[tenant]), 2000),
        (ALL, entitlements.evaluate_all, 2000),
        ("tierwright evaluate_all, read into a dict of bool", _as_bools(entitlements), 200),
        (
            "floor: 1,000 .get in a comprehension",
            lambda tenant: {key: of[tenant].get(key) for key in truth.features},
            200,
        ),
        *((peer.name, peer.check_all, peer.calls_all) for peer in loaded if peer.check_all is not None),
    ]
    cases = []
    for name, all_of, calls in ways:
        tenant = truth.tenants[-1]
        answers = {key: bool(getattr(answer, "enabled", answer)) for key, answer in all_of(tenant).items()}
        if answers != truth.of(tenant):
            raise AssertionError(f"{name}: wrong answers about all features")
        tenants = (truth.tenants * 2)[: max(1, int(calls * share))]
        cases.append(Case(name, _asking_all(all_of), always(tenants, 0)))
    return cases


def _asking_all(all_of: Callable[[str], Any]) -> Callable[[Sequence[Any]], int]:
    def loop(tenants: Sequence[Any]) -> int:
        for tenant in tenants:
            all_of(tenant)
        return 0

    return loop


def _as_bools(entitlements: Entitlements) -> Callable[[str], dict[str, bool]]:
    return lambda tenant: {key: decision.enabled for key, decision in entitlements.evaluate_all(tenant).items()}
