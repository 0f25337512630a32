"""The names that the chain owns in a database. Frozen: later revisions append, never rename."""

from __future__ import annotations

import re

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

#: Those of them that PostgreSQL has in monthly parts.
PARTITIONED_TABLES = ("feature_audit_log",)


def is_partition_name(table: str, name: str) -> bool:
    """Tell whether a partition of ours of ``table`` would have this name."""
    return re.fullmatch(partition_pattern(table), name) is not None


def partition_pattern(table: str) -> str:
    """Return the regular expression, of Python and of PostgreSQL, for the names of partitions of ours."""
    return f"^{table}_(default|(before_)?[0-9]{{4}}_[0-9]{{2}})$"
