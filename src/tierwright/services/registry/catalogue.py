"""What must hold in the catalogue as a whole: references, no circles, and tiers that keep what they promise."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from sqlalchemy.orm import Session

from tierwright.errors import ConflictRefused, CycleRefused, PrerequisiteBroken, WriteRefused
from tierwright.resolution.decision import Reason
from tierwright.resolution.facts import Feature, Tier
from tierwright.resolution.graph import Graph
from tierwright.resolution.snapshot import CatalogSnapshot
from tierwright.services.reading import read_catalog
from tierwright.services.registry.locking import connection_of

_MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The features and tiers, as they are or as a write would make them.

    Attributes:
        features: by key.
        tiers: by the identity that facts have.
    """

    features: Mapping[str, Feature]
    tiers: Mapping[Hashable, Tier]

    @classmethod
    def read(cls, session: Session) -> Catalogue:
        """Return the catalogue as it is, within the session's transaction."""
        snapshot = read_catalog(connection_of(session)).snapshot
        return cls(snapshot.features, snapshot.tiers)

    def tier(self, tier_key: str) -> Tier:
        """Return the tier with a key, which exists."""
        return next(tier for tier in self.tiers.values() if tier.key == tier_key)

    def with_feature(self, feature: Feature) -> Catalogue:
        """Return the catalogue with one feature added or replaced."""
        return replace(self, features={**self.features, feature.key: feature})

    def with_tier(self, tier: Tier) -> Catalogue:
        """Return the catalogue with one tier replaced."""
        return replace(self, tiers={**self.tiers, tier.id: tier})

    def compiled(self, keys: Collection[str]) -> CatalogSnapshot:
        """Return the snapshot of some features, as if none were switched off.

        A kill switch is for an hour. What a tier promises must hold when the switch is turned back.
        """
        kept = (replace(self.features[key], is_active=True) for key in keys if key in self.features)
        return CatalogSnapshot(kept, self.tiers.values())


class Break(NamedTuple):
    """A feature that a tier enables and that is denied all the same."""

    tier_key: str
    feature_key: str
    reason: Reason
    blocked_by: tuple[str, ...]


def refuse_new_breaks(before: Catalogue, after: Catalogue) -> None:
    """Refuse a write by which a tier, or an heir of it, newly grants what it cannot keep.

    What was broken before, by rows that were written past the services, does not stand in the way of other writes. A
    tier that is made with the write grants what its base grants, so it cannot be worse.

    Raises:
        PrerequisiteBroken: a tier would grant a feature without its prerequisites.
        ConflictRefused: a tier would grant features that exclude each other.
    """
    groups = [Graph.of(each.features.values()).groups.keys() for each in (before, after)]
    keys = groups[0] | groups[1]
    if not keys:
        return
    old, new = before.compiled(keys), after.compiled(keys)
    known = {(found.tier_key, found.feature_key, found.reason) for found in _breaks(old, before.tiers)}
    found = [
        each
        for each in _breaks(new, [tier_id for tier_id in after.tiers if tier_id in before.tiers])
        if (each.tier_key, each.feature_key, each.reason) not in known
    ]
    if found:
        raise _refusal(found)


def cycle_through(start: str, edges: Mapping[str, Iterable[str]]) -> tuple[str, ...]:
    """Return a shortest way from a node back to itself, the node at both ends; or () if there is none.

    A circle elsewhere is not this write's fault; what a write closes runs through the node that it changes.
    """
    came_from: dict[str, str] = {}
    waiting = [start]
    for node in waiting:  # grows while it is read
        for following in sorted(edges.get(node, ())):
            if following == start:
                way = [node]
                while way[-1] != start:
                    way.append(came_from[way[-1]])
                return (*reversed(way), start)
            if following not in came_from:
                came_from[following] = node
                waiting.append(following)
    return ()


def refuse_cycle(what: str, cycle: tuple[str, ...]) -> None:
    """Refuse a write that closes a circle.

    Raises:
        CycleRefused: ``cycle`` is not empty.
    """
    if cycle:
        raise CycleRefused(
            f"{what} would run in a circle: {' → '.join(cycle)}.",
            remedy="Remove one link of it.",
            details={"cycle": list(cycle)},
        )


def dependents_of(key: str, features: Iterable[Feature]) -> list[str]:
    """Return the features that need one, directly or not, sorted."""
    dependents = Graph.of(features).dependents
    found: set[str] = set()
    waiting = [key]
    while waiting:
        new = dependents.get(waiting.pop(), frozenset()) - found
        found |= new
        waiting.extend(new)
    return sorted(found - {key})


def named(keys: Collection[str]) -> str:
    """Return a few of many keys, for a sentence."""
    some = sorted(keys)
    rest = len(some) - _MOST_NAMED
    return ", ".join(some[:_MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _breaks(snapshot: CatalogSnapshot, tier_ids: Iterable[Hashable]) -> list[Break]:
    return [
        Break(snapshot.tiers[tier_id].key, key, decision.reason, decision.blocked_by)
        for tier_id in tier_ids
        for key, decision in snapshot.table((tier_id,)).items()
        if decision.reason in (Reason.PREREQUISITE_NOT_MET, Reason.CONFLICT)
    ]


def _refusal(found: list[Break]) -> WriteRefused:
    conflicts = sorted(each for each in found if each.reason == Reason.CONFLICT)
    first = (conflicts or sorted(found))[0]
    details = {
        "breaks": [
            {"tier_key": each.tier_key, "feature_key": each.feature_key, "blocked_by": list(each.blocked_by)}
            for each in sorted(found)
        ]
    }
    blockers = named(first.blocked_by)
    if conflicts:
        return ConflictRefused(
            f"The tier {first.tier_key} would grant {first.feature_key} together with {blockers}, which exclude "
            "each other.",
            remedy="Deny one side in the same call.",
            details=details,
        )
    return PrerequisiteBroken(
        f"The tier {first.tier_key} would grant {first.feature_key} without what it needs: {blockers}.",
        remedy="Grant that too, in the same call.",
        details=details,
    )
