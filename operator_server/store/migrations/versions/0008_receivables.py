"""receivables"""

from alembic import op
import sqlalchemy as sa
import sqlmodel
import charging.columns


revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('bank_statement',
    sa.Column('id', sa.String(length=64), nullable=False),
    sa.Column('name', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('iban', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('file', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('digest', sa.LargeBinary(length=32), nullable=False),
    sa.Column('entries', sa.Integer(), nullable=False),
    sa.Column('imported_at', charging.columns.Instant(), nullable=False),
    sa.PrimaryKeyConstraint('id')
    )
    op.create_table('collection',
    sa.Column('id', sa.String(length=64), nullable=False),
    sa.Column('collect_on', sa.Date(), nullable=False),
    sa.Column('currency', sqlmodel.sql.sqltypes.AutoString(length=3), nullable=False),
    sa.Column('total', sa.BigInteger(), nullable=False),
    sa.Column('count', sa.Integer(), nullable=False),
    sa.Column('document', sa.LargeBinary(), nullable=False),
    sa.Column('created_at', charging.columns.Instant(), nullable=False),
    sa.PrimaryKeyConstraint('id')
    )
    with op.batch_alter_table('collection', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_collection_collect_on'), ['collect_on'], unique=False)

    op.create_table('credit_note',
    sa.Column('id', sa.String(length=64), nullable=False),
    sa.Column('op_id', sa.String(length=64), nullable=False),
    sa.Column('request_digest', sa.LargeBinary(length=32), nullable=False),
    sa.Column('number', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('series', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('number_in_series', sa.Integer(), nullable=False),
    sa.Column('invoice_number', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('account_id', sa.String(length=64), nullable=False),
    sa.Column('period', sqlmodel.sql.sqltypes.AutoString(length=16), nullable=False),
    sa.Column('currency', sqlmodel.sql.sqltypes.AutoString(length=3), nullable=False),
    sa.Column('net', sa.BigInteger(), nullable=False),
    sa.Column('tax', sa.BigInteger(), nullable=False),
    sa.Column('total', sa.BigInteger(), nullable=False),
    sa.Column('reason', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('by', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('issued_at', charging.columns.Instant(), nullable=False),
    sa.Column('document', sa.LargeBinary(), nullable=False),
    sa.Column('transfer_id', sa.String(length=64), nullable=False),
    sa.PrimaryKeyConstraint('id'),
    sa.UniqueConstraint('number'),
    sa.UniqueConstraint('op_id'),
    sa.UniqueConstraint('series', 'number_in_series', name='credit_note_number_once')
    )
    with op.batch_alter_table('credit_note', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_credit_note_account_id'), ['account_id'], unique=False)
        batch_op.create_index(batch_op.f('ix_credit_note_invoice_number'), ['invoice_number'], unique=False)

    op.create_table('dispute_hold',
    sa.Column('id', sa.String(length=64), nullable=False),
    sa.Column('number', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('line', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('amount', sa.BigInteger(), nullable=False),
    sa.Column('reason', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('by', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('placed_at', charging.columns.Instant(), nullable=False),
    sa.Column('released_at', charging.columns.Instant(), nullable=True),
    sa.Column('released_by', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.PrimaryKeyConstraint('id')
    )
    with op.batch_alter_table('dispute_hold', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_dispute_hold_number'), ['number'], unique=False)

    op.create_table('rerating',
    sa.Column('id', sa.String(length=64), nullable=False),
    sa.Column('invoice_number', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('tariff_id', sa.String(length=64), nullable=False),
    sa.Column('tariff_version', sqlmodel.sql.sqltypes.AutoString(length=160), nullable=False),
    sa.Column('credit_note', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('new_invoice', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('at', charging.columns.Instant(), nullable=False),
    sa.PrimaryKeyConstraint('id'),
    sa.UniqueConstraint('invoice_number', 'tariff_id', name='rerating_once')
    )
    op.create_table('write_off',
    sa.Column('id', sa.String(length=64), nullable=False),
    sa.Column('number', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('account_id', sa.String(length=64), nullable=False),
    sa.Column('currency', sqlmodel.sql.sqltypes.AutoString(length=3), nullable=False),
    sa.Column('amount', sa.BigInteger(), nullable=False),
    sa.Column('recovered', sa.BigInteger(), nullable=False),
    sa.Column('reason', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('asked_by', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('asked_at', charging.columns.Instant(), nullable=False),
    sa.Column('state', sqlmodel.sql.sqltypes.AutoString(length=16), nullable=False),
    sa.Column('decided_by', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('decided_at', charging.columns.Instant(), nullable=True),
    sa.Column('transfer_id', sa.String(length=64), nullable=True),
    sa.PrimaryKeyConstraint('id')
    )
    with op.batch_alter_table('write_off', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_write_off_number'), ['number'], unique=False)

    op.create_table('payment',
    sa.Column('id', sa.String(length=64), nullable=False),
    sa.Column('account_id', sa.String(length=64), nullable=True),
    sa.Column('currency', sqlmodel.sql.sqltypes.AutoString(length=3), nullable=False),
    sa.Column('amount', sa.BigInteger(), nullable=False),
    sa.Column('booked_on', sa.Date(), nullable=False),
    sa.Column('method', sqlmodel.sql.sqltypes.AutoString(length=16), nullable=False),
    sa.Column('state', sqlmodel.sql.sqltypes.AutoString(length=16), nullable=False),
    sa.Column('reason', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('reference', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('end_to_end', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('payer', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('payer_iban', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('statement_id', sa.String(length=64), nullable=True),
    sa.Column('matched_by', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('returns_id', sa.String(length=64), nullable=True),
    sa.Column('request_digest', sa.LargeBinary(length=32), nullable=False),
    sa.Column('transfer_id', sa.String(length=64), nullable=False),
    sa.Column('recorded_at', charging.columns.Instant(), nullable=False),
    sa.ForeignKeyConstraint(['account_id'], ['account.id'], ),
    sa.PrimaryKeyConstraint('id')
    )
    with op.batch_alter_table('payment', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_payment_end_to_end'), ['end_to_end'], unique=False)
        batch_op.create_index(batch_op.f('ix_payment_payer_iban'), ['payer_iban'], unique=False)
        batch_op.create_index('payment_account', ['account_id', 'booked_on'], unique=False)
        batch_op.create_index('payment_state', ['state'], unique=False)

    op.create_table('receivable_item',
    sa.Column('id', sa.String(length=64), nullable=False),
    sa.Column('account_id', sa.String(length=64), nullable=False),
    sa.Column('currency', sqlmodel.sql.sqltypes.AutoString(length=3), nullable=False),
    sa.Column('kind', sqlmodel.sql.sqltypes.AutoString(length=16), nullable=False),
    sa.Column('number', sqlmodel.sql.sqltypes.AutoString(length=80), nullable=False),
    sa.Column('about', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('amount', sa.BigInteger(), nullable=False),
    sa.Column('open', sa.BigInteger(), nullable=False),
    sa.Column('booked_at', charging.columns.Instant(), nullable=False),
    sa.Column('due_at', charging.columns.Instant(), nullable=False),
    sa.Column('transfer_id', sa.String(length=64), nullable=False),
    sa.Column('level', sa.Integer(), nullable=False),
    sa.Column('reminded_on', sa.Date(), nullable=True),
    sa.ForeignKeyConstraint(['account_id'], ['account.id'], ),
    sa.PrimaryKeyConstraint('id'),
    sa.UniqueConstraint('number'),
    sa.UniqueConstraint('transfer_id')
    )
    with op.batch_alter_table('receivable_item', schema=None) as batch_op:
        batch_op.create_index('receivable_item_account', ['account_id', 'booked_at'], unique=False)
        batch_op.create_index('receivable_item_open', ['account_id', 'currency'], unique=False, sqlite_where=sa.text('open <> 0'), postgresql_where=sa.text('open <> 0'))

    op.create_table('reminder',
    sa.Column('id', sa.String(length=64), nullable=False),
    sa.Column('account_id', sa.String(length=64), nullable=False),
    sa.Column('currency', sqlmodel.sql.sqltypes.AutoString(length=3), nullable=False),
    sa.Column('level', sa.Integer(), nullable=False),
    sa.Column('fee', sa.BigInteger(), nullable=False),
    sa.Column('items', sa.JSON(), nullable=False),
    sa.Column('total', sa.BigInteger(), nullable=False),
    sa.Column('recipient', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('language', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('pay_by', sa.Date(), nullable=False),
    sa.Column('state', sqlmodel.sql.sqltypes.AutoString(length=16), nullable=False),
    sa.Column('reason', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('attempts', sa.Integer(), nullable=False),
    sa.Column('made_at', charging.columns.Instant(), nullable=False),
    sa.Column('sent_at', charging.columns.Instant(), nullable=True),
    sa.ForeignKeyConstraint(['account_id'], ['account.id'], ),
    sa.PrimaryKeyConstraint('id')
    )
    with op.batch_alter_table('reminder', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_reminder_account_id'), ['account_id'], unique=False)
        batch_op.create_index('reminder_state', ['state'], unique=False)

    op.create_table('sepa_mandate',
    sa.Column('id', sa.String(length=64), nullable=False),
    sa.Column('account_id', sa.String(length=64), nullable=False),
    sa.Column('holder', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('iban', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('bic', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('signed_on', sa.Date(), nullable=False),
    sa.Column('state', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('created_at', charging.columns.Instant(), nullable=False),
    sa.Column('revoked_at', charging.columns.Instant(), nullable=True),
    sa.Column('first_used_on', sa.Date(), nullable=True),
    sa.ForeignKeyConstraint(['account_id'], ['account.id'], ),
    sa.PrimaryKeyConstraint('id')
    )
    with op.batch_alter_table('sepa_mandate', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_sepa_mandate_account_id'), ['account_id'], unique=False)

    op.create_table('collected_item',
    sa.Column('id', sa.String(length=64), nullable=False),
    sa.Column('collection_id', sa.String(length=64), nullable=False),
    sa.Column('item_id', sa.String(length=64), nullable=False),
    sa.Column('mandate_id', sa.String(length=64), nullable=False),
    sa.Column('sequence', sqlmodel.sql.sqltypes.AutoString(length=4), nullable=False),
    sa.Column('amount', sa.BigInteger(), nullable=False),
    sa.Column('state', sqlmodel.sql.sqltypes.AutoString(length=16), nullable=False),
    sa.ForeignKeyConstraint(['collection_id'], ['collection.id'], ),
    sa.ForeignKeyConstraint(['item_id'], ['receivable_item.id'], ),
    sa.ForeignKeyConstraint(['mandate_id'], ['sepa_mandate.id'], ),
    sa.PrimaryKeyConstraint('id')
    )
    with op.batch_alter_table('collected_item', schema=None) as batch_op:
        batch_op.create_index('collected_item_once', ['item_id'], unique=True, sqlite_where=sa.text("state = 'sent'"), postgresql_where=sa.text("state = 'sent'"))
        batch_op.create_index(batch_op.f('ix_collected_item_collection_id'), ['collection_id'], unique=False)

    op.create_table('item_allocation',
    sa.Column('id', sa.String(length=64), nullable=False),
    sa.Column('debt_id', sa.String(length=64), nullable=False),
    sa.Column('credit_id', sa.String(length=64), nullable=False),
    sa.Column('amount', sa.BigInteger(), nullable=False),
    sa.Column('at', charging.columns.Instant(), nullable=False),
    sa.ForeignKeyConstraint(['credit_id'], ['receivable_item.id'], ),
    sa.ForeignKeyConstraint(['debt_id'], ['receivable_item.id'], ),
    sa.PrimaryKeyConstraint('id')
    )
    with op.batch_alter_table('item_allocation', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_item_allocation_credit_id'), ['credit_id'], unique=False)
        batch_op.create_index(batch_op.f('ix_item_allocation_debt_id'), ['debt_id'], unique=False)


def downgrade() -> None:
    with op.batch_alter_table('item_allocation', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_item_allocation_debt_id'))
        batch_op.drop_index(batch_op.f('ix_item_allocation_credit_id'))

    op.drop_table('item_allocation')
    with op.batch_alter_table('collected_item', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_collected_item_collection_id'))
        batch_op.drop_index('collected_item_once', sqlite_where=sa.text("state = 'sent'"), postgresql_where=sa.text("state = 'sent'"))

    op.drop_table('collected_item')
    with op.batch_alter_table('sepa_mandate', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_sepa_mandate_account_id'))

    op.drop_table('sepa_mandate')
    with op.batch_alter_table('reminder', schema=None) as batch_op:
        batch_op.drop_index('reminder_state')
        batch_op.drop_index(batch_op.f('ix_reminder_account_id'))

    op.drop_table('reminder')
    with op.batch_alter_table('receivable_item', schema=None) as batch_op:
        batch_op.drop_index('receivable_item_open', sqlite_where=sa.text('open <> 0'), postgresql_where=sa.text('open <> 0'))
        batch_op.drop_index('receivable_item_account')

    op.drop_table('receivable_item')
    with op.batch_alter_table('payment', schema=None) as batch_op:
        batch_op.drop_index('payment_state')
        batch_op.drop_index('payment_account')
        batch_op.drop_index(batch_op.f('ix_payment_payer_iban'))
        batch_op.drop_index(batch_op.f('ix_payment_end_to_end'))

    op.drop_table('payment')
    with op.batch_alter_table('write_off', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_write_off_number'))

    op.drop_table('write_off')
    op.drop_table('rerating')
    with op.batch_alter_table('dispute_hold', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_dispute_hold_number'))

    op.drop_table('dispute_hold')
    with op.batch_alter_table('credit_note', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_credit_note_invoice_number'))
        batch_op.drop_index(batch_op.f('ix_credit_note_account_id'))

    op.drop_table('credit_note')
    with op.batch_alter_table('collection', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_collection_collect_on'))

    op.drop_table('collection')
    op.drop_table('bank_statement')
