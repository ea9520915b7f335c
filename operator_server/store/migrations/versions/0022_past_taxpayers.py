"""what accounts were as far as tax goes"""

import sqlalchemy as sa
import sqlmodel
from alembic import op

import charging.columns

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "past_taxpayer",
        sa.Column("account_id", sa.String(length=64), nullable=False),
        sa.Column("until", charging.columns.Instant(), nullable=False),
        sa.Column("country", sqlmodel.sql.sqltypes.AutoString(length=2), nullable=False),
        sa.Column("vat_country", sqlmodel.sql.sqltypes.AutoString(length=2), nullable=False),
        sa.Column("tax_status", sqlmodel.sql.sqltypes.AutoString(length=16), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"]),
        sa.PrimaryKeyConstraint("account_id", "until"),
    )


def downgrade() -> None:
    op.drop_table("past_taxpayer")
