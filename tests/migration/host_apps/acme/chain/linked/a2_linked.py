"""Tables of the host that refer to ours."""

import os

import sqlalchemy as sa
from alembic import op

revision = "a2"
down_revision = "a1"
# Only where our revisions are a branch of the host's own chain can one of the host's depend on them.
depends_on = "tierwright" if os.environ.get("ACME_MERGED") else None


def upgrade() -> None:
    op.create_table(
        "acme_subscription",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("tier_id", sa.Uuid, sa.ForeignKey("license_tier.id", ondelete="CASCADE"), nullable=False),
    )
    op.create_table(
        "acme_announcement",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("feature_key", sa.String(255), sa.ForeignKey("feature_registry.feature_key"), nullable=False),
    )


def downgrade() -> None:
    for table in ("acme_announcement", "acme_subscription"):
        op.drop_table(table)
