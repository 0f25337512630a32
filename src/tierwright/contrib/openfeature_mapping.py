"""What our reasons are called in OpenFeature (https://openfeature.dev/specification/types), as data.

OpenFeature's reasons say how a value came about, ours which rule decided; so ours maps together with its source. The
mapping is total over both enumerations, and covered by semantic versioning.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from tierwright.resolution.decision import Decision, Reason, Source

#: The source decides for these two: what names this tenant, or a tier that it holds, is a match.
_BY_SOURCE = {
    Source.OVERRIDE: "TARGETING_MATCH",
    Source.TIER: "TARGETING_MATCH",
    Source.BASE_TIER: "TARGETING_MATCH",
    Source.DEFAULT_TIER: "DEFAULT",
    Source.REGISTRY_DEFAULT: "DEFAULT",
    Source.NONE: "UNKNOWN",
}
_BY_REASON = {
    Reason.FEATURE_NOT_FOUND: "ERROR",
    Reason.DISABLED: "DISABLED",
    Reason.PREREQUISITE_NOT_MET: "TARGETING_MATCH",
    Reason.CONFLICT: "TARGETING_MATCH",
    Reason.UNAVAILABLE: "ERROR",
}

#: OpenFeature's reason, by our reason and source.
REASONS: Mapping[tuple[Reason, Source], str] = MappingProxyType(
    {(reason, source): _BY_REASON.get(reason, _BY_SOURCE[source]) for reason in Reason for source in Source}
)

#: OpenFeature's error code, by our reason; None where a decision is no error.
ERROR_CODES: Mapping[Reason, str | None] = MappingProxyType(
    {
        Reason.GRANTED: None,
        Reason.NOT_GRANTED: None,
        Reason.FEATURE_NOT_FOUND: "FLAG_NOT_FOUND",
        Reason.DISABLED: None,
        Reason.PREREQUISITE_NOT_MET: None,
        Reason.CONFLICT: None,
        Reason.UNAVAILABLE: "GENERAL",
    }
)


def reason_of(decision: Decision) -> str:
    """Return OpenFeature's reason for a decision."""
    return REASONS[decision.reason, decision.source]


def error_code_of(decision: Decision) -> str | None:
    """Return OpenFeature's error code for a decision; None where it is no error."""
    return ERROR_CODES[decision.reason]


def variant_of(decision: Decision) -> str:
    """Return a short name for what was decided: ``on``, ``off`` or ``unlimited``; it never carries the value."""
    if not decision.enabled:
        return "off"
    return "unlimited" if decision.unlimited else "on"
