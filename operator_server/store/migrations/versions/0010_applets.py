"""applets"""

from alembic import op
import sqlalchemy as sa
import sqlmodel
import charging.columns


revision = '0010'
down_revision = '0009'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('card_master',
    sa.Column('number', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('sealed', sa.LargeBinary(), nullable=False),
    sa.Column('created_at', charging.columns.Instant(), nullable=False),
    sa.PrimaryKeyConstraint('number')
    )
    op.create_table('card',
    sa.Column('terminal_id', sa.String(length=64), nullable=False),
    sa.Column('iccid', sqlmodel.sql.sqltypes.AutoString(length=20), nullable=False),
    sa.Column('imsi', sqlmodel.sql.sqltypes.AutoString(length=15), nullable=False),
    sa.Column('msisdn', sqlmodel.sql.sqltypes.AutoString(length=21), nullable=False),
    sa.Column('key_number', sa.Integer(), nullable=False),
    sa.Column('sealed_keys', sa.LargeBinary(), nullable=False),
    sa.Column('sent', sa.BigInteger(), nullable=False),
    sa.Column('heard', sa.BigInteger(), nullable=False),
    sa.Column('language', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('route', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('carrier', sa.String(length=64), nullable=False),
    sa.Column('menu_number', sa.Integer(), nullable=False),
    sa.Column('menu', sa.JSON(), nullable=False),
    sa.Column('inquired', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('inquired_at', charging.columns.Instant(), nullable=True),
    sa.Column('pending_code', sa.LargeBinary(), nullable=True),
    sa.Column('heard_at', charging.columns.Instant(), nullable=True),
    sa.Column('created_at', charging.columns.Instant(), nullable=False),
    sa.ForeignKeyConstraint(['terminal_id'], ['terminal.id'], ),
    sa.PrimaryKeyConstraint('terminal_id'),
    sa.UniqueConstraint('iccid'),
    sa.UniqueConstraint('msisdn')
    )
    op.create_table('card_packet',
    sa.Column('id', sa.String(length=64), nullable=False),
    sa.Column('terminal_id', sa.String(length=64), nullable=False),
    sa.Column('kind', sqlmodel.sql.sqltypes.AutoString(length=32), nullable=False),
    sa.Column('counter', sa.BigInteger(), nullable=False),
    sa.Column('packet', sa.LargeBinary(), nullable=False),
    sa.Column('receipt', sa.Boolean(), nullable=False),
    sa.Column('route', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('created_at', charging.columns.Instant(), nullable=False),
    sa.Column('due_at', charging.columns.Instant(), nullable=False),
    sa.Column('attempts', sa.Integer(), nullable=False),
    sa.Column('state', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('reason', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('sent_at', charging.columns.Instant(), nullable=True),
    sa.Column('done_at', charging.columns.Instant(), nullable=True),
    sa.ForeignKeyConstraint(['terminal_id'], ['card.terminal_id'], ),
    sa.PrimaryKeyConstraint('id')
    )
    with op.batch_alter_table('card_packet', schema=None) as batch_op:
        batch_op.create_index('card_packet_due', ['state', 'route', 'due_at'], unique=False)
        batch_op.create_index('card_packet_counter', ['terminal_id', 'counter'], unique=True)

    op.create_table('card_quote',
    sa.Column('quote_id', sa.String(length=64), nullable=False),
    sa.Column('terminal_id', sa.String(length=64), nullable=False),
    sa.Column('shown', sa.LargeBinary(), nullable=False),
    sa.ForeignKeyConstraint(['quote_id'], ['quote.id'], ),
    sa.ForeignKeyConstraint(['terminal_id'], ['card.terminal_id'], ),
    sa.PrimaryKeyConstraint('quote_id')
    )
    with op.batch_alter_table('card_quote', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_card_quote_terminal_id'), ['terminal_id'], unique=False)


def downgrade() -> None:
    with op.batch_alter_table('card_quote', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_card_quote_terminal_id'))

    op.drop_table('card_quote')
    with op.batch_alter_table('card_packet', schema=None) as batch_op:
        batch_op.drop_index('card_packet_counter')
        batch_op.drop_index('card_packet_due')

    op.drop_table('card_packet')
    op.drop_table('card')
    op.drop_table('card_master')
