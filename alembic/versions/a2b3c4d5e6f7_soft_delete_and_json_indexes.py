"""soft delete and JSON indexes: a deleted tier stays for those who hold it; what JSON columns are asked has an index

Revision ID: a2b3c4d5e6f7
Revises: f1a2b3c4d5e6
Create Date: 2026-11-25

A released revision never changes. It imports op, sqlalchemy and the helper layer, never live tables.
"""

import sqlalchemy as sa
from alembic import op

import tierwright.migrations.operations  # noqa: F401  registers op.ensure, op.discard and the rest
from tierwright.migrations.definitions import Check, Column, Index

revision = "a2b3c4d5e6f7"
down_revision = "f1a2b3c4d5e6"
branch_labels = None
depends_on = None

#: What the upgrade adds; the runner surveys it before any pending revision changes anything.
ENSURES = (
    Column("license_tier", sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True)),
    # A deleted tier is closed as well, so the previous release gives it to nobody either.
    Check("chk_license_tier_deleted", "license_tier", "deleted_at IS NULL OR NOT (is_active OR is_default)"),
    # In the place of the one over all rows, of c4d5e6f7a8b9: the key of a deleted tier is free.
    Index("idx_license_tier_key", "license_tier", ("tier_key",), unique=True, where="(deleted_at IS NULL)"),
    # Which components and integrations need a feature. SQLite has no index that looks into a list.
    Index(
        "idx_component_registry_required",
        "component_registry",
        ("required_features jsonb_path_ops",),
        using="gin",
        only="postgresql",
    ),
    Index(
        "idx_integration_registry_required",
        "integration_registry",
        ("required_features jsonb_path_ops",),
        using="gin",
        only="postgresql",
    ),
    # Which tenants have a setting: any on PostgreSQL, the region on SQLite, where an index is of one expression.
    Index(
        "idx_tenant_integration_config",
        "tenant_integration_configs",
        ("config jsonb_path_ops",),
        using="gin",
        only="postgresql",
    ),
    # What is no JSON, written past the library, is not indexed; without the CASE it could not be written or migrated.
    Index(
        "idx_tenant_integration_region",
        "tenant_integration_configs",
        ("CASE WHEN json_valid(config) THEN json_extract(config, '$.\"region\"') END", "integration_key", "tenant_id"),
        only="sqlite",
    ),
)

#: What the downgrade puts back; the runner surveys it in the same way.
RESTORES = (Index("idx_license_tier_key", "license_tier", ("tier_key",), unique=True),)


def upgrade() -> None:
    op.survey(*ENSURES)
    op.ensure(*ENSURES)


def downgrade() -> None:
    op.survey(*RESTORES)
    op.ensure(*RESTORES)  # first: keys that are used again can stand in the way of it
    op.discard(*(definition for definition in reversed(ENSURES) if definition.name != RESTORES[0].name))
