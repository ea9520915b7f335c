"""forms of tones and ways to cards, reports of nodes"""

import sqlalchemy as sa
import sqlmodel
from alembic import op

import charging.columns

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("tone_delivery") as batch:
        batch.add_column(
            sa.Column("form", sqlmodel.sql.sqltypes.AutoString(length=8), nullable=False, server_default="smart")
        )
        batch.add_column(
            sa.Column("code", sqlmodel.sql.sqltypes.AutoString(length=8), nullable=False, server_default="")
        )
    with op.batch_alter_table("tone_delivery") as batch:
        batch.alter_column("form", server_default=None)
        batch.alter_column("code", server_default=None)
    op.create_table(
        "tone_wish",
        sa.Column("terminal_id", sa.String(length=64), nullable=False),
        sa.Column("form", sqlmodel.sql.sqltypes.AutoString(length=8), nullable=False),
        sa.Column("way", sqlmodel.sql.sqltypes.AutoString(length=8), nullable=False),
        sa.ForeignKeyConstraint(["terminal_id"], ["card.terminal_id"]),
        sa.PrimaryKeyConstraint("terminal_id"),
    )
    op.create_table(
        "delivery_report",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("at", charging.columns.Instant(), nullable=False),
        sa.Column("terminal_id", sa.String(length=64), nullable=False),
        sa.Column("packet_id", sa.String(length=64), nullable=False),
        sa.Column("node", sa.String(length=64), nullable=False),
        sa.Column("way", sqlmodel.sql.sqltypes.AutoString(length=8), nullable=False),
        sa.Column("outcome", sqlmodel.sql.sqltypes.AutoString(length=16), nullable=False),
        sa.Column("steps", sqlmodel.sql.sqltypes.AutoString(length=200), nullable=False),
        sa.Column("channel", sqlmodel.sql.sqltypes.AutoString(length=8), nullable=False),
        sa.Column("reason", sqlmodel.sql.sqltypes.AutoString(length=200), nullable=False),
        sa.ForeignKeyConstraint(["terminal_id"], ["card.terminal_id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_delivery_report_terminal_id", "delivery_report", ["terminal_id"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_delivery_report_terminal_id", table_name="delivery_report")
    op.drop_table("delivery_report")
    op.drop_table("tone_wish")
    with op.batch_alter_table("tone_delivery") as batch:
        batch.drop_column("code")
        batch.drop_column("form")
