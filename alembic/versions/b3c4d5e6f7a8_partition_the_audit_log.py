"""partition the audit log: by month on PostgreSQL, with every row where it is; SQLite has no partitions

Revision ID: b3c4d5e6f7a8
Revises: a2b3c4d5e6f7
Create Date: 2026-11-25

A released revision never changes. It imports op, sqlalchemy and the helper layer, never live tables.
"""

from alembic import op

import tierwright.migrations.operations  # noqa: F401  registers op.ensure, op.discard and the rest
from tierwright.migrations.definitions import Partitioning

revision = "b3c4d5e6f7a8"
down_revision = "a2b3c4d5e6f7"
branch_labels = None
depends_on = None

#: What the upgrade adds; the runner surveys it before any pending revision changes anything.
ENSURES = (Partitioning("feature_audit_log", "performed_at"),)


def upgrade() -> None:
    op.survey(*ENSURES)
    op.ensure(*ENSURES)


def downgrade() -> None:
    op.discard(*ENSURES)
