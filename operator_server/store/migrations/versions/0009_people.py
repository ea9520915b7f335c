"""people"""

from alembic import op
import sqlalchemy as sa
import sqlmodel
import charging.columns


revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

PAGES = (
    ("terminal_status", "terminal", ["status", "id"]),
    ("terminal_session_code", "terminal_session", ["code", "terminal_id"]),
    ("account_status", "account", ["status", "id"]),
    ("account_name", "account", ["name", "id"]),
    ("invoice_account_page", "invoice", ["account_id", "id"]),
    ("invoice_period_page", "invoice", ["period", "id"]),
    ("agreement_state", "agreement", ["state", "id"]),
    ("rejection_offer", "rejection", ["offer_id", "id"]),
)


def upgrade() -> None:
    op.create_table('person',
    sa.Column('id', sa.String(length=64), nullable=False),
    sa.Column('name', sa.String(length=64), nullable=False),
    sa.Column('role', sqlmodel.sql.sqltypes.AutoString(length=16), nullable=False),
    sa.Column('password_hash', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('must_change', sa.Boolean(), nullable=False),
    sa.Column('status', sqlmodel.sql.sqltypes.AutoString(length=16), nullable=False),
    sa.Column('created_at', charging.columns.Instant(), nullable=False),
    sa.Column('password_at', charging.columns.Instant(), nullable=False),
    sa.Column('logon_at', charging.columns.Instant(), nullable=True),
    sa.PrimaryKeyConstraint('id'),
    sa.UniqueConstraint('name')
    )
    op.create_table('person_session',
    sa.Column('id', sa.String(length=64), nullable=False),
    sa.Column('secret_digest', sa.LargeBinary(length=32), nullable=False),
    sa.Column('person_id', sa.String(length=64), nullable=False),
    sa.Column('opened_at', charging.columns.Instant(), nullable=False),
    sa.Column('seen_at', charging.columns.Instant(), nullable=False),
    sa.Column('expires_at', charging.columns.Instant(), nullable=False),
    sa.Column('ended_at', charging.columns.Instant(), nullable=True),
    sa.ForeignKeyConstraint(['person_id'], ['person.id'], ),
    sa.PrimaryKeyConstraint('id'),
    sa.UniqueConstraint('secret_digest')
    )
    op.create_index('ix_person_session_person_id', 'person_session', ['person_id'], unique=False)
    op.create_table('api_token',
    sa.Column('id', sa.String(length=64), nullable=False),
    sa.Column('label', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('secret_digest', sa.LargeBinary(length=32), nullable=False),
    sa.Column('person_id', sa.String(length=64), nullable=False),
    sa.Column('scopes', sa.JSON(), nullable=False),
    sa.Column('created_at', charging.columns.Instant(), nullable=False),
    sa.Column('expires_at', charging.columns.Instant(), nullable=False),
    sa.Column('revoked_at', charging.columns.Instant(), nullable=True),
    sa.Column('used_at', charging.columns.Instant(), nullable=True),
    sa.ForeignKeyConstraint(['person_id'], ['person.id'], ),
    sa.PrimaryKeyConstraint('id'),
    sa.UniqueConstraint('secret_digest')
    )
    op.create_index('ix_api_token_person_id', 'api_token', ['person_id'], unique=False)
    op.create_table('audit_entry',
    sa.Column('id', charging.columns.RowId, nullable=False),
    sa.Column('at', charging.columns.Instant(), nullable=False),
    sa.Column('actor', sqlmodel.sql.sqltypes.AutoString(length=160), nullable=False),
    sa.Column('action', sa.String(length=64), nullable=False),
    sa.Column('reference', sqlmodel.sql.sqltypes.AutoString(length=320), nullable=False),
    sa.Column('before', sa.JSON(), nullable=True),
    sa.Column('after', sa.JSON(), nullable=True),
    sa.Column('digest', sa.LargeBinary(length=32), nullable=False),
    sa.PrimaryKeyConstraint('id')
    )
    op.create_index('audit_entry_reference', 'audit_entry', ['reference', 'id'], unique=False)
    op.create_index('audit_entry_actor', 'audit_entry', ['actor', 'id'], unique=False)
    op.create_table('answered_request',
    sa.Column('actor', sqlmodel.sql.sqltypes.AutoString(length=160), nullable=False),
    sa.Column('key', sqlmodel.sql.sqltypes.AutoString(length=128), nullable=False),
    sa.Column('request_digest', sa.LargeBinary(length=32), nullable=False),
    sa.Column('status', sa.Integer(), nullable=False),
    sa.Column('body', sa.LargeBinary(), nullable=False),
    sa.Column('answered_at', charging.columns.Instant(), nullable=False),
    sa.PrimaryKeyConstraint('actor', 'key')
    )
    for name, table, columns in PAGES:
        op.create_index(name, table, columns, unique=False)


def downgrade() -> None:
    for name, table, _ in PAGES:
        op.drop_index(name, table_name=table)
    for table in ("answered_request", "audit_entry", "api_token", "person_session", "person"):
        op.drop_table(table)
