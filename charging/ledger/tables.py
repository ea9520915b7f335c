"""The ledger's tables.

A transfer is written once and never changed; its postings sum to zero in each currency. A positive amount is a debit:
what a customer owes stands positive in ``unbilled`` and ``receivable``, what a customer paid ahead stands negative in
``prepaid``, what the operator earned stands negative in ``revenue``. Amounts are micros of their currency.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from charging.columns import Digest, Identifier, Instant, Micros, RowId

OPERATOR = "(operator)"
"""The owner of revenue, tax, rounding, cash and whatever else is not a customer's; no customer's id has brackets."""

UNBILLED = "unbilled"
RECEIVABLE = "receivable"
PREPAID = "prepaid"
PSEUDO_PREPAID = "pseudo_prepaid"
"""A way to pay from ``prepaid``, no account of its own."""

DEFERRED = "deferred"
REVENUE = "revenue"
ROUNDING = "rounding"
CASH = "cash"

CHARGES = frozenset({"charge", "capture", "overdraw"})
"""Kinds of transfer that took money for something, and that can be reversed."""

CUSTOMER_KINDS = (UNBILLED, RECEIVABLE, PREPAID)
"""The ledger accounts that every customer has in a currency; together they make what is available."""


def tax_kind(category: str) -> str:
    """The kind of the operator's account that holds the tax of ``category``."""
    return f"tax:{category}"


class LedgerAccount(SQLModel, table=True):
    """One balance: the sum of the account's postings.

    ``reserved``: the sum of what is left of its open reservations. ``credit_limit`` stands on a customer's
    ``unbilled`` account and holds for all of the customer's accounts in the currency; null is no limit. So do
    ``barred``, why the customer may reserve and spend nothing, and ``watch_low`` and ``watch_high``: whoever changes
    what is available to less than the one or to the other and more has crossed a threshold; null is no threshold.
    """

    __tablename__ = "ledger_account"
    __table_args__ = (UniqueConstraint("owner", "kind", "currency", name="ledger_account_once"),)
    id: int | None = Field(default=None, primary_key=True, sa_type=RowId)
    owner: str = Field(sa_type=Identifier)
    kind: str = Field(sa_type=Identifier)
    currency: str = Field(max_length=3)
    balance: int = Field(default=0, sa_type=Micros)
    reserved: int = Field(default=0, sa_type=Micros)
    credit_limit: int | None = Field(default=None, sa_type=Micros)
    barred: str | None = None
    watch_low: int | None = Field(default=None, sa_type=Micros)
    watch_high: int | None = Field(default=None, sa_type=Micros)


class Transfer(SQLModel, table=True):
    """One operation that took effect.

    ``kind``: reserve, capture, release, charge, overdraw (a charge that may take prepaid money below zero), reverse,
    or a posting's own.

    ``(source, op_id)`` is the client's name of the operation, ``request_digest`` the SHA-256 of what it asked for.
    ``pending_id``: the reservation that it captures or releases; ``reverses_id``: the transfer that it reverses.
    """

    __tablename__ = "transfer"
    __table_args__ = (
        UniqueConstraint("source", "op_id", name="transfer_once"),
        Index(
            "transfer_reverses",
            "reverses_id",
            sqlite_where=text("reverses_id IS NOT NULL"),
            postgresql_where=text("reverses_id IS NOT NULL"),
        ),
        {"sqlite_with_rowid": False},
    )
    id: str = Field(primary_key=True, sa_type=Identifier)
    source: str = Field(sa_type=Identifier)
    op_id: str = Field(sa_type=Identifier)
    request_digest: bytes = Field(sa_type=Digest)
    kind: str = Field(sa_type=Identifier)
    pending_id: str | None = Field(default=None, sa_type=Identifier)
    reverses_id: str | None = Field(default=None, sa_type=Identifier)
    agreement_id: str | None = Field(default=None, sa_type=Identifier)
    tariff_version_id: str | None = Field(default=None, sa_type=Identifier)
    effective_at: datetime = Field(sa_type=Instant)
    recorded_at: datetime = Field(sa_type=Instant)


class Posting(SQLModel, table=True):
    """One leg of a transfer: ``amount`` micros added to an account."""

    __tablename__ = "posting"
    __table_args__ = ({"sqlite_with_rowid": False},)
    transfer_id: str = Field(primary_key=True, foreign_key="transfer.id", sa_type=Identifier)
    leg: int = Field(primary_key=True)
    ledger_account_id: int = Field(foreign_key="ledger_account.id", sa_type=RowId)
    currency: str = Field(max_length=3)
    amount: int = Field(sa_type=Micros)


class Reservation(SQLModel, table=True):
    """Money set aside; ``id`` is the id of the transfer that reserved it. ``state``: open, captured, released, expired.

    ``remaining``: what can still be captured; it counts as reserved while the state is open.
    """

    __tablename__ = "reservation"
    __table_args__ = (
        Index(
            "reservation_expiry",
            "expires_at",
            sqlite_where=text("state = 'open'"),
            postgresql_where=text("state = 'open'"),
        ),
        {"sqlite_with_rowid": False},
    )
    id: str = Field(primary_key=True, sa_type=Identifier)
    ledger_account_id: int = Field(foreign_key="ledger_account.id", sa_type=RowId)
    owner: str = Field(sa_type=Identifier)
    currency: str = Field(max_length=3)
    amount: int = Field(sa_type=Micros)
    remaining: int = Field(sa_type=Micros)
    agreement_id: str | None = Field(default=None, sa_type=Identifier)
    expires_at: datetime = Field(sa_type=Instant)
    state: str = Field(default="open", max_length=16)


class LedgerGroup(SQLModel, table=True):
    """A sealed commit group: the transfers from ``first_transfer`` to ``last_transfer``, ``transfers`` in number.

    ``root``: Merkle root (RFC 6962 hashing) whose first leaf is ``previous_root`` and whose others are the transfers
    with their postings, in order; so each writer's groups are a chain.
    """

    __tablename__ = "ledger_group"
    writer: str = Field(primary_key=True, sa_type=Identifier)
    sequence: int = Field(primary_key=True, sa_type=Micros)
    first_transfer: str = Field(unique=True, sa_type=Identifier)
    last_transfer: str = Field(sa_type=Identifier)
    transfers: int
    root: bytes = Field(sa_type=Digest)
    previous_root: bytes = Field(sa_type=Digest)
    sealed_at: datetime = Field(sa_type=Instant)
