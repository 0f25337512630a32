"""The probes of a host: one function per integration, and what it is given."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tierwright.errors import InvalidInput
from tierwright.integrations.records import Secrets
from tierwright.secrets.hidden import Hidden
from tierwright.types import HealthStatus

#: So many runs of one integration's probe may hang before no new one is begun.
_MOST_STUCK = 32
_LONGEST_KEY = 100


def _no_secrets() -> Secrets:
    return Secrets(Hidden({}))


@dataclass(frozen=True, slots=True)
class ProbeTarget:
    """What a probe is asked about: one tenant's configuration of one integration.

    Attributes:
        tenant_id: the canonical id of the tenant.
        integration_key: the integration.
        config: the public part of the configuration.
    """

    tenant_id: str
    integration_key: str
    config: Mapping[str, Any] = field(repr=False)
    _secrets: Callable[[], Secrets] = field(default=_no_secrets, repr=False, compare=False)

    def secrets(self) -> Secrets:
        """Return the secret part of the configuration, which is decrypted now; empty where none is set.

        Raises:
            SecretsNotConfigured: the check was given no keys.
            UnknownKeyId, DecryptionFailed, EnvelopeInvalid: it cannot be decrypted.
        """
        return self._secrets()


#: What a probe returns: None is healthy. What it raises is a failure.
Answered = HealthStatus | None
Probe = Callable[[ProbeTarget], Answered | Awaitable[Answered]]
ProbeT = TypeVar("ProbeT", bound=Probe)


class Probes:
    """The probes that a host has registered, by integration.

    One per process: it also remembers which runs were given up at their timeout and hang nevertheless. A function in a
    thread cannot be stopped, so a configuration whose last run still hangs is not probed again (it has failed again),
    and an integration with ``max_stuck`` hanging runs is not probed at all until some of them end.

    Args:
        max_stuck: how many hanging runs are put up with, for each integration.

    Raises:
        InvalidInput: ``max_stuck`` is not a positive whole number.
    """

    def __init__(self, *, max_stuck: int = _MOST_STUCK) -> None:
        if type(max_stuck) is not int or max_stuck < 1:
            raise InvalidInput("max_stuck is not a positive whole number.", remedy="Leave it out.")
        self._probes: dict[str, Probe] = {}
        self.stuck = Stuck(max_stuck)

    def register(self, integration_key: str) -> Callable[[ProbeT], ProbeT]:
        """Return a decorator that makes a function the probe of an integration.

        Args:
            integration_key: the integration; a key that no registry has is never asked about.

        Returns:
            A decorator that returns the function, sync or async, unchanged.

        Raises:
            InvalidInput: this is no key, or the integration has a probe.
        """
        if not isinstance(integration_key, str) or not 0 < len(integration_key) <= _LONGEST_KEY:
            raise InvalidInput("This is not the key of an integration.", remedy='Write @probes.register("slack").')
        if integration_key in self._probes:
            raise InvalidInput(f"{integration_key!a} has a probe already.", remedy="Register one function for each.")

        def register(probe: ProbeT) -> ProbeT:
            if not callable(probe):
                raise InvalidInput(f"The probe of {integration_key!a} is no function.", remedy="Decorate a function.")
            self._probes[integration_key] = probe
            return probe

        return register

    @property
    def integration_keys(self) -> tuple[str, ...]:
        """The integrations that have a probe, sorted."""
        return tuple(sorted(self._probes))

    def __getitem__(self, integration_key: str) -> Probe:
        return self._probes[integration_key]


class Stuck:
    """The runs that were given up, and go on nevertheless.

    Args:
        most: so many for each integration.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._runs: dict[tuple[str, str], tuple[int, Callable[[], bool]]] = {}

    def add(self, target: ProbeTarget, version: int, is_alive: Callable[[], bool]) -> None:
        """Note that a run of this version of the configuration was given up."""
        with self._lock:
            self._runs[target.integration_key, target.tenant_id] = version, is_alive

    def version_of(self, target: ProbeTarget) -> int | None:
        """Return the version of the configuration for which a run still hangs; None where none does."""
        with self._lock:
            self._forget_ended()
            found = self._runs.get((target.integration_key, target.tenant_id))
        return None if found is None else found[0]

    def is_full(self, integration_key: str) -> bool:
        """Tell whether no new run of an integration's probe should be begun."""
        with self._lock:
            self._forget_ended()
            return sum(key == integration_key for key, _ in self._runs) >= self._most

    def _forget_ended(self) -> None:
        self._runs = {key: (version, alive) for key, (version, alive) in self._runs.items() if alive()}
