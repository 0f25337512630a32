"""The catalogue as it will be, as the resolver knows it: the facts of today, with those that change replaced."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import replace

from tierwright.catalog.differences import Change
from tierwright.catalog.document import CatalogDocument, FeatureEntry
from tierwright.resolution.facts import Feature, Grant, Tier
from tierwright.resolution.snapshot import CatalogSnapshot
from tierwright.types import AuditEntity


def changed_facts(before: CatalogSnapshot, target: CatalogDocument, changes: Iterable[Change]) -> CatalogSnapshot:
    """Return the compiled catalogue after some changes; tiers that exist keep their ids.

    Args:
        before: the compiled catalogue as it is.
        target: the catalogue as it will be.
        changes: all that lead from one to the other.
    """
    features = dict(before.features)
    tiers = {tier.key: tier for tier in before.tiers.values() if not tier.is_deleted}
    deleted = [tier for tier in before.tiers.values() if tier.is_deleted]
    changes = list(changes)
    for change in changes:
        if change.entity is AuditEntity.TIER and change.key not in tiers:
            tiers[change.key] = Tier(f"new tier {change.key}", change.key, {})  # no id looks like this
    ids: dict[str | None, Hashable] = {key: tier.id for key, tier in tiers.items()}
    for change in changes:
        if change.entity is AuditEntity.FEATURE:
            features.pop(change.key, None)
            if change.kind != "delete":
                features[change.key] = _feature(change.key, target.features[change.key])
        elif change.entity is AuditEntity.TIER and change.kind == "delete":
            del tiers[change.key]
        elif change.entity is AuditEntity.TIER:
            entry = target.tiers[change.key]
            base = None if entry.base is None else ids.get(entry.base)
            tiers[change.key] = replace(
                tiers[change.key],
                rank=entry.rank,
                base_id=base,
                is_default=entry.is_default,
                is_active=entry.is_active,
            )
    for tier_key, granted in _grants(changes).items():
        grants = {key: grant for key, grant in tiers[tier_key].grants.items() if key not in granted}
        said = target.tiers[tier_key].features
        grants |= {key: Grant.from_document(said[key]) for key in granted if key in said}
        tiers[tier_key] = replace(tiers[tier_key], grants=grants)
    return CatalogSnapshot(features.values(), (*tiers.values(), *deleted))


def _grants(changes: Iterable[Change]) -> dict[str, list[str]]:
    """Return the features about which each tier says something else than before."""
    found: dict[str, list[str]] = {}
    for change in changes:
        if change.entity is AuditEntity.TIER_FEATURE:
            tier_key, _, feature_key = change.key.partition("/")
            found.setdefault(tier_key, []).append(feature_key)
    return found


def _feature(key: str, entry: FeatureEntry) -> Feature:
    default = Grant.from_document(entry.default_value)
    needed, excluded = tuple(entry.depends_on), tuple(entry.conflicts_with)
    return Feature(key, default, entry.is_premium, entry.is_active, needed, excluded)
