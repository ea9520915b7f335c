"""devices that speak SNMP"""

from alembic import op
import sqlalchemy as sa
import sqlmodel
import charging.columns


revision = '0003'
down_revision = '0002'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('device_credential',
    sa.Column('name', sa.String(length=64), nullable=False),
    sa.Column('version', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('sealed', sa.LargeBinary(), nullable=False),
    sa.Column('created_at', charging.columns.Instant(), nullable=False),
    sa.PrimaryKeyConstraint('name')
    )
    op.create_table('device_meter',
    sa.Column('installation_id', sa.String(length=64), nullable=False),
    sa.Column('counter', sa.String(length=64), nullable=False),
    sa.Column('terminal_id', sa.String(length=64), nullable=False),
    sa.Column('octets', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('begun_at', charging.columns.Instant(), nullable=False),
    sa.PrimaryKeyConstraint('installation_id', 'counter')
    )
    with op.batch_alter_table('device_meter', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_device_meter_terminal_id'), ['terminal_id'], unique=False)

    op.create_table('device_sample',
    sa.Column('id', sa.String(length=64), nullable=False),
    sa.Column('poll_id', sa.String(length=64), nullable=False),
    sa.Column('terminal_id', sa.String(length=64), nullable=False),
    sa.Column('oid', sqlmodel.sql.sqltypes.AutoString(length=255), nullable=False),
    sa.Column('counter', sa.String(length=64), nullable=False),
    sa.Column('at', charging.columns.Instant(), nullable=False),
    sa.Column('raw', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('octets', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('verdict', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('reason', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.PrimaryKeyConstraint('id')
    )
    with op.batch_alter_table('device_sample', schema=None) as batch_op:
        batch_op.create_index('device_sample_object', ['terminal_id', 'oid', 'at'], unique=False)
        batch_op.create_index(batch_op.f('ix_device_sample_poll_id'), ['poll_id'], unique=False)

    op.create_table('device',
    sa.Column('terminal_id', sa.String(length=64), nullable=False),
    sa.Column('kind', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('host', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('port', sa.Integer(), nullable=False),
    sa.Column('credential', sa.String(length=64), nullable=False),
    sa.Column('counters', sa.JSON(), nullable=False),
    sa.Column('contact', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('language', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('poll_seconds', sa.Integer(), nullable=False),
    sa.Column('next_poll_at', charging.columns.Instant(), nullable=True),
    sa.Column('last_polled_at', charging.columns.Instant(), nullable=True),
    sa.Column('last_error', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('last_error_at', charging.columns.Instant(), nullable=True),
    sa.Column('failures', sa.Integer(), nullable=False),
    sa.Column('state', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('trigger', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('trapped_at', charging.columns.Instant(), nullable=True),
    sa.Column('interrogated_at', charging.columns.Instant(), nullable=True),
    sa.Column('notes', sa.JSON(), nullable=False),
    sa.ForeignKeyConstraint(['credential'], ['device_credential.name'], ),
    sa.ForeignKeyConstraint(['terminal_id'], ['terminal.id'], ),
    sa.PrimaryKeyConstraint('terminal_id')
    )
    with op.batch_alter_table('device', schema=None) as batch_op:
        batch_op.create_index('device_due', ['next_poll_at'], unique=False)
        batch_op.create_index('device_host', ['host'], unique=False)

    op.create_table('device_counter_reading',
    sa.Column('terminal_id', sa.String(length=64), nullable=False),
    sa.Column('oid', sqlmodel.sql.sqltypes.AutoString(length=255), nullable=False),
    sa.Column('counter', sa.String(length=64), nullable=False),
    sa.Column('bits', sa.Integer(), nullable=False),
    sa.Column('last_raw', sqlmodel.sql.sqltypes.AutoString(length=20), nullable=False),
    sa.Column('last_at', charging.columns.Instant(), nullable=False),
    sa.Column('discontinuity', sa.BigInteger(), nullable=True),
    sa.Column('up_since', charging.columns.Instant(), nullable=True),
    sa.Column('accumulated_octets', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('epoch', sa.Integer(), nullable=False),
    sa.Column('sequence', sa.Integer(), nullable=False),
    sa.Column('gaps', sa.Integer(), nullable=False),
    sa.ForeignKeyConstraint(['terminal_id'], ['device.terminal_id'], ),
    sa.PrimaryKeyConstraint('terminal_id', 'oid')
    )
    op.create_table('web_token',
    sa.Column('id', sa.String(length=64), nullable=False),
    sa.Column('token_digest', sa.LargeBinary(length=32), nullable=False),
    sa.Column('terminal_id', sa.String(length=64), nullable=False),
    sa.Column('subscriber_id', sa.String(length=64), nullable=False),
    sa.Column('created_at', charging.columns.Instant(), nullable=False),
    sa.Column('expires_at', charging.columns.Instant(), nullable=False),
    sa.Column('used_at', charging.columns.Instant(), nullable=True),
    sa.Column('purpose', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.ForeignKeyConstraint(['subscriber_id'], ['subscriber.id'], ),
    sa.ForeignKeyConstraint(['terminal_id'], ['terminal.id'], ),
    sa.PrimaryKeyConstraint('id'),
    sa.UniqueConstraint('token_digest')
    )
    with op.batch_alter_table('web_token', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_web_token_terminal_id'), ['terminal_id'], unique=False)


def downgrade() -> None:
    with op.batch_alter_table('web_token', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_web_token_terminal_id'))

    op.drop_table('web_token')
    op.drop_table('device_counter_reading')
    with op.batch_alter_table('device', schema=None) as batch_op:
        batch_op.drop_index('device_host')
        batch_op.drop_index('device_due')

    op.drop_table('device')
    with op.batch_alter_table('device_sample', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_device_sample_poll_id'))
        batch_op.drop_index('device_sample_object')

    op.drop_table('device_sample')
    with op.batch_alter_table('device_meter', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_device_meter_terminal_id'))

    op.drop_table('device_meter')
    op.drop_table('device_credential')
