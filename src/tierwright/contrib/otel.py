"""OpenTelemetry: each decision as a ``feature_flag.evaluation`` event.

https://opentelemetry.io/docs/specs/semconv/feature-flags/feature-flags-events/

    from tierwright.contrib.otel import on_decision

    Entitlements(session, store=store, on_decision=on_decision)
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tierwright.contrib.openfeature_mapping import error_code_of, reason_of, variant_of
from tierwright.errors import DependencyMissing
from tierwright.resolution.decision import Decision

try:
    from opentelemetry._logs import LogRecord, SeverityNumber, get_logger
except ImportError as error:
    raise DependencyMissing(
        "OpenTelemetry's API is not installed.", remedy="Install it: pip install 'tierwright[otel]'."
    ) from error

if TYPE_CHECKING:
    from opentelemetry._logs import LoggerProvider

__all__ = ["EVENT_NAME", "decision_hook", "on_decision"]

EVENT_NAME = "feature_flag.evaluation"
_PROVIDER = "tierwright"


def decision_hook(
    logger_provider: LoggerProvider | None = None, *, include_value: bool = False, include_tenant: bool = True
) -> Callable[[str, Decision], None]:
    """Return a hook for ``on_decision=`` that emits the event for each decision.

    Where tracing is on, the event belongs to the current span.

    Args:
        logger_provider: where the events go; the global provider by default, also one that is set later.
        include_value: whether ``feature_flag.result.value`` carries the value, which may be large or private.
        include_tenant: whether ``feature_flag.context.id`` carries the tenant's canonical id.
    """
    logger = get_logger("tierwright.contrib.otel", logger_provider=logger_provider)

    def on_decision(tenant_id: str, decision: Decision) -> None:
        attributes = _attributes(decision)
        if include_tenant:
            attributes["feature_flag.context.id"] = tenant_id
        if include_value:
            attributes["feature_flag.result.value"] = _plain(decision)
        logger.emit(
            LogRecord(event_name=EVENT_NAME, severity_number=SeverityNumber.INFO, attributes=attributes),
        )

    return on_decision


def _attributes(decision: Decision) -> dict[str, Any]:
    found: dict[str, Any] = {
        "feature_flag.key": decision.feature_key,
        "feature_flag.provider.name": _PROVIDER,
        "feature_flag.result.variant": variant_of(decision),
        # The convention writes OpenFeature's words in lower case.
        "feature_flag.result.reason": reason_of(decision).lower(),
        "tierwright.reason": decision.reason.value,
        "tierwright.source": decision.source.value,
    }
    if decision.tier_key is not None:
        found["tierwright.tier_key"] = decision.tier_key
    if decision.blocked_by:
        found["tierwright.blocked_by"] = list(decision.blocked_by)
    code = error_code_of(decision)
    if code is not None:
        found["error.type"] = code.lower()
        if code == "GENERAL":  # the other codes say it all
            found["error.message"] = "The database cannot be read, and nothing fresh enough is known."
    return found


def _plain(decision: Decision) -> str | bool | int | float:
    """Return the value as every exporter takes it: a denial is False, containers are JSON text."""
    if not decision.enabled:
        return False
    if decision.unlimited:
        return "unlimited"
    if isinstance(decision.value, str | bool | int | float):
        return decision.value
    return json.dumps(decision.value, ensure_ascii=False)


#: Emits the event for each decision through the global logger provider.
on_decision = decision_hook()
