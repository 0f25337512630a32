"""What people ask who support customers: what a tenant holds, and what the catalogue says."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tierwright.services.statements import GRANTS, LICENSES, OVERRIDES, TIERS
from tierwright.services.tenant_scope import require_all_tenants, tenant_scope
from tierwright.tables import TenantFeatureOverride, TenantIntegrationConfig, TenantLicense

_OF_TENANTS = (TenantLicense, TenantFeatureOverride, TenantIntegrationConfig)


@dataclass(frozen=True, slots=True)
class HeldLicense:
    """A licence of a tenant, whatever its window."""

    tenant_id: str
    license_key: str
    tier_key: str
    starts_at: datetime | None
    expires_at: datetime | None
    is_active: bool
    tier_deleted: bool


@dataclass(frozen=True, slots=True)
class HeldOverride:
    """An override for a tenant, whatever its window."""

    feature_key: str
    feature_value: Any
    starts_at: datetime | None
    expires_at: datetime | None
    reason: str | None


#: The columns of :class:`HeldLicense`.
SELECT_LICENSES = sa.select(
    LICENSES.c.tenant_id,
    LICENSES.c.license_key,
    TIERS.c.tier_key,
    LICENSES.c.starts_at,
    LICENSES.c.expires_at,
    LICENSES.c.is_active,
    TIERS.c.deleted_at.is_not(None).label("tier_deleted"),
).join(TIERS, TIERS.c.id == LICENSES.c.license_tier_id)


def valid_at(at: datetime) -> Collection[sa.ColumnElement[bool]]:
    """Return the conditions under which a licence is valid at a moment."""
    table = LICENSES.c
    return (
        table.is_active,
        sa.or_(table.starts_at.is_(None), table.starts_at <= at),
        sa.or_(table.expires_at.is_(None), table.expires_at > at),
    )


def licenses_of(connection: Connection, tenant_id: str) -> list[HeldLicense]:
    """Return all licences of a tenant, by key; suspended and ended ones too."""
    statement = SELECT_LICENSES.where(LICENSES.c.tenant_id == tenant_id).order_by(LICENSES.c.license_key)
    with tenant_scope(connection, tenant_id):
        return [HeldLicense(*row) for row in connection.execute(statement)]


def overrides_of(connection: Connection, tenant_id: str) -> list[HeldOverride]:
    """Return all overrides for a tenant, by feature; ended ones too."""
    table = OVERRIDES.c
    columns = (table.feature_key, table.feature_value, table.starts_at, table.expires_at, table.reason)
    statement = sa.select(*columns).where(table.tenant_id == tenant_id).order_by(table.feature_key)
    with tenant_scope(connection, tenant_id):
        return [HeldOverride(*row) for row in connection.execute(statement)]


def rows_of(connection: Connection, tenant_id: str) -> dict[str, int]:
    """Return how many rows each table has of a tenant, its history aside: what a purge deletes."""
    with tenant_scope(connection, tenant_id):
        return {
            str(row.__tablename__): connection.execute(
                sa.select(sa.func.count()).select_from(row).filter_by(tenant_id=tenant_id)
            ).scalar_one()
            for row in _OF_TENANTS
        }


def said_about(connection: Connection, feature_key: str) -> Mapping[str, Any]:
    """Return what each tier itself says about a feature, by tier key; without those that are deleted."""
    statement = sa.select(TIERS.c.tier_key, GRANTS.c.feature_value).join(GRANTS, GRANTS.c.license_tier_id == TIERS.c.id)
    rows = connection.execute(
        statement.where(GRANTS.c.feature_key == feature_key, TIERS.c.deleted_at.is_(None)).order_by(TIERS.c.tier_key)
    )
    return {row[0]: row[1] for row in rows}


def said_by(connection: Connection, tier_id: UUID) -> Mapping[str, Any]:
    """Return what a tier itself says, by feature key."""
    statement = sa.select(GRANTS.c.feature_key, GRANTS.c.feature_value).where(GRANTS.c.license_tier_id == tier_id)
    return {row[0]: row[1] for row in connection.execute(statement.order_by(GRANTS.c.feature_key))}


def tier_key_of(connection: Connection, tier_id: UUID | None) -> str | None:
    """Return the key of the tier with an id."""
    return connection.execute(sa.select(TIERS.c.tier_key).where(TIERS.c.id == tier_id)).scalar()


def default_tier(connection: Connection) -> str | None:
    """Return the key of the tier that counts for tenants without a valid licence."""
    return connection.execute(sa.select(TIERS.c.tier_key).where(TIERS.c.is_default, TIERS.c.is_active)).scalar()


def licenses_count(connection: Connection, tier_id: UUID, at: datetime) -> int:
    """Return how many licences for a tier are valid at a moment.

    Raises:
        PrivilegeMissing: row-level security hides tenants from the current role.
    """
    require_all_tenants(connection)
    valid = SELECT_LICENSES.where(LICENSES.c.license_tier_id == tier_id, *valid_at(at)).subquery()
    return connection.execute(sa.select(sa.func.count()).select_from(valid)).scalar_one()


def overrides_count(connection: Connection, feature_key: str) -> int:
    """Return how many tenants have an override of a feature, whatever its window.

    Raises:
        PrivilegeMissing: row-level security hides tenants from the current role.
    """
    require_all_tenants(connection)
    return connection.execute(
        sa.select(sa.func.count()).select_from(OVERRIDES).where(OVERRIDES.c.feature_key == feature_key)
    ).scalar_one()
