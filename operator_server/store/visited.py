"""Visited networks: our feature codes, partner operators, their mobiles here, ours elsewhere, and what is settled."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Column, Index
from sqlmodel import Field, SQLModel

from charging.columns import Digest, Identifier, Instant, Json, Micros


class FeatureTableRow(SQLModel, table=True):
    """Our feature codes as loaded; mobiles compare ``sequence``. The newest holds."""

    __tablename__ = "feature_table"
    sequence: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    digest: bytes = Field(sa_type=Digest)
    document: bytes
    loaded_at: datetime = Field(sa_type=Instant)


class RoamingPartner(SQLModel, table=True):
    """An operator whose mobiles may come here, and to whom ours may go.

    ``url``: where it listens. ``certificate`` (PEM): by which each side knows it, whoever calls; ``fingerprint`` is its
    SHA-256 in hex. Both are empty for one that was agreed on before there were certificates: it must be introduced.
    """

    __tablename__ = "roaming_partner"
    network: str = Field(primary_key=True, sa_type=Identifier)
    name: str
    url: str = ""
    certificate: str = Field(default="", sa_column_kwargs={"server_default": ""})
    fingerprint: str = Field(default="", max_length=64, index=True, sa_column_kwargs={"server_default": ""})
    status: str = "active"
    created_at: datetime = Field(sa_type=Instant)


class Roamer(SQLModel, table=True):
    """A terminal of ours that may roam. ``sealed_secret``: from which the keys of features are made.

    ``network``: where it registered last, with the message that counted ``heard``.
    """

    __tablename__ = "roamer"
    terminal_id: str = Field(primary_key=True, foreign_key="terminal.id", sa_type=Identifier)
    sealed_secret: bytes
    network: str = Field(default="", sa_type=Identifier)
    heard: int = Field(default=0, sa_type=Micros)
    registered_at: datetime | None = Field(default=None, sa_type=Instant)
    created_at: datetime = Field(sa_type=Instant)


class VisitorRow(SQLModel, table=True):
    """A mobile that is registered here. ``codes``: its home network's, as home told them; ``features``: those it has.

    ``heard``: the counter of its last message. ``waiting``: the one message about a feature with a surcharge that is
    outstanding. ``paid``: feature to its number and key; ``active``: features that are switched on; ``told``: new
    features that its user was told of.
    """

    __tablename__ = "visitor"
    network: str = Field(primary_key=True, sa_type=Identifier)
    terminal: str = Field(primary_key=True, sa_type=Identifier)
    public_key: bytes
    language: str = ""
    display: bool = True
    heard: int = Field(default=0, sa_type=Micros)
    codes: list[dict[str, Any]] = Field(default_factory=list, sa_column=Column(Json, nullable=False))
    features: list[str] = Field(default_factory=list, sa_column=Column(Json, nullable=False))
    waiting: dict[str, Any] = Field(default_factory=dict, sa_column=Column(Json, nullable=False))
    paid: dict[str, Any] = Field(default_factory=dict, sa_column=Column(Json, nullable=False))
    active: list[str] = Field(default_factory=list, sa_column=Column(Json, nullable=False))
    told: list[str] = Field(default_factory=list, sa_column=Column(Json, nullable=False))
    registered_at: datetime = Field(sa_type=Instant)


class RoamingQuote(SQLModel, table=True):
    """A quote of ours that a visited network shows to our subscriber. ``amount``: micros that we shall owe for it."""

    __tablename__ = "roaming_quote"
    quote_id: str = Field(primary_key=True, foreign_key="quote.id", sa_type=Identifier)
    network: str = Field(sa_type=Identifier)
    terminal_id: str = Field(sa_type=Identifier)
    feature: str = Field(max_length=32)
    ef: int
    amount: int = Field(sa_type=Micros)
    currency: str = Field(max_length=3)
    quoted_at: datetime = Field(sa_type=Instant)


class SettlementRecord(SQLModel, table=True):
    """What one operator owes another for a feature. ``direction``: ``receivable`` or ``payable``; both keep one.

    ``state``: waiting (not acknowledged by home), acknowledged or refused. ``amount``: micros net. ``confirmation`` and
    ``signature``: the subscriber's yes. ``digest``: over all that both sides must hold alike. ``transfer_id``: its
    ledger transfer, made when it is acknowledged.
    """

    __tablename__ = "settlement_record"
    __table_args__ = (
        Index("settlement_due", "state", "due_at"),
        Index("settlement_month", "network", "direction", "agreed_at"),
        Index("settlement_when", "agreed_at", "id"),
    )
    id: str = Field(primary_key=True, sa_type=Identifier)
    direction: str = Field(max_length=16)
    network: str = Field(foreign_key="roaming_partner.network", sa_type=Identifier)
    terminal: str = Field(sa_type=Identifier)
    feature: str = Field(max_length=32)
    ef: int
    quote_id: str = Field(sa_type=Identifier)
    agreement_id: str = Field(sa_type=Identifier)
    amount: int = Field(sa_type=Micros)
    currency: str = Field(max_length=3)
    agreed_at: datetime = Field(sa_type=Instant)
    confirmation: bytes
    signature: bytes
    digest: bytes = Field(sa_type=Digest)
    state: str = "waiting"
    reason: str = ""
    attempts: int = 0
    due_at: datetime = Field(sa_type=Instant)
    done_at: datetime | None = Field(default=None, sa_type=Instant)
    transfer_id: str | None = Field(default=None, sa_type=Identifier)


class SettlementDispute(SQLModel, table=True):
    """A record on which the two sides differ, and ``what`` differs. ``raised_by``: ``us`` or ``them``.

    ``direction``: ours, whoever raised it. ``seen_at``: when it was found last; ``closed_at``: when it was gone.
    """

    __tablename__ = "settlement_dispute"
    network: str = Field(primary_key=True, foreign_key="roaming_partner.network", sa_type=Identifier)
    direction: str = Field(primary_key=True, max_length=16)
    record_id: str = Field(primary_key=True, sa_type=Identifier)
    raised_by: str = Field(primary_key=True, max_length=8)
    month: str = Field(max_length=16)
    what: str = Field(max_length=300)
    found_at: datetime = Field(sa_type=Instant)
    seen_at: datetime = Field(sa_type=Instant)
    closed_at: datetime | None = Field(default=None, sa_type=Instant)
