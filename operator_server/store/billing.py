"""What a bill run keeps beside invoices: drafts, accounts that got none, commitments, locked periods.

A final invoice never changes, nor what a charge on it says: triggers of the database see to that.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Index, event
from sqlmodel import Field, SQLModel

from charging.columns import Digest, Identifier, Instant, Micros
from operator_server.store.accounting import Charge, InvoiceRow
from operator_server.store.rows import table


class InvoiceDraft(SQLModel, table=True):
    """An invoice before it has a number. Its charges carry its ``id``, which the final invoice keeps.

    ``document`` is :class:`charging.invoices.model.Invoice` without number and days of issue. ``unbilled``: micros
    that the invoice takes from there, ``taxed``: the part of it that is tax since prices include it.
    """

    __tablename__ = "invoice_draft"
    __table_args__ = (Index("invoice_draft_run", "bill_run_id", "account_id", "currency"),)
    id: str = Field(primary_key=True, sa_type=Identifier)
    bill_run_id: str = Field(foreign_key="bill_run.id", sa_type=Identifier)
    account_id: str = Field(sa_type=Identifier)
    period: str = Field(max_length=16)
    currency: str = Field(max_length=3)
    net: int = Field(sa_type=Micros)
    tax: int = Field(sa_type=Micros)
    total: int = Field(sa_type=Micros)
    unbilled: int = Field(sa_type=Micros)
    taxed: int = Field(sa_type=Micros)
    document: bytes
    digest: bytes = Field(sa_type=Digest)


class BillOutcome(SQLModel, table=True):
    """Why an account has no invoice of a bill run. ``amount``: micros that it would have to pay.

    ``kind``: carried (below the least amount, goes to the next bill) or failed.
    """

    __tablename__ = "bill_outcome"
    bill_run_id: str = Field(primary_key=True, foreign_key="bill_run.id", sa_type=Identifier)
    account_id: str = Field(primary_key=True, sa_type=Identifier)
    currency: str = Field(primary_key=True, max_length=3)
    kind: str = Field(max_length=16)
    amount: int = Field(default=0, sa_type=Micros)
    reason: str = ""


class Commitment(SQLModel, table=True):
    """A least spend that an account promised for each cycle: ``amount`` micros net; what is missing is billed.

    ``settled_until``: the end of the last cycle that was looked at.
    """

    __tablename__ = "commitment"
    id: str = Field(primary_key=True, sa_type=Identifier)
    account_id: str = Field(foreign_key="account.id", index=True, sa_type=Identifier)
    currency: str = Field(max_length=3)
    amount: int = Field(sa_type=Micros)
    label: str
    tax_category: str
    starts_at: datetime = Field(sa_type=Instant)
    ends_at: datetime | None = Field(default=None, sa_type=Instant)
    settled_until: datetime | None = Field(default=None, sa_type=Instant)


class PeriodLock(SQLModel, table=True):
    """A period whose books are closed: what comes late takes effect after ``end_at``. Unlocked: the row is gone."""

    __tablename__ = "period_lock"
    period: str = Field(primary_key=True, max_length=16)
    end_at: datetime = Field(sa_type=Instant)
    locked_at: datetime = Field(sa_type=Instant)
    locked_by: str


_INVOICE = (
    "id, number, series, number_in_series, bill_run_id, account_id, period, currency, net, tax, total, issued_at,"
    " document, transfer_id, digest"
)
_CHARGE = (
    "id, kind, agreement_id, account_id, subscriber_id, quantity, included, period, net, currency, tax_category,"
    " tax_rate, transfer_id, invoice_id, invoice_line"
)
_FINAL = "an invoice that was made never changes; make a credit note"
_BILLED = "the charge is on a final invoice and never changes; make a credit note"
_ON_FINAL = "OLD.invoice_id IS NOT NULL AND EXISTS (SELECT 1 FROM invoice WHERE invoice.id = OLD.invoice_id)"

INVOICE_TRIGGERS = {
    "sqlite": (
        f"CREATE TRIGGER invoice_final BEFORE UPDATE OF {_INVOICE} ON invoice"
        f" BEGIN SELECT RAISE(ABORT, '{_FINAL}'); END",
        f"CREATE TRIGGER invoice_kept BEFORE DELETE ON invoice BEGIN SELECT RAISE(ABORT, '{_FINAL}'); END",
    ),
    "postgresql": (
        "CREATE FUNCTION invoice_final() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN RAISE EXCEPTION '{_FINAL}'; END $$",
        f"CREATE TRIGGER invoice_final BEFORE UPDATE OF {_INVOICE} ON invoice"
        " FOR EACH ROW EXECUTE FUNCTION invoice_final()",
        "CREATE TRIGGER invoice_kept BEFORE DELETE ON invoice FOR EACH ROW EXECUTE FUNCTION invoice_final()",
    ),
}
CHARGE_TRIGGERS = {
    "sqlite": (
        f"CREATE TRIGGER charge_billed BEFORE UPDATE OF {_CHARGE} ON charge WHEN {_ON_FINAL}"
        f" BEGIN SELECT RAISE(ABORT, '{_BILLED}'); END",
        f"CREATE TRIGGER charge_kept BEFORE DELETE ON charge WHEN {_ON_FINAL}"
        f" BEGIN SELECT RAISE(ABORT, '{_BILLED}'); END",
    ),
    "postgresql": (
        "CREATE FUNCTION charge_billed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF EXISTS (SELECT 1 FROM invoice WHERE invoice.id = OLD.invoice_id) THEN"
        f" RAISE EXCEPTION '{_BILLED}'; END IF;"
        " IF TG_OP = 'DELETE' THEN RETURN OLD; END IF; RETURN NEW; END $$",
        f"CREATE TRIGGER charge_billed BEFORE UPDATE OF {_CHARGE} ON charge"
        " FOR EACH ROW WHEN (OLD.invoice_id IS NOT NULL) EXECUTE FUNCTION charge_billed()",
        "CREATE TRIGGER charge_kept BEFORE DELETE ON charge"
        " FOR EACH ROW WHEN (OLD.invoice_id IS NOT NULL) EXECUTE FUNCTION charge_billed()",
    ),
}
"""By dialect, what makes final invoices and their charges immutable; migration 0007 holds the same text."""


def _listens(model: type[SQLModel], triggers: dict[str, tuple[str, ...]]) -> None:
    def make(target: Any, connection: Connection, **_: Any) -> None:
        for statement in triggers.get(connection.dialect.name, ()):
            connection.exec_driver_sql(statement)

    event.listen(table(model), "after_create", make)


_listens(InvoiceRow, INVOICE_TRIGGERS)
_listens(Charge, CHARGE_TRIGGERS)
