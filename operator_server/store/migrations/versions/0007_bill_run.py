"""bill run"""

from alembic import op
import sqlalchemy as sa
import sqlmodel
import charging.columns


revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_INVOICE = (
    "id, number, series, number_in_series, bill_run_id, account_id, period, currency, net, tax, total, issued_at,"
    " document, transfer_id, digest"
)
_CHARGE = (
    "id, kind, agreement_id, account_id, subscriber_id, quantity, included, period, net, currency, tax_category,"
    " tax_rate, transfer_id, invoice_id, invoice_line"
)
_FINAL = "an invoice that was made never changes; make a credit note"
_BILLED = "the charge is on a final invoice and never changes; make a credit note"
_ON_FINAL = "OLD.invoice_id IS NOT NULL AND EXISTS (SELECT 1 FROM invoice WHERE invoice.id = OLD.invoice_id)"

INVOICE_TRIGGERS = {
    "sqlite": (
        f"CREATE TRIGGER invoice_final BEFORE UPDATE OF {_INVOICE} ON invoice"
        f" BEGIN SELECT RAISE(ABORT, '{_FINAL}'); END",
        f"CREATE TRIGGER invoice_kept BEFORE DELETE ON invoice BEGIN SELECT RAISE(ABORT, '{_FINAL}'); END",
    ),
    "postgresql": (
        "CREATE FUNCTION invoice_final() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN RAISE EXCEPTION '{_FINAL}'; END $$",
        f"CREATE TRIGGER invoice_final BEFORE UPDATE OF {_INVOICE} ON invoice"
        " FOR EACH ROW EXECUTE FUNCTION invoice_final()",
        "CREATE TRIGGER invoice_kept BEFORE DELETE ON invoice FOR EACH ROW EXECUTE FUNCTION invoice_final()",
    ),
}
CHARGE_TRIGGERS = {
    "sqlite": (
        f"CREATE TRIGGER charge_billed BEFORE UPDATE OF {_CHARGE} ON charge WHEN {_ON_FINAL}"
        f" BEGIN SELECT RAISE(ABORT, '{_BILLED}'); END",
        f"CREATE TRIGGER charge_kept BEFORE DELETE ON charge WHEN {_ON_FINAL}"
        f" BEGIN SELECT RAISE(ABORT, '{_BILLED}'); END",
    ),
    "postgresql": (
        "CREATE FUNCTION charge_billed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF EXISTS (SELECT 1 FROM invoice WHERE invoice.id = OLD.invoice_id) THEN"
        f" RAISE EXCEPTION '{_BILLED}'; END IF;"
        " IF TG_OP = 'DELETE' THEN RETURN OLD; END IF; RETURN NEW; END $$",
        f"CREATE TRIGGER charge_billed BEFORE UPDATE OF {_CHARGE} ON charge"
        " FOR EACH ROW WHEN (OLD.invoice_id IS NOT NULL) EXECUTE FUNCTION charge_billed()",
        "CREATE TRIGGER charge_kept BEFORE DELETE ON charge"
        " FOR EACH ROW WHEN (OLD.invoice_id IS NOT NULL) EXECUTE FUNCTION charge_billed()",
    ),
}


