"""Deleting what a tenant holds."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session, load_only

from tierwright.services.audit import Journal
from tierwright.services.registry.inputs import tenant_of
from tierwright.services.registry.locking import tenant_write
from tierwright.services.registry.results import PurgeResult
from tierwright.tables import TenantFeatureOverride, TenantIntegrationConfig, TenantLicense
from tierwright.types import AuditAction, AuditEntity

_ROWS = (TenantLicense, TenantFeatureOverride, TenantIntegrationConfig)


def purge(session: Session, tenant: str | int | UUID, *, actor: str | None, reason: str | None) -> PurgeResult:
    """Delete the rows of one tenant; see :meth:`tierwright.services.registry.Registry.purge`."""
    journal = Journal.open(session, actor, reason)
    tenant_id = tenant_of(tenant)
    with tenant_write(journal, tenant_id):
        deleted = {row.__tablename__: _delete(session, row, tenant_id) for row in _ROWS}
        if any(deleted.values()):
            journal.record(AuditEntity.TENANT, tenant_id, AuditAction.PURGED, new=deleted, tenant_id=tenant_id)
    return PurgeResult(any(deleted.values()), deleted=MappingProxyType(deleted))


def _delete(session: Session, row: type[Any], tenant_id: str) -> int:
    """Delete row by row, so that the session forgets them too; a configuration's contents are not even loaded."""
    keys = [getattr(row, column.name) for column in row.__table__.primary_key]
    statement: sa.Select[Any] = sa.select(row).filter_by(tenant_id=tenant_id).options(load_only(*keys))
    found = session.scalars(statement).all()
    for each in found:
        session.delete(each)
    return len(found)
