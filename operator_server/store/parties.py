"""Who is who: accounts, subscribers, terminals, their keys and bindings."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Column, Index
from sqlmodel import Field, SQLModel

from charging.columns import Identifier, Instant, Json, Micros


class Account(SQLModel, table=True):
    """Who pays: name and address stand on the invoice; ``credit_limit`` in micros of ``currency``.

    ``cycle_day``: the day of the month at which a billing cycle begins, in ``time_zone`` (empty: the operator's).
    ``tax_country``: where the account is taxed (empty: ``country``); ``tax_status``: exempt or reverse_charge, for
    ``tax_reason``. ``minimum_amount``: micros below which no bill is made (null: the operator's).
    """

    __tablename__ = "account"
    id: str = Field(primary_key=True, sa_type=Identifier)
    name: str
    address: list[str] = Field(default_factory=list, sa_column=Column(Json, nullable=False))
    country: str = Field(max_length=2)
    vat_id: str = ""
    email: str = ""
    language: str = "en"
    currency: str = Field(max_length=3)
    credit_limit: int = Field(sa_type=Micros)
    status: str = "active"
    created_at: datetime = Field(sa_type=Instant)
    cycle_day: int = Field(default=1, sa_column_kwargs={"server_default": "1"})
    time_zone: str = Field(default="", sa_column_kwargs={"server_default": ""})
    tax_country: str = Field(default="", max_length=2, sa_column_kwargs={"server_default": ""})
    tax_status: str = Field(default="", max_length=16, sa_column_kwargs={"server_default": ""})
    tax_reason: str = Field(default="", sa_column_kwargs={"server_default": ""})
    minimum_amount: int | None = Field(default=None, sa_type=Micros)


class PastTaxpayer(SQLModel, table=True):
    """What an account was as far as tax goes until a change at ``until``; what it is now stands in its own row.

    ``country``: where it was taxed; ``vat_country``: the first two letters of its VAT id, which name nobody.
    """

    __tablename__ = "past_taxpayer"
    account_id: str = Field(primary_key=True, foreign_key="account.id", sa_type=Identifier)
    until: datetime = Field(primary_key=True, sa_type=Instant)
    country: str = Field(max_length=2)
    vat_country: str = Field(default="", max_length=2)
    tax_status: str = Field(default="", max_length=16)


class Subscriber(SQLModel, table=True):
    """Who uses: rejections, entitlements and payment follow the subscriber."""

    __tablename__ = "subscriber"
    id: str = Field(primary_key=True, sa_type=Identifier)
    account_id: str = Field(foreign_key="account.id", index=True, sa_type=Identifier)
    name: str = ""
    groups: list[str] = Field(default_factory=list, sa_column=Column(Json, nullable=False))
    status: str = "active"
    created_at: datetime = Field(sa_type=Instant)


class Terminal(SQLModel, table=True):
    """A device that logs on. ``status``: active or revoked."""

    __tablename__ = "terminal"
    id: str = Field(primary_key=True, sa_type=Identifier)
    label: str = ""
    status: str = "active"
    enrolled_at: datetime = Field(sa_type=Instant)
    revoked_at: datetime | None = Field(default=None, sa_type=Instant)


class TerminalKey(SQLModel, table=True):
    """An Ed25519 public key of a terminal, and when it held."""

    __tablename__ = "terminal_key"
    id: str = Field(primary_key=True, sa_type=Identifier)
    terminal_id: str = Field(foreign_key="terminal.id", index=True, sa_type=Identifier)
    public_key: bytes
    valid_from: datetime = Field(sa_type=Instant)
    valid_to: datetime | None = Field(default=None, sa_type=Instant)


class Binding(SQLModel, table=True):
    """Which subscriber uses which terminal, and when. A handset that is sold gets a new row."""

    __tablename__ = "binding"
    __table_args__ = (Index("binding_terminal", "terminal_id", "valid_to"),)
    id: str = Field(primary_key=True, sa_type=Identifier)
    subscriber_id: str = Field(foreign_key="subscriber.id", index=True, sa_type=Identifier)
    terminal_id: str = Field(foreign_key="terminal.id", sa_type=Identifier)
    valid_from: datetime = Field(sa_type=Instant)
    valid_to: datetime | None = Field(default=None, sa_type=Instant)


class TerminalSession(SQLModel, table=True):
    """Where a terminal is, what it last answered, and when it is next to be asked; one row a terminal.

    ``node``: the link process that holds it while ``lease_until`` has not passed. ``unanswered``: inquiries since the
    last answer.
    """

    __tablename__ = "terminal_session"
    terminal_id: str = Field(primary_key=True, sa_type=Identifier)
    node: str = ""
    session: str = Field(default="", sa_type=Identifier)
    lease_until: datetime | None = Field(default=None, sa_type=Instant)
    code: bytes | None = None
    interrogated_at: datetime | None = Field(default=None, sa_type=Instant)
    next_due_at: datetime | None = Field(default=None, sa_type=Instant)
    unanswered: int = 0


class Notice(SQLModel, table=True):
    """A message to a terminal's user (claims 11 and 25); sent when the terminal is on line."""

    __tablename__ = "notice"
    __table_args__ = (Index("notice_unsent", "terminal_id", "sent_at"),)
    id: str = Field(primary_key=True, sa_type=Identifier)
    terminal_id: str = Field(foreign_key="terminal.id", sa_type=Identifier)
    subscriber_id: str | None = Field(default=None, sa_type=Identifier)
    kind: str
    subject: str = ""
    state: str = ""
    text: str
    dedup: str | None = Field(default=None, unique=True)
    created_at: datetime = Field(sa_type=Instant)
    sent_at: datetime | None = Field(default=None, sa_type=Instant)
    read_at: datetime | None = Field(default=None, sa_type=Instant)


class Event(SQLModel, table=True):
    """The feed: what happened, written in the transaction of its cause; ``place`` is given by the sequencer."""

    __tablename__ = "event"
    id: str = Field(primary_key=True, sa_type=Identifier)
    place: int | None = Field(default=None, unique=True, sa_type=Micros)
    at: datetime = Field(sa_type=Instant)
    kind: str
    terminal_id: str | None = Field(default=None, sa_type=Identifier)
    subscriber_id: str | None = Field(default=None, sa_type=Identifier)
    account_id: str | None = Field(default=None, sa_type=Identifier)
    reference: str = ""
    data: dict[str, Any] = Field(default_factory=dict, sa_column=Column(Json, nullable=False))
