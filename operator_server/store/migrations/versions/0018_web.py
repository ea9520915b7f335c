"""long work and tries to log on, shared by all processes of the web role"""

import sqlalchemy as sa
import sqlmodel
from alembic import op

import charging.columns

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_RUNNING = sa.text("state = 'running'")


def upgrade() -> None:
    op.create_table(
        "web_job",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("kind", sqlmodel.sql.sqltypes.AutoString(length=16), nullable=False),
        sa.Column("slot", sqlmodel.sql.sqltypes.AutoString(length=24), nullable=False),
        sa.Column("what", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("about", sa.String(length=64), nullable=False),
        sa.Column("name", sqlmodel.sql.sqltypes.AutoString(length=130), nullable=False),
        sa.Column("by", sqlmodel.sql.sqltypes.AutoString(length=160), nullable=False),
        sa.Column("given", sa.JSON(), nullable=False),
        sa.Column("state", sqlmodel.sql.sqltypes.AutoString(length=16), nullable=False),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("of", sa.Integer(), nullable=False),
        sa.Column("reason", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("result", sa.LargeBinary(), nullable=True),
        sa.Column("holder", sa.String(length=64), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("started_at", charging.columns.Instant(), nullable=False),
        sa.Column("lease_until", charging.columns.Instant(), nullable=False),
        sa.Column("ended_at", charging.columns.Instant(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("web_job_slot", "web_job", ["slot"], unique=True, sqlite_where=_RUNNING, postgresql_where=_RUNNING)
    op.create_index("web_job_name", "web_job", ["name", "kind"])
    op.create_index("web_job_about", "web_job", ["about", "kind", "id"])
    op.create_table(
        "logon_pace",
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("free_at", charging.columns.Instant(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_index("ix_logon_pace_free_at", "logon_pace", ["free_at"])
    op.create_index("audit_entry_action", "audit_entry", ["action", "id"])


def downgrade() -> None:
    op.drop_index("audit_entry_action", "audit_entry")
    op.drop_table("logon_pace")
    op.drop_table("web_job")
