"""Add the feature control tables, as they stood before the optimisation.

Revision ID: c4d5e6f7a8b9
Revises: nothing, it is the first
Create Date: 2026-11-24

A released revision never changes. It imports op, sqlalchemy and the helper layer, never live tables.
"""

from datetime import datetime

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

import tierwright.migrations.operations  # noqa: F401  registers op.refuse_taken_names

revision = "c4d5e6f7a8b9"
down_revision = None
branch_labels = ("tierwright",)
depends_on = None

#: What the upgrade makes; the runner refuses a database that has tables of these names before anything changes.
CREATES = (
    "feature_registry",
    "license_tier",
    "license_tier_features",
    "tenant_license",
    "tenant_feature_override",
    "model_registry",
    "component_registry",
    "integration_registry",
    "tenant_integration_configs",
    "feature_audit_log",
    "tierwright_state",
)

# One type object per kind: nothing of them depends on the table.
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
MOMENT = sa.DateTime(timezone=True)
# SQLite's NUMERIC is a float; text keeps every digit.
EXACT_DECIMAL = sa.Text().with_variant(sa.Numeric(), "postgresql")


def upgrade() -> None:
    """Create the tables, parents first, unless one of their names is taken."""
    op.refuse_taken_names(CREATES)
    create_feature_registry()
    create_license_tier()
    create_license_tier_features()
    create_tenant_license()
    create_tenant_feature_override()
    create_model_registry()
    create_component_registry()
    create_integration_registry()
    create_tenant_integration_configs()
    create_feature_audit_log()
    create_tierwright_state()


def downgrade() -> None:
    """Drop the tables, children first, and with them their indexes."""
    for table in reversed(CREATES):
        op.drop_table(table)


def key(length: int = 255) -> sa.types.TypeEngine[str]:
    # Byte order on PostgreSQL: the same everywhere, whatever the locale library's version.
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def flag(name: str, default: bool) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean(), server_default=sa.true() if default else sa.false(), nullable=False)


def number(name: str, default: int, type_: type[sa.types.TypeEngine[int]] = sa.Integer) -> sa.Column[int]:
    return sa.Column(name, type_(), server_default=sa.text(str(default)), nullable=False)


def filled_json(name: str, default: str) -> sa.Column[object]:
    return sa.Column(name, JSON, server_default=sa.text(f"'{default}'"), nullable=False)


def now(name: str) -> sa.Column[object]:
    return sa.Column(name, MOMENT, server_default=sa.func.current_timestamp(), nullable=False)


def timestamps() -> list[sa.Column[object]]:
    return [now("created_at"), now("updated_at")]


def open_window() -> list[sa.Column[datetime]]:
    return [sa.Column(name, MOMENT, nullable=True) for name in ("starts_at", "expires_at")]


def window(name: str) -> sa.CheckConstraint:
    condition = "starts_at IS NULL OR expires_at IS NULL OR starts_at < expires_at"
    return sa.CheckConstraint(condition, name=op.f(name))


def foreign_key(name: str, column: str, target: str, ondelete: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [target], name=op.f(name), ondelete=ondelete)


