"""What comes out of a resolution: the decision, the rule that made it, and where the value came from."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Any

from tierwright.errors import NotALimit


class Reason(StrEnum):
    """Which rule decided."""

    GRANTED = "GRANTED"
    NOT_GRANTED = "NOT_GRANTED"
    FEATURE_NOT_FOUND = "FEATURE_NOT_FOUND"
    DISABLED = "DISABLED"
    PREREQUISITE_NOT_MET = "PREREQUISITE_NOT_MET"
    CONFLICT = "CONFLICT"
    UNAVAILABLE = "UNAVAILABLE"


class Source(StrEnum):
    """Which row spoke first about the feature."""

    OVERRIDE = "override"
    TIER = "tier"
    BASE_TIER = "base_tier"
    DEFAULT_TIER = "default_tier"
    REGISTRY_DEFAULT = "registry_default"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a tenant may use a feature, with which value, and why; it never changes and may be shared.

    Attributes:
        feature_key: the feature, as it was asked for.
        enabled: the answer.
        value: the feature's value where it is enabled; None where it is denied, unlimited or has no value.
        unlimited: whether there is no limit (integer and number features).
        reason: the rule that decided.
        source: the row that spoke first about the feature, also where a later rule denied it.
        tier_key: the tier which that row belongs to, for the sources tier, base_tier and default_tier.
        expires_at: the end of the window of the licence or override that spoke; None is "no end".
        blocked_by: the prerequisites that are not met, or the features in conflict, sorted.
        tier_deleted: whether that tier was deleted: tenants that hold it keep it until they are moved, and another tier
            may have its key by now.
    """

    feature_key: str
    enabled: bool
    value: Any
    unlimited: bool
    reason: Reason
    source: Source
    tier_key: str | None = None
    expires_at: datetime | None = None
    blocked_by: tuple[str, ...] = ()
    tier_deleted: bool = False

    def allows(self, amount: float) -> bool:
        """Return whether the tenant may have ``amount`` in all: enabled, and unlimited or not above the value.

        Args:
            amount: the count or quantity after the intended step, in the unit of the feature's value.

        Raises:
            NotALimit: the feature is enabled, but its value is not a number.
        """
        if not self.enabled:
            return False
        if self.unlimited:
            return True
        if isinstance(self.value, bool) or not isinstance(self.value, int | float):
            raise NotALimit(
                f"The feature {self.feature_key} has no number to compare with.",
                remedy="Ask allows() of features of type integer or number; ask enabled or value of others.",
                details={"feature_key": self.feature_key, "value_type": type(self.value).__name__},
            )
        return amount <= self.value

    def __bool__(self) -> bool:
        raise TypeError("A decision is neither true nor false: ask its `enabled`.")


class _Open:
    """A decision before it is closed."""

    __slots__ = tuple(field.name for field in fields(Decision))

    def __init__(
        self,
        feature_key: str,
        enabled: bool,
        value: Any,
        unlimited: bool,
        reason: Reason,
        source: Source,
        tier_key: str | None,
        expires_at: datetime | None,
        blocked_by: tuple[str, ...],
        tier_deleted: bool,
    ) -> None:
        self.feature_key = feature_key
        self.enabled = enabled
        self.value = value
        self.unlimited = unlimited
        self.reason = reason
        self.source = source
        self.tier_key = tier_key
        self.expires_at = expires_at
        self.blocked_by = blocked_by
        self.tier_deleted = tier_deleted


def make_decision(
    feature_key: str,
    enabled: bool,
    value: Any,
    unlimited: bool,
    reason: Reason,
    source: Source,
    tier_key: str | None = None,
    expires_at: datetime | None = None,
    blocked_by: tuple[str, ...] = (),
    tier_deleted: bool = False,
) -> Decision:
    """Return a decision, five times as fast as its class does.

    A frozen dataclass sets each field through ``object.__setattr__``, which is most of what it costs to decide a
    thousand features. Here the fields are set while that is allowed, and then the class is.
    """
    made: Any = _Open(
        feature_key, enabled, value, unlimited, reason, source, tier_key, expires_at, blocked_by, tier_deleted
    )
    made.__class__ = Decision
    decision: Decision = made
    return decision


def not_found(feature_key: str) -> Decision:
    """Return the decision about a feature that the registry does not have."""
    return make_decision(feature_key, False, None, False, Reason.FEATURE_NOT_FOUND, Source.NONE)


def unavailable(feature_key: str) -> Decision:
    """Return the decision where the database cannot be asked and nothing fresh enough is known."""
    return make_decision(feature_key, False, None, False, Reason.UNAVAILABLE, Source.NONE)
