"""charging: tax of bad debts, posted deferred revenue, several commits of a reservation, prices that include tax"""

import sqlalchemy as sa
import sqlmodel
from alembic import op

import charging.columns

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

COLUMNS = (
    ("write_off", lambda: sa.Column("tax", sa.String(length=16), server_default="", nullable=False)),
    ("write_off", lambda: sa.Column("tax_from", sa.Date(), nullable=True)),
    ("commitment", lambda: sa.Column("settled_until", charging.columns.Instant(), nullable=True)),
    ("usage_reservation", lambda: sa.Column("used", sa.BigInteger(), server_default="0", nullable=False)),
    ("usage_reservation", lambda: sa.Column("captured", sa.BigInteger(), server_default="0", nullable=False)),
    ("usage_reservation", lambda: sa.Column("session", sa.JSON(), nullable=True)),
    ("usage_record", lambda: sa.Column("session", sa.String(length=64), nullable=True)),
    ("agreement", lambda: sa.Column("tax_included", sa.Integer(), server_default="0", nullable=False)),
)

# What was promised before is settled as it was billed; accounts with other cycles have their charges to go by.
SETTLED = """
UPDATE commitment SET settled_until = (SELECT MAX(until_at) FROM bill_run)
WHERE starts_at < (SELECT MAX(until_at) FROM bill_run)
AND account_id IN (SELECT id FROM account WHERE cycle_day = 1)
"""


def upgrade() -> None:
    op.create_table(
        "bad_debt_tax",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("write_off_id", sa.String(length=64), nullable=False),
        sa.Column("number", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("country", sqlmodel.sql.sqltypes.AutoString(length=2), nullable=False),
        sa.Column("category", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("rate_bp", sa.Integer(), nullable=False),
        sa.Column("currency", sqlmodel.sql.sqltypes.AutoString(length=3), nullable=False),
        sa.Column("base", sa.BigInteger(), nullable=False),
        sa.Column("tax", sa.BigInteger(), nullable=False),
        sa.Column("part", sa.BigInteger(), nullable=False),
        sa.Column("transfer_id", sa.String(length=64), nullable=True),
        sa.Column("notice", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("booked_at", charging.columns.Instant(), nullable=False),
        sa.ForeignKeyConstraint(["write_off_id"], ["write_off.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    for column in ("write_off_id", "transfer_id", "notice"):
        op.create_index(f"ix_bad_debt_tax_{column}", "bad_debt_tax", [column], unique=False)
    op.create_table(
        "revenue_deferral",
        sa.Column("period", sqlmodel.sql.sqltypes.AutoString(length=16), nullable=False),
        sa.Column("agreement_id", sa.String(length=64), nullable=False),
        sa.Column("currency", sqlmodel.sql.sqltypes.AutoString(length=3), nullable=False),
        sa.Column("standing", sa.BigInteger(), nullable=False),
        sa.Column("moved", sa.BigInteger(), nullable=False),
        sa.Column("transfer_id", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("period", "agreement_id", "currency"),
    )
    op.create_table(
        "revenue_close",
        sa.Column("period", sqlmodel.sql.sqltypes.AutoString(length=16), nullable=False),
        sa.Column("closed_at", charging.columns.Instant(), nullable=False),
        sa.PrimaryKeyConstraint("period"),
    )
    op.create_table(
        "daily_work",
        sa.Column("name", sqlmodel.sql.sqltypes.AutoString(length=32), nullable=False),
        sa.Column("done_on", sa.Date(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "balance_mail",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("account_id", sa.String(length=64), nullable=False),
        sa.Column("threshold", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("recipient", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("language", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("text", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("created_at", charging.columns.Instant(), nullable=False),
        sa.Column("due_at", charging.columns.Instant(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("state", sqlmodel.sql.sqltypes.AutoString(length=16), nullable=False),
        sa.Column("reason", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("sent_at", charging.columns.Instant(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("balance_mail_due", "balance_mail", ["state", "due_at"], unique=False)
    op.create_index("ix_balance_mail_account_id", "balance_mail", ["account_id"], unique=False)
    for table, column in COLUMNS:
        op.add_column(table, column())
    op.execute(SETTLED)


def downgrade() -> None:
    for table, column in reversed(COLUMNS):
        op.drop_column(table, column().name)
    for table in ("balance_mail", "daily_work", "revenue_close", "revenue_deferral", "bad_debt_tax"):
        op.drop_table(table)
