"""The registry of features: every capability that can be granted, with its type and default."""

from datetime import datetime
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

from pydantic import Field, model_validator
from sqlalchemy.orm import relationship
from sqlmodel import Relationship, SQLModel

from tierwright.tables import base
from tierwright.tables.inputs import (
    FeatureKey,
    FeatureKeys,
    InputSchema,
    Int32,
    JsonObject,
    Name,
    Prose,
    ShortName,
    TypeOfFeature,
    Url,
)
from tierwright.tables.json_rules import check_value_document
from tierwright.types import FeatureType

if TYPE_CHECKING:
    from tierwright.tables.component import ComponentRegistry
    from tierwright.tables.integration import IntegrationRegistry
    from tierwright.tables.model import ModelRegistry


class FeatureRegistry(SQLModel, table=True):
    """A feature that tiers and overrides can grant."""

    __tablename__ = "feature_registry"

    id: UUID = base.id_column()
    feature_key: str = base.key()
    feature_name: str = base.text(255)
    description: str | None = base.text(nullable=True)
    category: str = base.text(100)
    subcategory: str | None = base.text(100, nullable=True)
    feature_type: str = base.text(20)
    default_value: dict[str, Any] = base.document()
    value_schema: dict[str, Any] | None = base.document(nullable=True)
    is_premium: bool = base.flag(False)
    requires_setup: bool = base.flag(False)
    depends_on: list[str] = base.key_list()
    conflicts_with: list[str] = base.key_list()
    display_order: int = base.number(0)
    icon: str | None = base.text(255, nullable=True)
    help_url: str | None = base.text(2048, nullable=True)
    is_active: bool = base.flag(True)
    is_deprecated: bool = base.flag(False)
    deprecated_message: str | None = base.text(nullable=True)
    created_at: datetime = base.created_at()
    updated_at: datetime = base.updated_at()
    created_by: str | None = base.text(255, nullable=True)

    # passive_deletes="all": the database refuses to delete a feature in use; the ORM must not set keys to NULL first.
    models: list["ModelRegistry"] = Relationship(
        sa_relationship=relationship(
            base.later("tierwright.tables.model.ModelRegistry"), back_populates="feature", passive_deletes="all"
        )
    )
    components: list["ComponentRegistry"] = Relationship(
        sa_relationship=relationship(
            base.later("tierwright.tables.component.ComponentRegistry"), back_populates="feature", passive_deletes="all"
        )
    )
    integrations: list["IntegrationRegistry"] = Relationship(
        sa_relationship=relationship(
            base.later("tierwright.tables.integration.IntegrationRegistry"),
            back_populates="feature",
            passive_deletes="all",
        )
    )

    __table_args__ = (
        base.primary_key("feature_registry", "id"),
        base.unique("uq_feature_registry_key", "feature_key"),
        base.one_of("chk_feature_registry_type", "feature_type", *FeatureType),
        {"info": dict(base.INFO)},
    )


class FeatureInput(InputSchema):
    """A feature as it may be written."""

    feature_key: FeatureKey
    feature_name: Name
    description: Prose | None = None
    category: ShortName
    subcategory: ShortName | None = None
    feature_type: TypeOfFeature
    default_value: JsonObject
    value_schema: JsonObject | None = None
    is_premium: bool = False
    requires_setup: bool = False
    depends_on: FeatureKeys = Field(default_factory=list)
    conflicts_with: FeatureKeys = Field(default_factory=list)
    display_order: Int32 = 0
    icon: Name | None = None
    help_url: Url | None = None
    is_active: bool = True
    is_deprecated: bool = False
    deprecated_message: Prose | None = None
    created_by: Name | None = None

    @model_validator(mode="after")
    def _default_fits(self) -> Self:
        check_value_document(self.default_value, self.feature_type, complete=True)
        return self

    @model_validator(mode="after")
    def _references_make_sense(self) -> Self:
        if self.feature_key in (*self.depends_on, *self.conflicts_with):
            raise ValueError("a feature refers to itself")
        if both := sorted({*self.depends_on} & {*self.conflicts_with}):
            raise ValueError(f"a prerequisite is a conflict as well: {', '.join(both)}")
        return self

    def to_row(self) -> FeatureRegistry:
        """Return the row to add to a session."""
        return FeatureRegistry(**self.row_values())
