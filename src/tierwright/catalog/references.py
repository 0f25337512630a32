"""What tenants refer to: it cannot be deleted."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlmodel import SQLModel

from tierwright.catalog.target import Leftovers
from tierwright.services.statements import GRANTS, LICENSES, OVERRIDES, TIERS
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
    held = held.where(TIERS.c.deleted_at.is_(None)).group_by(TIERS.c.tier_key)
    for key, count in _counted(connection, held, TIERS.c.tier_key, leftovers.tiers):
        found[AuditEntity.TIER, key] = _several(count, "licence")
    found |= _needed_by_deleted(connection, leftovers)
    configured = sa.select(_CONFIGS.c.integration_key, sa.func.count()).group_by(_CONFIGS.c.integration_key)
    for key, count in _counted(connection, configured, _CONFIGS.c.integration_key, leftovers.integrations):
        found[AuditEntity.INTEGRATION, key] = _several(count, "configuration")
    return found


def held_though_deleted(connection: Connection, at: datetime) -> dict[str, int]:
    """Return how many licences that have not ended at a moment are for deleted tiers, by the key of the tier."""
    ends = LICENSES.c.expires_at
    statement = sa.select(TIERS.c.tier_key, sa.func.count()).join(LICENSES, LICENSES.c.license_tier_id == TIERS.c.id)
    statement = statement.where(TIERS.c.deleted_at.is_not(None), sa.or_(ends.is_(None), ends > at))
    rows = connection.execute(statement.group_by(TIERS.c.tier_key))
    return {row[0]: row[1] for row in rows}


def deleted_keys(connection: Connection) -> frozenset[str]:
    """Return the keys that deleted tiers had."""
    return frozenset(connection.execute(sa.select(TIERS.c.tier_key).where(TIERS.c.deleted_at.is_not(None))).scalars())


def _needed_by_deleted(connection: Connection, leftovers: Leftovers) -> dict[tuple[AuditEntity, str], str]:
    """Return what deleted tiers refer to: their bases, and the features that they grant to those who hold them."""
    deleted = TIERS.alias("deleted")
    bases = sa.select(TIERS.c.tier_key, sa.func.count()).join(deleted, deleted.c.base_tier_id == TIERS.c.id)
    bases = bases.where(deleted.c.deleted_at.is_not(None), TIERS.c.deleted_at.is_(None)).group_by(TIERS.c.tier_key)
    granted = sa.select(GRANTS.c.feature_key, sa.func.count()).join(TIERS, TIERS.c.id == GRANTS.c.license_tier_id)
    granted = granted.where(TIERS.c.deleted_at.is_not(None)).group_by(GRANTS.c.feature_key)
    found = {}
    for key, count in _counted(connection, bases, TIERS.c.tier_key, leftovers.tiers):
        found[AuditEntity.TIER, key] = _several(count, "deleted tier")
    for key, count in _counted(connection, granted, GRANTS.c.feature_key, leftovers.features):
        found[AuditEntity.FEATURE, key] = _several(count, "deleted tier")
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
