"""The audit log: what the demo itself did, and ninety generated days before it."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlmodel import SQLModel

from examples.demo.catalogue import Rows, digest
from tierwright.tables import AuditInput, TenantFeatureOverride, TenantIntegrationConfig, TenantLicense

ACTOR = "tierwright-demo"
#: The entity of the one entry that says: this database was loaded by the demo.
MARKER = "examples.demo"
_DAYS = 90
#: table class -> (kind of entity, the columns that name one)
_ENTITIES: dict[type[SQLModel], tuple[str, tuple[str, ...]]] = {
    TenantLicense: ("tenant_license", ("tenant_id", "license_key")),
    TenantFeatureOverride: ("tenant_override", ("tenant_id", "feature_key")),
}


def audit_rows(rows: Rows, now: datetime) -> list[dict[str, Any]]:
    """Return the entries for the tenants' ``rows``; applying the catalogue has left its own."""
    entries = (*_created(rows, now), *_configured(rows[TenantIntegrationConfig], now))
    return [entry.row_values() for entry in entries]


def marker(counts: Mapping[str, int], now: datetime) -> AuditInput:
    """Return the entry by which a later run knows that these rows, and no others, are the demo's."""
    return _entry("catalog", MARKER, "imported", now, new_value={"digest": digest(), "rows": dict(counts)})


def _created(rows: Rows, now: datetime) -> Iterable[AuditInput]:
    for table, (kind, columns) in _ENTITIES.items():
        for row in rows[table]:
            yield _entry(
                kind,
                "/".join(str(row[column]) for column in columns),
                "created",
                now,
                tenant_id=row["tenant_id"],
                feature_key=row.get("feature_key"),
                new_value=row.get("feature_value"),
                reason=row.get("reason"),
            )


def _configured(configs: Iterable[Mapping[str, Any]], now: datetime) -> Iterable[AuditInput]:
    """Yield a past for each tenant's integration: made some time ago, then changed up to five times."""
    chance = random.Random(11)
    for row in configs:
        age = chance.uniform(1, _DAYS)
        moments = sorted((chance.uniform(0, age) for _ in range(chance.randint(0, 5))), reverse=True)
        actions = ["created", *(chance.choice(("updated", "enabled", "disabled")) for _ in moments)]
        for action, days in zip(actions, (age, *moments), strict=True):
            yield _entry(
                "tenant_integration",
                f"{row['tenant_id']}/{row['integration_key']}",
                action,
                now - timedelta(days=days),
                tenant_id=row["tenant_id"],
                feature_key=f"integrations.{row['integration_key']}",
                actor=f"generated-admin-{chance.randint(1, 40)}",
            )


def _entry(kind: str, name: str, action: str, moment: datetime, *, actor: str = ACTOR, **values: Any) -> AuditInput:
    return AuditInput(
        entity_type=kind,  # type: ignore[arg-type]  # pydantic turns the text into the enumeration
        entity_id=name,
        action=action,  # type: ignore[arg-type]
        performed_by=actor,
        performed_at=moment,
        **values,
    )
