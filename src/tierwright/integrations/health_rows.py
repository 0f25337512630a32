"""The rows whose health is asked for, and what is written of it: past the ORM, for the version that was checked."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlmodel import SQLModel

import tierwright.tables  # noqa: F401  fills the metadata
from tierwright.integrations.health_rules import Health
from tierwright.secrets.envelope import Binding
from tierwright.services.sealed_column import SEALED
from tierwright.types import HealthStatus, utc_now

_CONFIGS = SQLModel.metadata.tables["tenant_integration_configs"]
_REGISTRY = SQLModel.metadata.tables["integration_registry"]
_ROW = _CONFIGS.c
_KEY = (_ROW.integration_key, _ROW.tenant_id)


class _AsText(FunctionElement[str]):
    """A moment as text that compares: as SQLite has it, where a host may have written it otherwise than a parameter."""

    inherit_cache = True
    type = sa.Text()
    name = "moment_as_text"


@compiles(_AsText)
def _as_text(element: _AsText, compiler: SQLCompiler, **options: Any) -> str:
    return f"CAST({compiler.process(element.clauses, **options)} AS TEXT)"


@compiles(_AsText, "postgresql")
def _as_seconds(element: _AsText, compiler: SQLCompiler, **options: Any) -> str:
    # PostgreSQL would write it in the time zone of the connection, which may be another one at the next statement.
    return f"CAST(EXTRACT(EPOCH FROM {compiler.process(element.clauses, **options)}) AS TEXT)"


#: Tells settings from others that were removed: their versions may be the same.
_MADE_AT = _AsText(_ROW.created_at)
_COLUMNS = (
    *_KEY,
    _ROW.config,
    SEALED.label("encrypted_config"),
    _ROW.config_version,
    _ROW.secret_version,
    _ROW.health_status,
    _ROW.failure_count,
    _ROW.success_count,
    _ROW.last_health_check,
    _MADE_AT.label("made_at"),
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
    made_at: str

    @property
    def key(self) -> RowKey:
        """The primary key."""
        return self.integration_key, self.tenant_id

    @property
    def binding(self) -> Binding:
        """The place to which its secrets are sealed."""
        return Binding.of_config(self.tenant_id, self.integration_key, self.secret_version)


def rows_after(connection: Connection, integrations: Collection[str], last: RowKey | None, size: int) -> list[Checked]:
    """Return what is to be checked of all tenants, behind a primary key.

    Args:
        connection: sees the rows of all tenants.
        integrations: of these only.
        last: the primary key; None for the first ones.
        size: how many.
    """
    statement = _of(integrations).limit(size)
    if last is not None:
        statement = statement.where(sa.tuple_(*_KEY) > sa.tuple_(*last))
    return [_checked(row) for row in connection.execute(statement)]


def rows_of(connection: Connection, integrations: Collection[str], tenant_ids: Collection[str]) -> list[Checked]:
    """Return what is to be checked of these tenants."""
    statement = _of(integrations).where(_ROW.tenant_id.in_(tenant_ids))
    return [_checked(row) for row in connection.execute(statement)]


def write(connection: Connection, row: Checked, health: Health) -> bool:
    """Write what a check has shown; return whether the row still says what it did when it was read.

    Else the answer is about settings that are no more, or somebody else has checked them and counted from the same
    numbers. The versions and ``updated_at`` are of the settings, and stay.
    """
    as_read = (
        _ROW.integration_key == row.integration_key,
        _ROW.tenant_id == row.tenant_id,
        _ROW.config_version == row.version,
        _MADE_AT.is_not_distinct_from(row.made_at),
        _ROW.health_status.is_not_distinct_from(_text(row.health.status)),
        _ROW.failure_count == row.health.failures,
        _ROW.success_count == row.health.successes,
    )
    values = {
        "health_status": _text(health.status),
        "failure_count": health.failures,
        "success_count": health.successes,
        "last_health_check": utc_now(),
        "updated_at": _ROW.updated_at,
    }
    statement = sa.update(_CONFIGS).where(*as_read).values(values)
    return connection.execute(statement).rowcount == 1


def _of(integrations: Collection[str]) -> sa.Select[Any]:
    """Return the statement that reads enabled configurations of active integrations, by primary key."""
    return (
        sa.select(*_COLUMNS)
        .join(_REGISTRY, _REGISTRY.c.integration_key == _ROW.integration_key)
        .where(_ROW.is_enabled, _REGISTRY.c.is_active, _ROW.integration_key.in_(sorted(integrations)))
        .order_by(*_KEY)
    )


def _text(status: HealthStatus | None) -> str | None:
    return None if status is None else status.value


def _checked(row: Any) -> Checked:
    status = row.health_status if row.health_status in HealthStatus.__members__.values() else None
    health = Health(None if status is None else HealthStatus(status), row.failure_count, row.success_count)
    config = row.config if isinstance(row.config, dict) else {}
    return Checked(
        row.integration_key,
        row.tenant_id,
        config,
        row.encrypted_config,
        row.config_version,
        row.secret_version,
        health,
        row.last_health_check,
        row.made_at,
    )
