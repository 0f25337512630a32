"""The names that the chain owns in a database. Frozen: later revisions append, never rename."""

from __future__ import annotations

VERSION_TABLE = "tierwright_alembic_version"
BRANCH_LABEL = "tierwright"

#: The row-level security policy of the roles that see every tenant's rows (`tierwright db isolation enable`).
ADMIN_POLICY = "tierwright_admin"

#: Every table of the chain at head, parents before children.
TABLE_NAMES = (
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