def upgrade() -> None:
    text = sqlmodel.sql.sqltypes.AutoString
    op.add_column('account', sa.Column('cycle_day', sa.Integer(), server_default='1', nullable=False))
    op.add_column('account', sa.Column('time_zone', text(), server_default='', nullable=False))
    op.add_column('account', sa.Column('tax_country', text(length=2), server_default='', nullable=False))
    op.add_column('account', sa.Column('tax_status', text(length=16), server_default='', nullable=False))
    op.add_column('account', sa.Column('tax_reason', text(), server_default='', nullable=False))
    op.add_column('account', sa.Column('minimum_amount', sa.BigInteger(), nullable=True))
    op.add_column('bill_run', sa.Column('scope', text(length=16), server_default='all', nullable=False))
    op.add_column('bill_run', sa.Column('approved_by', text(), server_default='', nullable=False))
    op.add_column('bill_run', sa.Column('approved_at', charging.columns.Instant(), nullable=True))
    op.add_column('bill_run', sa.Column('approved_digest', sa.LargeBinary(length=32), nullable=True))
    op.add_column('invoice', sa.Column('digest', sa.LargeBinary(length=32), nullable=True))
    op.create_table('invoice_draft',
    sa.Column('id', sa.String(length=64), nullable=False),
    sa.Column('bill_run_id', sa.String(length=64), nullable=False),
    sa.Column('account_id', sa.String(length=64), nullable=False),
    sa.Column('period', text(length=16), nullable=False),
    sa.Column('currency', text(length=3), nullable=False),
    sa.Column('net', sa.BigInteger(), nullable=False),
    sa.Column('tax', sa.BigInteger(), nullable=False),
    sa.Column('total', sa.BigInteger(), nullable=False),
    sa.Column('unbilled', sa.BigInteger(), nullable=False),
    sa.Column('taxed', sa.BigInteger(), nullable=False),
    sa.Column('document', sa.LargeBinary(), nullable=False),
    sa.Column('digest', sa.LargeBinary(length=32), nullable=False),
    sa.ForeignKeyConstraint(['bill_run_id'], ['bill_run.id'], ),
    sa.PrimaryKeyConstraint('id')
    )
    op.create_index('invoice_draft_run', 'invoice_draft', ['bill_run_id', 'account_id', 'currency'], unique=False)
    op.create_table('bill_outcome',
    sa.Column('bill_run_id', sa.String(length=64), nullable=False),
    sa.Column('account_id', sa.String(length=64), nullable=False),
    sa.Column('currency', text(length=3), nullable=False),
    sa.Column('kind', text(length=16), nullable=False),
    sa.Column('amount', sa.BigInteger(), nullable=False),
    sa.Column('reason', text(), nullable=False),
    sa.ForeignKeyConstraint(['bill_run_id'], ['bill_run.id'], ),
    sa.PrimaryKeyConstraint('bill_run_id', 'account_id', 'currency')
    )
    op.create_table('commitment',
    sa.Column('id', sa.String(length=64), nullable=False),
    sa.Column('account_id', sa.String(length=64), nullable=False),
    sa.Column('currency', text(length=3), nullable=False),
    sa.Column('amount', sa.BigInteger(), nullable=False),
    sa.Column('label', text(), nullable=False),
    sa.Column('tax_category', text(), nullable=False),
    sa.Column('starts_at', charging.columns.Instant(), nullable=False),
    sa.Column('ends_at', charging.columns.Instant(), nullable=True),
    sa.ForeignKeyConstraint(['account_id'], ['account.id'], ),
    sa.PrimaryKeyConstraint('id')
    )
    op.create_index('ix_commitment_account_id', 'commitment', ['account_id'], unique=False)
    op.create_table('period_lock',
    sa.Column('period', text(length=16), nullable=False),
    sa.Column('end_at', charging.columns.Instant(), nullable=False),
    sa.Column('locked_at', charging.columns.Instant(), nullable=False),
    sa.Column('locked_by', text(), nullable=False),
    sa.PrimaryKeyConstraint('period')
    )
    dialect = op.get_bind().dialect.name
    for statement in (*INVOICE_TRIGGERS.get(dialect, ()), *CHARGE_TRIGGERS.get(dialect, ())):
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    postgresql = op.get_bind().dialect.name == "postgresql"
    for trigger, table in (
        ("invoice_final", "invoice"),
        ("invoice_kept", "invoice"),
        ("charge_billed", "charge"),
        ("charge_kept", "charge"),
    ):
        op.execute(f"DROP TRIGGER {trigger} ON {table}" if postgresql else f"DROP TRIGGER {trigger}")
    if postgresql:
        op.execute("DROP FUNCTION invoice_final")
        op.execute("DROP FUNCTION charge_billed")
    op.drop_table('period_lock')
    op.drop_index('ix_commitment_account_id', table_name='commitment')
    op.drop_table('commitment')
    op.drop_table('bill_outcome')
    op.drop_index('invoice_draft_run', table_name='invoice_draft')
    op.drop_table('invoice_draft')
    op.drop_column('invoice', 'digest')
    for column in ('approved_digest', 'approved_at', 'approved_by', 'scope'):
        op.drop_column('bill_run', column)
    for column in ('minimum_amount', 'tax_reason', 'tax_status', 'tax_country', 'time_zone', 'cycle_day'):
        op.drop_column('account', column)
