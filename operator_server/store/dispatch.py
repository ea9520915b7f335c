"""Invoices, and news of balances, on their way to customers by e-mail."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index
from sqlmodel import Field, SQLModel

from charging.columns import Identifier, Instant
from operator_server.store.parties import Account
from operator_server.store.rows import table


class InvoiceDispatch(SQLModel, table=True):
    """One e-mail with one invoice. ``state``: waiting, sent, refused, failed or bounced.

    ``refused``: the mail server will not have it, and ``reason`` is its answer; ``failed``: every try met a passing
    fault; ``bounced``: it was sent and came back. ``form``: pdf or facturx. ``due_at``: when it is to be tried (again).
    """

    __tablename__ = "invoice_dispatch"
    __table_args__ = (
        Index("invoice_dispatch_due", "state", "due_at"),
        Index("invoice_dispatch_number", "invoice_number", "created_at"),
        Index("invoice_dispatch_account", "account_id", "id"),
    )
    id: str = Field(primary_key=True, sa_type=Identifier)
    invoice_number: str
    account_id: str = Field(foreign_key="account.id", sa_type=Identifier)
    recipient: str
    language: str
    form: str = Field(default="pdf", max_length=16)
    asked_by: str = ""
    created_at: datetime = Field(sa_type=Instant)
    due_at: datetime = Field(sa_type=Instant)
    attempts: int = 0
    state: str = Field(default="waiting", max_length=16)
    reason: str = ""
    sent_at: datetime | None = Field(default=None, sa_type=Instant)
    bounced_at: datetime | None = Field(default=None, sa_type=Instant)


class BalanceMail(SQLModel, table=True):
    """An e-mail that tells a customer of a threshold. ``state``: waiting, sent, refused or failed, as of invoices."""

    __tablename__ = "balance_mail"
    __table_args__ = (Index("balance_mail_due", "state", "due_at"),)
    id: str = Field(primary_key=True, sa_type=Identifier)
    account_id: str = Field(foreign_key="account.id", index=True, sa_type=Identifier)
    threshold: str
    recipient: str
    language: str
    text: str
    created_at: datetime = Field(sa_type=Instant)
    due_at: datetime = Field(sa_type=Instant)
    attempts: int = 0
    state: str = Field(default="waiting", max_length=16)
    reason: str = ""
    sent_at: datetime | None = Field(default=None, sa_type=Instant)


# Customers are found by what they say of themselves.
Index("account_email", table(Account).c.email, table(Account).c.id)
Index("account_vat_id", table(Account).c.vat_id, table(Account).c.id)
