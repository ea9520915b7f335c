"""What customers owe after it was invoiced: open items, payments, credit notes, direct debits, reminders, disputes."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import Column, Index, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from charging.columns import Digest, Identifier, Instant, Json, Micros


class ReceivableItem(SQLModel, table=True):
    """One movement of what an account owes in a currency: ``amount`` micros, positive where it is owed.

    ``kind``: invoice, fee, return, recovery, refund; payment, credit_note, write_off. ``number`` is how people name
    it; ``about``: the number of the debt that it concerns. ``open``: what is left of it, of the same sign; what the
    items of an account have left adds up to its ledger account ``receivable``. ``level``: the last reminder.
    """

    __tablename__ = "receivable_item"
    __table_args__ = (
        Index(
            "receivable_item_open",
            "account_id",
            "currency",
            sqlite_where=text("open <> 0"),
            postgresql_where=text("open <> 0"),
        ),
        Index("receivable_item_account", "account_id", "booked_at"),
    )
    id: str = Field(primary_key=True, sa_type=Identifier)
    account_id: str = Field(foreign_key="account.id", sa_type=Identifier)
    currency: str = Field(max_length=3)
    kind: str = Field(max_length=16)
    number: str = Field(unique=True, max_length=80)
    about: str = ""
    amount: int = Field(sa_type=Micros)
    open: int = Field(sa_type=Micros)
    booked_at: datetime = Field(sa_type=Instant)
    due_at: datetime = Field(sa_type=Instant)
    transfer_id: str = Field(unique=True, sa_type=Identifier)
    level: int = 0
    reminded_on: date | None = None


class ItemAllocation(SQLModel, table=True):
    """A credit item set against a debt item; taken back by a row of the opposite ``amount``. Never changed."""

    __tablename__ = "item_allocation"
    id: str = Field(primary_key=True, sa_type=Identifier)
    debt_id: str = Field(foreign_key="receivable_item.id", index=True, sa_type=Identifier)
    credit_id: str = Field(foreign_key="receivable_item.id", index=True, sa_type=Identifier)
    amount: int = Field(sa_type=Micros)
    at: datetime = Field(sa_type=Instant)


class CreditNoteRow(SQLModel, table=True):
    """A final credit note; ``document`` is :class:`charging.invoices.model.Invoice` of kind ``credit_note``.

    ``op_id``: the client's name of the request, which is done once.
    """

    __tablename__ = "credit_note"
    __table_args__ = (UniqueConstraint("series", "number_in_series", name="credit_note_number_once"),)
    id: str = Field(primary_key=True, sa_type=Identifier)
    op_id: str = Field(unique=True, sa_type=Identifier)
    request_digest: bytes = Field(sa_type=Digest)
    number: str = Field(unique=True)
    series: str
    number_in_series: int
    invoice_number: str = Field(index=True)
    account_id: str = Field(index=True, sa_type=Identifier)
    period: str = Field(max_length=16)
    currency: str = Field(max_length=3)
    net: int = Field(sa_type=Micros)
    tax: int = Field(sa_type=Micros)
    total: int = Field(sa_type=Micros)
    reason: str = ""
    by: str = ""
    issued_at: datetime = Field(sa_type=Instant)
    document: bytes
    transfer_id: str = Field(sa_type=Identifier)


class BankStatement(SQLModel, table=True):
    """A bank statement that was taken in, once; ``id`` is of its account and its name at the bank."""

    __tablename__ = "bank_statement"
    id: str = Field(primary_key=True, sa_type=Identifier)
    name: str
    iban: str
    file: str = ""
    digest: bytes = Field(sa_type=Digest)
    entries: int
    imported_at: datetime = Field(sa_type=Instant)


class PaymentRow(SQLModel, table=True):
    """Money that came in (``amount`` above zero) or was taken back from us (below), in micros.

    ``id`` is the client's own, or of the statement's entry. ``account_id`` is empty while it stands in suspense, and
    ``reason`` says why. ``method``: manual, transfer, direct_debit. ``state``: booked, suspense, assigned, returned.
    """

    __tablename__ = "payment"
    __table_args__ = (Index("payment_account", "account_id", "booked_on"), Index("payment_state", "state"))
    id: str = Field(primary_key=True, sa_type=Identifier)
    account_id: str | None = Field(default=None, foreign_key="account.id", sa_type=Identifier)
    currency: str = Field(max_length=3)
    amount: int = Field(sa_type=Micros)
    booked_on: date
    method: str = Field(max_length=16)
    state: str = Field(max_length=16)
    reason: str = ""
    reference: str = ""
    end_to_end: str = Field(default="", index=True)
    payer: str = ""
    payer_iban: str = Field(default="", index=True)
    statement_id: str | None = Field(default=None, sa_type=Identifier)
    matched_by: str = ""
    returns_id: str | None = Field(default=None, sa_type=Identifier)
    request_digest: bytes = Field(sa_type=Digest)
    transfer_id: str = Field(sa_type=Identifier)
    recorded_at: datetime = Field(sa_type=Instant)


class Mandate(SQLModel, table=True):
    """A customer's SEPA direct-debit mandate. ``state``: active or revoked. ``first_used_on``: the first collection."""

    __tablename__ = "sepa_mandate"
    id: str = Field(primary_key=True, sa_type=Identifier)
    account_id: str = Field(foreign_key="account.id", index=True, sa_type=Identifier)
    holder: str
    iban: str
    bic: str = ""
    signed_on: date
    state: str = "active"
    created_at: datetime = Field(sa_type=Instant)
    revoked_at: datetime | None = Field(default=None, sa_type=Instant)
    first_used_on: date | None = None


