"""Tables of the host that refer to ours."""

import uuid

import sqlalchemy as sa
from sqlmodel import Field, SQLModel


class Subscription(SQLModel, table=True):
    __tablename__ = "acme_subscription"

    id: int = Field(primary_key=True)
    tier_id: uuid.UUID = Field(
        sa_column=sa.Column(sa.Uuid, sa.ForeignKey("license_tier.id", ondelete="CASCADE"), nullable=False)
    )


class Announcement(SQLModel, table=True):
    __tablename__ = "acme_announcement"

    id: int = Field(primary_key=True)
    feature_key: str = Field(foreign_key="feature_registry.feature_key", max_length=255)
