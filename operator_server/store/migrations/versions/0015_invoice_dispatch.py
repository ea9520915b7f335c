"""invoices on their way to customers by e-mail"""

import sqlalchemy as sa
import sqlmodel
from alembic import op

import charging.columns

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "invoice_dispatch",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("invoice_number", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("account_id", sa.String(length=64), nullable=False),
        sa.Column("recipient", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("language", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("form", sqlmodel.sql.sqltypes.AutoString(length=16), nullable=False),
        sa.Column("asked_by", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("created_at", charging.columns.Instant(), nullable=False),
        sa.Column("due_at", charging.columns.Instant(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("state", sqlmodel.sql.sqltypes.AutoString(length=16), nullable=False),
        sa.Column("reason", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("sent_at", charging.columns.Instant(), nullable=True),
        sa.Column("bounced_at", charging.columns.Instant(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("invoice_dispatch_due", "invoice_dispatch", ["state", "due_at"])
    op.create_index("invoice_dispatch_number", "invoice_dispatch", ["invoice_number", "created_at"])
    op.create_index("invoice_dispatch_account", "invoice_dispatch", ["account_id", "id"])
    op.create_index("account_email", "account", ["email", "id"])
    op.create_index("account_vat_id", "account", ["vat_id", "id"])


def downgrade() -> None:
    op.drop_index("account_vat_id", "account")
    op.drop_index("account_email", "account")
    op.drop_table("invoice_dispatch")
