"""The history of every change; it has no foreign keys, because it outlives what it describes."""

from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from pydantic import Field
from sqlmodel import SQLModel

from tierwright.tables import base
from tierwright.tables.history_guards import keep_history
from tierwright.tables.inputs import (
    ActionOfAudit,
    EntityId,
    EntityOfAudit,
    FeatureKey,
    InputSchema,
    IpAddress,
    JsonValue,
    Moment,
    Name,
    Prose,
    TenantId,
)
from tierwright.types import AuditAction, AuditEntity, UtcDateTime, utc_now, uuid7

# Named here because an index sorts them downwards, which only the columns themselves can say.
_ID: sa.Column[UUID] = sa.Column(sa.Uuid(), default=uuid7, nullable=False)
_PERFORMED_AT: sa.Column[datetime] = sa.Column(
    UtcDateTime(), default=utc_now, server_default=sa.func.current_timestamp(), nullable=False
)


class FeatureAuditLog(SQLModel, table=True):
    """One change: what, to which entity, when, by whom and why."""

    __tablename__ = "feature_audit_log"

    id: UUID = base.over(_ID, default_factory=uuid7)
    entity_type: str = base.text(50)
    entity_id: str = base.key(600)
    tenant_id: str | None = base.key(nullable=True)
    feature_key: str | None = base.key(nullable=True)
    action: str = base.text(50)
    old_value: Any = base.document(nullable=True)
    new_value: Any = base.document(nullable=True)
    performed_by: str | None = base.text(255, nullable=True)
    performed_at: datetime = base.over(_PERFORMED_AT, default_factory=utc_now)
    reason: str | None = base.text(nullable=True)
    request_id: str | None = base.text(255, nullable=True)
    ip_address: str | None = base.text(45, nullable=True)
    user_agent: str | None = base.text(nullable=True)

    __table_args__ = (
        # The moment is part of the key so that the table can be partitioned by it.
        base.primary_key("feature_audit_log", "id", "performed_at"),
        base.one_of("chk_feature_audit_entity_type", "entity_type", *AuditEntity),
        base.one_of("chk_feature_audit_action", "action", *AuditAction),
        base.index("idx_feature_audit_key_time", "feature_key", _PERFORMED_AT.desc()),
        base.index("idx_feature_audit_tenant_time", "tenant_id", _PERFORMED_AT.desc()),
        base.index("idx_feature_audit_entity_time", "entity_type", "entity_id", _PERFORMED_AT.desc()),
        base.index("idx_feature_audit_time", _PERFORMED_AT.desc(), _ID.desc()),
        # By month, as the chain has it; ``tierwright audit maintain`` makes the months.
        {"info": dict(base.INFO), "postgresql_partition_by": "RANGE (performed_at)"},
    )


keep_history(FeatureAuditLog)


class AuditInput(InputSchema):
    """An audit entry as it may be written."""

    entity_type: EntityOfAudit
    entity_id: EntityId
    tenant_id: TenantId | None = None
    feature_key: FeatureKey | None = None
    action: ActionOfAudit
    old_value: JsonValue = None
    new_value: JsonValue = None
    performed_by: Name | None = None
    performed_at: Moment = Field(default_factory=utc_now)
    reason: Prose | None = None
    request_id: Name | None = None
    ip_address: IpAddress | None = None
    user_agent: Prose | None = None

    def to_row(self) -> FeatureAuditLog:
        """Return the row to add to a session."""
        return FeatureAuditLog(**self.row_values())
