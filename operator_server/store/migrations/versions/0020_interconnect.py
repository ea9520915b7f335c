"""partners by certificate, settlement records in the ledger, disputes"""

import sqlalchemy as sa
import sqlmodel
from alembic import op

import charging.columns

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A token is worth nothing any more: partners introduce themselves by certificates.
    with op.batch_alter_table("roaming_partner") as batch:
        batch.drop_column("person_id")
        batch.drop_column("sealed_token")
        batch.drop_column("ca_pem")
        batch.add_column(
            sa.Column("certificate", sqlmodel.sql.sqltypes.AutoString(), nullable=False, server_default="")
        )
        batch.add_column(
            sa.Column("fingerprint", sqlmodel.sql.sqltypes.AutoString(length=64), nullable=False, server_default="")
        )
        batch.create_index(batch.f("ix_roaming_partner_fingerprint"), ["fingerprint"], unique=False)
    with op.batch_alter_table("settlement_record") as batch:
        batch.add_column(sa.Column("transfer_id", sa.String(length=64), nullable=True))
        batch.create_index("settlement_when", ["agreed_at", "id"], unique=False)
    op.create_table(
        "settlement_dispute",
        sa.Column("network", sa.String(length=64), nullable=False),
        sa.Column("direction", sqlmodel.sql.sqltypes.AutoString(length=16), nullable=False),
        sa.Column("record_id", sa.String(length=64), nullable=False),
        sa.Column("raised_by", sqlmodel.sql.sqltypes.AutoString(length=8), nullable=False),
        sa.Column("month", sqlmodel.sql.sqltypes.AutoString(length=16), nullable=False),
        sa.Column("what", sqlmodel.sql.sqltypes.AutoString(length=300), nullable=False),
        sa.Column("found_at", charging.columns.Instant(), nullable=False),
        sa.Column("seen_at", charging.columns.Instant(), nullable=False),
        sa.Column("closed_at", charging.columns.Instant(), nullable=True),
        sa.ForeignKeyConstraint(["network"], ["roaming_partner.network"]),
        sa.PrimaryKeyConstraint("network", "direction", "record_id", "raised_by"),
    )


def downgrade() -> None:
    op.drop_table("settlement_dispute")
    with op.batch_alter_table("settlement_record") as batch:
        batch.drop_index("settlement_when")
        batch.drop_column("transfer_id")
    with op.batch_alter_table("roaming_partner") as batch:
        batch.drop_index(batch.f("ix_roaming_partner_fingerprint"))
        batch.drop_column("fingerprint")
        batch.drop_column("certificate")
        batch.add_column(sa.Column("ca_pem", sqlmodel.sql.sqltypes.AutoString(), nullable=False, server_default=""))
        batch.add_column(sa.Column("sealed_token", sa.LargeBinary(), nullable=True))
        batch.add_column(sa.Column("person_id", sa.String(length=64), nullable=True))