class Collection(SQLModel, table=True):
    """A direct-debit file (pain.008) as it was written; ``id`` is its message id at the bank."""

    __tablename__ = "collection"
    id: str = Field(primary_key=True, sa_type=Identifier)
    collect_on: date = Field(index=True)
    currency: str = Field(max_length=3)
    total: int = Field(sa_type=Micros)
    count: int
    document: bytes
    created_at: datetime = Field(sa_type=Instant)


class CollectedItem(SQLModel, table=True):
    """A debt in a direct-debit file. ``id`` is its end-to-end id. ``state``: sent, paid, returned, cancelled."""

    __tablename__ = "collected_item"
    __table_args__ = (
        Index(
            "collected_item_once",
            "item_id",
            unique=True,
            sqlite_where=text("state = 'sent'"),
            postgresql_where=text("state = 'sent'"),
        ),
    )
    id: str = Field(primary_key=True, sa_type=Identifier)
    collection_id: str = Field(foreign_key="collection.id", index=True, sa_type=Identifier)
    item_id: str = Field(foreign_key="receivable_item.id", sa_type=Identifier)
    mandate_id: str = Field(foreign_key="sepa_mandate.id", sa_type=Identifier)
    sequence: str = Field(max_length=4)
    amount: int = Field(sa_type=Micros)
    state: str = Field(default="sent", max_length=16)


class Reminder(SQLModel, table=True):
    """A reminder letter: the debts it names, what was open of each and its level.

    ``state``: waiting, sent, failed, no_email.
    """

    __tablename__ = "reminder"
    __table_args__ = (Index("reminder_state", "state"),)
    id: str = Field(primary_key=True, sa_type=Identifier)
    account_id: str = Field(foreign_key="account.id", index=True, sa_type=Identifier)
    currency: str = Field(max_length=3)
    level: int
    fee: int = Field(default=0, sa_type=Micros)
    items: list[dict[str, Any]] = Field(sa_column=Column(Json, nullable=False))
    total: int = Field(sa_type=Micros)
    recipient: str = ""
    language: str
    pay_by: date
    state: str = Field(max_length=16)
    reason: str = ""
    attempts: int = 0
    made_at: datetime = Field(sa_type=Instant)
    sent_at: datetime | None = Field(default=None, sa_type=Instant)


