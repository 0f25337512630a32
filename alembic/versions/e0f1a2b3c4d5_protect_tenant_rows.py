"""protect tenant rows: a row stays with its tenant; the audit log takes the actions of secrets and retention

Revision ID: e0f1a2b3c4d5
Revises: d8e9f0a1b2c3
Create Date: 2026-11-25

A released revision never changes. It imports op, sqlalchemy and the helper layer, never live tables.
"""

from alembic import op

import tierwright.migrations.operations  # noqa: F401  registers op.ensure, op.discard and the rest
from tierwright.migrations.definitions import Check, Trigger

revision = "e0f1a2b3c4d5"
down_revision = "d8e9f0a1b2c3"
branch_labels = None
depends_on = None


def keeps_tenant(table: str) -> Trigger:
    """Return the trigger that refuses to give a row to another tenant; a write of the same value passes."""
    name = f"trg_{table}_keeps_tenant"
    return Trigger(
        name,
        table,
        {
            "sqlite": (
                f"CREATE TRIGGER {name} BEFORE UPDATE OF tenant_id ON {table} FOR EACH ROW "
                f"WHEN new.tenant_id IS NOT old.tenant_id BEGIN SELECT RAISE(ABORT, 'constraint failed: {name}'); END",
            ),
            # As pg_get_triggerdef writes it. Not OF tenant_id: another trigger may set what the statement does not.
            "postgresql": (
                f"CREATE TRIGGER {name} BEFORE UPDATE ON {table} FOR EACH ROW WHEN (new.tenant_id::text IS DISTINCT "
                f"FROM old.tenant_id::text) EXECUTE FUNCTION {name}()",
            ),
        },
        body="BEGIN RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = TG_NAME, TABLE = TG_TABLE_NAME, "
        "SCHEMA = TG_TABLE_SCHEMA, COLUMN = 'tenant_id', MESSAGE = 'A row of ' || TG_TABLE_NAME || ' stays with its "
        "tenant.', HINT = 'Delete it, and make it anew under the other tenant.'; END",
    )


#: What the upgrade adds; the runner surveys it before any pending revision changes anything.
ENSURES = (
    # In the place of the shorter list of c4d5e6f7a8b9.
    Check(
        "chk_feature_audit_action",
        "feature_audit_log",
        "action IN ('created', 'updated', 'deleted', 'enabled', 'disabled', 'imported', 'purged', 'rotated', "
        "'revealed', 'restored', 'archived', 'erased')",
    ),
    keeps_tenant("tenant_license"),
    keeps_tenant("tenant_feature_override"),
    keeps_tenant("tenant_integration_configs"),
)

#: What the downgrade puts back; the runner surveys it in the same way.
RESTORES = (
    Check(
        "chk_feature_audit_action",
        "feature_audit_log",
        "action IN ('created', 'updated', 'deleted', 'enabled', 'disabled', 'imported', 'purged', 'rotated')",
    ),
)


def upgrade() -> None:
    op.survey(*ENSURES)
    op.ensure(*ENSURES)


def downgrade() -> None:
    op.survey(*RESTORES)
    op.ensure(*RESTORES)  # first: it is what rows can still stand in the way of
    op.discard(*reversed(ENSURES[1:]))
