"""Two catalogues compared: which features can be decided differently, and how, for everybody with the same tiers.

The resolver is the one that decides in earnest. It is only given less to decide: a feature whose facts, grants and
links are the same in both catalogues is decided the same, whoever asks.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache

from tierwright.catalog.outcome import Outcome, OutcomeKind, kind_of
from tierwright.resolution.decision import Decision, not_found
from tierwright.resolution.facts import Override, Tier
from tierwright.resolution.snapshot import CatalogSnapshot

Outcomes = Mapping[str, Outcome]
TierIds = tuple[Hashable, ...]

#: So many outcomes are kept, for combinations of tiers that come again; each takes about half a kilobyte.
_MOST_KEPT = 100_000
_NOTHING: Mapping[str, Override] = {}


class Comparison:
    """What one catalogue would decide otherwise than another.

    Args:
        before: the catalogue as it is.
        after: the catalogue as it would be; a tier has the same id in both.
        also: features that :meth:`lacking` will be asked about, beside those that change.

    Attributes:
        keys: all features whose decisions can differ, and ``also``, in whole groups.
    """

    def __init__(self, before: CatalogSnapshot, after: CatalogSnapshot, also: Iterable[str] = ()) -> None:
        self.keys = _closed({*_changed(before, after), *also}, before, after)
        self._before = _part(before, self.keys)
        self._after = _part(after, self.keys)
        self._kept: dict[TierIds, Outcomes] = {}
        self._size = 0
        self.some = lru_cache(maxsize=4096)(self._some)

    def outcomes(self, tier_ids: TierIds) -> Outcomes:
        """Return what changes for everybody with these tiers and without an override, by feature key.

        Args:
            tier_ids: the tiers of the valid licences, in any order but always the same; () is the default tier.
        """
        found = self._kept.get(tier_ids)
        if found is None:
            old = self._before.table(self._before.strongest_first(tier_ids))
            new = self._after.table(self._after.strongest_first(tier_ids))
            found = dict(_differing(sorted(self.keys), old, new))
            self._keep(tier_ids, found)
        return found

    def overridden(self, tier_ids: TierIds, given: Mapping[str, Override]) -> tuple[frozenset[str], Outcomes]:
        """Return what changes for a tenant with overrides.

        Args:
            tier_ids: as for :meth:`outcomes`.
            given: the overrides that are valid, by feature key.

        Returns:
            The features that the overrides can decide, and what changes about these; about all others,
            :meth:`outcomes` says it.
        """
        keys = _closed(self.keys & given.keys(), self._before, self._after)
        return keys, self._decided(keys, tier_ids, given)

    def lacking(self, needed: Collection[str], tier_ids: TierIds, given: Mapping[str, Override]) -> tuple[str, ...]:
        """Return which of some features a tenant has not after the change, sorted."""
        return _denied(self._after, needed, tier_ids, given)

    def lacked(self, needed: Collection[str], tier_ids: TierIds, given: Mapping[str, Override]) -> tuple[str, ...]:
        """Return which of some features a tenant has not before the change, sorted."""
        return _denied(self._before, needed, tier_ids, given)

    def _some(self, keys: frozenset[str], tier_ids: TierIds) -> Outcomes:
        """Return what :meth:`outcomes` does about some features, whole groups, without deciding the others."""
        return self._decided(keys, tier_ids, _NOTHING)

    def _decided(self, keys: frozenset[str], tier_ids: TierIds, given: Mapping[str, Override]) -> Outcomes:
        old = self._before.some(keys, self._before.strongest_first(tier_ids), given)
        new = self._after.some(keys, self._after.strongest_first(tier_ids), given)
        return dict(_differing(sorted(keys), old, new))

    def _keep(self, tier_ids: TierIds, found: Outcomes) -> None:
        self._size += len(found)
        while self._kept and self._size > _MOST_KEPT:
            self._size -= len(self._kept.pop(next(iter(self._kept))))
        self._kept[tier_ids] = found


def _differing(
    keys: Iterable[str], before: Mapping[str, Decision], after: Mapping[str, Decision]
) -> Iterator[tuple[str, Outcome]]:
    for key in keys:
        old, new = before.get(key), after.get(key)
        if old is None and new is None:
            continue  # only named by another feature
        old = not_found(key) if old is None else old
        new = not_found(key) if new is None else new
        if not old.enabled and not new.enabled:
            continue  # nearly all, and told faster so
        kind: OutcomeKind | None = kind_of(old, new)
        if kind is not None:
            yield key, Outcome(key, kind, old, new)


def _denied(
    snapshot: CatalogSnapshot, needed: Collection[str], tier_ids: TierIds, given: Mapping[str, Override]
) -> tuple[str, ...]:
    found = snapshot.some(set(needed), snapshot.strongest_first(tier_ids), given)
    return tuple(sorted({key for key in needed if key not in found or not found[key].enabled}))


def _changed(before: CatalogSnapshot, after: CatalogSnapshot) -> Iterator[str]:
    """Yield the features of which something itself differs: their facts, or what some tenant's tiers say of them."""
    for key in before.features.keys() | after.features.keys():
        if before.features.get(key) != after.features.get(key):
            yield key
    for tier_id in before.tiers.keys() | after.tiers.keys():
        yield from _changed_by(tier_id, before, after)


def _changed_by(tier_id: Hashable, before: CatalogSnapshot, after: CatalogSnapshot) -> Iterator[str]:
    old, new = (_chain(snapshot, tier_id) for snapshot in (before, after))
    if [_place(tier) for tier in old] != [_place(tier) for tier in new]:
        # Other tiers speak, or in another order: about anything that they say something about.
        for tier in (*old, *new):
            yield from tier.grants
        return
    for one, other in zip(old, new, strict=True):
        if one.grants is not other.grants:
            yield from (
                key for key in one.grants.keys() | other.grants.keys() if one.grants.get(key) != other.grants.get(key)
            )


def _chain(snapshot: CatalogSnapshot, tier_id: Hashable) -> tuple[Tier, ...]:
    return snapshot.chain(tier_id) if tier_id in snapshot.tiers else ()


def _place(tier: Tier) -> tuple[Hashable, int, bool]:
    return tier.id, tier.rank, tier.is_default and tier.is_active


def _closed(keys: Iterable[str], *snapshots: CatalogSnapshot) -> frozenset[str]:
    """Return features with all that they are linked with in any of the catalogues."""
    found = frozenset(keys)
    while True:
        more = found.union(*(snapshot.graph.linked(found) for snapshot in snapshots))
        if more == found:
            return found
        found = more


def _part(snapshot: CatalogSnapshot, keys: Collection[str]) -> CatalogSnapshot:
    """Return a catalogue of some features only; few tables are kept, because their outcomes are."""
    tiers = (
        replace(tier, grants={key: tier.grants[key] for key in keys if key in tier.grants})
        for tier in snapshot.tiers.values()
    )
    features = (snapshot.features[key] for key in keys if key in snapshot.features)
    return CatalogSnapshot(features, tiers, max_tables=1)