class DisputeHold(SQLModel, table=True):
    """A dispute: while it lasts, an invoice, or ``amount`` of a line of it, is neither reminded nor collected."""

    __tablename__ = "dispute_hold"
    id: str = Field(primary_key=True, sa_type=Identifier)
    number: str = Field(index=True)
    line: str = ""
    amount: int = Field(default=0, sa_type=Micros)
    reason: str
    by: str = ""
    placed_at: datetime = Field(sa_type=Instant)
    released_at: datetime | None = Field(default=None, sa_type=Instant)
    released_by: str = ""


class WriteOff(SQLModel, table=True):
    """A debt that is given up. ``state``: asked, approved, refused; only then ``transfer_id`` and ``amount`` stand.

    ``tax``: kept (it stays owed), waiting (until ``tax_from``) or corrected; empty before the approval.
    """

    __tablename__ = "write_off"
    id: str = Field(primary_key=True, sa_type=Identifier)
    number: str = Field(index=True)
    account_id: str = Field(sa_type=Identifier)
    currency: str = Field(max_length=3)
    amount: int = Field(sa_type=Micros)
    recovered: int = Field(default=0, sa_type=Micros)
    reason: str
    asked_by: str
    asked_at: datetime = Field(sa_type=Instant)
    state: str = Field(default="asked", max_length=16)
    decided_by: str = ""
    decided_at: datetime | None = Field(default=None, sa_type=Instant)
    transfer_id: str | None = Field(default=None, sa_type=Identifier)
    tax: str = Field(default="", max_length=16, sa_column_kwargs={"server_default": ""})
    tax_from: date | None = None


class BadDebtTax(SQLModel, table=True):
    """Base and tax that a written-off debt took back (below zero), or that its payment brought back (above zero).

    ``part``: the micros of the debt, with tax, that are concerned, of the same sign. ``number``: the invoice whose tax
    it is; ``notice``: the number of the notice to the customer, where there is one.
    """

    __tablename__ = "bad_debt_tax"
    id: str = Field(primary_key=True, sa_type=Identifier)
    write_off_id: str = Field(foreign_key="write_off.id", index=True, sa_type=Identifier)
    number: str
    country: str = Field(max_length=2)
    category: str
    rate_bp: int
    currency: str = Field(max_length=3)
    base: int = Field(sa_type=Micros)
    tax: int = Field(sa_type=Micros)
    part: int = Field(sa_type=Micros)
    transfer_id: str | None = Field(default=None, index=True, sa_type=Identifier)
    notice: str = Field(default="", index=True)
    booked_at: datetime = Field(sa_type=Instant)


class Rerating(SQLModel, table=True):
    """An invoice whose use was rated again by a corrected tariff version, once."""

    __tablename__ = "rerating"
    __table_args__ = (UniqueConstraint("invoice_number", "tariff_id", name="rerating_once"),)
    id: str = Field(primary_key=True, sa_type=Identifier)
    invoice_number: str
    tariff_id: str = Field(sa_type=Identifier)
    tariff_version: str = Field(max_length=160)
    credit_note: str
    new_invoice: str
    at: datetime = Field(sa_type=Instant)


class RevenueDeferral(SQLModel, table=True):
    """What an agreement has deferred at the end of a month, and by how much that month's posting changed it.

    ``standing`` and ``moved`` in micros; without a ``transfer_id`` nothing moved.
    """

    __tablename__ = "revenue_deferral"
    period: str = Field(primary_key=True, max_length=16)
    agreement_id: str = Field(primary_key=True, sa_type=Identifier)
    currency: str = Field(primary_key=True, max_length=3)
    standing: int = Field(sa_type=Micros)
    moved: int = Field(sa_type=Micros)
    transfer_id: str | None = Field(default=None, sa_type=Identifier)


class RevenueClose(SQLModel, table=True):
    """A month whose deferred revenue is posted."""

    __tablename__ = "revenue_close"
    period: str = Field(primary_key=True, max_length=16)
    closed_at: datetime = Field(sa_type=Instant)


class DailyWork(SQLModel, table=True):
    """The last day on which the worker did something that is done once a day."""

    __tablename__ = "daily_work"
    name: str = Field(primary_key=True, max_length=32)
    done_on: date
