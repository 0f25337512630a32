"""Counting outcomes tenant by tenant, in memory that does not grow with tenants times features.

Tenants with the same tiers and without an override that matters are only counted: what changes for them is worked
out once, at the end. An overridden tenant is counted among them too, and what is otherwise about it is noted.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from heapq import nsmallest
from itertools import islice
from typing import NamedTuple

from tierwright.catalog.comparison import Comparison, Outcomes, TierIds
from tierwright.catalog.holders import Holder
from tierwright.catalog.outcome import LESS, Outcome, OutcomeKind, TenantOutcome

_KINDS = tuple(OutcomeKind)
_Numbers = tuple[int, ...]
#: So many combinations of tiers and overridden features are remembered with tenants that may be named.
_MOST_FIRST = 10_000
#: What is counted, each with the kinds that it consists of.
_GROUPS = {
    "gains": {OutcomeKind.GAIN},
    "losses": {OutcomeKind.LOSS},
    "value_changes": {OutcomeKind.LOWERED, OutcomeKind.CHANGED},
    "lowered": {OutcomeKind.LOWERED},
    "less": LESS,
}
_PLACES = {name: [place for place, kind in enumerate(_KINDS) if kind in kinds] for name, kinds in _GROUPS.items()}


class Count(NamedTuple):
    """How many decisions change in one way, and of how many tenants."""

    decisions: int
    tenants: int


class Tally:
    """The outcomes of all tenants.

    Args:
        comparison: what changes for whom.
        sample: how many outcomes of each kind are named.

    Attributes:
        tenants: how many were added.
    """

    def __init__(self, comparison: Comparison, sample: int) -> None:
        self.tenants = 0
        self._comparison = comparison
        self._sample = sample
        self._by_tiers: Counter[TierIds] = Counter()
        #: Overridden tenants, by their tiers and how many outcomes of each kind they have less and more.
        self._otherwise: Counter[tuple[TierIds, _Numbers, _Numbers]] = Counter()
        self._by_feature: Counter[tuple[str, OutcomeKind]] = Counter()
        #: The first tenants with certain tiers whose overrides decide certain features.
        self._first: dict[tuple[TierIds, frozenset[str]], list[str]] = {}
        self._named: dict[OutcomeKind, dict[str, list[Outcome]]] = {kind: {} for kind in _KINDS}

    def add(self, holder: Holder) -> None:
        """Count one tenant; they come in the order of their ids."""
        self.tenants += 1
        tiers, keys = holder.tier_ids, frozenset[str]()
        self._by_tiers[tiers] += 1
        if holder.overrides:
            keys, own = self._comparison.overridden(tiers, holder.overrides)
            self._note(holder.tenant_id, tiers, self._comparison.some(keys, tiers), own)
        if (tiers, keys) in self._first or not keys or len(self._first) < _MOST_FIRST:
            first = self._first.setdefault((tiers, keys), [])
            if len(first) < self._sample:
                first.append(holder.tenant_id)

    def counted(self) -> tuple[dict[str, Count], dict[str, dict[OutcomeKind, int]]]:
        """Return the counts by what is counted, and the tenants by feature and kind; to be called once, at the end."""
        decisions, tenants = Counter[str](), Counter[str]()
        usual: dict[TierIds, _Numbers] = {}
        by_tiers: dict[TierIds, list[tuple[str, frozenset[str]]]] = defaultdict(list)
        for (tiers, keys), first in self._first.items():
            by_tiers[tiers] += [(tenant_id, keys) for tenant_id in first]
        for tiers, count in self._by_tiers.items():
            outcomes = self._comparison.outcomes(tiers)
            for key, outcome in outcomes.items():
                self._by_feature[key, outcome.kind] += count
            usual[tiers] = _numbers(outcomes.values())
            _add(decisions, tenants, usual[tiers], count)
            self._name(by_tiers[tiers], outcomes)
        for (tiers, less, more), count in self._otherwise.items():
            own = tuple(n - minus + plus for n, minus, plus in zip(usual[tiers], less, more, strict=True))
            _add(decisions, tenants, usual[tiers], -count)
            _add(decisions, tenants, own, count)
        by_feature: dict[str, dict[OutcomeKind, int]] = {}
        for (key, kind), count in sorted(self._by_feature.items()):
            if count:
                by_feature.setdefault(key, {})[kind] = count
        return {name: Count(decisions[name], tenants[name]) for name in _GROUPS}, by_feature

    def samples(self) -> tuple[TenantOutcome, ...]:
        """Return some outcomes of each kind, of as many tenants as possible; after :meth:`counted`."""
        return tuple(each for kind in _KINDS for each in _spread(self._named[kind], self._sample))

    def _note(self, tenant_id: str, tiers: TierIds, usual: Outcomes, own: Outcomes) -> None:
        self._otherwise[tiers, _numbers(usual.values()), _numbers(own.values())] += 1
        self._by_feature.subtract((key, outcome.kind) for key, outcome in usual.items())
        self._by_feature.update((key, outcome.kind) for key, outcome in own.items())
        for outcome in own.values():
            named = self._named[outcome.kind]
            if tenant_id in named or len(named) < self._sample:
                named.setdefault(tenant_id, []).append(outcome)

    def _name(self, first: Iterable[tuple[str, frozenset[str]]], outcomes: Outcomes) -> None:
        for kind in _KINDS:
            some = [outcome for outcome in outcomes.values() if outcome.kind is kind]
            for tenant_id, without in first if some else ():
                left = list(islice((each for each in some if each.feature_key not in without), self._sample))
                if left:
                    self._named[kind].setdefault(tenant_id, []).extend(left)
            named = self._named[kind]
            if len(named) > 4 * self._sample:  # of many, only the first will be named
                self._named[kind] = {tenant_id: named[tenant_id] for tenant_id in nsmallest(self._sample, named)}


def _spread(named: Mapping[str, list[Outcome]], sample: int) -> list[TenantOutcome]:
    """Return some outcomes by tenant and feature, the first one of every tenant before the second one of any."""
    tenants = nsmallest(sample, named)
    found = list(_in_rounds({tenant: named[tenant] for tenant in tenants}, sample))
    return sorted(found, key=lambda each: (each.tenant_id, each.outcome.feature_key))


def _in_rounds(named: Mapping[str, list[Outcome]], sample: int) -> Iterator[TenantOutcome]:
    each = ((place, tenant) for place in range(sample) for tenant in named if place < len(named[tenant]))
    for _, (place, tenant) in zip(range(sample), each, strict=False):
        yield TenantOutcome(tenant, named[tenant][place])


def _numbers(outcomes: Iterable[Outcome]) -> _Numbers:
    counted = Counter(outcome.kind for outcome in outcomes)
    return tuple(counted[kind] for kind in _KINDS)


def _add(decisions: Counter[str], tenants: Counter[str], numbers: _Numbers, count: int) -> None:
    for name, places in _PLACES.items():
        number = sum(numbers[place] for place in places)
        decisions[name] += number * count
        if number:
            tenants[name] += count
