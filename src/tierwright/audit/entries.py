"""An entry of the history, as it is read; and how a row of the table becomes one."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlmodel import SQLModel

import tierwright.tables  # noqa: F401  fills the metadata

HISTORY = SQLModel.metadata.tables["feature_audit_log"]


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One change.

    Attributes:
        id: a UUIDv7, which sorts by when it was recorded.
        performed_at: when.
        entity_type: what kind of thing was changed; an ``AuditEntity``, or what a later release calls one.
        entity_id: its natural key; parts are separated by ``/``.
        tenant_id: the tenant that it belongs to, if any.
        feature_key: the feature that it is about, if any.
        action: what was done; an ``AuditAction``, or what a later release calls one.
        old_value: the changed columns as they were; None where it was made.
        new_value: the changed columns as they are; None where it is gone.
        performed_by: the host's identifier of the user or process; None where nobody was named.
        reason: why.
        request_id: the host's identifier of the request.
        ip_address: where the request came from.
        user_agent: the client that sent it.
    """

    id: UUID
    performed_at: datetime
    entity_type: str
    entity_id: str
    tenant_id: str | None
    feature_key: str | None
    action: str
    old_value: Any
    new_value: Any
    performed_by: str | None
    reason: str | None
    request_id: str | None
    ip_address: str | None
    user_agent: str | None


#: The columns of an entry, in the order of its attributes.
NAMES = tuple(field.name for field in fields(AuditEntry))
