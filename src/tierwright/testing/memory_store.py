"""A store that answers from a document, without any database."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from tierwright.errors import InvalidInput
from tierwright.resolution.facts import Feature, Grant, License, Override, Tier
from tierwright.resolution.snapshot import CatalogSnapshot
from tierwright.store.entry import Entry
from tierwright.store.snapshot_store import SnapshotStore
from tierwright.testing.documents import Document, ParsedDocument, ParsedTenant, parse
from tierwright.types import utc_now

_NOBODY = ParsedTenant((), ())


class MemoryStore(SnapshotStore):
    """Stands in for a :class:`~tierwright.SnapshotStore` in tests: ``Entitlements(store=MemoryStore(document))``.

    The same resolver decides, over what the document says: tiers, windows, prerequisites and conflicts are real.

    Args:
        document: features, tiers and tenants, as :mod:`tierwright.testing.documents` describes.
        clock: returns the moment at which questions are answered.

    Raises:
        InvalidInput: the document is not valid, or names a tier or feature that it does not describe.
    """

    def __init__(self, document: Document, *, clock: Callable[[], datetime] = utc_now) -> None:
        # The base is not initialised: it would want an engine. Nothing is ever kept, so that the clock may be set.
        self.entries = {}
        self._clock = clock
        self._parsed = parse(document, clock())
        _refuse_unknown_keys(self._parsed)
        self._snapshot = _snapshot(self._parsed)

    def entry(self, tenant_id: str) -> Entry:
        """Return the decisions of a tenant at the clock's moment; one that the document does not name has nothing."""
        tenant = self._parsed.tenants.get(tenant_id, _NOBODY)
        licenses = [
            License(tier, fields["starts_at"], fields["expires_at"])
            for tier, fields in tenant.licenses
            if fields["is_active"]
        ]
        overrides = [
            Override(each.feature_key, Grant.from_document(each.feature_value), each.starts_at, each.expires_at)
            for each in tenant.overrides
        ]
        found = self._snapshot.resolve(licenses, overrides, self._clock())
        return Entry(found.decisions, found.granted, 0.0, 0.0, 0.0, None)

    def refresh(self, tenant_id: str) -> bool:
        """Do nothing: there is nothing to read."""
        return True

    def forget(self, tenant: Any = None) -> None:
        """Do nothing: nothing is kept."""

    def forget_tenants(self) -> None:
        """Do nothing: nothing is kept."""

    def close(self) -> None:
        """Do nothing: there is nothing to close."""


def _snapshot(parsed: ParsedDocument) -> CatalogSnapshot:
    features = [
        Feature(
            each.feature_key,
            Grant.from_document(each.default_value),
            each.is_premium,
            each.is_active,
            tuple(each.depends_on),
            tuple(each.conflicts_with),
        )
        for each in parsed.features
    ]
    tiers = [
        Tier(
            key,
            key,
            {feature: Grant.from_document(value) for feature, value in each.features.items()},
            each.row.rank,
            each.base,
            each.row.is_default,
            each.row.is_active,
        )
        for key, each in parsed.tiers.items()
    ]
    return CatalogSnapshot(features, tiers)


def _refuse_unknown_keys(parsed: ParsedDocument) -> None:
    """Refuse a tier or a feature that is named and not described.

    There is no database that could have it: a misspelt key would let a test see a tenant that has nothing.
    """
    tiers: dict[str, str] = {}
    features: dict[str, str] = {}
    for key, tier in parsed.tiers.items():
        features |= dict.fromkeys(tier.features, f"tiers.{key}")
        if tier.base is not None:
            tiers[tier.base] = f"tiers.{key}"
    for tenant_id, tenant in parsed.tenants.items():
        features |= {each.feature_key: f"tenants.{tenant_id}" for each in tenant.overrides}
        tiers |= {tier_key: f"tenants.{tenant_id}" for tier_key, _ in tenant.licenses}
    known = {each.feature_key for each in parsed.features}
    for named, described, what in ((tiers, parsed.tiers.keys(), "tier"), (features, known, "feature")):
        for key in sorted(named.keys() - described):
            raise InvalidInput(
                f"Not a valid test document: {named[key]} names a {what} that is not there: {key[:80]!a}.",
                remedy=f"Describe it under {what}s, or correct the key.",
            )
