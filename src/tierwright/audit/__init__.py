"""The history of changes: asked, kept, archived, and freed of persons."""

from __future__ import annotations

from tierwright.audit.entries import AuditEntry
from tierwright.audit.erasing import ErasureReport, erase_person
from tierwright.audit.log import AsyncAuditLog, AuditLog, AuditPage
from tierwright.audit.question import AuditQuestion
from tierwright.audit.tenant_history import TenantHistory, tenant_history

__all__ = [
    "AsyncAuditLog",
    "AuditEntry",
    "AuditLog",
    "AuditPage",
    "AuditQuestion",
    "ErasureReport",
    "TenantHistory",
    "erase_person",
    "tenant_history",
]
