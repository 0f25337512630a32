"""What is told of a tenant's integration, and how its secrets are handed over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tierwright.config_schema.documents import merge
from tierwright.config_schema.pointers import canonical
from tierwright.secrets.hidden import Hidden
from tierwright.services.registry.results import WriteResult


@dataclass(frozen=True, slots=True)
class TenantIntegration:
    """A tenant's settings of one integration, as anybody may see them who may see the tenant.

    Attributes:
        tenant_id: the canonical id of the tenant.
        integration_key: the integration.
        config: the settings without the secrets; not in the ``repr``.
        secret_names: JSON Pointers of the secrets that are set; None where what is stored is no envelope of ours, so
            that nobody can tell.
        config_version: counts the changes of settings, secrets and ``is_enabled``; what ``expected_version`` means.
        secret_version: counts the changes of secrets.
        is_enabled: whether it is switched on.
        health_status: ``healthy``, ``degraded``, ``unhealthy``, or None where it was never checked.
        last_health_check: when that was found out.
        created_by: who configured it first.
        created_at: when.
        updated_at: the last change.
    """

    tenant_id: str
    integration_key: str
    config: Mapping[str, Any] = field(repr=False, hash=False)
    secret_names: tuple[str, ...] | None
    config_version: int
    secret_version: int
    is_enabled: bool
    health_status: str | None
    last_health_check: datetime | None
    created_by: str | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True)
class ConfigResult(WriteResult):
    """What a write of settings did, and the versions that the row has now.

    Attributes:
        config_version: what the next write may name as its ``expected_version``; 0 where the row is gone.
        secret_version: the number of the secrets.
    """

    config_version: int = 0
    secret_version: int = 0


class Secrets:
    """Secrets by their names; ``repr`` shows the names only, and nothing pickles or copies it.

    A name is the secret's JSON Pointer; the first slash may be left out: ``secrets["bot_token"]``. It reads as a
    mapping does, and ``dict(secrets)`` makes a plain one, but it is no ``collections.abc.Mapping``: error trackers
    write out all that they find in one, whatever its ``repr`` says.

    Args:
        values: the secrets by JSON Pointer.
    """

    __slots__ = ("_values", "names")

    def __init__(self, values: Hidden[dict[str, Any]]) -> None:
        self._values = values
        #: The names, sorted.
        self.names = tuple(sorted(values.reveal()))

    def __getitem__(self, name: str) -> Any:
        return self._values.reveal()[_canonical(name)]

    def __contains__(self, name: object) -> bool:
        return _canonical(name) in self._values.reveal()

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def get(self, name: str, default: Any = None) -> Any:
        """Return a secret; ``default`` if there is none of that name."""
        return self._values.reveal().get(_canonical(name), default)

    def keys(self) -> tuple[str, ...]:
        """Return the names."""
        return self.names

    def values(self) -> Iterator[Any]:
        """Yield the secrets, in the order of their names."""
        return (self[name] for name in self.names)

    def items(self) -> Iterator[tuple[str, Any]]:
        """Yield names and secrets."""
        return ((name, self[name]) for name in self.names)

    def __repr__(self) -> str:
        return f"<hidden: {', '.join(self.names) or 'nothing'}>"


def _canonical(name: object) -> Any:
    return canonical(name) if isinstance(name, str) else name


@dataclass(frozen=True, slots=True)
class Credentials:
    """What an application connects with: the settings and secrets of an integration that a tenant may use now.

    Attributes:
        tenant_id: the canonical id of the tenant.
        integration_key: the integration.
        config: the settings without the secrets; not in the ``repr``.
        secrets: the secrets.
        config_version: to find out whether a connection that was made with them is still of today.
    """

    tenant_id: str
    integration_key: str
    config: Mapping[str, Any] = field(repr=False, hash=False)
    secrets: Secrets
    config_version: int

    def document(self) -> dict[str, Any]:
        """Return settings and secrets in one plain document, as the integration's schema describes it."""
        return merge(self.config, dict(self.secrets))
