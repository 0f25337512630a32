"""Test data as a plain document, brief to write: what its shorthand means.

    {
        "features": {
            "agents.canvas": False,                        # boolean, off by default
            "limits.seats": 3,                             # integer, on by default with the value 3
            "agents.teams": {"default_value": False, "depends_on": ["agents.canvas"]},
        },
        "tiers": {
            "free": {"is_default": True},
            "pro": {"rank": 10, "base": "free", "features": {"agents.canvas": True, "limits.seats": 50}},
        },
        "tenants": {
            "acme": {"licenses": ["pro"], "overrides": {"limits.seats": {"enabled": True, "unlimited": True}}},
            "trial": {"licenses": [{"tier": "pro", "expires_at": timedelta(days=14)}]},
        },
    }

The other fields of a feature, tier, licence or override are those of its table. A moment is an aware datetime, or a
timedelta from now.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tierwright.errors import InvalidInput
from tierwright.services.input_errors import typed_input
from tierwright.tables import FeatureInput, TenantFeatureOverrideInput, TenantLicenseInput, TierFeatureInput, TierInput
from tierwright.types import FeatureType, canonical_tenant_id, utc_now, uuid7

Document = Mapping[str, Any]

_TYPES: dict[type, FeatureType] = {
    bool: FeatureType.BOOLEAN,
    int: FeatureType.INTEGER,
    float: FeatureType.NUMBER,
    str: FeatureType.STRING,
}
#: What a feature that is only on or off is worth: a grant that names no value gives this one.
_WORTH: dict[FeatureType, Any] = {
    FeatureType.BOOLEAN: True,
    FeatureType.INTEGER: 0,
    FeatureType.NUMBER: 0,
    FeatureType.STRING: "",
    FeatureType.JSON: None,
}


@dataclass(frozen=True)
class ParsedTier:
    """A tier of a document: its row, the key of its base, and what it says about features."""

    row: TierInput
    base: str | None
    features: Mapping[str, dict[str, Any]]


@dataclass(frozen=True)
class ParsedTenant:
    """A tenant of a document: its licences, each with the key of its tier and its other fields, and its overrides."""

    licenses: tuple[tuple[str, dict[str, Any]], ...]
    overrides: tuple[TenantFeatureOverrideInput, ...]


@dataclass(frozen=True)
class ParsedDocument:
    """A document whose every value was validated; references between its parts are not."""

    features: tuple[FeatureInput, ...]
    tiers: Mapping[str, ParsedTier]
    tenants: Mapping[str, ParsedTenant]


def parse(document: Document, now: datetime | None = None) -> ParsedDocument:
    """Return what a document says, validated part by part.

    Args:
        document: features, tiers and tenants; all three may be left out.
        now: what a timedelta counts from.

    Raises:
        InvalidInput: it has another shape, or a field breaks the contract of its column.
    """
    with typed_input("test document"):
        return _parsed(document, now or utc_now())


def _parsed(document: Document, now: datetime) -> ParsedDocument:
    _only(document, "features", "tiers", "tenants")
    features = tuple(_feature(key, given) for key, given in document.get("features", {}).items())
    types = {feature.feature_key: feature.feature_type for feature in features}
    return ParsedDocument(
        features,
        {key: _tier(key, given, types) for key, given in document.get("tiers", {}).items()},
        {
            canonical_tenant_id(tenant): _tenant(tenant, given, types, now)
            for tenant, given in document.get("tenants", {}).items()
        },
    )


def value_document(given: Any) -> dict[str, Any]:
    """Return the value document that a shorthand stands for.

    Args:
        given: True or False; a value, which grants it; or a value document, which is kept.
    """
    if isinstance(given, bool):
        return {"enabled": given}
    if isinstance(given, dict) and "enabled" in given:
        return given
    return {"enabled": True, "value": given}


def _feature(key: str, given: Any) -> FeatureInput:
    fields = dict(given) if isinstance(given, dict) else {"default_value": given}
    default = fields.get("default_value", False)
    value = default.get("value", False) if isinstance(default, dict) and "enabled" in default else default
    type_ = FeatureType(fields.get("feature_type", _TYPES.get(type(value), FeatureType.JSON)))
    document = value_document(default)
    if "unlimited" not in document:
        document = {"value": _WORTH[type_], **document}
    fields |= {"feature_type": type_, "default_value": document}
    return FeatureInput(**{"feature_key": key, "feature_name": key, "category": "test", **fields})


def _tier(key: str, given: Any, types: Mapping[str, FeatureType]) -> ParsedTier:
    fields = dict(given)
    base, features = fields.pop("base", None), fields.pop("features", {})
    checked = {
        feature: TierFeatureInput(
            license_tier_id=uuid7(),  # not known before the row is there; only the values are checked
            feature_key=feature,
            feature_value=value_document(value),
            feature_type=types.get(feature),
        )
        for feature, value in features.items()
    }
    return ParsedTier(
        TierInput(**{"tier_key": key, "name": key, **fields}),
        base,
        {feature: each.feature_value for feature, each in checked.items()},
    )


def _tenant(tenant: str, given: Any, types: Mapping[str, FeatureType], now: datetime) -> ParsedTenant:
    _only(given, "licenses", "overrides")
    return ParsedTenant(
        tuple(_license(tenant, number, each, now) for number, each in enumerate(given.get("licenses", ()))),
        tuple(_override(tenant, key, value, types, now) for key, value in given.get("overrides", {}).items()),
    )


def _license(tenant: str, number: int, given: Any, now: datetime) -> tuple[str, dict[str, Any]]:
    fields = {"tier": given} if isinstance(given, str) else dict(given)
    tier = fields.pop("tier", None)
    if not isinstance(tier, str):
        raise InvalidInput("A licence without a tier.", remedy='Write "pro", or {"tier": "pro", "expires_at": ...}.')
    fields = {"license_key": "main" if number == 0 else f"license-{number}", **_moments(fields, now)}
    checked = TenantLicenseInput(tenant_id=tenant, license_tier_id=uuid7(), **fields)
    return tier, checked.model_dump(exclude={"license_tier_id"})


def _override(
    tenant: str, key: str, given: Any, types: Mapping[str, FeatureType], now: datetime
) -> TenantFeatureOverrideInput:
    is_full = isinstance(given, dict) and "feature_value" in given
    fields = _moments(dict(given), now) if is_full else {"feature_value": given}
    fields["feature_value"] = value_document(fields["feature_value"])
    return TenantFeatureOverrideInput(tenant_id=tenant, feature_key=key, feature_type=types.get(key), **fields)


def _moments(fields: dict[str, Any], now: datetime) -> dict[str, Any]:
    return {key: now + value if isinstance(value, timedelta) else value for key, value in fields.items()}


def _only(given: Any, *known: str) -> None:
    if not isinstance(given, Mapping) or (given.keys() - set(known)):
        if not isinstance(given, Mapping):
            problem = f"it is a {type(given).__name__}"
        else:
            problem = f"unknown keys: {', '.join(sorted(map(str, given.keys() - set(known))))}"
        raise InvalidInput(f"{problem}.", remedy=f"Give a mapping with {', '.join(known)}.")
