"""tones"""

import sqlalchemy as sa
import sqlmodel
from alembic import op

import charging.columns

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "tone",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("title", sqlmodel.sql.sqltypes.AutoString(length=15), nullable=False),
        sa.Column("kinds", sa.JSON(), nullable=False),
        sa.Column("rtttl", sa.Text(), nullable=False),
        sa.Column("added_at", charging.columns.Instant(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "tone_delivery",
        sa.Column("agreement_id", sa.String(length=64), nullable=False),
        sa.Column("terminal_id", sa.String(length=64), nullable=False),
        sa.Column("tone_id", sa.String(length=64), nullable=False),
        sa.Column("packet_id", sa.String(length=64), nullable=False),
        sa.Column("state", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("reason", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("sent_at", charging.columns.Instant(), nullable=False),
        sa.Column("done_at", charging.columns.Instant(), nullable=True),
        sa.ForeignKeyConstraint(["agreement_id"], ["agreement.id"]),
        sa.ForeignKeyConstraint(["terminal_id"], ["card.terminal_id"]),
        sa.ForeignKeyConstraint(["tone_id"], ["tone.id"]),
        sa.PrimaryKeyConstraint("agreement_id"),
    )
    op.create_index("ix_tone_delivery_terminal_id", "tone_delivery", ["terminal_id"], unique=False)
    op.create_table(
        "phone_location",
        sa.Column("msisdn", sqlmodel.sql.sqltypes.AutoString(length=21), nullable=False),
        sa.Column("node", sa.String(length=64), nullable=False),
        sa.Column("busy", sa.Boolean(), nullable=False),
        sa.Column("updated_at", charging.columns.Instant(), nullable=False),
        sa.PrimaryKeyConstraint("msisdn"),
    )


def downgrade() -> None:
    op.drop_table("phone_location")
    op.drop_index("ix_tone_delivery_terminal_id", table_name="tone_delivery")
    op.drop_table("tone_delivery")
    op.drop_table("tone")
