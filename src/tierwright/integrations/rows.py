"""The rows behind the calls: read and written past the ORM, so that an update can say which version it is for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.orm import Session
from sqlmodel import SQLModel

from tierwright.errors import EnvelopeInvalid, NotFound, ReferenceUnknown
from tierwright.integrations.records import TenantIntegration
from tierwright.integrations.sealing import names_in
from tierwright.secrets.envelope import Binding
from tierwright.services.reading import keys_of
from tierwright.services.registry.rows import not_found
from tierwright.services.sealed_column import SEALED
from tierwright.services.session_state import connection_of, mark_written
from tierwright.tables import TenantIntegrationConfig

_CONFIGS = SQLModel.metadata.tables["tenant_integration_configs"]
_REGISTRY = SQLModel.metadata.tables["integration_registry"]
_COLUMNS = [
    SEALED.label(name) if name == "encrypted_config" else _CONFIGS.c[name]
    for name in (
        "tenant_id",
        "integration_key",
        "config",
        "encrypted_config",
        "config_version",
        "secret_version",
        "is_enabled",
        "health_status",
        "last_health_check",
        "created_by",
        "created_at",
        "updated_at",
    )
]


@dataclass(frozen=True, slots=True)
class Stored:
    """A row of ``tenant_integration_configs``."""

    tenant_id: str
    integration_key: str
    config: dict[str, Any] = field(repr=False)
    sealed: bytes | None = field(repr=False)
    config_version: int
    secret_version: int
    is_enabled: bool
    health_status: str | None
    last_health_check: datetime | None
    created_by: str | None
    created_at: datetime
    updated_at: datetime

    def binding(self) -> Binding:
        """Return the place to which its secrets are sealed."""
        return Binding.of_config(self.tenant_id, self.integration_key, self.secret_version)

    def told(self) -> TenantIntegration:
        """Return what may be told of it; nothing is decrypted."""
        try:
            names: tuple[str, ...] | None = names_in(self.sealed)
        except EnvelopeInvalid:
            names = None
        return TenantIntegration(
            self.tenant_id,
            self.integration_key,
            self.config,
            names,
            self.config_version,
            self.secret_version,
            self.is_enabled,
            self.health_status,
            self.last_health_check,
            self.created_by,
            self.created_at,
            self.updated_at,
        )


@dataclass(frozen=True, slots=True)
class Integration:
    """What the registry says of an integration."""

    key: str
    feature_key: str
    required_features: tuple[str, ...]
    config_schema: dict[str, Any] = field(repr=False)
    is_active: bool

    def needed_features(self) -> tuple[str, ...]:
        """Return the features without which a tenant may not use it; a list that is none is never granted."""
        return (self.feature_key, *self.required_features)


def integration(connection: Connection, key: str) -> Integration:
    """Return what the registry says of an integration.

    Raises:
        ReferenceUnknown: it does not say anything.
    """
    table = _REGISTRY.c
    required = sa.cast(table.required_features, sa.Text())
    columns = (table.integration_key, table.feature_key, required, table.config_schema, table.is_active)
    row = connection.execute(sa.select(*columns).where(table.integration_key == key)).one_or_none()
    if row is None:
        raise ReferenceUnknown(
            f"There is no integration {key}.",
            remedy="Create it first (Registry.integrations), or correct the key.",
            details={"unknown": [key]},
        )
    return Integration(row[0], row[1], keys_of(row[2]), row[3] if isinstance(row[3], dict) else {}, row[4])


def unconfigured(tenant_id: str, key: str) -> NotFound:
    """Return the error about a row that is not there."""
    return not_found("configuration", f"of {key} for {tenant_id}")


def stored(connection: Connection, tenant_id: str, key: str) -> Stored | None:
    """Return a tenant's row of an integration, as the database has it now."""
    row = connection.execute(sa.select(*_COLUMNS).where(*_is(tenant_id, key))).one_or_none()
    return None if row is None else _stored(row)


def all_stored(connection: Connection, tenant_id: str) -> list[Stored]:
    """Return all rows of a tenant, by integration."""
    statement = sa.select(*_COLUMNS).where(_CONFIGS.c.tenant_id == tenant_id).order_by(_CONFIGS.c.integration_key)
    return [_stored(row) for row in connection.execute(statement)]


def insert(session: Session, tenant_id: str, key: str, values: Mapping[str, Any]) -> None:
    """Add a row."""
    statement = sa.insert(_CONFIGS).values(tenant_id=tenant_id, integration_key=key, **values)
    connection_of(session).execute(statement)
    _note(session, tenant_id, key)


def update(session: Session, row: Stored, values: Mapping[str, Any]) -> bool:
    """Change a row, unless it has another version by now; return whether it was changed."""
    statement = sa.update(_CONFIGS).where(*_is_still(row)).values(**values)
    done = connection_of(session).execute(statement)
    _note(session, row.tenant_id, row.integration_key)
    return done.rowcount == 1


def delete(session: Session, row: Stored) -> bool:
    """Delete a row, unless it has another version by now; return whether it was deleted."""
    done = connection_of(session).execute(sa.delete(_CONFIGS).where(*_is_still(row)))
    _note(session, row.tenant_id, row.integration_key)
    return done.rowcount == 1


def _stored(row: Any) -> Stored:
    config = row.config if isinstance(row.config, dict) else {}
    return Stored(row[0], row[1], config, row[3], *row[4:])


def _is(tenant_id: str, key: str) -> tuple[sa.ColumnElement[bool], ...]:
    return _CONFIGS.c.tenant_id == tenant_id, _CONFIGS.c.integration_key == key


def _is_still(row: Stored) -> tuple[sa.ColumnElement[bool], ...]:
    return *_is(row.tenant_id, row.integration_key), _CONFIGS.c.config_version == row.config_version


def _note(session: Session, tenant_id: str, key: str) -> None:
    """Tell the session what it has written, past what it loaded."""
    mark_written(session, tenant_id)
    identity = sa.inspect(TenantIntegrationConfig).identity_key_from_primary_key((key, tenant_id))
    loaded = session.identity_map.get(identity)
    if loaded is not None:
        session.expire(loaded)
