"""what devices say of changes to their configuration"""

import sqlalchemy as sa
from alembic import op

import charging.columns

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("device", sa.Column("hint", sa.LargeBinary(), nullable=True))
    op.add_column("device", sa.Column("walked_at", charging.columns.Instant(), nullable=True))
    op.add_column("device", sa.Column("unwalked", sa.Integer(), nullable=False, server_default="0"))


def downgrade() -> None:
    with op.batch_alter_table("device") as device:
        for name in ("unwalked", "walked_at", "hint"):
            device.drop_column(name)
