"""Writes of tenants' licences."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from tierwright.errors import InvalidInput, TierClosed
from tierwright.services.audit import Journal
from tierwright.services.registry.inputs import key_of, tenant_of, validated
from tierwright.services.registry.live_tiers import live_tier
from tierwright.services.registry.locking import tenant_write
from tierwright.services.registry.results import UNCHANGED, WriteResult
from tierwright.services.registry.rows import apply, difference, fetch, not_found, unknown
from tierwright.tables import LicenseTier, TenantLicense, TenantLicenseInput
from tierwright.types import AuditAction, AuditEntity, utc_now

_LONGEST_TRIAL = 3650
_COLUMNS = ("license_tier_id", "starts_at", "expires_at", "is_active")
_NOBODY = UUID(int=0)


class Licenses:
    """Which tiers tenants hold, and when.

    Args:
        session: the host's session.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def assign(
        self,
        tenant: str | int | UUID,
        tier_key: str,
        *,
        license_key: str = "main",
        starts_at: datetime | None = None,
        expires_at: datetime | None = None,
        actor: str | None = None,
        reason: str | None = None,
    ) -> WriteResult:
        """Give a tenant a tier, in place of what it holds under the same licence key.

        Args:
            tenant: the host's identifier of the tenant.
            tier_key: the tier.
            license_key: tells the licences of one tenant apart, such as a subscription's id.
            starts_at: from when; None is always.
            expires_at: until when, exclusively; None is for ever.
            actor: who writes.
            reason: why.

        Raises:
            ReferenceUnknown: there is no such tier.
            TierClosed: the tier is retired, and the tenant does not hold it under this key.
            TierDeleted: the tier was deleted.
        """
        journal = Journal.open(self._session, actor, reason)
        tier_key = key_of("tier key", tier_key)
        wanted = _checked(tenant, license_key, starts_at, expires_at)
        with tenant_write(journal, wanted.tenant_id):
            tier = live_tier(self._session, tier_key, unknown("tier", [tier_key]))
            row = self._row(wanted.tenant_id, wanted.license_key)
            if not tier.is_active and not _holds(row, tier):
                raise _closed(tier_key)
            return self._write(journal, wanted.model_copy(update={"license_tier_id": tier.id}), row)

    def trial(
        self,
        tenant: str | int | UUID,
        tier_key: str,
        *,
        days: int,
        license_key: str = "trial",
        actor: str | None = None,
        reason: str | None = None,
    ) -> WriteResult:
        """Give a tenant a tier from now on, for some days, beside what it holds under other licence keys.

        Args:
            tenant: the host's identifier of the tenant.
            tier_key: the tier.
            days: how long, 1 to 3,650; a trial under the same key begins anew.
            license_key: tells the licences of one tenant apart.
            actor: who writes.
            reason: why.

        Raises:
            ReferenceUnknown: there is no such tier.
            TierClosed: the tier is retired, and the tenant does not hold it under this key.
            TierDeleted: the tier was deleted.
        """
        if isinstance(days, bool) or not isinstance(days, int) or not 1 <= days <= _LONGEST_TRIAL:
            raise InvalidInput("Not a valid trial: days is a whole number from 1 to 3650.", remedy="Correct the input.")
        now = utc_now()
        window = {"starts_at": now, "expires_at": now + timedelta(days=days)}
        return self.assign(tenant, tier_key, license_key=license_key, actor=actor, reason=reason, **window)

    def end(
        self,
        tenant: str | int | UUID,
        license_key: str = "main",
        *,
        actor: str | None = None,
        reason: str | None = None,
    ) -> WriteResult:
        """End a licence now. It stays as a row, so that a question about yesterday is not answered wrongly.

        One that has not begun is deleted; one that has ended stays as it is.

        Raises:
            NotFound: the tenant has no licence with this key.
        """
        journal = Journal.open(self._session, actor, reason)
        tenant_id, license_key = tenant_of(tenant), key_of("license key", license_key)
        with tenant_write(journal, tenant_id):
            row = self._row(tenant_id, license_key)
            if row is None:
                raise not_found("licence", f"{license_key} of {tenant_id}")
            now = utc_now()
            if row.expires_at is not None and row.expires_at <= now:
                return UNCHANGED
            if row.starts_at is not None and row.starts_at >= now:
                shown = self._shown({name: getattr(row, name) for name in _COLUMNS})
                self._session.delete(row)
                self._note(journal, row, AuditAction.DELETED, old=shown)
                return WriteResult(True)
            old = {"expires_at": row.expires_at}
            apply(row, {"expires_at": now})
            self._note(journal, row, AuditAction.UPDATED, old=old, new={"expires_at": now})
        return WriteResult(True)

    def _write(self, journal: Journal, wanted: TenantLicenseInput, row: TenantLicense | None) -> WriteResult:
        values = wanted.row_values()
        after = {name: values[name] for name in _COLUMNS}
        if row is None:
            shown = self._shown(after)
            row = wanted.to_row()
            self._session.add(row)
            self._note(journal, row, AuditAction.CREATED, new=shown)
            return WriteResult(True)
        before = {name: getattr(row, name) for name in _COLUMNS}
        changed = difference(before, after)
        if not changed:
            return UNCHANGED
        new = {name: after[name] for name in changed}
        old_shown, new_shown = self._shown({name: before[name] for name in changed}), self._shown(new)
        apply(row, new)
        self._note(journal, row, AuditAction.UPDATED, old=old_shown, new=new_shown)
        return WriteResult(True, _gap_warning(before, after, row.license_key))

    def _row(self, tenant_id: str, license_key: str) -> TenantLicense | None:
        return fetch(self._session, TenantLicense, tenant_id=tenant_id, license_key=license_key)

    def _shown(self, columns: dict[str, Any]) -> dict[str, Any]:
        """Return columns as the history shows them: a tier by its key."""
        shown = dict(columns)
        if "license_tier_id" in shown:
            tier = fetch(self._session, LicenseTier, id=shown.pop("license_tier_id"))
            shown["tier_key"] = None if tier is None else tier.tier_key
        return shown

    @staticmethod
    def _note(journal: Journal, row: TenantLicense, action: AuditAction, **values: Any) -> None:
        entity_id = f"{row.tenant_id}/{row.license_key}"
        journal.record(AuditEntity.TENANT_LICENSE, entity_id, action, tenant_id=row.tenant_id, **values)


