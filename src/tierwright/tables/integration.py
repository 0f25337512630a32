"""The registry of integrations, and what each tenant has configured for them."""

from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from pydantic import ConfigDict, Field
from sqlalchemy.orm import relationship
from sqlmodel import Relationship, SQLModel

from tierwright.tables import base
from tierwright.tables.dialect_indexes import contains_index, setting_index
from tierwright.tables.feature import FeatureRegistry
from tierwright.tables.guards import keep_tenant
from tierwright.tables.inputs import (
    FeatureKey,
    FeatureKeys,
    InputSchema,
    IntegrationKey,
    JsonObject,
    Name,
    Prose,
    ShortName,
    TenantId,
    Url,
)

_MAX_SECRET_BYTES = 128 * 1024


class IntegrationRegistry(SQLModel, table=True):
    """An integration that tenants can configure; ``config_schema`` is a JSON Schema of its settings."""

    __tablename__ = "integration_registry"

    id: UUID = base.id_column()
    integration_key: str = base.key(100)
    integration_name: str = base.text(255)
    description: str | None = base.text(nullable=True)
    category: str = base.text(100)
    feature_key: str = base.key()
    config_schema: dict[str, Any] = base.options()
    required_features: list[str] = base.key_list()
    icon: str | None = base.text(255, nullable=True)
    documentation_url: str | None = base.text(2048, nullable=True)
    setup_guide_url: str | None = base.text(2048, nullable=True)
    is_active: bool = base.flag(True)
    is_beta: bool = base.flag(False)
    created_at: datetime = base.created_at()
    updated_at: datetime = base.updated_at()

    feature: FeatureRegistry = Relationship(
        sa_relationship=relationship(
            base.later("tierwright.tables.feature.FeatureRegistry"), back_populates="integrations"
        )
    )
    # lazy="raise": touching the attribute would read every tenant's configuration; load it with a tenant named.
    configs: list["TenantIntegrationConfig"] = Relationship(
        sa_relationship=relationship(
            base.later("tierwright.tables.integration.TenantIntegrationConfig"),
            back_populates="integration",
            lazy="raise",
            passive_deletes="all",
        )
    )

    __table_args__ = (
        base.primary_key("integration_registry", "id"),
        base.unique("uq_integration_registry_key", "integration_key"),
        base.foreign_key("fk_integration_registry_feature", "feature_key", "feature_registry.feature_key"),
        base.index("idx_integration_registry_feature", "feature_key"),
        {"info": dict(base.INFO)},
    )


class TenantIntegrationConfig(SQLModel, table=True):
    """One tenant's settings of one integration: ``config`` in the clear, ``encrypted_config`` sealed."""

    __tablename__ = "tenant_integration_configs"

    integration_key: str = base.key(100)
    tenant_id: str = base.key()
    config: dict[str, Any] = base.options(repr=False)
    encrypted_config: bytes | None = base.column(sa.LargeBinary(), nullable=True, repr=False)
    config_version: int = base.number(1)
    secret_version: int = base.number(0)
    is_enabled: bool = base.flag(False)
    last_health_check: datetime | None = base.moment()
    health_status: str | None = base.text(20, nullable=True)
    failure_count: int = base.number(0, sa.BigInteger)
    success_count: int = base.number(0, sa.BigInteger)
    created_by: str | None = base.text(255, nullable=True)
    created_at: datetime = base.created_at()
    updated_at: datetime = base.updated_at()

    integration: IntegrationRegistry = Relationship(
        sa_relationship=relationship(
            base.later("tierwright.tables.integration.IntegrationRegistry"), back_populates="configs"
        )
    )

    __table_args__ = (
        base.primary_key("tenant_integration_configs", "integration_key", "tenant_id"),
        base.foreign_key(
            "fk_tenant_integration_integration", "integration_key", "integration_registry.integration_key"
        ),
        base.check(
            "chk_health_status", "health_status IN ('healthy', 'degraded', 'unhealthy') OR health_status IS NULL"
        ),
        base.index("idx_tenant_integration_active", "tenant_id", "is_enabled"),
        {"info": dict(base.INFO)},
    )


keep_tenant(TenantIntegrationConfig)
contains_index(IntegrationRegistry, "idx_integration_registry_required", "required_features")
contains_index(TenantIntegrationConfig, "idx_tenant_integration_config", "config")
setting_index(TenantIntegrationConfig, "idx_tenant_integration_region", "config", "integration_key", "tenant_id")


class IntegrationInput(InputSchema):
    """An integration as it may be written."""

    integration_key: IntegrationKey
    integration_name: Name
    description: Prose | None = None
    category: ShortName
    feature_key: FeatureKey
    config_schema: JsonObject = Field(default_factory=dict)
    required_features: FeatureKeys = Field(default_factory=list)
    icon: Name | None = None
    documentation_url: Url | None = None
    setup_guide_url: Url | None = None
    is_active: bool = True
    is_beta: bool = False

    def to_row(self) -> IntegrationRegistry:
        """Return the row to add to a session."""
        return IntegrationRegistry(**self.row_values())


class TenantIntegrationConfigInput(InputSchema):
    """A tenant's settings as they may be written; errors do not repeat what was put in."""

    model_config = ConfigDict(hide_input_in_errors=True)

    integration_key: IntegrationKey
    tenant_id: TenantId
    config: JsonObject = Field(default_factory=dict, repr=False)
    encrypted_config: bytes | None = Field(default=None, max_length=_MAX_SECRET_BYTES, repr=False)
    is_enabled: bool = False
    created_by: Name | None = None

    def to_row(self) -> TenantIntegrationConfig:
        """Return the row to add to a session."""
        return TenantIntegrationConfig(**self.row_values())
