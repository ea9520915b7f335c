"""People, their sessions and tokens, the audit trail, and what was answered to requests that move money."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Column, Index, text
from sqlmodel import Field, SQLModel

from charging.columns import Digest, Identifier, Instant, Json, RowId
from operator_server.store.accounting import Charge, CounterGap, InvoiceRow
from operator_server.store.dealings import Agreement, Rejection
from operator_server.store.parties import Account, Terminal, TerminalSession
from operator_server.store.rows import table


class Person(SQLModel, table=True):
    """Somebody who may log on. ``status``: active or disabled. ``must_change``: the password is for one logon."""

    __tablename__ = "person"
    id: str = Field(primary_key=True, sa_type=Identifier)
    name: str = Field(unique=True, sa_type=Identifier)
    role: str = Field(max_length=16)
    password_hash: str
    must_change: bool = False
    status: str = Field(default="active", max_length=16)
    created_at: datetime = Field(sa_type=Instant)
    password_at: datetime = Field(sa_type=Instant)
    logon_at: datetime | None = Field(default=None, sa_type=Instant)


class PersonSession(SQLModel, table=True):
    """A logon. The cookie holds the secret, the table its SHA-256; ``seen_at`` is kept to the minute."""

    __tablename__ = "person_session"
    id: str = Field(primary_key=True, sa_type=Identifier)
    secret_digest: bytes = Field(unique=True, sa_type=Digest)
    person_id: str = Field(foreign_key="person.id", index=True, sa_type=Identifier)
    opened_at: datetime = Field(sa_type=Instant)
    seen_at: datetime = Field(sa_type=Instant)
    expires_at: datetime = Field(sa_type=Instant)
    ended_at: datetime | None = Field(default=None, sa_type=Instant)


class ApiToken(SQLModel, table=True):
    """A script's token, shown once; ``secret_digest`` is its SHA-256. ``scopes``: permissions that it carries."""

    __tablename__ = "api_token"
    id: str = Field(primary_key=True, sa_type=Identifier)
    label: str
    secret_digest: bytes = Field(unique=True, sa_type=Digest)
    person_id: str = Field(foreign_key="person.id", index=True, sa_type=Identifier)
    scopes: list[str] = Field(sa_column=Column(Json, nullable=False))
    created_at: datetime = Field(sa_type=Instant)
    expires_at: datetime = Field(sa_type=Instant)
    revoked_at: datetime | None = Field(default=None, sa_type=Instant)
    used_at: datetime | None = Field(default=None, sa_type=Instant)


class AuditEntry(SQLModel, table=True):
    """A change that somebody made, written in its transaction and never changed.

    ``digest``: SHA-256 over the digest of the entry before and all of this one, so that a change of an old entry shows.
    """

    __tablename__ = "audit_entry"
    __table_args__ = (
        Index("audit_entry_reference", "reference", "id"),
        Index("audit_entry_actor", "actor", "id"),
        Index("audit_entry_action", "action", "id"),
    )
    id: int | None = Field(default=None, primary_key=True, sa_type=RowId)
    at: datetime = Field(sa_type=Instant)
    actor: str = Field(max_length=160)
    action: str = Field(sa_type=Identifier)
    reference: str = Field(max_length=320)
    before: dict[str, Any] | None = Field(default=None, sa_column=Column(Json))
    after: dict[str, Any] | None = Field(default=None, sa_column=Column(Json))
    digest: bytes = Field(sa_type=Digest)


class AnsweredRequest(SQLModel, table=True):
    """What a request that moves money was answered, by who asked and its Idempotency-Key."""

    __tablename__ = "answered_request"
    actor: str = Field(primary_key=True, max_length=160)
    key: str = Field(primary_key=True, max_length=128)
    request_digest: bytes = Field(sa_type=Digest)
    status: int
    body: bytes
    answered_at: datetime = Field(sa_type=Instant)


# Pages are read by key: each filter that a list offers has an index that ends in the key.
Index("terminal_status", table(Terminal).c.status, table(Terminal).c.id)
Index("terminal_session_code", table(TerminalSession).c.code, table(TerminalSession).c.terminal_id)
Index("account_status", table(Account).c.status, table(Account).c.id)
Index("account_name", table(Account).c.name, table(Account).c.id)
Index("invoice_account_page", table(InvoiceRow).c.account_id, table(InvoiceRow).c.id)
Index("invoice_period_page", table(InvoiceRow).c.period, table(InvoiceRow).c.id)
Index("agreement_state", table(Agreement).c.state, table(Agreement).c.id)
Index("rejection_offer", table(Rejection).c.offer_id, table(Rejection).c.id)

# The overview looks at what is of today or open, however much there was before.
_charge = table(Charge)
_use = text("kind = 'use'")
Index("charge_use", _charge.c.id, sqlite_where=_use, postgresql_where=_use)
Index("charge_recorded", _charge.c.recorded_at, _charge.c.agreement_id, _charge.c.currency, _charge.c.net)
_open_gap, _silent = text("closed_at IS NULL"), text("unanswered > 0")
Index(
    "counter_gap_open", table(CounterGap).c.installation_id, sqlite_where=_open_gap, postgresql_where=_open_gap
)  # fmt: skip
Index(
    "terminal_session_silent", table(TerminalSession).c.terminal_id, sqlite_where=_silent, postgresql_where=_silent
)  # fmt: skip
