"""visited network"""

from alembic import op
import sqlalchemy as sa
import sqlmodel
import charging.columns


revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('feature_table',
    sa.Column('sequence', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('digest', sa.LargeBinary(length=32), nullable=False),
    sa.Column('document', sa.LargeBinary(), nullable=False),
    sa.Column('loaded_at', charging.columns.Instant(), nullable=False),
    sa.PrimaryKeyConstraint('sequence')
    )
    op.create_table('visitor',
    sa.Column('network', sa.String(length=64), nullable=False),
    sa.Column('terminal', sa.String(length=64), nullable=False),
    sa.Column('public_key', sa.LargeBinary(), nullable=False),
    sa.Column('language', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('display', sa.Boolean(), nullable=False),
    sa.Column('heard', sa.BigInteger(), nullable=False),
    sa.Column('codes', sa.JSON(), nullable=False),
    sa.Column('features', sa.JSON(), nullable=False),
    sa.Column('waiting', sa.JSON(), nullable=False),
    sa.Column('paid', sa.JSON(), nullable=False),
    sa.Column('active', sa.JSON(), nullable=False),
    sa.Column('told', sa.JSON(), nullable=False),
    sa.Column('registered_at', charging.columns.Instant(), nullable=False),
    sa.PrimaryKeyConstraint('network', 'terminal')
    )
    op.create_table('roamer',
    sa.Column('terminal_id', sa.String(length=64), nullable=False),
    sa.Column('sealed_secret', sa.LargeBinary(), nullable=False),
    sa.Column('network', sa.String(length=64), nullable=False),
    sa.Column('heard', sa.BigInteger(), nullable=False),
    sa.Column('registered_at', charging.columns.Instant(), nullable=True),
    sa.Column('created_at', charging.columns.Instant(), nullable=False),
    sa.ForeignKeyConstraint(['terminal_id'], ['terminal.id'], ),
    sa.PrimaryKeyConstraint('terminal_id')
    )
    op.create_table('roaming_partner',
    sa.Column('network', sa.String(length=64), nullable=False),
    sa.Column('name', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('url', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('ca_pem', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('sealed_token', sa.LargeBinary(), nullable=True),
    sa.Column('person_id', sa.String(length=64), nullable=True),
    sa.Column('status', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('created_at', charging.columns.Instant(), nullable=False),
    sa.ForeignKeyConstraint(['person_id'], ['person.id'], ),
    sa.PrimaryKeyConstraint('network'),
    sa.UniqueConstraint('person_id')
    )
    op.create_table('roaming_quote',
    sa.Column('quote_id', sa.String(length=64), nullable=False),
    sa.Column('network', sa.String(length=64), nullable=False),
    sa.Column('terminal_id', sa.String(length=64), nullable=False),
    sa.Column('feature', sqlmodel.sql.sqltypes.AutoString(length=32), nullable=False),
    sa.Column('ef', sa.Integer(), nullable=False),
    sa.Column('amount', sa.BigInteger(), nullable=False),
    sa.Column('currency', sqlmodel.sql.sqltypes.AutoString(length=3), nullable=False),
    sa.Column('quoted_at', charging.columns.Instant(), nullable=False),
    sa.ForeignKeyConstraint(['quote_id'], ['quote.id'], ),
    sa.PrimaryKeyConstraint('quote_id')
    )
    op.create_table('settlement_record',
    sa.Column('id', sa.String(length=64), nullable=False),
    sa.Column('direction', sqlmodel.sql.sqltypes.AutoString(length=16), nullable=False),
    sa.Column('network', sa.String(length=64), nullable=False),
    sa.Column('terminal', sa.String(length=64), nullable=False),
    sa.Column('feature', sqlmodel.sql.sqltypes.AutoString(length=32), nullable=False),
    sa.Column('ef', sa.Integer(), nullable=False),
    sa.Column('quote_id', sa.String(length=64), nullable=False),
    sa.Column('agreement_id', sa.String(length=64), nullable=False),
    sa.Column('amount', sa.BigInteger(), nullable=False),
    sa.Column('currency', sqlmodel.sql.sqltypes.AutoString(length=3), nullable=False),
    sa.Column('agreed_at', charging.columns.Instant(), nullable=False),
    sa.Column('confirmation', sa.LargeBinary(), nullable=False),
    sa.Column('signature', sa.LargeBinary(), nullable=False),
    sa.Column('digest', sa.LargeBinary(length=32), nullable=False),
    sa.Column('state', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('reason', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('attempts', sa.Integer(), nullable=False),
    sa.Column('due_at', charging.columns.Instant(), nullable=False),
    sa.Column('done_at', charging.columns.Instant(), nullable=True),
    sa.ForeignKeyConstraint(['network'], ['roaming_partner.network'], ),
    sa.PrimaryKeyConstraint('id')
    )
    with op.batch_alter_table('settlement_record', schema=None) as batch_op:
        batch_op.create_index('settlement_due', ['state', 'due_at'], unique=False)
        batch_op.create_index('settlement_month', ['network', 'direction', 'agreed_at'], unique=False)



def downgrade() -> None:
    with op.batch_alter_table('settlement_record', schema=None) as batch_op:
        batch_op.drop_index('settlement_month')
        batch_op.drop_index('settlement_due')

    op.drop_table('settlement_record')
    op.drop_table('roaming_quote')
    op.drop_table('roaming_partner')
    op.drop_table('roamer')
    op.drop_table('visitor')
    op.drop_table('feature_table')
