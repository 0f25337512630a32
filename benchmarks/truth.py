"""The data set of the decision benchmarks: features, tiers and tenants; about half of the cells on.

Nothing outside the standard library is imported: a peer in a virtual environment of its own makes the same set.
"""

from __future__ import annotations

import random
from typing import Any


class Truth:
    """Which tier has which feature, and which tenant is on which tier; the same for the same sizes.

    Args:
        features, tiers, tenants: how many.
    """

    def __init__(self, features: int = 1000, tiers: int = 50, tenants: int = 10_000) -> None:
        source = random.Random(7)
        self.features = [f"module_{i // 40:02d}.feature_{i:04d}" for i in range(features)]
        self.tiers = [f"tier-{i:02d}" for i in range(tiers)]
        self.tenants = [f"tenant-{i:05d}" for i in range(tenants)]
        self.tier_of = {tenant: source.choice(self.tiers) for tenant in self.tenants}
        self.granted = {tier: {key: source.random() < 0.5 for key in self.features} for tier in self.tiers}
        self.tiers_with = {key: [tier for tier in self.tiers if self.granted[tier][key]] for key in self.features}

    def pairs(self, how_many: int, seed: int = 11) -> list[tuple[str, str]]:
        """Return random tenants with random features."""
        source = random.Random(seed)
        return [(source.choice(self.tenants), source.choice(self.features)) for _ in range(how_many)]

    def expects(self, tenant: str, feature: str) -> bool:
        """Return the right answer."""
        return self.granted[self.tier_of[tenant]][feature]

    def of(self, tenant: str) -> dict[str, bool]:
        """Return the right answers about every feature."""
        return self.granted[self.tier_of[tenant]]

    def granted_among(self, pairs: list[tuple[str, str]]) -> int:
        """Return how many of the pairs are granted."""
        return sum(self.expects(*pair) for pair in pairs)

    def document(self, tier: int, feature: int) -> dict[str, Any]:
        """Return what a tier says about a feature, as it is stored: a third each are switches, numbers and texts."""
        if not self.granted[self.tiers[tier]][self.features[feature]]:
            return {"enabled": False}
        values = (True, (7 * feature + tier) % 1000, f"level {(feature + tier) % 40}")
        return {"enabled": True, "value": values[feature % 3]}


class TwoLookups:
    """The floor: a method that looks twice into dictionaries, and denies where nothing is found.

    Args:
        features_of: the answers by feature, of every tenant.
    """

    __slots__ = ("empty", "features_of")

    def __init__(self, features_of: dict[str, dict[str, bool]]) -> None:
        self.features_of = features_of
        self.empty: dict[str, bool] = {}

    def check(self, tenant: str, feature: str) -> bool:
        """Return whether the tenant has the feature."""
        return self.features_of.get(tenant, self.empty).get(feature, False)
