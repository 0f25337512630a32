"""What an answer of a probe makes of a tenant's integration: pure, and quiet where nothing happens.

One failure is not yet an outage, and one success not yet its end: a status gets worse in steps, and better only after
several answers that say so. Both counters stop at the number that decides, so that an integration which goes on as it
was has the same three values for ever, and nothing need be written.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from tierwright.errors import InvalidInput
from tierwright.types import HealthStatus

#: What the columns of the counters can hold, and more than anybody waits for.
_MOST = 1_000_000


class Outcome(StrEnum):
    """What one run of a probe has shown.

    ``inconclusive``: it could not be run, or not to its end, for reasons that are ours; it says nothing.
    """

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class Health:
    """What a row says of its integration.

    Attributes:
        status: None is "never checked".
        failures: failures in a row, up to the number that makes it unhealthy.
        successes: answers in a row that count towards a better status, up to the number that is needed.
    """

    status: HealthStatus | None = None
    failures: int = 0
    successes: int = 0


@dataclass(frozen=True, slots=True)
class HealthRules:
    """After how many answers a status changes.

    Args:
        failures: so many failures in a row make it ``unhealthy``; fewer make it ``degraded``.
        recoveries: so many answers in a row make it better again.

    Raises:
        InvalidInput: a number is not between 1 and 1,000,000.
    """

    failures: int = 3
    recoveries: int = 2

    def __post_init__(self) -> None:
        for name, number in (("failures", self.failures), ("recoveries", self.recoveries)):
            if type(number) is not int or not 1 <= number <= _MOST:
                raise InvalidInput(f"{name} is not a whole number from 1 to {_MOST:,}.", remedy="Pass one, such as 3.")

    def after(self, health: Health, outcome: Outcome) -> Health:
        """Return what a row says after one more answer.

        - A failure: ``unhealthy`` once there are enough in a row, ``degraded`` until then; what is unhealthy stays so.
        - ``degraded`` is what the probe itself says of something that works, badly: the status at once, unless the
          integration must recover from ``unhealthy`` first.
        - ``healthy`` is the status at once where nothing was wrong, or nobody had looked; else after enough in a row.
        - An inconclusive run changes nothing.

        Args:
            health: what it says now.
            outcome: the answer.
        """
        if outcome is Outcome.INCONCLUSIVE:
            return health
        return self._after_failure(health) if outcome is Outcome.FAILED else self._after_answer(health, outcome)

    def _after_failure(self, health: Health) -> Health:
        failures = min(max(health.failures, 0) + 1, self.failures)
        is_down = failures == self.failures or health.status is HealthStatus.UNHEALTHY
        return Health(HealthStatus.UNHEALTHY if is_down else HealthStatus.DEGRADED, failures)

    def _after_answer(self, health: Health, outcome: Outcome) -> Health:
        answer = HealthStatus(outcome.value)
        successes = min(max(health.successes, 0) + 1, self.recoveries)
        if _is_better(answer, health.status) and successes < self.recoveries:
            return replace(health, failures=0, successes=successes)
        # Degraded answers do not count towards healthy.
        return Health(answer, 0, 0 if answer is HealthStatus.DEGRADED else successes)


_RANKS = (HealthStatus.UNHEALTHY, HealthStatus.DEGRADED, HealthStatus.HEALTHY)


def _is_better(answer: HealthStatus, status: HealthStatus | None) -> bool:
    return status is not None and _RANKS.index(answer) > _RANKS.index(status)
