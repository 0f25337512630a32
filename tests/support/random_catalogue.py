"""Random catalogues that keep all rules, and random tenants for them."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from random import Random
from typing import Any

from sqlalchemy.orm import Session
from sqlmodel import SQLModel

from tierwright.catalog import CatalogDocument
from tierwright.resolution.decision import Reason
from tierwright.resolution.facts import Feature, Grant, Tier
from tierwright.resolution.snapshot import CatalogSnapshot
from tierwright.services.statements import TIERS

TABLES = SQLModel.metadata.tables
#: The same type in every catalogue, so that overrides fit them all.
TYPES = {
    "a.flag": "boolean",
    "a.count": "integer",
    "b.rate": "number",
    "b.level": "string",
    "c.plan": "json",
    "c.other": "integer",
    "d.switch": "boolean",
    "d.quota": "integer",
}
TIER_KEYS = ["basic", "plus", "pro", "max"]
TENANTS = [f"tenant-{number}" for number in range(7)]
_VALUES: dict[str, list[Any]] = {
    "boolean": [True, False],
    "integer": [0, 1, 5, 100],
    "number": [0, 0.5, 1.0, 2],
    "string": ["", "low", "hoch ü"],
    "json": [None, [], {"a": [1, True]}, 1, True, "x"],
}


def value(source: Random, key: str) -> dict[str, Any]:
    """Return a random value document of a feature."""
    document: dict[str, Any] = {"enabled": source.random() < 0.7}
    if TYPES[key] in ("integer", "number") and source.random() < 0.2:
        return {**document, "unlimited": True}
    if source.random() < 0.7:
        document["value"] = source.choice(_VALUES[TYPES[key]])
    return document


def catalogue(source: Random) -> CatalogDocument:
    """Return a random catalogue that keeps all rules."""
    features = {key: _feature(source, key) for key in TYPES if source.random() < 0.8}
    order = list(features)
    source.shuffle(order)
    for place, key in enumerate(order):
        needed = [other for other in order[:place] if source.random() < 0.2]
        features[key]["depends_on"] = needed
        others = [other for other in order if other != key and other not in needed and source.random() < 0.1]
        features[key]["conflicts_with"] = others
    tiers = _tiers(source, features)
    _repair(features, tiers)
    return CatalogDocument.model_validate({"features": features, "tiers": tiers, **_resources(source, order)})


def tenants(session: Session, source: Random) -> None:
    """Give random licences, overrides and integrations to tenants, with windows that do not end within the hour."""
    ids = {
        key: tier_id for tier_id, key in session.execute(TIERS.select().with_only_columns(TIERS.c.id, TIERS.c.tier_key))
    }
    features = list(session.execute(TABLES["feature_registry"].select()).mappings())
    integrations = list(session.execute(TABLES["integration_registry"].select()).mappings())
    for tenant in TENANTS:
        for number in range(source.choice([0, 1, 1, 2])):
            if ids:
                row = {"license_key": f"l{number}", "license_tier_id": ids[source.choice(sorted(ids))]}
                _insert(session, "tenant_license", tenant, row | _window(source) | {"is_active": source.random() < 0.8})
        for feature in features:
            if source.random() < 0.15:
                key = feature["feature_key"]
                row = {"feature_key": key, "feature_value": value(source, key)}
                _insert(session, "tenant_feature_override", tenant, row | _window(source))
        for integration in integrations:
            if source.random() < 0.5:
                row = {"integration_key": integration["integration_key"], "is_enabled": source.random() < 0.8}
                _insert(session, "tenant_integration_configs", tenant, row)


def _insert(session: Session, table: str, tenant: str, row: dict[str, Any]) -> None:
    session.execute(TABLES[table].insert().values(tenant_id=tenant, **row))


def _window(source: Random) -> dict[str, Any]:
    now = dt.datetime.now(dt.UTC)
    past, future = now - dt.timedelta(days=source.randint(1, 9)), now + dt.timedelta(days=source.randint(1, 9))
    starts, expires = source.choice(
        [(None, None), (None, None), (past, None), (None, future), (past, future), (future, None), (None, past)]
    )
    return {"starts_at": starts, "expires_at": expires}


def _feature(source: Random, key: str) -> dict[str, Any]:
    default = value(source, key)
    if "unlimited" not in default:
        default.setdefault("value", source.choice(_VALUES[TYPES[key]]))
    return {
        "feature_type": TYPES[key],
        "default_value": default,
        "is_premium": source.random() < 0.3,
        "is_active": source.random() < 0.85,
        "description": source.choice([None, "", "Ü — text"]),
        "display_order": source.randint(-2, 2),
    }


def _tiers(source: Random, features: dict[str, Any]) -> dict[str, Any]:
    tiers: dict[str, Any] = {}
    keys = [key for key in TIER_KEYS if source.random() < 0.75]
    source.shuffle(keys)
    default = source.choice([None, *keys])
    for key in keys:
        tiers[key] = {
            "rank": source.randint(0, 3),
            "base": source.choice([None, *tiers]),
            "is_default": key == default,
            "is_active": source.random() < 0.8,
            "features": {feature: value(source, feature) for feature in features if source.random() < 0.5},
        }
    return tiers


def _repair(features: dict[str, Any], tiers: dict[str, Any]) -> None:
    """Deny in each tier what it could not keep, until it keeps everything."""
    while True:
        snapshot = CatalogSnapshot(
            [
                Feature(
                    key,
                    Grant.from_document(each["default_value"]),
                    each["is_premium"],
                    True,
                    tuple(each["depends_on"]),
                    tuple(each["conflicts_with"]),
                )
                for key, each in features.items()
            ],
            [
                Tier(
                    key,
                    key,
                    {feature: Grant.from_document(document) for feature, document in each["features"].items()},
                    base_id=each["base"],
                )
                for key, each in tiers.items()
            ],
        )
        broken = [
            (tier, key)
            for tier in tiers
            for key, decision in snapshot.table((tier,)).items()
            if decision.reason in (Reason.CONFLICT, Reason.PREREQUISITE_NOT_MET)
        ]
        if not broken:
            return
        for tier, key in broken:
            tiers[tier]["features"][key] = {"enabled": False}


def _resources(source: Random, features: list[str]) -> dict[str, Any]:
    def some() -> list[str]:
        return [key for key in features if source.random() < 0.2]

    if not features:
        return {}
    models = {
        f"model-{number}": {
            "model_type": "chat",
            "feature_key": source.choice(features),
            "input_price_per_1k": source.choice(
                [None, Decimal("0.000000000000000000001"), Decimal("1.50"), Decimal(3)]
            ),
            "deprecation_date": source.choice([None, dt.date(2026, 1, 31)]),
            "import_source": source.choice([None, "litellm"]),
            "imported": source.choice([None, {"max_tokens": 5}]),
            "is_active": source.random() < 0.8,
        }
        for number in range(source.randint(0, 3))
    }
    components = {
        f"component-{number}": {
            "category": "test",
            "feature_key": source.choice([None, *features]),
            "required_features": some(),
            "is_beta": source.random() < 0.5,
        }
        for number in range(source.randint(0, 2))
    }
    integrations = {
        f"integration-{number}": {
            "category": "test",
            "feature_key": source.choice(features),
            "required_features": some(),
            "config_schema": source.choice([{}, {"type": "object"}]),
            "is_active": source.random() < 0.8,
        }
        for number in range(source.randint(0, 3))
    }
    return {"models": {"some": models}, "components": components, "integrations": integrations}
