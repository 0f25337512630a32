"""Writes of what tiers grant."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from tierwright.resolution.facts import Grant
from tierwright.resolution.values import check_document
from tierwright.services.audit import Journal
from tierwright.services.input_errors import typed_input
from tierwright.services.registry.catalogue import Catalogue
from tierwright.services.registry.inputs import key_of, keys_of, mapping_of
from tierwright.services.registry.live_tiers import live_tier
from tierwright.services.registry.locking import catalogue_write
from tierwright.services.registry.results import UNCHANGED, WriteResult
from tierwright.services.registry.rows import apply, features_by_key, fetch_all, not_found, same
from tierwright.services.registry.rules import refuse_new_breaks
from tierwright.services.statements import GRANTS
from tierwright.tables import FeatureRegistry, LicenseTier, LicenseTierFeatures, check_value_document
from tierwright.types import AuditAction, AuditEntity, FeatureType

Documents = dict[str, dict[str, Any]]


class Granting:
    """The part of the tiers' writes that is about their features."""

    _session: Session

    def grant(
        self,
        tier_key: str,
        features: Mapping[str, Mapping[str, Any]],
        *,
        actor: str | None = None,
        reason: str | None = None,
    ) -> WriteResult:
        """Say what a tier grants; what it says about other features stays.

        Args:
            tier_key: the tier.
            features: a value document by feature key; ``{"enabled": False}`` denies what a base grants.
            actor: who writes.
            reason: why.

        Raises:
            NotFound: there is no such tier.
            ReferenceUnknown: there is no such feature.
            PrerequisiteBroken, ConflictRefused: the tier or an heir of it would grant what it cannot keep.
            DependencyMissing: a feature has a ``value_schema``, and the package jsonschema is not installed.
        """
        journal = Journal.open(self._session, actor, reason)
        tier_key = key_of("tier key", tier_key)
        given = _documents(features)
        with catalogue_write(journal):
            tier = self._tier(tier_key)
            documents = fitting(given, features_by_key(self._session, given))
            held = self._held(tier, given)
            changed = {
                key: document
                for key, document in documents.items()
                if key not in held or not same(held[key].feature_value, document)
            }
            if not changed:
                return UNCHANGED
            self._check_grants(tier.id, changed, ())
            for key, document in changed.items():
                self._write(journal, tier, key, document, held.get(key))
            self._session.expire(tier, ["features"])  # the host may have loaded it
        return WriteResult(True)

    def revoke(
        self, tier_key: str, feature_keys: Collection[str], *, actor: str | None = None, reason: str | None = None
    ) -> WriteResult:
        """Let a tier say nothing about some features, so that its base or the registry's default counts.

        Args:
            tier_key: the tier.
            feature_keys: the features; those about which the tier says nothing stay as they are.
            actor: who writes.
            reason: why.

        Raises:
            NotFound: there is no such tier.
            ReferenceUnknown: there is no such feature.
            PrerequisiteBroken, ConflictRefused: the tier or an heir of it would grant what it cannot keep.
        """
        journal = Journal.open(self._session, actor, reason)
        tier_key = key_of("tier key", tier_key)
        keys = keys_of("feature key", feature_keys)
        with catalogue_write(journal):
            tier = self._tier(tier_key)
            features_by_key(self._session, keys)
            held = self._held(tier, keys)
            if not held:
                return UNCHANGED
            self._check_grants(tier.id, {}, held)
            for key, row in held.items():
                self._session.delete(row)
                self._note(journal, tier_key, key, AuditAction.DELETED, old={"feature_value": row.feature_value})
            self._session.expire(tier, ["features"])
        return WriteResult(True)

    def _tier(self, tier_key: str) -> LicenseTier:
        return live_tier(self._session, tier_key, not_found("tier", tier_key))

    def _held(self, tier: LicenseTier, keys: Collection[str]) -> dict[str, LicenseTierFeatures]:
        conditions = (GRANTS.c.license_tier_id == tier.id, GRANTS.c.feature_key.in_(sorted(keys)))
        rows = fetch_all(self._session, LicenseTierFeatures, sa.and_(*conditions))
        return {row.feature_key: row for row in sorted(rows, key=lambda row: row.feature_key)}

    def _check_grants(self, tier_id: UUID, granted: Documents, revoked: Collection[str]) -> None:
        catalogue = Catalogue.read(self._session)
        keys = catalogue.linked([*granted, *revoked])
        if not keys:
            return
        before = catalogue.with_grants(self._session, keys)
        tier = before.tiers[tier_id]
        grants = {key: grant for key, grant in tier.grants.items() if key not in revoked}
        grants.update((key, Grant.from_document(document)) for key, document in granted.items())
        refuse_new_breaks(before, before.with_tier(replace(tier, grants=grants)), keys)

    def _write(
        self, journal: Journal, tier: LicenseTier, key: str, document: dict[str, Any], row: LicenseTierFeatures | None
    ) -> None:
        new = {"feature_value": document}
        if row is None:
            self._session.add(LicenseTierFeatures(license_tier_id=tier.id, feature_key=key, feature_value=document))
            self._note(journal, tier.tier_key, key, AuditAction.CREATED, new=new)
            return
        old = {"feature_value": row.feature_value}
        apply(row, new)
        self._note(journal, tier.tier_key, key, AuditAction.UPDATED, old=old, new=new)

    @staticmethod
    def _note(journal: Journal, tier_key: str, feature_key: str, action: AuditAction, **values: Any) -> None:
        # No key contains a slash, so the pair stays readable.
        entity_id = f"{tier_key}/{feature_key}"
        journal.record(AuditEntity.TIER_FEATURE, entity_id, action, feature_key=feature_key, **values)


def fitting(documents: Documents, features: Mapping[str, FeatureRegistry]) -> Documents:
    """Return value documents that fit the types and schemas of their features.

    Raises:
        InvalidInput: a value has another type, or does not fit.
        DependencyMissing: a feature has a schema, and the package jsonschema is not installed.
    """
    for key, document in documents.items():
        feature = features[key]
        with typed_input(f"value of {key}"):
            check_value_document(document, FeatureType(feature.feature_type))
        check_document(document, feature.value_schema, f"value of {key}")
    return documents


def _documents(features: Any) -> Documents:
    """Return checked value documents, as far as they can be checked without their features."""
    given = {key_of("feature key", key): document for key, document in mapping_of("features", features).items()}
    checked: Documents = {}
    for key, document in sorted(given.items()):
        with typed_input(f"value of {key}"):
            checked[key] = check_value_document(document)
    return checked
