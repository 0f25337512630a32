"""Tables of decisions: those that many tenants share, and the little that a single tenant lays over them.

A table of a thousand features is large, and most tenants differ from all others in a few features or in a date. So
what is a tenant's own is kept in a layer, and everything else is looked up below it.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType
from typing import NamedTuple

from tierwright.resolution.decision import Decision
from tierwright.resolution.facts import Feature
from tierwright.resolution.passes import first_voice

#: So many decisions of one tenant are kept; a host that asks about more has them made again.
_MAX_KEPT = 64


class Table(NamedTuple):
    """What is decided about every feature.

    Attributes:
        decisions: by feature key. Nobody changes it; a dictionary is read faster than a proxy that forbids it.
        granted: the keys of the features that are enabled, which answers most questions without a decision.
    """

    decisions: dict[str, Decision]
    granted: Container[str]


def table_of(decisions: dict[str, Decision]) -> Table:
    """Return a table that has every decision itself."""
    return Table(decisions, frozenset(key for key, decision in decisions.items() if decision.enabled))


def overlaid(table: Table, changed: dict[str, Decision]) -> Table:
    """Return a table with some decisions in place of its own."""
    enabled = frozenset(key for key, decision in changed.items() if decision.enabled)
    return Table(Overlaid(changed, table.decisions), OverlaidKeys(enabled, frozenset(changed), table.granted))


def expiring(table: Table, ends: Mapping[str, datetime]) -> Table:
    """Return a table in which the decisions of some tiers say when they end.

    Args:
        table: one without ends of tiers.
        ends: until when its licence gives a tier, by tier key.
    """
    return Table(Expiring(table.decisions, ends), table.granted)


def complete(decisions: Mapping[str, Decision]) -> Mapping[str, Decision]:
    """Return the decisions of a table, each of them made, as a mapping that nobody can change."""
    return MappingProxyType(decisions.made() if isinstance(decisions, Overlaid | Expiring) else decisions)


class Unspoken(dict[str, Decision]):
    """The decisions by the registry's defaults alone, each made when it is first asked for; every table shares them."""

    __slots__ = ("_features",)

    def __init__(self, features: Mapping[str, Feature]) -> None:
        self._features = features

    def __missing__(self, key: str) -> Decision:
        decision = self[key] = first_voice(self._features[key], ())
        return decision


class Overlaid(dict[str, Decision]):
    """A few decisions of one tenant over a table that others share."""

    __slots__ = ("_below",)

    def __init__(self, own: dict[str, Decision], below: dict[str, Decision]) -> None:
        super().__init__(own)
        self._below = below

    def __missing__(self, key: str) -> Decision:
        return self._below[key]

    def made(self) -> dict[str, Decision]:
        """Return all decisions as an ordinary dictionary, in the order of the registry."""
        return {**self._below, **self}


class OverlaidKeys:
    """The enabled features of an overlaid table."""

    __slots__ = ("_below", "_changed", "_enabled")

    def __init__(self, enabled: frozenset[str], changed: frozenset[str], below: Container[str]) -> None:
        self._enabled = enabled
        self._changed = changed
        self._below = below

    def __contains__(self, key: object) -> bool:
        return key in self._enabled or (key in self._below and key not in self._changed)


class Expiring(dict[str, Decision]):
    """A table in which the decisions of some tiers end; each is made when it is asked for, and kept for a while."""

    __slots__ = ("_below", "_ends")

    def __init__(self, below: dict[str, Decision], ends: Mapping[str, datetime]) -> None:
        self._below = below
        self._ends = ends

    def __missing__(self, key: str) -> Decision:
        decision = self._ended(self._below[key])
        if len(self) >= _MAX_KEPT:
            self.clear()
        self[key] = decision
        return decision

    def made(self) -> dict[str, Decision]:
        """Return all decisions as an ordinary dictionary, in the order of the registry."""
        return {key: self._ended(decision) for key, decision in complete(self._below).items()}

    def _ended(self, decision: Decision) -> Decision:
        end = self._ends.get(decision.tier_key) if decision.tier_key is not None else None
        return decision if end is None else replace(decision, expires_at=end)
