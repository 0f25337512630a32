"""The history of changes: asked, kept, archived, and freed of persons."""

from __future__ import annotations

from tierwright.audit.archive_files import read_archive, verify_archive
from tierwright.audit.archive_manifest import Manifest
from tierwright.audit.archives import Archive, archives_needed, read_archives
from tierwright.audit.entries import AuditEntry
from tierwright.audit.erasing import ErasureReport, erase_person
from tierwright.audit.log import AsyncAuditLog, AuditLog, AuditPage
from tierwright.audit.maintenance import maintain
from tierwright.audit.question import AuditQuestion
from tierwright.audit.reading import UnreadableRow
from tierwright.audit.restoring import Restored, restore_archive
from tierwright.audit.tenant_history import TenantHistory, tenant_history
from tierwright.audit.upkeep import Upkeep, UpkeepReport

__all__ = [
    "Archive",
    "AsyncAuditLog",
    "AuditEntry",
    "AuditLog",
    "AuditPage",
    "AuditQuestion",
    "ErasureReport",
    "Manifest",
    "Restored",
    "TenantHistory",
    "UnreadableRow",
    "Upkeep",
    "UpkeepReport",
    "archives_needed",
    "erase_person",
    "maintain",
    "read_archive",
    "read_archives",
    "restore_archive",
    "tenant_history",
    "verify_archive",
]
