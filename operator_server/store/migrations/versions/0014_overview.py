"""overview"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

PARTIAL = (
    ("counter_gap_open", "counter_gap", ["installation_id"], "closed_at IS NULL"),
    ("terminal_session_silent", "terminal_session", ["terminal_id"], "unanswered > 0"),
)


def upgrade() -> None:
    op.create_index("charge_recorded", "charge", ["recorded_at", "agreement_id", "currency", "net"], unique=False)
    for name, table, columns, where in PARTIAL:
        op.create_index(
            name, table, columns, unique=False, sqlite_where=sa.text(where), postgresql_where=sa.text(where)
        )


def downgrade() -> None:
    for name, table, _, _ in PARTIAL:
        op.drop_index(name, table_name=table)
    op.drop_index("charge_recorded", table_name="charge")
