"""Writes of what single tenants get whatever their tiers say."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from tierwright.errors import InvalidInput
from tierwright.resolution.facts import Grant, Override
from tierwright.services.audit import Journal
from tierwright.services.registry.grants import fitting
from tierwright.services.registry.inputs import key_of, keys_of, tenant_of, validated
from tierwright.services.registry.locking import tenant_write
from tierwright.services.registry.override_effects import effects_of, removal_warnings
from tierwright.services.registry.results import UNCHANGED, WriteResult
from tierwright.services.registry.rows import apply, difference, features_by_key, not_found
from tierwright.services.session_state import connection_of
from tierwright.services.statements import OVERRIDES
from tierwright.tables import TenantFeatureOverride, TenantFeatureOverrideInput
from tierwright.types import AuditAction, AuditEntity, utc_now

_COLUMNS = ("feature_value", "starts_at", "expires_at", "reason")
#: Some of a tenant's overrides, as the database has them now; built once, because that takes longer than to run it.
_ROWS = (
    sa.select(TenantFeatureOverride)
    .where(OVERRIDES.c.tenant_id == sa.bindparam("tenant"))
    .where(OVERRIDES.c.feature_key.in_(sa.bindparam("keys", expanding=True)))
    .execution_options(populate_existing=True)
)


class Overrides:
    """What one tenant gets of one feature, in a window.

    Args:
        session: the host's session.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def set(
        self,
        tenant: str | int | UUID,
        feature_key: str,
        value: Mapping[str, Any],
        *,
        starts_at: datetime | None = None,
        expires_at: datetime | None = None,
        deny: Collection[str] = (),
        actor: str | None = None,
        reason: str | None = None,
    ) -> WriteResult:
        """Override one feature for one tenant, in place of an earlier override of it.

        Args:
            tenant: the host's identifier of the tenant.
            feature_key: the feature.
            value: the value document, such as ``{"enabled": True, "value": 5}``.
            starts_at: from when; None is always.
            expires_at: until when, exclusively; None is for ever.
            deny: features that are denied in the same window, because they exclude this one.
            actor: who writes.
            reason: why; also kept with the override.

        Returns:
            With a warning where the override does nothing (yet), or takes other features away.

        Raises:
            ReferenceUnknown: there is no such feature.
            ConflictRefused: the tenant has a feature that excludes this one, and ``deny`` does not name it.
            DependencyMissing: the feature has a ``value_schema``, and the package jsonschema is not installed.
        """
        journal = Journal.open(self._session, actor, reason)
        window = {"starts_at": starts_at, "expires_at": expires_at, "reason": journal.context.reason}
        main = _checked(tenant, feature_key, value, window)
        denied = [_checked(tenant, key, {"enabled": False}, window) for key in keys_of("feature key", deny)]
        if main.feature_key in [each.feature_key for each in denied]:
            raise InvalidInput("An override cannot deny its own feature.", remedy="Take it out of deny=.")
        with tenant_write(journal, main.tenant_id):
            return self._write_all(journal, {each.feature_key: each for each in (main, *denied)}, main)

    def remove(
        self, tenant: str | int | UUID, feature_key: str, *, actor: str | None = None, reason: str | None = None
    ) -> WriteResult:
        """End an override now. It stays as a row, so that a question about yesterday is not answered wrongly.

        One that has not begun is deleted; one that has ended stays as it is.

        Returns:
            With a warning where the tenant loses features through a conflict that the override had prevented.

        Raises:
            NotFound: the tenant has no override of this feature.
        """
        journal = Journal.open(self._session, actor, reason)
        tenant_id, feature_key = tenant_of(tenant), key_of("feature key", feature_key)
        with tenant_write(journal, tenant_id):
            row = self._rows(tenant_id, [feature_key]).get(feature_key)
            if row is None:
                raise not_found("override", f"of {feature_key} for {tenant_id}")
            now = utc_now()
            if row.expires_at is not None and row.expires_at <= now:
                return UNCHANGED
            warnings = removal_warnings(connection_of(self._session), tenant_id, feature_key, now)
            if row.starts_at is not None and row.starts_at >= now:
                old = {name: getattr(row, name) for name in _COLUMNS}
                self._session.delete(row)
                _note(journal, row, AuditAction.DELETED, old=old)
            else:
                old = {"expires_at": row.expires_at}
                apply(row, {"expires_at": now})
                _note(journal, row, AuditAction.UPDATED, old=old, new={"expires_at": now})
        return WriteResult(True, warnings)

    def _write_all(
        self, journal: Journal, wanted: dict[str, TenantFeatureOverrideInput], main: TenantFeatureOverrideInput
    ) -> WriteResult:
        # The lock on the features keeps their types as they are until the values are written.
        features = features_by_key(self._session, wanted, shared_lock=True)
        fitting({key: each.feature_value for key, each in wanted.items()}, features)
        rows = self._rows(main.tenant_id, wanted)
        changed = {key: each for key, each in wanted.items() if key not in rows or _differs(rows[key], each)}
        facts = [
            Override(key, Grant.from_document(each.feature_value), each.starts_at, each.expires_at)
            for key, each in wanted.items()
        ]
        effects = effects_of(connection_of(self._session), main.tenant_id, facts)
        if changed:
            effects.refuse_conflicts()
        for key, each in changed.items():
            self._write(journal, each, rows.get(key))
        return WriteResult(bool(changed), effects.warnings())

    def _write(self, journal: Journal, wanted: TenantFeatureOverrideInput, row: TenantFeatureOverride | None) -> None:
        values = wanted.row_values()
        after = {name: values[name] for name in _COLUMNS}
        if row is None:
            made = wanted.to_row()
            self._session.add(made)
            _note(journal, made, AuditAction.CREATED, new=after)
            return
        before = {name: getattr(row, name) for name in _COLUMNS}
        changed = difference(before, after)
        new = {name: after[name] for name in changed}
        apply(row, new)
        _note(journal, row, AuditAction.UPDATED, old={name: before[name] for name in changed}, new=new)

    def _rows(self, tenant_id: str, keys: Collection[str]) -> dict[str, TenantFeatureOverride]:
        rows = self._session.scalars(_ROWS, {"tenant": tenant_id, "keys": sorted(keys)})
        return {row.feature_key: row for row in rows}


def _checked(tenant: Any, feature_key: Any, value: Any, rest: Mapping[str, Any]) -> TenantFeatureOverrideInput:
    given = {"tenant_id": tenant, "feature_key": feature_key, "feature_value": value, **rest}
    return validated(TenantFeatureOverrideInput, given, "override")


def _differs(row: TenantFeatureOverride, wanted: TenantFeatureOverrideInput) -> bool:
    values = wanted.row_values()
    # The same override for another reason is the same override.
    return bool(
        set(difference({name: getattr(row, name) for name in _COLUMNS}, {n: values[n] for n in _COLUMNS})) - {"reason"}
    )


def _note(journal: Journal, row: TenantFeatureOverride, action: AuditAction, **values: Any) -> None:
    journal.record(
        AuditEntity.TENANT_OVERRIDE,
        f"{row.tenant_id}/{row.feature_key}",
        action,
        tenant_id=row.tenant_id,
        feature_key=row.feature_key,
        **values,
    )
