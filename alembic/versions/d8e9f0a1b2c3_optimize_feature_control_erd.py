"""optimize feature control erd: the P0 and P1 items of the seed

Revision ID: d8e9f0a1b2c3
Revises: c4d5e6f7a8b9
Create Date: 2026-11-24

A released revision never changes. It imports op, sqlalchemy and the helper layer, never live tables.
"""

from alembic import op

import tierwright.migrations.operations  # noqa: F401  registers op.ensure, op.discard and the rest
from tierwright.migrations.definitions import Check, ForeignKey, Index

revision = "d8e9f0a1b2c3"
down_revision = "c4d5e6f7a8b9"
branch_labels = None
depends_on = None

#: What the upgrade adds; the runner surveys it before any pending revision changes anything.
ENSURES = (
    # P0: typos and orphans are refused at insert; a NULL component key stays allowed (public component).
    ForeignKey("fk_model_registry_feature", "model_registry", ("feature_key",), "feature_registry", ("feature_key",)),
    ForeignKey(
        "fk_component_registry_feature", "component_registry", ("feature_key",), "feature_registry", ("feature_key",)
    ),
    ForeignKey(
        "fk_integration_registry_feature",
        "integration_registry",
        ("feature_key",),
        "feature_registry",
        ("feature_key",),
    ),
    # P1: closed list of health states.
    Check(
        "chk_health_status",
        "tenant_integration_configs",
        "health_status IN ('healthy', 'degraded', 'unhealthy') OR health_status IS NULL",
    ),
    # P0 and P1: one index per frequent question, and under each foreign key.
    Index("idx_tier_features_tier_key", "license_tier_features", ("license_tier_id", "feature_key"), unique=True),
    Index("idx_tenant_integration_active", "tenant_integration_configs", ("tenant_id", "is_enabled")),
    Index("idx_feature_audit_key_time", "feature_audit_log", ("feature_key", "performed_at DESC")),
    Index("idx_model_registry_feature", "model_registry", ("feature_key",)),
    Index("idx_component_registry_feature", "component_registry", ("feature_key",)),
    Index("idx_integration_registry_feature", "integration_registry", ("feature_key",)),
)


def upgrade() -> None:
    op.survey(*ENSURES)
    op.ensure(*ENSURES)


def downgrade() -> None:
    op.discard(*reversed(ENSURES))
