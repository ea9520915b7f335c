"""usage records"""

from alembic import op
import sqlalchemy as sa
import sqlmodel
import charging.columns


revision = '0002'
down_revision = '0001'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('usage_record',
    sa.Column('source', sqlmodel.sql.sqltypes.AutoString(length=255), nullable=False),
    sa.Column('id', sqlmodel.sql.sqltypes.AutoString(length=255), nullable=False),
    sa.Column('digest', sa.LargeBinary(length=32), nullable=False),
    sa.Column('subscriber_id', sa.String(length=64), nullable=False),
    sa.Column('tariff_id', sa.String(length=64), nullable=False),
    sa.Column('quantity', sa.BigInteger(), nullable=False),
    sa.Column('at', charging.columns.Instant(), nullable=False),
    sa.Column('destination', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('position', sa.BigInteger(), nullable=False),
    sa.Column('charge_id', sa.String(length=64), nullable=False),
    sa.Column('imported_at', charging.columns.Instant(), nullable=False),
    sa.PrimaryKeyConstraint('source', 'id'),
    sa.UniqueConstraint('charge_id')
    )
    with op.batch_alter_table('usage_record', schema=None) as batch_op:
        batch_op.create_index('usage_record_at', ['at'], unique=False)

    op.create_table('usage_state',
    sa.Column('agreement_id', sa.String(length=64), nullable=False),
    sa.Column('period', sqlmodel.sql.sqltypes.AutoString(length=16), nullable=False),
    sa.Column('tariff_version', sqlmodel.sql.sqltypes.AutoString(length=160), nullable=False),
    sa.Column('uses', sa.BigInteger(), nullable=False),
    sa.Column('state', sa.JSON(), nullable=False),
    sa.PrimaryKeyConstraint('agreement_id', 'period')
    )


def downgrade() -> None:
    op.drop_table('usage_state')
    with op.batch_alter_table('usage_record', schema=None) as batch_op:
        batch_op.drop_index('usage_record_at')

    op.drop_table('usage_record')
