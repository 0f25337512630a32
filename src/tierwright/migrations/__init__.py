"""The migration chain, for hosts and operators.

    from tierwright.migrations import upgrade
    upgrade("postgresql://app@db/app")

One chain, the same on SQLite and PostgreSQL. See the guide "Use the chain in your application".
"""

from __future__ import annotations

from tierwright.migrations.host import autogenerate_filters, merge_into
from tierwright.migrations.names import BRANCH_LABEL, TABLE_NAMES, VERSION_TABLE
from tierwright.migrations.options import MigrationOptions
from tierwright.migrations.repair import repair
from tierwright.migrations.runner import current, downgrade, drops_tables, head, script, upgrade
from tierwright.migrations.session import migration_session
from tierwright.migrations.status import SchemaStatus, adopt, check, status

__all__ = [
    "BRANCH_LABEL",
    "TABLE_NAMES",
    "VERSION_TABLE",
    "MigrationOptions",
    "SchemaStatus",
    "adopt",
    "autogenerate_filters",
    "check",
    "current",
    "downgrade",
    "drops_tables",
    "head",
    "merge_into",
    "migration_session",
    "repair",
    "script",
    "status",
    "upgrade",
]
