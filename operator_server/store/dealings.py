"""What was offered, rejected, agreed and delivered."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Column, Index
from sqlmodel import Field, SQLModel

from charging.columns import Digest, Identifier, Instant, Json, Micros


class OfferVersion(SQLModel, table=True):
    """An offer as the catalogue held it; ``id`` is ``offer@digest``. What was shown keeps its version."""

    __tablename__ = "offer_version"
    id: str = Field(primary_key=True, sa_type=Identifier)
    offer_id: str = Field(index=True, sa_type=Identifier)
    product: str = Field(sa_type=Identifier)
    content: dict[str, Any] = Field(sa_column=Column(Json, nullable=False))
    first_loaded_at: datetime = Field(sa_type=Instant)


class TariffVersionRow(SQLModel, table=True):
    """A tariff version as it was loaded, so that what was agreed and rated keeps it when the file changes."""

    __tablename__ = "tariff_version"
    id: str = Field(primary_key=True, max_length=160)
    tariff_id: str = Field(index=True, sa_type=Identifier)
    content: str
    effective_from: datetime = Field(sa_type=Instant)
    first_loaded_at: datetime = Field(sa_type=Instant)


class Release(SQLModel, table=True):
    """A published package of a product. ``status``: valid or revoked; past ``valid_until`` it is expired.

    ``digest``: SHA-256 of the package as published; ``sha256`` and ``length``: of the file as served, which differs
    when it is ``sealed``. ``sealed_key``: the content key under the operator's key-encryption key.
    """

    __tablename__ = "release"
    product: str = Field(primary_key=True, sa_type=Identifier)
    version: str = Field(primary_key=True, sa_type=Identifier)
    digest: bytes = Field(sa_type=Digest)
    target: str
    sha256: bytes = Field(sa_type=Digest)
    length: int
    sealed: bool
    sealed_key: bytes | None = None
    status: str = "valid"
    reason: str = ""
    valid_until: datetime | None = Field(default=None, sa_type=Instant)
    published_at: datetime = Field(sa_type=Instant)


class Rejection(SQLModel, table=True):
    """The reject signal storage area (claims 3 and 17). Ends at ``until_at``, or never."""

    __tablename__ = "rejection"
    __table_args__ = (Index("rejection_subscriber", "subscriber_id", "product"),)
    id: str = Field(primary_key=True, sa_type=Identifier)
    subscriber_id: str = Field(sa_type=Identifier)
    terminal_id: str = Field(sa_type=Identifier)
    product: str = Field(sa_type=Identifier)
    offer_id: str = Field(sa_type=Identifier)
    offer_version: str = Field(sa_type=Identifier)
    price_digest: str = ""
    release: str = Field(sa_type=Identifier)
    rejected_at: datetime = Field(sa_type=Instant)
    until_at: datetime | None = Field(default=None, sa_type=Instant)
    reason: str = ""
    undone_at: datetime | None = Field(default=None, sa_type=Instant)
    undone_by: str = ""
    undo_reason: str = ""


class QuoteRow(SQLModel, table=True):
    """A quote as signed by the server. ``state``: open, agreed, declined, superseded."""

    __tablename__ = "quote"
    id: str = Field(primary_key=True, sa_type=Identifier)
    subscriber_id: str = Field(index=True, sa_type=Identifier)
    terminal_id: str = Field(sa_type=Identifier)
    offer_id: str = Field(sa_type=Identifier)
    offer_version: str = Field(sa_type=Identifier)
    mode: str = Field(sa_type=Identifier)
    document: bytes
    signature: bytes
    issued_at: datetime = Field(sa_type=Instant)
    expires_at: datetime = Field(sa_type=Instant)
    round: int = 1
    in_place_of: str | None = Field(default=None, sa_type=Identifier)
    state: str = "open"


class Agreement(SQLModel, table=True):
    """A closed negotiation with both parties' evidence. ``state``: agreed, granted, installed, failed, ended; or
    standing, for one that the operator keeps and by which nothing is delivered.

    ``evidence_kind``: ed25519 (a terminal's signature), card_mac, web_token, operator (a standing agreement);
    ``confirmation`` and ``proof`` are the bytes as received. ``reservation_id``: the ledger's reservation that
    backs it, until it is captured. ``amount`` is the price as quoted, which contains the tax where ``tax_included``
    says so (basis points).
    """

    __tablename__ = "agreement"
    id: str = Field(primary_key=True, sa_type=Identifier)
    quote_id: str = Field(foreign_key="quote.id", unique=True, sa_type=Identifier)
    subscriber_id: str = Field(index=True, sa_type=Identifier)
    account_id: str = Field(index=True, sa_type=Identifier)
    terminal_id: str = Field(sa_type=Identifier)
    offer_id: str = Field(sa_type=Identifier)
    offer_version: str = Field(sa_type=Identifier)
    product: str = Field(sa_type=Identifier)
    release: str = Field(sa_type=Identifier)
    mode: str = Field(sa_type=Identifier)
    mode_kind: str
    currency: str = Field(max_length=3)
    amount: int = Field(sa_type=Micros)
    tax_category: str = ""
    tax_rate: int = 0
    tax_included: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    spending_limit: int | None = Field(default=None, sa_type=Micros)
    tariff_version: str = ""
    evidence_kind: str
    confirmation: bytes
    proof: bytes
    digest: bytes = Field(sa_type=Digest)
    agreed_at: datetime = Field(sa_type=Instant)
    reservation_id: str | None = Field(default=None, sa_type=Identifier)
    state: str = "agreed"


class Installation(SQLModel, table=True):
    """An item on a terminal that came by one agreement; its counters report under its id."""

    __tablename__ = "installation"
    id: str = Field(primary_key=True, sa_type=Identifier)
    agreement_id: str = Field(foreign_key="agreement.id", unique=True, sa_type=Identifier)
    terminal_id: str = Field(index=True, sa_type=Identifier)
    product: str = Field(sa_type=Identifier)
    release: str = Field(sa_type=Identifier)
    digest: bytes = Field(sa_type=Digest)
    installed_at: datetime | None = Field(default=None, sa_type=Instant)
    removed_at: datetime | None = Field(default=None, sa_type=Instant)


class Delivery(SQLModel, table=True):
    """One delivery an agreement, however often its steps are retried. ``state``: granted, installed, failed."""

    __tablename__ = "delivery"
    agreement_id: str = Field(primary_key=True, sa_type=Identifier)
    installation_id: str = Field(foreign_key="installation.id", sa_type=Identifier)
    grant: bytes
    grant_signature: bytes
    granted_at: datetime = Field(sa_type=Instant)
    expires_at: datetime = Field(sa_type=Instant)
    receipt: bytes | None = None
    receipt_signature: bytes | None = None
    reason: str = ""
    finished_at: datetime | None = Field(default=None, sa_type=Instant)
    state: str = "granted"
