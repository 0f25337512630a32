"""The registry of components: building blocks of the host, public or gated by a feature."""

from datetime import datetime
from uuid import UUID

from pydantic import Field
from sqlalchemy.orm import relationship
from sqlmodel import Relationship, SQLModel

from tierwright.tables import base
from tierwright.tables.dialect_indexes import contains_index
from tierwright.tables.feature import FeatureRegistry
from tierwright.tables.inputs import FeatureKey, FeatureKeys, InputSchema, Name, Prose, ResourceKey, ShortName, Url


class ComponentRegistry(SQLModel, table=True):
    """A component; without a feature key and required features it is public, always available."""

    __tablename__ = "component_registry"

    id: UUID = base.id_column()
    component_key: str = base.key()
    component_name: str = base.text(255)
    display_name: str = base.text(255)
    description: str | None = base.text(nullable=True)
    category: str = base.text(100)
    subcategory: str | None = base.text(100, nullable=True)
    feature_key: str | None = base.key(nullable=True)
    required_features: list[str] = base.key_list()
    icon: str | None = base.text(255, nullable=True)
    documentation_url: str | None = base.text(2048, nullable=True)
    is_beta: bool = base.flag(False)
    is_active: bool = base.flag(True)
    created_at: datetime = base.created_at()
    updated_at: datetime = base.updated_at()

    feature: FeatureRegistry | None = Relationship(
        sa_relationship=relationship(
            base.later("tierwright.tables.feature.FeatureRegistry"), back_populates="components"
        )
    )

    __table_args__ = (
        base.primary_key("component_registry", "id"),
        base.unique("uq_component_registry_key", "component_key"),
        # NULL is public; SQL checks every other value, so nothing is left to the application.
        base.foreign_key("fk_component_registry_feature", "feature_key", "feature_registry.feature_key"),
        base.index("idx_component_registry_feature", "feature_key"),
        {"info": dict(base.INFO)},
    )


contains_index(ComponentRegistry, "idx_component_registry_required", "required_features")


class ComponentInput(InputSchema):
    """A component as it may be written."""

    component_key: ResourceKey
    component_name: Name
    display_name: Name
    description: Prose | None = None
    category: ShortName
    subcategory: ShortName | None = None
    feature_key: FeatureKey | None = None
    required_features: FeatureKeys = Field(default_factory=list)
    icon: Name | None = None
    documentation_url: Url | None = None
    is_beta: bool = False
    is_active: bool = True

    def to_row(self) -> ComponentRegistry:
        """Return the row to add to a session."""
        return ComponentRegistry(**self.row_values())
