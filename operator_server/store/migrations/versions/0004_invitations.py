"""links to the offers page"""

from alembic import op
import sqlalchemy as sa
import sqlmodel
import charging.columns


revision = '0004'
down_revision = '0003'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('invitation',
    sa.Column('terminal_id', sa.String(length=64), nullable=False),
    sa.Column('subscriber_id', sa.String(length=64), nullable=False),
    sa.Column('offer_id', sa.String(length=64), nullable=False),
    sa.Column('message_id', sa.String(length=64), nullable=False),
    sa.Column('invited_at', charging.columns.Instant(), nullable=False),
    sa.ForeignKeyConstraint(['subscriber_id'], ['subscriber.id'], ),
    sa.ForeignKeyConstraint(['terminal_id'], ['terminal.id'], ),
    sa.PrimaryKeyConstraint('terminal_id', 'subscriber_id', 'offer_id')
    )
    with op.batch_alter_table('invitation', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_invitation_message_id'), ['message_id'], unique=False)

    op.create_table('outgoing_message',
    sa.Column('id', sa.String(length=64), nullable=False),
    sa.Column('terminal_id', sa.String(length=64), nullable=False),
    sa.Column('subscriber_id', sa.String(length=64), nullable=False),
    sa.Column('token_id', sa.String(length=64), nullable=False),
    sa.Column('recipient', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('language', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('titles', sa.JSON(), nullable=False),
    sa.Column('sealed_token', sa.LargeBinary(), nullable=True),
    sa.Column('created_at', charging.columns.Instant(), nullable=False),
    sa.Column('due_at', charging.columns.Instant(), nullable=False),
    sa.Column('attempts', sa.Integer(), nullable=False),
    sa.Column('state', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('reason', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('sent_at', charging.columns.Instant(), nullable=True),
    sa.ForeignKeyConstraint(['subscriber_id'], ['subscriber.id'], ),
    sa.ForeignKeyConstraint(['terminal_id'], ['terminal.id'], ),
    sa.ForeignKeyConstraint(['token_id'], ['web_token.id'], ),
    sa.PrimaryKeyConstraint('id')
    )
    with op.batch_alter_table('outgoing_message', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_outgoing_message_terminal_id'), ['terminal_id'], unique=False)
        batch_op.create_index('outgoing_message_due', ['state', 'due_at'], unique=False)

    op.create_table('web_session',
    sa.Column('id', sa.String(length=64), nullable=False),
    sa.Column('secret_digest', sa.LargeBinary(length=32), nullable=False),
    sa.Column('token_id', sa.String(length=64), nullable=False),
    sa.Column('terminal_id', sa.String(length=64), nullable=False),
    sa.Column('subscriber_id', sa.String(length=64), nullable=False),
    sa.Column('opened_at', charging.columns.Instant(), nullable=False),
    sa.Column('expires_at', charging.columns.Instant(), nullable=False),
    sa.Column('ended_at', charging.columns.Instant(), nullable=True),
    sa.ForeignKeyConstraint(['subscriber_id'], ['subscriber.id'], ),
    sa.ForeignKeyConstraint(['terminal_id'], ['terminal.id'], ),
    sa.ForeignKeyConstraint(['token_id'], ['web_token.id'], ),
    sa.PrimaryKeyConstraint('id'),
    sa.UniqueConstraint('secret_digest')
    )
    with op.batch_alter_table('web_session', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_web_session_token_id'), ['token_id'], unique=False)



def downgrade() -> None:
    with op.batch_alter_table('web_session', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_web_session_token_id'))

    op.drop_table('web_session')
    with op.batch_alter_table('outgoing_message', schema=None) as batch_op:
        batch_op.drop_index('outgoing_message_due')
        batch_op.drop_index(batch_op.f('ix_outgoing_message_terminal_id'))

    op.drop_table('outgoing_message')
    with op.batch_alter_table('invitation', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_invitation_message_id'))

    op.drop_table('invitation')
