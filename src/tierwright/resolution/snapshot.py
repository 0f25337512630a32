"""A compiled catalogue: built once per change of it, never changed, asked for the decisions of one tenant at a time."""

from __future__ import annotations

from collections.abc import Container, Hashable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, replace
from datetime import datetime
from operator import attrgetter
from types import MappingProxyType

from tierwright.resolution.decision import Decision, Source
from tierwright.resolution.facts import Feature, License, Override, Tier
from tierwright.resolution.graph import Graph
from tierwright.resolution.layers import Table, Unspoken, complete, expiring, overlaid, table_of
from tierwright.resolution.passes import Voice, denials, first_voice

#: How many combinations of tiers are kept compiled; past it the oldest goes.
MAX_TABLES = 1024


#: Until when tiers are held, by their id, the strongest first; None is for ever.
Ends = dict[Hashable, datetime | None]
#: A tier that is asked, as what, and until when it is held.
Speaker = tuple[Tier, Source, datetime | None]


@dataclass(frozen=True, slots=True)
class TenantSnapshot:
    """The decisions of one tenant from one moment on.

    Attributes:
        decisions: by feature key; some may be made when they are asked for, so iterate over :meth:`all`.
        granted: the keys of the features that are enabled.
        until: the next moment at which a window opens or closes; None if there is none.
    """

    decisions: Mapping[str, Decision]
    granted: Container[str]
    until: datetime | None

    def all(self) -> Mapping[str, Decision]:
        """Return the decision about every feature of the registry."""
        return complete(self.decisions)