def _checked(tenant: Any, license_key: Any, starts_at: Any, expires_at: Any) -> TenantLicenseInput:
    given = {
        "tenant_id": tenant,
        "license_key": license_key,
        "license_tier_id": _NOBODY,  # the tier is not known before the lock
        "starts_at": starts_at,
        "expires_at": expires_at,
    }
    return validated(TenantLicenseInput, given, "licence")


def _holds(row: TenantLicense | None, tier: LicenseTier) -> bool:
    """Tell whether a licence, now or later, is for this tier."""
    if row is None or row.license_tier_id != tier.id or not row.is_active:
        return False
    return row.expires_at is None or row.expires_at > utc_now()


def _gap_warning(before: Mapping[str, Any], after: Mapping[str, Any], license_key: str) -> tuple[str, ...]:
    """Say that a licence which is valid now will only begin later: it does not go on until then."""
    now = utc_now()
    starts_at = after["starts_at"]
    if starts_at is None or starts_at <= now or not _is_valid(before, now):
        return ()
    return (
        f"Until {starts_at.isoformat()} the licence {license_key} gives nothing: it is the same licence, moved. "
        "For a change on a date, end this one then and begin another under its own key.",
    )


def _is_valid(columns: Mapping[str, Any], at: datetime) -> bool:
    starts_at, expires_at = columns["starts_at"], columns["expires_at"]
    began = starts_at is None or starts_at <= at
    return bool(columns["is_active"] and began and (expires_at is None or at < expires_at))


def _closed(tier_key: str) -> TierClosed:
    return TierClosed(
        f"The tier {tier_key} takes no new tenants.",
        remedy="Choose another tier, or restore this one.",
        details={"tier_key": tier_key},
    )
