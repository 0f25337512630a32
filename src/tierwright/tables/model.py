"""The registry of AI models, each gated by a feature."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import relationship
from sqlmodel import Relationship, SQLModel

from tierwright.tables import base
from tierwright.tables.feature import FeatureRegistry
from tierwright.tables.inputs import (
    Count,
    Day,
    FeatureKey,
    InputSchema,
    JsonObject,
    ModelTypeName,
    Name,
    Price,
    ShortName,
)
from tierwright.types import ExactDecimal


class ModelRegistry(SQLModel, table=True):
    """An AI model of a provider; prices are per 1,000 tokens and exact."""

    __tablename__ = "model_registry"

    id: UUID = base.id_column()
    provider: str = base.key(100)
    model_id: str = base.key()
    model_name: str = base.text(255)
    model_type: str = base.text(50)
    model_family: str | None = base.text(100, nullable=True)
    supports_tools: bool = base.flag(False)
    supports_vision: bool = base.flag(False)
    supports_streaming: bool = base.flag(False)
    max_tokens: int | None = base.column(sa.Integer(), nullable=True)
    context_window: int | None = base.column(sa.Integer(), nullable=True)
    input_price_per_1k: Decimal | None = base.column(ExactDecimal(), nullable=True)
    output_price_per_1k: Decimal | None = base.column(ExactDecimal(), nullable=True)
    deprecation_date: date | None = base.column(sa.Date(), nullable=True)
    feature_key: str = base.key()
    import_source: str | None = base.text(255, nullable=True)
    imported: dict[str, Any] | None = base.document(nullable=True)
    is_active: bool = base.flag(True)
    is_deprecated: bool = base.flag(False)
    created_at: datetime = base.created_at()
    updated_at: datetime = base.updated_at()

    feature: FeatureRegistry = Relationship(
        sa_relationship=relationship(base.later("tierwright.tables.feature.FeatureRegistry"), back_populates="models")
    )

    __table_args__ = (
        base.primary_key("model_registry", "id"),
        base.unique("uq_model_registry_provider_model", "provider", "model_id"),
        base.foreign_key("fk_model_registry_feature", "feature_key", "feature_registry.feature_key"),
        base.index("idx_model_registry_feature", "feature_key"),
        {"info": dict(base.INFO)},
    )


class ModelInput(InputSchema):
    """A model as it may be written; ``model_type`` is open, because providers keep inventing new ones."""

    provider: ShortName
    model_id: Name
    model_name: Name
    model_type: ModelTypeName
    model_family: ShortName | None = None
    supports_tools: bool = False
    supports_vision: bool = False
    supports_streaming: bool = False
    max_tokens: Count | None = None
    context_window: Count | None = None
    input_price_per_1k: Price | None = None
    output_price_per_1k: Price | None = None
    deprecation_date: Day | None = None
    feature_key: FeatureKey
    import_source: Name | None = None
    imported: JsonObject | None = None
    is_active: bool = True
    is_deprecated: bool = False

    def to_row(self) -> ModelRegistry:
        """Return the row to add to a session."""
        return ModelRegistry(**self.row_values())