def create_feature_registry() -> None:
    op.create_table(
        "feature_registry",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("feature_key", key(), nullable=False),
        sa.Column("feature_name", sa.String(255), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("category", sa.String(100), nullable=False),
        sa.Column("subcategory", sa.String(100), nullable=True),
        sa.Column("feature_type", sa.String(20), nullable=False),
        sa.Column("default_value", JSON, nullable=False),
        sa.Column("value_schema", JSON, nullable=True),
        flag("is_premium", False),
        flag("requires_setup", False),
        filled_json("depends_on", "[]"),
        filled_json("conflicts_with", "[]"),
        number("display_order", 0),
        sa.Column("icon", sa.String(255), nullable=True),
        sa.Column("help_url", sa.String(2048), nullable=True),
        flag("is_active", True),
        flag("is_deprecated", False),
        sa.Column("deprecated_message", sa.Text(), nullable=True),
        *timestamps(),
        sa.Column("created_by", sa.String(255), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_feature_registry")),
        sa.UniqueConstraint("feature_key", name=op.f("uq_feature_registry_key")),
        sa.CheckConstraint(
            "feature_type IN ('boolean', 'integer', 'number', 'string', 'json')",
            name=op.f("chk_feature_registry_type"),
        ),
    )


def create_license_tier() -> None:
    op.create_table(
        "license_tier",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tier_key", key(), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        number("rank", 0),
        sa.Column("base_tier_id", sa.Uuid(), nullable=True),
        flag("is_default", False),
        flag("is_active", True),
        *timestamps(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_license_tier")),
        foreign_key("fk_license_tier_base", "base_tier_id", "license_tier.id", "RESTRICT"),
        sa.CheckConstraint("base_tier_id <> id", name=op.f("chk_license_tier_base")),
    )
    op.create_index(op.f("idx_license_tier_key"), "license_tier", ["tier_key"], unique=True)
    op.create_index(
        op.f("idx_license_tier_default"),
        "license_tier",
        ["is_default"],
        unique=True,
        sqlite_where=sa.text("is_default"),
        postgresql_where=sa.text("is_default"),
    )
    op.create_index(op.f("idx_license_tier_base"), "license_tier", ["base_tier_id"])


def create_license_tier_features() -> None:
    op.create_table(
        "license_tier_features",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("license_tier_id", sa.Uuid(), nullable=False),
        sa.Column("feature_key", key(), nullable=False),
        sa.Column("feature_value", JSON, nullable=False),
        *timestamps(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_license_tier_features")),
        foreign_key("fk_tier_features_tier", "license_tier_id", "license_tier.id", "CASCADE"),
        foreign_key("fk_tier_features_feature", "feature_key", "feature_registry.feature_key", "RESTRICT"),
    )
    op.create_index(op.f("idx_tier_features_feature"), "license_tier_features", ["feature_key"])


def create_tenant_license() -> None:
    op.create_table(
        "tenant_license",
        sa.Column("tenant_id", key(), nullable=False),
        sa.Column("license_key", key(), server_default=sa.text("'main'"), nullable=False),
        sa.Column("license_tier_id", sa.Uuid(), nullable=False),
        *open_window(),
        flag("is_active", True),
        *timestamps(),
        sa.PrimaryKeyConstraint("tenant_id", "license_key", name=op.f("pk_tenant_license")),
        foreign_key("fk_tenant_license_tier", "license_tier_id", "license_tier.id", "RESTRICT"),
        window("chk_tenant_license_window"),
    )
    op.create_index(op.f("idx_tenant_license_tier"), "tenant_license", ["license_tier_id"])


def create_tenant_feature_override() -> None:
    op.create_table(
        "tenant_feature_override",
        sa.Column("tenant_id", key(), nullable=False),
        sa.Column("feature_key", key(), nullable=False),
        sa.Column("feature_value", JSON, nullable=False),
        *open_window(),
        sa.Column("reason", sa.Text(), nullable=True),
        *timestamps(),
        sa.PrimaryKeyConstraint("tenant_id", "feature_key", name=op.f("pk_tenant_feature_override")),
        foreign_key("fk_tenant_override_feature", "feature_key", "feature_registry.feature_key", "RESTRICT"),
        window("chk_tenant_override_window"),
    )
    op.create_index(op.f("idx_tenant_override_feature"), "tenant_feature_override", ["feature_key"])


def create_model_registry() -> None:
    op.create_table(
        "model_registry",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("provider", key(100), nullable=False),
        sa.Column("model_id", key(), nullable=False),
        sa.Column("model_name", sa.String(255), nullable=False),
        sa.Column("model_type", sa.String(50), nullable=False),
        sa.Column("model_family", sa.String(100), nullable=True),
        flag("supports_tools", False),
        flag("supports_vision", False),
        flag("supports_streaming", False),
        sa.Column("max_tokens", sa.Integer(), nullable=True),
        sa.Column("context_window", sa.Integer(), nullable=True),
        sa.Column("input_price_per_1k", EXACT_DECIMAL, nullable=True),
        sa.Column("output_price_per_1k", EXACT_DECIMAL, nullable=True),
        sa.Column("deprecation_date", sa.Date(), nullable=True),
        sa.Column("feature_key", key(), nullable=False),
        sa.Column("import_source", sa.String(255), nullable=True),
        sa.Column("imported", JSON, nullable=True),
        flag("is_active", True),
        flag("is_deprecated", False),
        *timestamps(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_registry")),
        sa.UniqueConstraint("provider", "model_id", name=op.f("uq_model_registry_provider_model")),
    )


def create_component_registry() -> None:
    op.create_table(
        "component_registry",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("component_key", key(), nullable=False),
        sa.Column("component_name", sa.String(255), nullable=False),
        sa.Column("display_name", sa.String(255), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("category", sa.String(100), nullable=False),
        sa.Column("subcategory", sa.String(100), nullable=True),
        sa.Column("feature_key", key(), nullable=True),
        filled_json("required_features", "[]"),
        sa.Column("icon", sa.String(255), nullable=True),
        sa.Column("documentation_url", sa.String(2048), nullable=True),
        flag("is_beta", False),
        flag("is_active", True),
        *timestamps(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_component_registry")),
        sa.UniqueConstraint("component_key", name=op.f("uq_component_registry_key")),
    )


def create_integration_registry() -> None:
    op.create_table(
        "integration_registry",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("integration_key", key(100), nullable=False),
        sa.Column("integration_name", sa.String(255), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("category", sa.String(100), nullable=False),
        sa.Column("feature_key", key(), nullable=False),
        filled_json("config_schema", "{}"),
        filled_json("required_features", "[]"),
        sa.Column("icon", sa.String(255), nullable=True),
        sa.Column("documentation_url", sa.String(2048), nullable=True),
        sa.Column("setup_guide_url", sa.String(2048), nullable=True),
        flag("is_active", True),
        flag("is_beta", False),
        *timestamps(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_integration_registry")),
        sa.UniqueConstraint("integration_key", name=op.f("uq_integration_registry_key")),
    )


def create_tenant_integration_configs() -> None:
    op.create_table(
        "tenant_integration_configs",
        sa.Column("integration_key", key(100), nullable=False),
        sa.Column("tenant_id", key(), nullable=False),
        filled_json("config", "{}"),
        sa.Column("encrypted_config", sa.LargeBinary(), nullable=True),
        number("config_version", 1),
        number("secret_version", 0),
        flag("is_enabled", False),
        sa.Column("last_health_check", MOMENT, nullable=True),
        sa.Column("health_status", sa.String(20), nullable=True),
        number("failure_count", 0, sa.BigInteger),
        number("success_count", 0, sa.BigInteger),
        sa.Column("created_by", sa.String(255), nullable=True),
        *timestamps(),
        sa.PrimaryKeyConstraint("integration_key", "tenant_id", name=op.f("pk_tenant_integration_configs")),
        foreign_key(
            "fk_tenant_integration_integration", "integration_key", "integration_registry.integration_key", "RESTRICT"
        ),
    )


def create_feature_audit_log() -> None:
    op.create_table(
        "feature_audit_log",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("entity_type", sa.String(50), nullable=False),
        sa.Column("entity_id", key(600), nullable=False),
        sa.Column("tenant_id", key(), nullable=True),
        sa.Column("feature_key", key(), nullable=True),
        sa.Column("action", sa.String(50), nullable=False),
        sa.Column("old_value", JSON, nullable=True),
        sa.Column("new_value", JSON, nullable=True),
        sa.Column("performed_by", sa.String(255), nullable=True),
        now("performed_at"),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("request_id", sa.String(255), nullable=True),
        sa.Column("ip_address", sa.String(45), nullable=True),
        sa.Column("user_agent", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", "performed_at", name=op.f("pk_feature_audit_log")),
        sa.CheckConstraint(
            "entity_type IN ('feature', 'tier', 'tier_feature', 'tenant_license', 'tenant_override', 'model', "
            "'component', 'integration', 'tenant_integration', 'tenant', 'catalog')",
            name=op.f("chk_feature_audit_entity_type"),
        ),
        sa.CheckConstraint(
            "action IN ('created', 'updated', 'deleted', 'enabled', 'disabled', 'imported', 'purged', 'rotated')",
            name=op.f("chk_feature_audit_action"),
        ),
    )


def create_tierwright_state() -> None:
    op.create_table(
        "tierwright_state",
        sa.Column("key", key(100), nullable=False),
        sa.Column("value", JSON, nullable=True),
        number("version", 0, sa.BigInteger),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_tierwright_state")),
    )
