"""What a change of the catalogue does to one feature of one tenant."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from tierwright.resolution.decision import Decision, Reason, Source
from tierwright.resolution.frozen import freeze, thaw
from tierwright.services.registry.rows import same


class OutcomeKind(StrEnum):
    """In which way a decision changes.

    ``gain``: denied before, enabled now. ``loss``: the other way round. ``lowered``: enabled both times, with a
    smaller number, or a number where there was no limit. ``changed``: enabled both times, with another value.
    """

    GAIN = "gain"
    LOSS = "loss"
    LOWERED = "lowered"
    CHANGED = "changed"


#: After which a tenant has less than before.
LESS = frozenset({OutcomeKind.LOSS, OutcomeKind.LOWERED})


class Outcome(NamedTuple):
    """One decision that changes.

    Attributes:
        feature_key: the feature.
        kind: in which way.
        before: the decision by the catalogue as it is.
        after: the decision by the catalogue as it would be.
    """

    feature_key: str
    kind: OutcomeKind
    before: Decision
    after: Decision

    def to_json(self) -> dict[str, Any]:
        """Return the outcome as plain JSON."""
        return {
            "feature_key": self.feature_key,
            "effect": str(self.kind),
            "before": decision_json(self.before),
            "after": decision_json(self.after),
        }


class TenantOutcome(NamedTuple):
    """One decision about one tenant that changes."""

    tenant_id: str
    outcome: Outcome

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return {"tenant_id": self.tenant_id, **self.outcome.to_json()}


def kind_of(before: Decision, after: Decision) -> OutcomeKind | None:
    """Return in which way a decision changes; None where the tenant notices nothing.

    The reason, the source and the end of a window may change all the same.
    """
    if before.enabled != after.enabled:
        return OutcomeKind.GAIN if after.enabled else OutcomeKind.LOSS
    if not after.enabled or (before.unlimited == after.unlimited and same(before.value, after.value)):
        return None
    lowered = before.unlimited if before.unlimited != after.unlimited else _is_less(after.value, before.value)
    return OutcomeKind.LOWERED if lowered else OutcomeKind.CHANGED


def _is_less(new: Any, old: Any) -> bool:
    numbers = not isinstance(new, bool) and not isinstance(old, bool)
    return numbers and isinstance(new, int | float) and isinstance(old, int | float) and new < old


def decision_json(decision: Decision) -> dict[str, Any]:
    """Return a decision as plain JSON, without the key of its feature."""
    shown: dict[str, Any] = {"enabled": decision.enabled, "reason": str(decision.reason)}
    shown |= {"source": str(decision.source), "tier_key": decision.tier_key}
    if decision.enabled:
        shown |= {"unlimited": True} if decision.unlimited else {"value": thaw(decision.value)}
    if decision.blocked_by:
        shown["blocked_by"] = list(decision.blocked_by)
    if decision.tier_deleted:
        shown["tier_deleted"] = True
    return shown


def decision_of(feature_key: str, shown: Mapping[str, Any]) -> Decision:
    """Return the decision that :func:`decision_json` wrote.

    Raises:
        KeyError, TypeError, ValueError: it did not.
    """
    return Decision(
        feature_key,
        shown["enabled"],
        freeze(shown.get("value")),
        shown.get("unlimited", False),
        Reason(shown["reason"]),
        Source(shown["source"]),
        shown["tier_key"],
        blocked_by=tuple(shown.get("blocked_by", ())),
        tier_deleted=shown.get("tier_deleted", False),
    )


def outcome_of(shown: Mapping[str, Any]) -> Outcome:
    """Return the outcome that :meth:`Outcome.to_json` wrote.

    Raises:
        KeyError, TypeError, ValueError: it did not.
    """
    key = shown["feature_key"]
    before, after = decision_of(key, shown["before"]), decision_of(key, shown["after"])
    return Outcome(key, OutcomeKind(shown["effect"]), before, after)
