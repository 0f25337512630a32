"""The catalogue of the demo as rows: the price list, and the hand-written files beside it. Every row is validated."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlmodel import SQLModel

from examples.demo.prices import PriceList, price_list, read_entries
from tierwright.tables import (
    ComponentInput,
    ComponentRegistry,
    FeatureInput,
    FeatureRegistry,
    IntegrationInput,
    IntegrationRegistry,
    LicenseTier,
    LicenseTierFeatures,
    ModelRegistry,
    TierFeatureInput,
    TierInput,
)
from tierwright.types import uuid7

DATA = Path(__file__).parent / "data"
#: Column values by table class, parents before children.
Rows = dict[type[SQLModel], list[dict[str, Any]]]


@dataclass(frozen=True)
class Catalogue:
    """What there is to sell.

    Attributes:
        rows: the validated rows of the registries and tiers.
        tiers: each tier's id by its key.
        prices: the price list that the models came from.
        integrations: the hand-written records, with their examples.
    """

    rows: Rows
    tiers: dict[str, UUID]
    prices: PriceList
    integrations: list[dict[str, Any]]


def records(name: str) -> list[dict[str, Any]]:
    """Return the records of one hand-written data file."""
    found: list[dict[str, Any]] = json.loads((DATA / f"{name}.json").read_text("utf-8"))
    return found


def digest() -> str:
    """Return the SHA-256 of all data files: what tells one edition of the demo from another."""
    total = hashlib.sha256()
    for path in sorted(DATA.glob("*.json")):
        total.update(path.name.encode() + b"\0" + path.read_bytes())
    return total.hexdigest()


def build(today: date) -> Catalogue:
    """Return the catalogue; ``today`` decides which models are deprecated already.

    Raises:
        pydantic.ValidationError: a record in a data file breaks a rule.
        ProviderCollision: see :func:`examples.demo.prices.feature_keys`.
    """
    prices = price_list(read_entries(), today)
    integrations = records("integrations")
    features = [*map(_feature, records("features")), *prices.features, *map(integration_feature, integrations)]
    tiers = {record["tier_key"]: uuid7() for record in records("tiers")}
    rows: Rows = {
        FeatureRegistry: [feature.row_values() for feature in features],
        LicenseTier: [_tier(record, tiers) for record in records("tiers")],
        LicenseTierFeatures: _tier_features(tiers, features, prices),
        ModelRegistry: [model.row_values() for model in prices.models],
        ComponentRegistry: [ComponentInput(**record).row_values() for record in records("components")],
        IntegrationRegistry: [_integration(record).row_values() for record in integrations],
    }
    return Catalogue(rows, tiers, prices, integrations)


def integration_feature(record: Mapping[str, Any]) -> FeatureInput:
    """Return the feature that gates an integration."""
    return FeatureInput(
        feature_key=f"integrations.{record['integration_key']}",
        feature_name=f"{record['integration_name']} integration",
        description=record["description"],
        category="integrations",
        subcategory=record["category"],
        feature_type="boolean",  # type: ignore[arg-type]  # pydantic turns the text into the enumeration
        default_value={"enabled": False, "value": False},
        is_premium=record["is_premium"],
        requires_setup=True,
        depends_on=record["required_features"],
    )


def public_config(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return an integration's example settings without the secrets (``"writeOnly": true``)."""
    properties = record["config_schema"]["properties"]
    return {name: value for name, value in record["example"].items() if not properties[name].get("writeOnly")}


def tier_values(record: Mapping[str, Any], prices: PriceList) -> dict[str, dict[str, Any]]:
    """Return what a tier of tiers.json says about each feature that it names."""
    rate = record["models"]["requests_per_minute"]
    speed = {"enabled": True, "unlimited": True} if rate is None else {"enabled": True, "value": rate}
    on = {"enabled": True, "value": True}
    return {
        **record["features"],
        **dict.fromkeys(_granted_models(record["models"], prices), speed),
        **{f"integrations.{key}": on for key in record["integrations"]},
    }


def _granted_models(grant: Mapping[str, Any], prices: PriceList) -> Iterable[str]:
    if "providers" in grant:
        return [f"models.{provider}" for provider in grant["providers"]]
    sizes = Counter(model.feature_key for model in prices.models)
    return sorted(key for key, size in sizes.items() if size >= grant["at_least_models"])


def _feature(record: Mapping[str, Any]) -> FeatureInput:
    return FeatureInput(**record)


def _integration(record: Mapping[str, Any]) -> IntegrationInput:
    values = {name: value for name, value in record.items() if name not in ("example", "is_premium")}
    return IntegrationInput(feature_key=f"integrations.{record['integration_key']}", **values)


def _tier(record: Mapping[str, Any], tiers: Mapping[str, UUID]) -> dict[str, Any]:
    plain = {name: value for name, value in record.items() if name in TierInput.model_fields}
    base = tiers[record["base"]] if "base" in record else None
    return {"id": tiers[record["tier_key"]], **TierInput(base_tier_id=base, **plain).row_values()}


def _tier_features(
    tiers: Mapping[str, UUID], features: Iterable[FeatureInput], prices: PriceList
) -> list[dict[str, Any]]:
    types = {feature.feature_key: feature.feature_type for feature in features}
    return [
        TierFeatureInput(
            license_tier_id=tiers[record["tier_key"]], feature_key=key, feature_value=value, feature_type=types[key]
        ).row_values()
        for record in records("tiers")
        for key, value in tier_values(record, prices).items()
    ]
