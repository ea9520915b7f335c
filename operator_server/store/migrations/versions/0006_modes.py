"""modes"""

from alembic import op
import sqlalchemy as sa
import sqlmodel
import charging.columns


revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('charge', sa.Column('pays', sqlmodel.sql.sqltypes.AutoString(length=16), server_default='unbilled', nullable=False))
    op.add_column('charge', sa.Column('paid_tax', sa.BigInteger(), server_default='0', nullable=False))
    op.add_column('charge', sa.Column('service_from', charging.columns.Instant(), nullable=True))
    op.add_column('charge', sa.Column('service_to', charging.columns.Instant(), nullable=True))
    op.add_column('usage_grant', sa.Column('cost', sa.BigInteger(), server_default='0', nullable=False))
    op.create_table('agreement_term',
    sa.Column('agreement_id', sa.String(length=64), nullable=False),
    sa.Column('state', sqlmodel.sql.sqltypes.AutoString(length=16), nullable=False),
    sa.Column('started_at', charging.columns.Instant(), nullable=False),
    sa.Column('trial_ends_at', charging.columns.Instant(), nullable=True),
    sa.Column('warn_at', charging.columns.Instant(), nullable=True),
    sa.Column('charged_from', charging.columns.Instant(), nullable=False),
    sa.Column('periods', sa.Integer(), nullable=False),
    sa.Column('next_at', charging.columns.Instant(), nullable=True),
    sa.Column('minimum_until', charging.columns.Instant(), nullable=True),
    sa.Column('cancelled_at', charging.columns.Instant(), nullable=True),
    sa.Column('ends_at', charging.columns.Instant(), nullable=True),
    sa.Column('reason', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.ForeignKeyConstraint(['agreement_id'], ['agreement.id'], ),
    sa.PrimaryKeyConstraint('agreement_id')
    )
    op.create_index('agreement_term_due', 'agreement_term', ['next_at'], unique=False)
    op.create_table('agreement_price',
    sa.Column('agreement_id', sa.String(length=64), nullable=False),
    sa.Column('effective_at', charging.columns.Instant(), nullable=False),
    sa.Column('announced_at', charging.columns.Instant(), nullable=False),
    sa.Column('amount', sa.BigInteger(), nullable=False),
    sa.Column('tariff_version', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.ForeignKeyConstraint(['agreement_id'], ['agreement.id'], ),
    sa.PrimaryKeyConstraint('agreement_id', 'effective_at')
    )
    op.create_table('subscriber_limit',
    sa.Column('subscriber_id', sa.String(length=64), nullable=False),
    sa.Column('currency', sqlmodel.sql.sqltypes.AutoString(length=3), nullable=False),
    sa.Column('amount', sa.BigInteger(), nullable=False),
    sa.Column('set_at', charging.columns.Instant(), nullable=False),
    sa.ForeignKeyConstraint(['subscriber_id'], ['subscriber.id'], ),
    sa.PrimaryKeyConstraint('subscriber_id', 'currency')
    )


def downgrade() -> None:
    op.drop_table('subscriber_limit')
    op.drop_table('agreement_price')
    op.drop_index('agreement_term_due', table_name='agreement_term')
    op.drop_table('agreement_term')
    op.drop_column('usage_grant', 'cost')
    op.drop_column('charge', 'service_to')
    op.drop_column('charge', 'service_from')
    op.drop_column('charge', 'paid_tax')
    op.drop_column('charge', 'pays')
