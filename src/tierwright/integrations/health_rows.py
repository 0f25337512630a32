"""The rows whose health is asked for, and what is written of it: past the ORM, for the version that was checked."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlmodel import SQLModel

import tierwright.tables  # noqa: F401  fills the metadata
from tierwright.integrations.health_rules import Health
from tierwright.secrets.envelope import Binding
from tierwright.types import HealthStatus, utc_now

_CONFIGS = SQLModel.metadata.tables["tenant_integration_configs"]
_REGISTRY = SQLModel.metadata.tables["integration_registry"]
_ROW = _CONFIGS.c
_KEY = (_ROW.integration_key, _ROW.tenant_id)
_COLUMNS = (
    *_KEY,
    _ROW.config,
    _ROW.encrypted_config,
    _ROW.config_version,
    _ROW.secret_version,
    _ROW.health_status,
    _ROW.failure_count,
    _ROW.success_count,
    _ROW.last_health_check,
)

RowKey = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Checked:
    """A configuration as it was read for its check."""

    integration_key: str
    tenant_id: str
    config: dict[str, Any] = field(repr=False)
    sealed: bytes | None = field(repr=False)
    version: int
    secret_version: int
    health: Health
    checked_at: datetime | None

    @property
    def key(self) -> RowKey:
        """The primary key."""
        return self.integration_key, self.tenant_id

    @property
    def binding(self) -> Binding:
        """The place to which its secrets are sealed."""
        return Binding.of_config(self.tenant_id, self.integration_key, self.secret_version)


def page_after(
    connection: Connection,
    last: RowKey | None,
    size: int,
    integrations: Collection[str],
    tenant_id: str | None,
) -> list[Checked]:
    """Return the enabled configurations of active integrations that follow a primary key.

    Args:
        last: the primary key; None for the first ones.
        size: how many.
        integrations: of these only.
        tenant_id: of this tenant only; None for all.
    """
    statement = (
        sa.select(*_COLUMNS)
        .join(_REGISTRY, _REGISTRY.c.integration_key == _ROW.integration_key)
        .where(_ROW.is_enabled, _REGISTRY.c.is_active, _ROW.integration_key.in_(sorted(integrations)))
    )
    if tenant_id is not None:
        statement = statement.where(_ROW.tenant_id == tenant_id)
    if last is not None:
        statement = statement.where(sa.tuple_(*_KEY) > sa.tuple_(*last))
    return [_checked(row) for row in connection.execute(statement.order_by(*_KEY).limit(size))]


def write(connection: Connection, row: Checked, health: Health) -> bool:
    """Write what a check has shown; return whether the configuration is still the one that was checked.

    The versions and ``updated_at`` are of the settings, and stay.
    """
    statement = (
        sa.update(_CONFIGS)
        .where(
            _ROW.integration_key == row.integration_key,
            _ROW.tenant_id == row.tenant_id,
            _ROW.config_version == row.version,
        )
        .values(
            health_status=None if health.status is None else health.status.value,
            failure_count=health.failures,
            success_count=health.successes,
            last_health_check=utc_now(),
            updated_at=_ROW.updated_at,
        )
    )
    return connection.execute(statement).rowcount == 1


def _checked(row: Any) -> Checked:
    status = row.health_status if row.health_status in HealthStatus.__members__.values() else None
    health = Health(None if status is None else HealthStatus(status), row.failure_count, row.success_count)
    config = row.config if isinstance(row.config, dict) else {}
    sealed = None if row.encrypted_config is None else bytes(row.encrypted_config)
    return Checked(
        row.integration_key,
        row.tenant_id,
        config,
        sealed,
        row.config_version,
        row.secret_version,
        health,
        row.last_health_check,
    )
