"""The host's own tables."""

import sqlalchemy as sa
from alembic import op

revision = "a1"
down_revision = None


def upgrade() -> None:
    op.create_table("acme_feature", sa.Column("id", sa.Integer, primary_key=True), _text("name"))
    op.create_index(op.f("acme_ix_acme_feature_name"), "acme_feature", ["name"])
    op.create_table(
        "acme_tier",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("feature_id", sa.Integer, sa.ForeignKey("acme_feature.id"), nullable=False),
    )
    op.create_table(
        "acme_model", sa.Column("id", sa.Integer, primary_key=True), _text("slug"), sa.UniqueConstraint("slug")
    )


def _text(name: str) -> sa.Column:
    return sa.Column(name, sa.String(50), nullable=False)


def downgrade() -> None:
    for table in ("acme_model", "acme_tier", "acme_feature"):
        op.drop_table(table)