class CatalogSnapshot:
    """Features and tiers, compiled.

    Args:
        features: the whole registry.
        tiers: every tier, closed ones included.
        max_tables: how many combinations of tiers are kept compiled; past it the oldest goes.
    """

    def __init__(self, features: Iterable[Feature], tiers: Iterable[Tier], *, max_tables: int = MAX_TABLES) -> None:
        # In the order of their keys, in which all decisions are given too.
        self.features = MappingProxyType({feature.key: feature for feature in sorted(features, key=_key)})
        self.tiers = MappingProxyType({tier.id: tier for tier in tiers})
        self.graph = Graph.of(self.features.values())
        #: Whether tiers share a key, as a deleted one may with its successor: a key does not tell which one spoke then.
        self._has_namesakes = len({tier.key for tier in self.tiers.values()}) < len(self.tiers)
        self._default = [tier.id for tier in self.tiers.values() if tier.is_default and tier.is_active]
        #: What is decided about features of which no tier speaks, made when a table first needs it.
        self._unspoken = Unspoken(self.features)
        self._tables: dict[tuple[Hashable, ...], Table] = {}
        self._max_tables = max_tables

    def resolve(self, licenses: Iterable[License], overrides: Iterable[Override], at: datetime) -> TenantSnapshot:
        """Decide every feature for one tenant.

        Args:
            licenses: its active licences, whatever their windows.
            overrides: its overrides, whatever their windows.
            at: the moment, with a time zone.
        """
        licenses, overrides = list(licenses), list(overrides)
        ends = self._ends([license for license in licenses if _is_open(license, at)])
        told = ends if self._has_namesakes and self._are_alike(ends) else None
        table = self._table(tuple(ends)) if told is None else self._made(tuple(ends), told)
        given = {override.feature_key: override for override in overrides if _is_open(override, at)}
        if given:
            table = overlaid(table, self.some(given.keys(), tuple(ends), given, told))
        if told is None and any(end is not None for end in ends.values()):
            table = expiring(table, self._tier_ends(ends))
        return TenantSnapshot(*table, _next_boundary((*licenses, *overrides), at))

    def table(self, tier_ids: tuple[Hashable, ...]) -> Mapping[str, Decision]:
        """Return the decisions of everybody with these tiers, the strongest first, and no override; () is the default.

        They are without ends of windows.
        """
        return complete(self._table(tier_ids).decisions)

    def some(
        self,
        keys: Set[str],
        tier_ids: tuple[Hashable, ...],
        given: Mapping[str, Override],
        ends: Ends | None = None,
    ) -> dict[str, Decision]:
        """Return the decisions about some features and all that they are linked with, without a table of all.

        Args:
            keys: features of the registry; others are left out.
            tier_ids: the tiers, the strongest first; () is the default.
            given: overrides by feature key, each of them valid.
            ends: until when the tiers are held, where decisions shall say so.
        """
        known = keys & self.features.keys()
        affected = known | (self.graph.linked(known) & self.features.keys())
        speakers = list(self._speakers(tier_ids, ends))
        return self._settled(
            {
                key: first_voice(self.features[key], [*_override(given.get(key)), *_about(key, speakers)])
                for key in affected
            }
        )

    def around(self, keys: Set[str]) -> CatalogSnapshot:
        """Return the snapshot of some features and all that they are linked with: nothing else can change with them.

        Args:
            keys: features of the registry; others are left out.
        """
        wanted = keys | self.graph.linked(keys)
        return CatalogSnapshot([self.features[key] for key in self.features.keys() & wanted], self.tiers.values())

    def strongest_first(self, tier_ids: Iterable[Hashable]) -> tuple[Hashable, ...]:
        """Return the tiers among ``tier_ids`` in the order in which they are asked; unknown ones are left out."""
        known = {tier_id for tier_id in tier_ids if tier_id in self.tiers}
        return tuple(sorted(known, key=self._strength))

    def _table(self, tier_ids: tuple[Hashable, ...]) -> Table:
        """Return the table that every tenant with the same tiers shares."""
        found = self._tables.get(tier_ids)
        if found is None:
            found = self._made(tier_ids)
            if len(self._tables) >= self._max_tables:
                for oldest in list(self._tables)[: max(1, self._max_tables // 8)]:
                    self._tables.pop(oldest, None)  # another thread may have been faster
            self._tables[tier_ids] = found
        return found

    def _made(self, tier_ids: tuple[Hashable, ...], ends: Ends | None = None) -> Table:
        speakers, unspoken = list(self._speakers(tier_ids, ends)), self._unspoken
        decisions = {
            key: first_voice(feature, voices) if (voices := _about(key, speakers)) else unspoken[key]
            for key, feature in self.features.items()
        }
        return table_of(self._settled(decisions))

    def chain(self, tier_id: Hashable) -> tuple[Tier, ...]:
        """Return a tier and its bases, nearest first; bases that run in a circle contribute nothing."""
        tier = self.tiers[tier_id]
        found = {tier.id: tier}
        base = tier.base_id
        while base is not None and base in self.tiers:
            if base in found:
                return (tier,)
            found[base] = self.tiers[base]
            base = self.tiers[base].base_id
        return tuple(found.values())

    def _ends(self, valid: list[License]) -> Ends:
        """Return the tiers of the valid licences, the strongest first, each with the end of its last licence."""
        ends: Ends = {}
        for license in valid:
            if license.tier_id in self.tiers:
                known = ends.get(license.tier_id, license.expires_at)
                ends[license.tier_id] = _later_end(known, license.expires_at)
        return {tier_id: ends[tier_id] for tier_id in self.strongest_first(ends)}

    def _strength(self, tier_id: Hashable) -> tuple[int, str, bool, str]:
        tier = self.tiers[tier_id]
        return -tier.rank, tier.key, tier.is_deleted, str(tier.id)

    def _are_alike(self, ends: Ends) -> bool:
        """Tell whether tiers that are held, or bases of theirs, share a key and do not all stay for ever."""
        if all(end is None for end in ends.values()):
            return False
        held = {tier.id: tier.key for tier_id in ends for tier in self.chain(tier_id)}
        return len(set(held.values())) < len(held)

    def _tier_ends(self, ends: Ends) -> dict[str, datetime]:
        """Return by tier key until when a licence gives it; a base given by several counts for the strongest."""
        found: dict[str, datetime | None] = {}
        for tier_id, end in ends.items():
            for tier in self.chain(tier_id):
                found.setdefault(tier.key, end)
        return {key: end for key, end in found.items() if end is not None}

    def _speakers(self, tier_ids: tuple[Hashable, ...], ends: Ends | None = None) -> Iterator[Speaker]:
        """Yield the tiers that are asked, the strongest first, each followed by its bases."""
        for tier_id in tier_ids or self._default:
            end = None if ends is None else ends.get(tier_id)
            for tier in self.chain(tier_id):
                own = Source.TIER if tier.id == tier_id else Source.BASE_TIER
                yield tier, own if tier_ids else Source.DEFAULT_TIER, end

    def _settled(self, decisions: dict[str, Decision]) -> dict[str, Decision]:
        """Take away what prerequisites and conflicts forbid, in whole groups."""
        linked = {key for key in decisions if key in self.graph.groups}
        enabled = {key for key in linked if decisions[key].enabled}
        for key, (reason, blocked_by) in denials(enabled, self.graph).items():
            decisions[key] = replace(
                decisions[key], enabled=False, value=None, unlimited=False, reason=reason, blocked_by=blocked_by
            )
        return decisions


_key = attrgetter("key")


def _override(override: Override | None) -> Iterator[Voice]:
    if override is not None:
        yield Voice(override.grant, Source.OVERRIDE, None, override.expires_at)


def _about(key: str, speakers: Iterable[Speaker]) -> list[Voice]:
    """Return what the tiers and their bases say about a feature, the strongest first."""
    return [
        Voice(grant, source, tier.key, end, tier.is_deleted)
        for tier, source, end in speakers
        if (grant := tier.grants.get(key)) is not None
    ]


def _is_open(window: License | Override, at: datetime) -> bool:
    starts, expires = window.starts_at, window.expires_at
    return (starts is None or starts <= at) and (expires is None or at < expires)


def _later_end(one: datetime | None, other: datetime | None) -> datetime | None:
    return None if one is None or other is None else max(one, other)


def _next_boundary(windows: Iterable[License | Override], at: datetime) -> datetime | None:
    moments = (moment for window in windows for moment in (window.starts_at, window.expires_at))
    return min((moment for moment in moments if moment is not None and moment > at), default=None)
