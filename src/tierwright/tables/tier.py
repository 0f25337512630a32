"""Licence tiers, and the features that each of them grants."""

from datetime import datetime
from typing import Any, Optional, Self
from uuid import UUID

import sqlalchemy as sa
from pydantic import Field, model_validator
from sqlalchemy.orm import relationship
from sqlmodel import Relationship, SQLModel

from tierwright.tables import base
from tierwright.tables.feature import FeatureRegistry
from tierwright.tables.inputs import (
    FeatureKey,
    Id,
    InputSchema,
    Int32,
    Name,
    Prose,
    ResourceKey,
    TypeOfFeature,
    ValueDocument,
)
from tierwright.tables.json_rules import check_value_document


class LicenseTier(SQLModel, table=True):
    """A tier that licences refer to; it inherits what its base tier grants."""

    __tablename__ = "license_tier"

    id: UUID = base.id_column()
    tier_key: str = base.key()
    name: str = base.text(255)
    description: str | None = base.text(nullable=True)
    rank: int = base.number(0)
    base_tier_id: UUID | None = base.column(sa.Uuid(), nullable=True)
    is_default: bool = base.flag(False)
    is_active: bool = base.flag(True)
    created_at: datetime = base.created_at()
    updated_at: datetime = base.updated_at()
    #: When it was deleted: those who hold it keep it, nobody else can get it, and its key is free.
    deleted_at: datetime | None = base.moment()

    base_tier: Optional["LicenseTier"] = Relationship(
        sa_relationship=relationship(
            base.later("tierwright.tables.tier.LicenseTier"),
            remote_side=lambda: LicenseTier.__table__.c.id,  # type: ignore[attr-defined]  # made by the metaclass
        )
    )
    features: list["LicenseTierFeatures"] = Relationship(
        sa_relationship=relationship(
            base.later("tierwright.tables.tier.LicenseTierFeatures"),
            back_populates="tier",
            cascade="all, delete-orphan",
            passive_deletes=True,
        )
    )

    __table_args__ = (
        base.primary_key("license_tier", "id"),
        base.foreign_key("fk_license_tier_base", "base_tier_id", "license_tier.id"),
        base.check("chk_license_tier_base", "base_tier_id <> id"),
        base.check("chk_license_tier_deleted", "deleted_at IS NULL OR NOT (is_active OR is_default)"),
        base.index(
            "idx_license_tier_key",
            "tier_key",
            unique=True,
            sqlite_where=sa.text("(deleted_at IS NULL)"),
            postgresql_where=sa.text("(deleted_at IS NULL)"),
        ),
        # At most one default tier: only the rows that say so are in the index.
        base.index(
            "idx_license_tier_default",
            "is_default",
            unique=True,
            sqlite_where=sa.text("is_default"),
            postgresql_where=sa.text("is_default"),
        ),
        base.index("idx_license_tier_base", "base_tier_id"),
        {"info": dict(base.INFO)},
    )


class LicenseTierFeatures(SQLModel, table=True):
    """What one tier says about one feature."""

    __tablename__ = "license_tier_features"

    id: UUID = base.id_column()
    license_tier_id: UUID = base.column(sa.Uuid())
    feature_key: str = base.key()
    feature_value: dict[str, Any] = base.document()
    created_at: datetime = base.created_at()
    updated_at: datetime = base.updated_at()

    tier: LicenseTier = Relationship(
        sa_relationship=relationship(base.later("tierwright.tables.tier.LicenseTier"), back_populates="features")
    )
    feature: FeatureRegistry = Relationship(
        sa_relationship=relationship(base.later("tierwright.tables.feature.FeatureRegistry"))
    )

    __table_args__ = (
        base.primary_key("license_tier_features", "id"),
        base.foreign_key("fk_tier_features_tier", "license_tier_id", "license_tier.id", ondelete="CASCADE"),
        base.foreign_key("fk_tier_features_feature", "feature_key", "feature_registry.feature_key"),
        base.index("idx_tier_features_feature", "feature_key"),
        base.index("idx_tier_features_tier_key", "license_tier_id", "feature_key", unique=True),
        {"info": dict(base.INFO)},
    )


class TierInput(InputSchema):
    """A tier as it may be written."""

    tier_key: ResourceKey
    name: Name
    description: Prose | None = None
    rank: Int32 = 0
    base_tier_id: Id | None = None
    is_default: bool = False
    is_active: bool = True

    def to_row(self) -> LicenseTier:
        """Return the row to add to a session."""
        return LicenseTier(**self.row_values())


class TierFeatureInput(InputSchema):
    """What a tier says about a feature, as it may be written.

    ``feature_type`` is not stored: a caller who knows it has the value checked against it.
    """

    license_tier_id: Id
    feature_key: FeatureKey
    feature_value: ValueDocument
    feature_type: TypeOfFeature | None = Field(default=None, exclude=True)

    @model_validator(mode="after")
    def _value_fits(self) -> Self:
        check_value_document(self.feature_value, self.feature_type)
        return self

    def to_row(self) -> LicenseTierFeatures:
        """Return the row to add to a session."""
        return LicenseTierFeatures(**self.row_values())
