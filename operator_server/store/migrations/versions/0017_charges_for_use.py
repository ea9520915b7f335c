"""charges for use, listed"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_USE = sa.text("kind = 'use'")


def upgrade() -> None:
    op.create_index("charge_use", "charge", ["id"], unique=False, sqlite_where=_USE, postgresql_where=_USE)


def downgrade() -> None:
    op.drop_index("charge_use", table_name="charge")
