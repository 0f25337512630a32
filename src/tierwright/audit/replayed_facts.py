"""What a replay has left, as a resolution takes it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from tierwright.resolution.facts import Feature, Grant, License, Override, Tier
from tierwright.types import AuditEntity

Fields = dict[str, Any]
Things = dict[AuditEntity, dict[str, Fields]]

#: Decisions do not follow from anything else, nor from other tenants' licences and overrides.
CATALOGUE = (AuditEntity.FEATURE, AuditEntity.TIER, AuditEntity.TIER_FEATURE)
KINDS = (*CATALOGUE, AuditEntity.TENANT_LICENSE, AuditEntity.TENANT_OVERRIDE)
#: Between the key of a deleted tier and the moment of its end; stands in no key.
DELETED_AT = " deleted "
_TEXTS = frozenset({"tier_key", "base", "feature_key", "license_key", "deleted_at"})


class Facts(NamedTuple):
    """What decisions follow from; tiers have their names in the replay in the place of ids."""

    features: list[Feature]
    tiers: list[Tier]
    licenses: list[License]
    overrides: list[Override]


def facts_of(things: Things) -> Facts:
    """Return the facts that the fields of things, by kind and key, say."""
    return Facts(
        [_feature(key, fields) for key, fields in things[AuditEntity.FEATURE].items()],
        _tiers(things),
        [
            License(fields.get("tier_key"), _moment(fields, "starts_at"), _moment(fields, "expires_at"))
            for fields in things[AuditEntity.TENANT_LICENSE].values()
            if fields.get("is_active") is True
        ],
        [_override(pair, fields) for pair, fields in things[AuditEntity.TENANT_OVERRIDE].items()],
    )


def is_readable(name: str, value: Any) -> bool:
    """Tell whether a field has a value that :func:`facts_of` can take."""
    if value is None:
        return True
    if name in ("starts_at", "expires_at"):
        return _is_moment(value)
    if name in ("depends_on", "conflicts_with"):
        return isinstance(value, list) and all(isinstance(key, str) for key in value)
    if name == "rank":
        return type(value) is int
    return name not in _TEXTS or isinstance(value, str)


def _is_moment(value: Any) -> bool:
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except (TypeError, ValueError):
        return False


def _feature(key: str, fields: Fields) -> Feature:
    return Feature(
        key,
        Grant.from_document(fields.get("default_value")),
        fields.get("is_premium") is not False,
        fields.get("is_active") is True,
        tuple(fields.get("depends_on") or ()),
        tuple(fields.get("conflicts_with") or ()),
    )


def _tiers(things: Things) -> list[Tier]:
    granted: dict[str, dict[str, Grant]] = {}
    for pair, fields in things[AuditEntity.TIER_FEATURE].items():
        tier_key, _, feature_key = pair.rpartition("/")
        granted.setdefault(tier_key, {})[feature_key] = Grant.from_document(fields.get("feature_value"))
    return [
        Tier(
            name,
            name.partition(DELETED_AT)[0],
            granted.get(name, {}),
            fields.get("rank") or 0,
            fields.get("base"),
            fields.get("is_default") is True,
            fields.get("is_active") is True,
            fields.get("deleted_at") is not None,
        )
        for name, fields in things[AuditEntity.TIER].items()
    ]


def _override(pair: str, fields: Fields) -> Override:
    return Override(
        pair.rpartition("/")[2],
        Grant.from_document(fields.get("feature_value")),
        _moment(fields, "starts_at"),
        _moment(fields, "expires_at"),
    )


def _moment(fields: Fields, name: str) -> datetime | None:
    text = fields.get(name)
    return None if text is None else datetime.fromisoformat(text)
