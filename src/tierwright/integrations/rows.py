"""The rows behind the calls: read and written past the ORM, so that an update can say which version it is for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
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
# Built once, because that takes longer than to run them.
_IS = (_CONFIGS.c.tenant_id == sa.bindparam("tenant"), _CONFIGS.c.integration_key == sa.bindparam("key"))
_IS_STILL = (*_IS, _CONFIGS.c.config_version == sa.bindparam("version"))
_ONE = sa.select(*_COLUMNS).where(*_IS)
_ALL = sa.select(*_COLUMNS).where(_IS[0]).order_by(_CONFIGS.c.integration_key)
_DELETE = sa.delete(_CONFIGS).where(*_IS_STILL)
_ABOUT = [
    _REGISTRY.c.integration_key,
    _REGISTRY.c.feature_key,
    sa.cast(_REGISTRY.c.required_features, sa.Text()),
    _REGISTRY.c.config_schema,
    _REGISTRY.c.is_active,
]
_REGISTERED = sa.select(*_ABOUT).where(_REGISTRY.c.integration_key == sa.bindparam("key"))
_OF_TENANT = (_CONFIGS.c.integration_key == _REGISTRY.c.integration_key) & _IS[0]
_BOTH = _REGISTERED.add_columns(*_COLUMNS).select_from(_REGISTRY.outerjoin(_CONFIGS, _OF_TENANT))


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
    row = connection.execute(_REGISTERED, {"key": key}).one_or_none()
    if row is None:
        raise _unregistered(key)
    return _registered(row)


def integration_of(connection: Connection, tenant_id: str, key: str) -> tuple[Integration, Stored | None]:
    """Return what the registry says of an integration, and a tenant's row of it, by one statement.

    Raises:
        ReferenceUnknown: the registry does not say anything.
    """
    row = connection.execute(_BOTH, {"tenant": tenant_id, "key": key}).one_or_none()
    if row is None:
        raise _unregistered(key)
    own = row[len(_ABOUT) :]
    return _registered(row), None if own[0] is None else _stored(own)


def unconfigured(tenant_id: str, key: str) -> NotFound:
    """Return the error about a row that is not there."""
    return not_found("configuration", f"of {key} for {tenant_id}")


def stored(connection: Connection, tenant_id: str, key: str) -> Stored | None:
    """Return a tenant's row of an integration, as the database has it now."""
    row = connection.execute(_ONE, {"tenant": tenant_id, "key": key}).one_or_none()
    return None if row is None else _stored(row)


def all_stored(connection: Connection, tenant_id: str) -> list[Stored]:
    """Return all rows of a tenant, by integration."""
    return [_stored(row) for row in connection.execute(_ALL, {"tenant": tenant_id})]


def insert(session: Session, tenant_id: str, key: str, values: Mapping[str, Any]) -> None:
    """Add a row."""
    statement = sa.insert(_CONFIGS).values(tenant_id=tenant_id, integration_key=key, **values)
    connection_of(session).execute(statement)
    _note(session, tenant_id, key)


def update(session: Session, row: Stored, values: Mapping[str, Any]) -> bool:
    """Change a row, unless it has another version by now; return whether it was changed."""
    new = {f"new_{name}": value for name, value in values.items()}
    done = connection_of(session).execute(_update(tuple(values)), {**_still(row), **new})
    _note(session, row.tenant_id, row.integration_key)
    return done.rowcount == 1


def delete(session: Session, row: Stored) -> bool:
    """Delete a row, unless it has another version by now; return whether it was deleted."""
    done = connection_of(session).execute(_DELETE, _still(row))
    _note(session, row.tenant_id, row.integration_key)
    return done.rowcount == 1


def _unregistered(key: str) -> ReferenceUnknown:
    return ReferenceUnknown(
        f"There is no integration {key}.",
        remedy="Create it first (Registry.integrations), or correct the key.",
        details={"unknown": [key]},
    )


def _registered(row: Any) -> Integration:
    return Integration(row[0], row[1], keys_of(row[2]), row[3] if isinstance(row[3], dict) else {}, row[4])


def _stored(row: Any) -> Stored:
    tenant_id, key, config, *rest = row
    return Stored(tenant_id, key, config if isinstance(config, dict) else {}, *rest)


def _still(row: Stored) -> dict[str, Any]:
    return {"tenant": row.tenant_id, "key": row.integration_key, "version": row.config_version}


@cache
def _update(names: tuple[str, ...]) -> sa.Update:
    new = {name: sa.bindparam(f"new_{name}", type_=_CONFIGS.c[name].type) for name in names}
    return sa.update(_CONFIGS).where(*_IS_STILL).values(new)


def _note(session: Session, tenant_id: str, key: str) -> None:
    """Tell the session what it has written, past what it loaded."""
    mark_written(session, tenant_id)
    identity = sa.inspect(TenantIntegrationConfig).identity_key_from_primary_key((key, tenant_id))
    loaded = session.identity_map.get(identity)
    if loaded is not None:
        session.expire(loaded)
