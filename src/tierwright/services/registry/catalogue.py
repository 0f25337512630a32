"""The catalogue that a write validates: read under the lock, and as it would be afterwards."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import ColumnElement

from tierwright.resolution.facts import Feature, Grant, Tier
from tierwright.resolution.graph import Graph
from tierwright.resolution.snapshot import CatalogSnapshot
from tierwright.services.reading import grant_of, keys_of
from tierwright.services.statements import FEATURES, GRANTS, TIERS

#: How many keys a statement may name; SQLite takes 32,766 parameters.
_MOST_KEYS = 10_000


def _text(column: ColumnElement[Any]) -> ColumnElement[Any]:
    return sa.cast(column, sa.Text())


_FEATURES = sa.select(
    FEATURES.c.feature_key,
    _text(FEATURES.c.default_value),
    FEATURES.c.is_premium,
    FEATURES.c.is_active,
    _text(FEATURES.c.depends_on),
    _text(FEATURES.c.conflicts_with),
)
_TIERS = sa.select(TIERS.c.id, TIERS.c.tier_key, TIERS.c.base_tier_id, TIERS.c.deleted_at.is_not(None))
_GRANTS = sa.select(GRANTS.c.license_tier_id, GRANTS.c.feature_key, _text(GRANTS.c.feature_value))


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The features and tiers, as they are or as a write would make them.

    Attributes:
        features: by key.
        tiers: by id, with grants only of the features that :meth:`with_grants` was asked for.
    """

    features: Mapping[str, Feature]
    tiers: Mapping[Hashable, Tier]

    @classmethod
    def read(cls, session: Session) -> Catalogue:
        """Return the features, and the tiers without what they grant, as they are in the session's transaction."""
        features = [
            Feature(key, grant_of(default), premium, active, keys_of(needed), keys_of(excluded))
            for key, default, premium, active, needed, excluded in session.execute(_FEATURES)
        ]
        tiers = [
            Tier(tier_id, key, {}, base_id=base_id, is_deleted=is_deleted)
            for tier_id, key, base_id, is_deleted in session.execute(_TIERS)
        ]
        return cls({feature.key: feature for feature in features}, {tier.id: tier for tier in tiers})

    def linked(self, keys: Collection[str]) -> frozenset[str]:
        """Return all features whose decisions can depend on those with the given keys; () where none can."""
        return Graph.of(self.features.values()).linked(keys)

    def with_grants(self, session: Session, keys: Collection[str]) -> Catalogue:
        """Return the catalogue with what its tiers say about some features: reading all is slow, and few matter."""
        few = sa.true() if len(keys) > _MOST_KEYS else GRANTS.c.feature_key.in_(sorted(keys))
        grants: dict[Hashable, dict[str, Grant]] = defaultdict(dict)
        for tier_id, key, document in session.execute(_GRANTS.where(few)):
            grants[tier_id][key] = grant_of(document)
        return replace(
            self, tiers={tier.id: replace(tier, grants=grants.get(tier.id, {})) for tier in self.tiers.values()}
        )

    def with_feature(self, feature: Feature) -> Catalogue:
        """Return the catalogue with one feature added or replaced."""
        return replace(self, features={**self.features, feature.key: feature})

    def with_tier(self, tier: Tier) -> Catalogue:
        """Return the catalogue with one tier replaced."""
        return replace(self, tiers={**self.tiers, tier.id: tier})

    def compiled(self, keys: Collection[str]) -> CatalogSnapshot:
        """Return the snapshot of some features, as if none were switched off.

        A kill switch is for an hour. What a tier promises must hold when the switch is turned back.
        """
        kept = (awake(self.features[key]) for key in keys if key in self.features)
        return CatalogSnapshot(kept, self.tiers.values())


def awake(feature: Feature) -> Feature:
    """Return a feature as it is when it is not switched off."""
    default, needed, excluded = feature.default, feature.depends_on, feature.conflicts_with
    return Feature(feature.key, default, feature.is_premium, True, needed, excluded)
