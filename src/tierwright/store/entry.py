"""What the store keeps of one tenant."""

from __future__ import annotations

from collections.abc import Container, Mapping
from time import monotonic
from typing import NamedTuple

from tierwright.resolution.decision import Decision
from tierwright.resolution.snapshot import CatalogSnapshot
from tierwright.services.reading import TenantFacts
from tierwright.types import utc_now

#: So much before a window's end, in seconds, the store stops trusting the monotonic clock and asks the wall's.
_MARGIN = 0.005


class Basis(NamedTuple):
    """What decisions were made from, to make them again at another moment; the two were read together."""

    catalog: CatalogSnapshot
    facts: TenantFacts


class Entry:
    """The decisions of one tenant. All times are in seconds of the monotonic clock.

    Attributes:
        fresh_until: until when the decisions may be given without looking at anything else.
        decisions: by feature key; shared by all tenants with the same tiers and nothing of their own.
        granted: the keys of the features that are enabled.
        read_at: when the reading began.
        read_by: when it must be read again.
        basis: what time may change the decisions of; else None.
    """

    __slots__ = ("basis", "decisions", "fresh_until", "granted", "read_at", "read_by")

    def __init__(
        self,
        decisions: Mapping[str, Decision],
        granted: Container[str],
        read_at: float,
        read_by: float,
        fresh_until: float,
        basis: Basis | None,
    ) -> None:
        self.decisions = decisions
        self.granted = granted
        self.read_at = read_at
        self.read_by = read_by
        self.fresh_until = fresh_until
        self.basis = basis

    def outdate(self) -> None:
        """Let it be read again at the next question, and good only where it cannot be."""
        self.read_by = self.fresh_until = 0.0


def resolved(catalog: CatalogSnapshot, facts: TenantFacts, read_at: float, read_by: float) -> Entry:
    """Return the entry of a tenant that was read at ``read_at``, together with the catalogue."""
    return _decided(Basis(catalog, facts), read_at, read_by, read_by)


def decided_again(entry: Entry, fresh_until: float) -> Entry:
    """Return the entry as it is now that a window may have opened or closed, good until ``fresh_until``."""
    if entry.basis is None:
        return Entry(entry.decisions, entry.granted, entry.read_at, entry.read_by, fresh_until, None)
    return _decided(entry.basis, entry.read_at, entry.read_by, fresh_until)


def _decided(basis: Basis, read_at: float, read_by: float, fresh_until: float) -> Entry:
    now = monotonic()  # before the wall's clock: what happens between the two must not make a window longer
    at = utc_now()
    found = basis.catalog.resolve(basis.facts.licenses, basis.facts.overrides, at)
    if found.until is None:
        return Entry(found.decisions, found.granted, read_at, read_by, fresh_until, None)
    boundary = now + (found.until - at).total_seconds() - _MARGIN
    return Entry(found.decisions, found.granted, read_at, read_by, min(fresh_until, boundary), basis)
