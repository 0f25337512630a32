"""What a case of the decision table is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tierwright.resolution.decision import Decision, Reason, Source


@dataclass(frozen=True)
class Expected:
    """A decision as a case writes it down: without the feature's key, and with the end as a distance from now."""

    enabled: bool
    reason: Reason
    source: Source
    tier: str | None = None
    value: Any = None
    unlimited: bool = False
    expires: timedelta | None = None
    blocked_by: tuple[str, ...] = ()

    def decision(self, feature_key: str, now: datetime) -> Decision:
        """Return the decision about a feature, for a case whose "now" was that moment."""
        return Decision(
            feature_key,
            self.enabled,
            self.value,
            self.unlimited,
            self.reason,
            self.source,
            self.tier,
            None if self.expires is None else now + self.expires,
            self.blocked_by,
        )


@dataclass(frozen=True)
class Case:
    """One case.

    Attributes:
        name: its id among all cases.
        document: features, tiers and tenants, as :mod:`tierwright.testing.documents` describes.
        expected: by tenant and feature key.
        after: the question's moment as a distance from now; None asks without one.
    """

    name: str
    document: Mapping[str, Any]
    expected: Mapping[str, Mapping[str, Expected]]
    after: timedelta | None = None

    def decisions(self, now: datetime) -> dict[str, dict[str, Decision]]:
        """Return the decisions by tenant and feature key, for a document that was written at ``now``."""
        return {
            tenant: {key: expected.decision(key, now) for key, expected in features.items()}
            for tenant, features in self.expected.items()
        }


def granted(
    source: Source,
    tier: str | None = None,
    value: Any = True,
    *,
    unlimited: bool = False,
    expires: timedelta | None = None,
) -> Expected:
    """Return an expected grant."""
    return Expected(True, Reason.GRANTED, source, tier, None if unlimited else value, unlimited, expires)


def denied(
    reason: Reason,
    source: Source = Source.NONE,
    tier: str | None = None,
    *blocked_by: str,
    expires: timedelta | None = None,
) -> Expected:
    """Return an expected denial."""
    return Expected(False, reason, source, tier, expires=expires, blocked_by=blocked_by)
