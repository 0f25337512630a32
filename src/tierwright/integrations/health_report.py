"""What checks of tenants' integrations have shown."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from tierwright.integrations.health_rules import Outcome
from tierwright.types import HealthStatus


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """What the check of one configuration has shown.

    Attributes:
        tenant_id: the canonical id of the tenant.
        integration_key: the integration.
        outcome: what the probe has shown.
        error: the class of what it raised; never a message.
        before: the status that the row had.
        after: the status that it has now, as far as this check knows.
        written: whether the row was written.
        superseded: the configuration was changed, or checked by somebody else, while the probe ran, so the answer was
            dropped.
    """

    tenant_id: str
    integration_key: str
    outcome: Outcome
    error: str | None
    before: HealthStatus | None
    after: HealthStatus | None
    written: bool
    superseded: bool = False


@dataclass(frozen=True)
class HealthReport:
    """What a round of checks has shown.

    Attributes:
        checks: one for each configuration, by integration and tenant.
    """

    checks: tuple[HealthCheck, ...] = ()

    @property
    def statuses(self) -> Counter[str | None]:
        """How many configurations have which status now."""
        return Counter(None if check.after is None else check.after.value for check in self.checks)

    @property
    def ok(self) -> bool:
        """Whether none is unhealthy, and every probe could be run."""
        return not any(
            check.after is HealthStatus.UNHEALTHY or check.outcome is Outcome.INCONCLUSIVE for check in self.checks
        )
