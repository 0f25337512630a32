"""Deleting tiers, and bringing them back. Nothing is taken from anybody: who holds a deleted tier keeps it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from tierwright.errors import AlreadyExists, StillInUse
from tierwright.services.audit import Journal
from tierwright.services.registry.inputs import key_of
from tierwright.services.registry.live_tiers import deleted, find_tier, live_tier
from tierwright.services.registry.locking import catalogue_write
from tierwright.services.registry.results import WriteResult
from tierwright.services.registry.rows import apply, fetch, fetch_all, not_found
from tierwright.services.registry.rules import named
from tierwright.services.session_state import connection_of
from tierwright.services.statements import LICENSES, TIERS
from tierwright.tables import LicenseTier
from tierwright.types import AuditAction, AuditEntity, utc_now


class Deleting:
    """The part of the tiers' writes that is about their end."""

    _session: Session

    def delete(self, tier_key: str, *, actor: str | None = None, reason: str | None = None) -> WriteResult:
        """Delete a tier: nobody can get it any more, it is in no list, and its key is free for another one.

        Its row stays, with what it grants and with its history, and counts for the tenants that hold it until they are
        moved (:func:`tierwright.catalog.move_tenants`).

        Args:
            tier_key: the tier.
            actor: who writes.
            reason: why.

        Returns:
            With a warning if tenants hold it.

        Raises:
            NotFound: there is no such tier.
            TierDeleted: it was deleted before.
            StillInUse: it is the default, or another tier inherits from it.
        """
        journal = Journal.open(self._session, actor, reason)
        tier_key = key_of("tier key", tier_key)
        with catalogue_write(journal):
            row = live_tier(self._session, tier_key, not_found("tier", tier_key))
            self._refuse_needed(row)
            changes = {"deleted_at": utc_now(), "is_active": False}
            self._apply(journal, row, AuditAction.ARCHIVED, changes)
            return WriteResult(True, self._holders_warning(row))

    def undelete(
        self,
        tier_key: str,
        *,
        new_key: str | None = None,
        tier_id: UUID | None = None,
        actor: str | None = None,
        reason: str | None = None,
    ) -> WriteResult:
        """Bring a deleted tier back, open to new tenants, with all that it granted.

        Args:
            tier_key: the key that it had.
            new_key: the key that it shall have; it needs another one where its own is taken by now.
            tier_id: which one, where several deleted tiers had the key.
            actor: who writes.
            reason: why.

        Raises:
            NotFound: there is no such deleted tier.
            InvalidInput: several deleted tiers had the key, and there is no ``tier_id``.
            AlreadyExists: another tier has the key.
            TierDeleted: it inherits from a tier that is deleted.
        """
        journal = Journal.open(self._session, actor, reason)
        tier_key = key_of("tier key", tier_key)
        wanted_key = tier_key if new_key is None else key_of("tier key", new_key)
        with catalogue_write(journal):
            found = find_tier(connection_of(self._session), tier_key, is_deleted=True, tier_id=tier_id)
            row = fetch(self._session, LicenseTier, id=found.id)
            assert row is not None  # noqa: S101  found under the lock
            self._refuse_taken(wanted_key)
            base = None if row.base_tier_id is None else fetch(self._session, LicenseTier, id=row.base_tier_id)
            if base is not None and base.deleted_at is not None:
                raise deleted(base.tier_key)
            changes = {"deleted_at": None, "is_active": True}
            self._apply(journal, row, AuditAction.RESTORED, changes | ({"tier_key": new_key} if new_key else {}))
        return WriteResult(True)

    def _apply(self, journal: Journal, row: LicenseTier, action: AuditAction, changes: dict[str, Any]) -> None:
        before = {name: getattr(row, name) for name in changes}
        apply(row, changes)
        # One that is called otherwise has an entry under each name.
        for key in dict.fromkeys((before.get("tier_key", row.tier_key), row.tier_key)):
            journal.record(AuditEntity.TIER, key, action, old=before, new=changes)

    def _refuse_needed(self, row: LicenseTier) -> None:
        if row.is_default:
            raise StillInUse(
                f"The tier {row.tier_key} is the default.",
                remedy="Make another one the default first.",
                details={"tier_key": row.tier_key},
            )
        heirs = fetch_all(self._session, LicenseTier, TIERS.c.base_tier_id == row.id, TIERS.c.deleted_at.is_(None))
        if heirs:
            keys = sorted(heir.tier_key for heir in heirs)
            raise StillInUse(
                f"Tiers inherit from {row.tier_key}: {named(keys)}.",
                remedy="Give them another base first, or delete them too.",
                details={"tier_key": row.tier_key, "heirs": keys},
            )

    def _refuse_taken(self, tier_key: str) -> None:
        if fetch(self._session, LicenseTier, tier_key=tier_key, deleted_at=None) is not None:
            raise AlreadyExists(
                f"Another tier has the key {tier_key}.",
                remedy="Bring this one back under another key: --as, new_key=.",
                details={"tier_key": tier_key},
            )

    def _holders_warning(self, row: LicenseTier) -> tuple[str, ...]:
        held = sa.select(LICENSES.c.tenant_id).where(
            LICENSES.c.license_tier_id == row.id,
            LICENSES.c.is_active,
            sa.or_(LICENSES.c.expires_at.is_(None), LICENSES.c.expires_at > utc_now()),
        )
        if self._session.execute(held.limit(1)).first() is None:
            return ()
        return (
            f"Tenants hold {row.tier_key}, and keep what it gives until they are moved: `tierwright tier move "
            f"{row.tier_key} OTHER --deleted`.",
        )
