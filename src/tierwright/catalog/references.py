"""What tenants refer to: it cannot be deleted."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlmodel import SQLModel

from tierwright.catalog.target import Leftovers
from tierwright.services.statements import LICENSES, OVERRIDES, TIERS
from tierwright.types import AuditEntity

_CONFIGS = SQLModel.metadata.tables["tenant_integration_configs"]
#: How many keys a statement names; SQLite takes 32,766 parameters.
_MOST_KEYS = 10_000


def referring(connection: Connection, leftovers: Leftovers) -> dict[tuple[AuditEntity, str], str]:
    """Return what of the leftovers tenants refer to, whatever the windows, each with words for what refers to it.

    Args:
        connection: where the tenants are.
        leftovers: what would be deleted.
    """
    found: dict[tuple[AuditEntity, str], str] = {}
    overridden = sa.select(OVERRIDES.c.feature_key, sa.func.count()).group_by(OVERRIDES.c.feature_key)
    for key, count in _counted(connection, overridden, OVERRIDES.c.feature_key, leftovers.features):
        found[AuditEntity.FEATURE, key] = _several(count, "override")
    held = sa.select(TIERS.c.tier_key, sa.func.count()).join(LICENSES, LICENSES.c.license_tier_id == TIERS.c.id)
    held = held.group_by(TIERS.c.tier_key)
    for key, count in _counted(connection, held, TIERS.c.tier_key, leftovers.tiers):
        found[AuditEntity.TIER, key] = _several(count, "licence")
    configured = sa.select(_CONFIGS.c.integration_key, sa.func.count()).group_by(_CONFIGS.c.integration_key)
    for key, count in _counted(connection, configured, _CONFIGS.c.integration_key, leftovers.integrations):
        found[AuditEntity.INTEGRATION, key] = _several(count, "configuration")
    return found


def enabled_configs(connection: Connection, integrations: Collection[str]) -> dict[str, int]:
    """Return how many tenants have enabled each of some integrations; those that nobody has are left out."""
    statement = sa.select(_CONFIGS.c.integration_key, sa.func.count()).where(_CONFIGS.c.is_enabled)
    statement = statement.group_by(_CONFIGS.c.integration_key)
    return dict(_counted(connection, statement, _CONFIGS.c.integration_key, integrations))


def _counted(
    connection: Connection, statement: sa.Select[Any], column: sa.ColumnElement[Any], keys: Collection[str]
) -> Iterator[tuple[str, int]]:
    ordered = sorted(keys)
    for start in range(0, len(ordered), _MOST_KEYS):
        some = ordered[start : start + _MOST_KEYS]
        yield from (tuple(row) for row in connection.execute(statement.where(column.in_(some))))


def _several(count: int, what: str) -> str:
    return f"{count} {what}{'s' if count != 1 else ''}"
