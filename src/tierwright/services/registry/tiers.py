"""Writes of licence tiers: the tiers themselves, and what they inherit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

from tierwright.errors import AlreadyExists, WriteRefused
from tierwright.services.audit import Journal
from tierwright.services.registry.catalogue import Catalogue
from tierwright.services.registry.grants import Granting
from tierwright.services.registry.inputs import key_of
from tierwright.services.registry.keyed import Keyed
from tierwright.services.registry.live_tiers import deleted, live_tier, missing_tier
from tierwright.services.registry.locking import catalogue_write
from tierwright.services.registry.results import UNCHANGED, WriteResult
from tierwright.services.registry.rows import apply, fetch, unknown
from tierwright.services.registry.rules import cycle_through, refuse_cycle, refuse_new_breaks
from tierwright.services.registry.tier_deletion import Deleting
from tierwright.tables import LicenseTier, TierInput
from tierwright.types import AuditAction, AuditEntity


class Tiers(Granting, Deleting, Keyed[LicenseTier, TierInput]):
    """The tiers: what licences refer to."""

    noun = "tier"
    entity = AuditEntity.TIER
    row = LicenseTier
    schema = TierInput
    key = {"tier_key": "tier key"}  # noqa: RUF012  declared as ClassVar in the base
    fixed = ("base_tier_id",)

    def create(
        self,
        tier: TierInput | Mapping[str, Any],
        *,
        base: str | None = None,
        actor: str | None = None,
        reason: str | None = None,
    ) -> WriteResult:
        """Add a tier.

        Args:
            tier: the tier; a mapping has the fields of :class:`~tierwright.tables.TierInput`.
            base: the key of the tier that it inherits from; counts more than ``base_tier_id``.
            actor: who writes.
            reason: why.

        Raises:
            AlreadyExists: there is a tier with this key, or another default tier.
            ReferenceUnknown: there is no such base tier.
            TierDeleted: the base tier was deleted.
        """
        journal = Journal.open(self._session, actor, reason)
        base_key = None if base is None else key_of("tier key", base)

        def with_base(wanted: TierInput) -> TierInput:
            if base_key is not None:
                return wanted.model_copy(update={"base_tier_id": self._base(base_key).id})
            if wanted.base_tier_id is not None:
                base_row = fetch(self._session, LicenseTier, id=wanted.base_tier_id)
                if base_row is None:
                    raise unknown("tier with the id", [str(wanted.base_tier_id)])
                if base_row.deleted_at is not None:
                    raise deleted(base_row.tier_key)
            return wanted

        return self._create(tier, journal, with_base)

    def change(
        self, tier_key: str, /, *, actor: str | None = None, reason: str | None = None, **changes: Any
    ) -> WriteResult:
        """Change fields of a tier.

        Args:
            tier_key: the tier.
            actor: who writes.
            reason: why.
            **changes: new values of fields of :class:`~tierwright.tables.TierInput`, except the key and the base.

        Raises:
            NotFound: there is no such tier.
            TierDeleted: it was deleted.
            AlreadyExists: another tier is the default.
        """
        return self._change({"tier_key": tier_key}, changes, Journal.open(self._session, actor, reason))

    def retire(self, tier_key: str, *, actor: str | None = None, reason: str | None = None) -> WriteResult:
        """Close a tier to new tenants; those who hold it keep it, and so do tiers that inherit from it.

        Raises:
            NotFound: there is no such tier.
        """
        return self.change(tier_key, actor=actor, reason=reason, is_active=False)

    def restore(self, tier_key: str, *, actor: str | None = None, reason: str | None = None) -> WriteResult:
        """Open a tier again.

        Raises:
            NotFound: there is no such tier.
        """
        return self.change(tier_key, actor=actor, reason=reason, is_active=True)

    def set_base(
        self, tier_key: str, base: str | None, *, actor: str | None = None, reason: str | None = None
    ) -> WriteResult:
        """Let a tier inherit from another one, or from none.

        Args:
            tier_key: the tier.
            base: the key of the tier that it shall inherit from.
            actor: who writes.
            reason: why.

        Raises:
            NotFound: there is no such tier.
            ReferenceUnknown: there is no such base tier.
            TierDeleted: the tier or the base was deleted.
            CycleRefused: the base inherits from the tier.
            PrerequisiteBroken, ConflictRefused: the tier or an heir of it would grant what it cannot keep.
        """
        journal = Journal.open(self._session, actor, reason)
        tier_key = key_of("tier key", tier_key)
        base_key = None if base is None else key_of("tier key", base)
        with catalogue_write(journal):
            row = self._tier(tier_key)
            base_id = None if base_key is None else self._base(base_key).id
            if base_id == row.base_tier_id:
                return UNCHANGED
            self._check_base(row, base_id)
            old = {"base": self._key_of(row.base_tier_id)}
            apply(row, {"base_tier_id": base_id})
            journal.record(AuditEntity.TIER, tier_key, AuditAction.UPDATED, old=old, new={"base": base_key})
        return WriteResult(True)

    def _find(self, key: Mapping[str, Any]) -> LicenseTier | None:
        return fetch(self._session, LicenseTier, **key, deleted_at=None)

    def _not_found(self, key: Mapping[str, Any]) -> WriteRefused:
        return missing_tier(self._session, key["tier_key"], super()._not_found(key))

    def _check(self, before: Mapping[str, Any] | None, given: TierInput, changed: list[str]) -> tuple[str, ...]:
        if "is_default" in changed and given.is_default:
            other = fetch(self._session, LicenseTier, is_default=True, deleted_at=None)
            if other is not None:
                raise AlreadyExists(
                    f"The tier {other.tier_key} is the default.",
                    remedy=f"Change {other.tier_key} first: is_default=False.",
                    details={"tier_key": other.tier_key},
                )
        if before is not None and "is_active" in changed and given.is_default and not given.is_active:
            return ("It is the default tier: tenants without a valid licence now have the registry's defaults only.",)
        return ()

    def _for_audit(self, columns: Mapping[str, Any]) -> Mapping[str, Any]:
        shown = dict(columns)
        if "base_tier_id" in shown:
            shown["base"] = self._key_of(shown.pop("base_tier_id"))
        return shown

    def _check_base(self, row: LicenseTier, base_id: UUID | None) -> None:
        catalogue = Catalogue.read(self._session)
        after = catalogue.with_tier(replace(catalogue.tiers[row.id], base_id=base_id))
        # By their ids: a deleted tier may have the key of another one.
        edges = {str(tier.id): [str(tier.base_id)] for tier in after.tiers.values() if tier.base_id in after.tiers}
        keys = {str(tier.id): tier.key for tier in after.tiers.values()}
        refuse_cycle("Base tiers", tuple(keys[each] for each in cycle_through(str(row.id), edges)))
        linked = catalogue.linked(catalogue.features)
        if linked:
            before = catalogue.with_grants(self._session, linked)
            refuse_new_breaks(before, before.with_tier(replace(before.tiers[row.id], base_id=base_id)), linked)

    def _base(self, tier_key: str) -> LicenseTier:
        return live_tier(self._session, tier_key, unknown("tier", [tier_key]))

    def _key_of(self, tier_id: UUID | None) -> str | None:
        row = None if tier_id is None else fetch(self._session, LicenseTier, id=tier_id)
        return None if row is None else row.tier_key
