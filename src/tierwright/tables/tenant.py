"""What tenants hold: licences, and overrides of single features."""

from datetime import datetime
from typing import Any, Self
from uuid import UUID

import sqlalchemy as sa
from pydantic import Field, model_validator
from sqlmodel import SQLModel

from tierwright.tables import base
from tierwright.tables.guards import keep_tenant
from tierwright.tables.inputs import (
    FeatureKey,
    Id,
    InputSchema,
    Moment,
    Name,
    Prose,
    TenantId,
    TypeOfFeature,
    ValueDocument,
    check_window,
)
from tierwright.tables.json_rules import check_value_document


class TenantLicense(SQLModel, table=True):
    """One licence of a tenant, valid in a window; a tenant may hold several at once."""

    __tablename__ = "tenant_license"

    tenant_id: str = base.key()
    license_key: str = base.key(server_default=sa.text("'main'"), default="main")
    license_tier_id: UUID = base.column(sa.Uuid())
    starts_at: datetime | None = base.moment()
    expires_at: datetime | None = base.moment()
    is_active: bool = base.flag(True)
    created_at: datetime = base.created_at()
    updated_at: datetime = base.updated_at()

    __table_args__ = (
        base.primary_key("tenant_license", "tenant_id", "license_key"),
        base.foreign_key("fk_tenant_license_tier", "license_tier_id", "license_tier.id"),
        base.window("chk_tenant_license_window"),
        base.index("idx_tenant_license_tier", "license_tier_id"),
        {"info": dict(base.INFO)},
    )


class TenantFeatureOverride(SQLModel, table=True):
    """What one tenant gets of one feature whatever its tiers say, in a window."""

    __tablename__ = "tenant_feature_override"

    tenant_id: str = base.key()
    feature_key: str = base.key()
    feature_value: dict[str, Any] = base.document()
    starts_at: datetime | None = base.moment()
    expires_at: datetime | None = base.moment()
    reason: str | None = base.text(nullable=True)
    created_at: datetime = base.created_at()
    updated_at: datetime = base.updated_at()

    __table_args__ = (
        base.primary_key("tenant_feature_override", "tenant_id", "feature_key"),
        base.foreign_key("fk_tenant_override_feature", "feature_key", "feature_registry.feature_key"),
        base.window("chk_tenant_override_window"),
        base.index("idx_tenant_override_feature", "feature_key"),
        {"info": dict(base.INFO)},
    )


keep_tenant(TenantLicense)
keep_tenant(TenantFeatureOverride)


class TenantLicenseInput(InputSchema):
    """A licence of a tenant as it may be written."""

    tenant_id: TenantId
    license_key: Name = "main"
    license_tier_id: Id
    starts_at: Moment | None = None
    expires_at: Moment | None = None
    is_active: bool = True

    @model_validator(mode="after")
    def _window_is_ordered(self) -> Self:
        check_window(self.starts_at, self.expires_at)
        return self

    def to_row(self) -> TenantLicense:
        """Return the row to add to a session."""
        return TenantLicense(**self.row_values())


class TenantFeatureOverrideInput(InputSchema):
    """An override as it may be written.

    ``feature_type`` is not stored: a caller who knows it has the value checked against it.
    """

    tenant_id: TenantId
    feature_key: FeatureKey
    feature_value: ValueDocument
    starts_at: Moment | None = None
    expires_at: Moment | None = None
    reason: Prose | None = None
    feature_type: TypeOfFeature | None = Field(default=None, exclude=True)

    @model_validator(mode="after")
    def _value_fits(self) -> Self:
        check_value_document(self.feature_value, self.feature_type)
        check_window(self.starts_at, self.expires_at)
        return self

    def to_row(self) -> TenantFeatureOverride:
        """Return the row to add to a session."""
        return TenantFeatureOverride(**self.row_values())
