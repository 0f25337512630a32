"""What the store keeps of one tenant."""

from __future__ import annotations

from collections.abc import Container, Mapping
from datetime import datetime
from time import monotonic

from tierwright.resolution.decision import Decision
from tierwright.resolution.snapshot import CatalogSnapshot
from tierwright.services.reading import TenantFacts
from tierwright.types import utc_now

#: So much before a window's end, in seconds, the store stops trusting the monotonic clock and asks the wall's.
_MARGIN = 0.005


class Entry:
    """The decisions of one tenant. All times are in seconds of the monotonic clock.

    Attributes:
        fresh_until: until when the decisions may be given without looking at anything else.
        decisions: by feature key; shared by all tenants with the same tiers and nothing of their own.
        granted: the keys of the features that are enabled.
        read_at: when the reading began.
        read_by: when it must be read again.
        facts: what the tenant holds, where time may change the decisions; else None.
    """

    __slots__ = ("decisions", "facts", "fresh_until", "granted", "read_at", "read_by")

    def __init__(
        self,
        decisions: Mapping[str, Decision],
        granted: Container[str],
        read_at: float,
        read_by: float,
        fresh_until: float,
        facts: TenantFacts | None,
    ) -> None:
        self.decisions = decisions
        self.granted = granted
        self.read_at = read_at
        self.read_by = read_by
        self.fresh_until = fresh_until
        self.facts = facts

    def outdate(self) -> None:
        """Let it be read again at the next question, and good only where it cannot be."""
        self.read_by = self.fresh_until = 0.0


def resolved(catalog: CatalogSnapshot, facts: TenantFacts, read_at: float, read_by: float) -> Entry:
    """Return the entry of a tenant that was read at ``read_at``."""
    return _decided(catalog, facts, read_at, read_by, read_by)


def decided_again(catalog: CatalogSnapshot, entry: Entry, fresh_until: float) -> Entry:
    """Return the entry as it is now that a window may have opened or closed, good until ``fresh_until``."""
    if entry.facts is None:
        return Entry(entry.decisions, entry.granted, entry.read_at, entry.read_by, fresh_until, None)
    return _decided(catalog, entry.facts, entry.read_at, entry.read_by, fresh_until)


def _decided(catalog: CatalogSnapshot, facts: TenantFacts, read_at: float, read_by: float, fresh_until: float) -> Entry:
    at = utc_now()
    found = catalog.resolve(facts.licenses, facts.overrides, at)
    if found.until is None:
        return Entry(found.decisions, found.granted, read_at, read_by, fresh_until, None)
    return Entry(found.decisions, found.granted, read_at, read_by, min(fresh_until, _boundary(found.until, at)), facts)


def _boundary(until: datetime, at: datetime) -> float:
    return monotonic() + (until - at).total_seconds() - _MARGIN
