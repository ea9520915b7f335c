"""parts of cards' longer messages"""

import sqlalchemy as sa
import sqlmodel
from alembic import op

import charging.columns

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "card_part",
        sa.Column("sender", sqlmodel.sql.sqltypes.AutoString(length=160), nullable=False),
        sa.Column("reference", sa.Integer(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("at", charging.columns.Instant(), nullable=False),
        sa.PrimaryKeyConstraint("sender", "reference", "total", "number"),
    )


def downgrade() -> None:
    op.drop_table("card_part")
