"""balances"""

from alembic import op
import sqlalchemy as sa
import sqlmodel
import charging.columns


revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('balance_movement',
    sa.Column('id', sa.String(length=64), nullable=False),
    sa.Column('bucket_id', sa.String(length=64), nullable=True),
    sa.Column('share_id', sa.String(length=64), nullable=True),
    sa.Column('kind', sqlmodel.sql.sqltypes.AutoString(length=16), nullable=False),
    sa.Column('amount', sa.BigInteger(), nullable=False),
    sa.Column('usage_id', sa.String(length=64), nullable=True),
    sa.Column('transfer_id', sa.String(length=64), nullable=True),
    sa.Column('reason', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('at', charging.columns.Instant(), nullable=False),
    sa.PrimaryKeyConstraint('id'),
    sqlite_with_rowid=False
    )
    op.create_index('balance_movement_bucket', 'balance_movement', ['bucket_id'], unique=False)
    op.create_index('balance_movement_usage', 'balance_movement', ['usage_id'], unique=False)
    op.create_table('balance_operation',
    sa.Column('id', sa.String(length=64), nullable=False),
    sa.Column('kind', sqlmodel.sql.sqltypes.AutoString(length=16), nullable=False),
    sa.Column('digest', sa.LargeBinary(length=32), nullable=False),
    sa.Column('answer', sa.JSON(), nullable=False),
    sa.Column('at', charging.columns.Instant(), nullable=False),
    sa.PrimaryKeyConstraint('id')
    )
    op.create_table('barring',
    sa.Column('id', sa.String(length=64), nullable=False),
    sa.Column('party', sqlmodel.sql.sqltypes.AutoString(length=16), nullable=False),
    sa.Column('party_id', sa.String(length=64), nullable=False),
    sa.Column('reason', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('barred_at', charging.columns.Instant(), nullable=False),
    sa.Column('lifted_at', charging.columns.Instant(), nullable=True),
    sa.Column('lift_reason', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.PrimaryKeyConstraint('id')
    )
    op.create_index('barring_party', 'barring', ['party_id', 'lifted_at'], unique=False)
    op.create_table('prepaid_credit',
    sa.Column('id', sa.String(length=64), nullable=False),
    sa.Column('owner', sa.String(length=64), nullable=False),
    sa.Column('currency', sqlmodel.sql.sqltypes.AutoString(length=3), nullable=False),
    sa.Column('amount', sa.BigInteger(), nullable=False),
    sa.Column('remaining', sa.BigInteger(), nullable=False),
    sa.Column('valid_until', charging.columns.Instant(), nullable=True),
    sa.Column('made_at', charging.columns.Instant(), nullable=False),
    sa.Column('state', sqlmodel.sql.sqltypes.AutoString(length=16), nullable=False),
    sa.PrimaryKeyConstraint('id')
    )
    op.create_index('prepaid_credit_expiry', 'prepaid_credit', ['valid_until'], unique=False, sqlite_where=sa.text("state = 'open'"), postgresql_where=sa.text("state = 'open'"))
    op.create_index('prepaid_credit_owner', 'prepaid_credit', ['owner', 'currency', 'state'], unique=False)
    op.create_table('unit_bucket',
    sa.Column('id', sa.String(length=64), nullable=False),
    sa.Column('owner', sa.String(length=64), nullable=False),
    sa.Column('unit', sa.String(length=64), nullable=False),
    sa.Column('name', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('granted', sa.BigInteger(), nullable=False),
    sa.Column('remaining', sa.BigInteger(), nullable=False),
    sa.Column('reserved', sa.BigInteger(), nullable=False),
    sa.Column('priority', sa.Integer(), nullable=False),
    sa.Column('valid_from', charging.columns.Instant(), nullable=False),
    sa.Column('valid_until', charging.columns.Instant(), nullable=True),
    sa.Column('created_at', charging.columns.Instant(), nullable=False),
    sa.Column('state', sqlmodel.sql.sqltypes.AutoString(length=16), nullable=False),
    sa.Column('watch_low', sa.BigInteger(), nullable=True),
    sa.Column('watch_high', sa.BigInteger(), nullable=True),
    sa.PrimaryKeyConstraint('id')
    )
    op.create_index('unit_bucket_expiry', 'unit_bucket', ['valid_until'], unique=False, sqlite_where=sa.text("state = 'open'"), postgresql_where=sa.text("state = 'open'"))
    op.create_index('unit_bucket_owner', 'unit_bucket', ['owner', 'unit', 'state'], unique=False)
    op.create_table('usage_reservation',
    sa.Column('id', sa.String(length=64), nullable=False),
    sa.Column('account_id', sa.String(length=64), nullable=False),
    sa.Column('use', sa.JSON(), nullable=False),
    sa.Column('quantity', sa.BigInteger(), nullable=False),
    sa.Column('money_id', sa.String(length=64), nullable=True),
    sa.Column('money', sa.BigInteger(), nullable=False),
    sa.Column('share_id', sa.String(length=64), nullable=True),
    sa.Column('expires_at', charging.columns.Instant(), nullable=False),
    sa.Column('state', sqlmodel.sql.sqltypes.AutoString(length=16), nullable=False),
    sa.PrimaryKeyConstraint('id')
    )
    op.create_index('usage_reservation_expiry', 'usage_reservation', ['expires_at'], unique=False, sqlite_where=sa.text("state = 'open'"), postgresql_where=sa.text("state = 'open'"))
    op.create_table('balance_share',
    sa.Column('id', sa.String(length=64), nullable=False),
    sa.Column('owner', sa.String(length=64), nullable=False),
    sa.Column('bucket_id', sa.String(length=64), nullable=True),
    sa.Column('currency', sqlmodel.sql.sqltypes.AutoString(length=3), nullable=True),
    sa.Column('user_id', sa.String(length=64), nullable=False),
    sa.Column('most', sa.BigInteger(), nullable=True),
    sa.Column('used', sa.BigInteger(), nullable=False),
    sa.Column('reserved', sa.BigInteger(), nullable=False),
    sa.Column('created_at', charging.columns.Instant(), nullable=False),
    sa.Column('ended_at', charging.columns.Instant(), nullable=True),
    sa.ForeignKeyConstraint(['bucket_id'], ['unit_bucket.id'], ),
    sa.PrimaryKeyConstraint('id')
    )
    op.create_index('balance_share_user', 'balance_share', ['user_id'], unique=False)
    op.create_index(op.f('ix_balance_share_owner'), 'balance_share', ['owner'], unique=False)
    op.create_table('threshold',
    sa.Column('id', sa.String(length=64), nullable=False),
    sa.Column('owner', sa.String(length=64), nullable=False),
    sa.Column('bucket_id', sa.String(length=64), nullable=True),
    sa.Column('currency', sqlmodel.sql.sqltypes.AutoString(length=3), nullable=True),
    sa.Column('sense', sqlmodel.sql.sqltypes.AutoString(length=8), nullable=False),
    sa.Column('value', sa.BigInteger(), nullable=False),
    sa.Column('percent', sa.Boolean(), nullable=False),
    sa.Column('level', sa.BigInteger(), nullable=False),
    sa.Column('crossed', sa.Boolean(), nullable=False),
    sa.Column('created_at', charging.columns.Instant(), nullable=False),
    sa.ForeignKeyConstraint(['bucket_id'], ['unit_bucket.id'], ),
    sa.PrimaryKeyConstraint('id')
    )
    op.create_index('threshold_owner', 'threshold', ['owner'], unique=False)
    op.create_table('unit_hold',
    sa.Column('reservation_id', sa.String(length=64), nullable=False),
    sa.Column('place', sa.Integer(), nullable=False),
    sa.Column('bucket_id', sa.String(length=64), nullable=False),
    sa.Column('share_id', sa.String(length=64), nullable=True),
    sa.Column('amount', sa.BigInteger(), nullable=False),
    sa.ForeignKeyConstraint(['bucket_id'], ['unit_bucket.id'], ),
    sa.ForeignKeyConstraint(['reservation_id'], ['usage_reservation.id'], ),
    sa.PrimaryKeyConstraint('reservation_id', 'place')
    )
    op.create_index(op.f('ix_unit_hold_bucket_id'), 'unit_hold', ['bucket_id'], unique=False)
    op.add_column('ledger_account', sa.Column('barred', sqlmodel.sql.sqltypes.AutoString(), nullable=True))
    op.add_column('ledger_account', sa.Column('watch_low', sa.BigInteger(), nullable=True))
    op.add_column('ledger_account', sa.Column('watch_high', sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column('ledger_account', 'watch_high')
    op.drop_column('ledger_account', 'watch_low')
    op.drop_column('ledger_account', 'barred')
    op.drop_index(op.f('ix_unit_hold_bucket_id'), table_name='unit_hold')
    op.drop_table('unit_hold')
    op.drop_index('threshold_owner', table_name='threshold')
    op.drop_table('threshold')
    op.drop_index(op.f('ix_balance_share_owner'), table_name='balance_share')
    op.drop_index('balance_share_user', table_name='balance_share')
    op.drop_table('balance_share')
    op.drop_index('usage_reservation_expiry', table_name='usage_reservation', sqlite_where=sa.text("state = 'open'"), postgresql_where=sa.text("state = 'open'"))
    op.drop_table('usage_reservation')
    op.drop_index('unit_bucket_owner', table_name='unit_bucket')
    op.drop_index('unit_bucket_expiry', table_name='unit_bucket', sqlite_where=sa.text("state = 'open'"), postgresql_where=sa.text("state = 'open'"))
    op.drop_table('unit_bucket')
    op.drop_index('prepaid_credit_owner', table_name='prepaid_credit')
    op.drop_index('prepaid_credit_expiry', table_name='prepaid_credit', sqlite_where=sa.text("state = 'open'"), postgresql_where=sa.text("state = 'open'"))
    op.drop_table('prepaid_credit')
    op.drop_index('barring_party', table_name='barring')
    op.drop_table('barring')
    op.drop_table('balance_operation')
    op.drop_index('balance_movement_usage', table_name='balance_movement')
    op.drop_index('balance_movement_bucket', table_name='balance_movement')
    op.drop_table('balance_movement')
