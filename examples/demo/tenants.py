"""Tenants: three by hand, and a generated crowd, so that a planner has a reason to use an index."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from examples.demo.catalogue import Catalogue, Rows, data, public_settings
from tierwright.catalog.document import TierEntry
from tierwright.tables import (
    TenantFeatureOverride,
    TenantFeatureOverrideInput,
    TenantIntegrationConfig,
    TenantIntegrationConfigInput,
    TenantLicense,
    TenantLicenseInput,
)
from tierwright.types import HealthStatus

CROWD = 2_000
_HEALTH: tuple[str | None, ...] = (HealthStatus.HEALTHY.value,) * 6 + tuple(s.value for s in HealthStatus) + (None,)


def tenant_rows(catalogue: Catalogue, tiers: Mapping[str, UUID], now: datetime) -> Rows:
    """Return the licences, overrides and integration settings of all tenants; secrets are left out (NULL).

    Args:
        catalogue: what they use.
        tiers: each tier's id by its key.
        now: what the ends of licences and overrides are relative to.
    """
    named = data("tenants")
    crowd = list(_crowd(catalogue, random.Random(7)))
    return {
        TenantLicense: [row for tenant in (*named, *crowd) for row in _licenses(tenant, tiers, now)],
        TenantFeatureOverride: [row for tenant in named for row in _overrides(tenant, now)],
        TenantIntegrationConfig: [row for tenant in (*named, *crowd) for row in _configs(tenant, now)],
    }


def _licenses(tenant: Mapping[str, Any], tiers: Mapping[str, UUID], now: datetime) -> Iterable[dict[str, Any]]:
    for record in tenant["licenses"]:
        yield TenantLicenseInput(
            tenant_id=tenant["tenant_id"],
            license_key=record.get("license_key", "main"),
            license_tier_id=tiers[record["tier"]],
            **_window(record, now),
        ).row_values()


def _overrides(tenant: Mapping[str, Any], now: datetime) -> Iterable[dict[str, Any]]:
    for record in tenant["overrides"]:
        values = {name: value for name, value in record.items() if name != "days"}
        yield TenantFeatureOverrideInput(tenant_id=tenant["tenant_id"], **values, **_window(record, now)).row_values()


def _configs(tenant: Mapping[str, Any], now: datetime) -> Iterable[dict[str, Any]]:
    for record in tenant["integrations"]:
        checked = TenantIntegrationConfigInput(
            tenant_id=tenant["tenant_id"],
            integration_key=record["integration_key"],
            config=record["config"],
            is_enabled=record.get("enabled", True),
            created_by="tierwright-demo",
        )
        yield {**checked.row_values(), **_health(record.get("health"), now)}


def _health(status: str | None, now: datetime) -> dict[str, Any]:
    """Return the columns that a health check writes, and that no input may set."""
    checked = now - timedelta(minutes=4) if status else None
    return {"health_status": status, "last_health_check": checked, "failure_count": 3 if status == "unhealthy" else 0}


def _window(record: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    if "days" not in record:
        return {}
    first, last = record["days"]
    return {"starts_at": now + timedelta(days=first), "expires_at": now + timedelta(days=last)}


def _crowd(catalogue: Catalogue, chance: random.Random) -> Iterable[dict[str, Any]]:
    """Yield generated tenants in the shape of tenants.json; the same ones every time."""
    granted = {key: _integrations(tier) for key, tier in catalogue.document.tiers.items()}
    schemas = {key: entry.config_schema for key, entry in catalogue.document.integrations.items()}
    configs = {key: public_settings(settings, schemas[key]) for key, settings in catalogue.settings.items()}
    for number in range(1, CROWD + 1):
        (tier,) = chance.choices(("free", "pro", "enterprise"), (60, 30, 10))
        chosen = chance.sample(granted[tier], chance.randint(1, min(4, len(granted[tier]))))
        yield {
            "tenant_id": f"generated-{number:04}",
            "licenses": [{"tier": tier}],
            "integrations": [
                {
                    "integration_key": key,
                    "config": configs[key],
                    "enabled": chance.random() < 0.8,
                    "health": chance.choice(_HEALTH),
                }
                for key in chosen
            ],
        }


def _integrations(tier: TierEntry) -> list[str]:
    return [key.removeprefix("integrations.") for key in tier.features if key.startswith("integrations.")]
