"""What must hold in the catalogue as a whole: no circles, and tiers that keep what they promise."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping
from typing import NamedTuple

from tierwright.errors import ConflictRefused, CycleRefused, PrerequisiteBroken, WriteRefused
from tierwright.resolution.decision import Reason
from tierwright.resolution.facts import Feature
from tierwright.resolution.graph import Graph
from tierwright.services.registry.catalogue import Catalogue

_MOST_NAMED = 5


class Break(NamedTuple):
    """A feature that a tier enables and that is denied all the same."""

    tier_key: str
    feature_key: str
    reason: Reason
    blocked_by: tuple[str, ...]
    tier_id: Hashable


def refuse_new_breaks(before: Catalogue, after: Catalogue, keys: Collection[str]) -> None:
    """Refuse a write by which a tier, or an heir of it, newly grants what it cannot keep.

    What was broken before, by rows that were written past the services, does not stand in the way of other writes.

    Args:
        before: the catalogue as it is, with its grants of ``keys``.
        after: the catalogue as it would be, with the same tiers.
        keys: all features whose decisions the write can change, in whole groups.

    Raises:
        PrerequisiteBroken: a tier would grant a feature without its prerequisites.
        ConflictRefused: a tier would grant features that exclude each other.
    """
    known = {(found.tier_id, found.feature_key, found.reason) for found in _breaks(before, keys)}
    found = [each for each in _breaks(after, keys) if (each.tier_id, each.feature_key, each.reason) not in known]
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


def _breaks(catalogue: Catalogue, keys: Collection[str]) -> list[Break]:
    snapshot = catalogue.compiled(keys)
    return [
        Break(tier.key, key, decision.reason, decision.blocked_by, tier.id)
        for tier in snapshot.tiers.values()
        for key, decision in snapshot.table((tier.id,)).items()
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
