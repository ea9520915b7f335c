"""SIM cards with our applet: their keys, counters, what each was shown last, and messages on their way to them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Column, Index, select, update
from sqlmodel import Field, SQLModel

from charging.columns import Identifier, Instant, Json, Micros
from operator_server.store.rows import table


class CardMaster(SQLModel, table=True):
    """A master key that cards' keys are derived from, sealed by the vault. ``number``: of the key set, 1 to 15."""

    __tablename__ = "card_master"
    number: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    sealed: bytes
    created_at: datetime = Field(sa_type=Instant)


class Card(SQLModel, table=True):
    """A terminal that is a card. ``sent`` and ``heard``: counters of the last packet to it and from it.

    ``menu``: pairs of offer and version as last shown, in order; ``menu_number`` names that menu. ``route``: how it was
    heard last, ``sms`` or ``link``; ``carrier``: the terminal over whose link. ``inquired``: why it is being asked for
    its code, empty when it is not; ``pending_code``: a code of which the sections are awaited.
    """

    __tablename__ = "card"
    terminal_id: str = Field(primary_key=True, foreign_key="terminal.id", sa_type=Identifier)
    iccid: str = Field(unique=True, max_length=20)
    imsi: str = Field(default="", max_length=15)
    msisdn: str = Field(unique=True, max_length=21)
    key_number: int = 1
    sealed_keys: bytes
    sent: int = Field(default=0, sa_type=Micros)
    heard: int = Field(default=0, sa_type=Micros)
    language: str = "en"
    route: str = "sms"
    carrier: str = Field(default="", sa_type=Identifier)
    menu_number: int = 0
    menu: list[list[str]] = Field(default_factory=list, sa_column=Column(Json, nullable=False))
    inquired: str = ""
    inquired_at: datetime | None = Field(default=None, sa_type=Instant)
    pending_code: bytes | None = None
    heard_at: datetime | None = Field(default=None, sa_type=Instant)
    created_at: datetime = Field(sa_type=Instant)


class CardPacketRow(SQLModel, table=True):
    """A packet on its way to a card. ``state``: waiting, sent, received (the card says so), refused or failed.

    ``packet``: the secured packet, whose counter is ``counter``. ``receipt``: a proof of receipt is asked for.
    """

    __tablename__ = "card_packet"
    __table_args__ = (
        Index("card_packet_due", "state", "route", "due_at"),
        Index("card_packet_counter", "terminal_id", "counter", unique=True),
    )
    id: str = Field(primary_key=True, sa_type=Identifier)
    terminal_id: str = Field(foreign_key="card.terminal_id", sa_type=Identifier)
    kind: str = Field(max_length=32)
    counter: int = Field(sa_type=Micros)
    packet: bytes
    receipt: bool = False
    route: str
    created_at: datetime = Field(sa_type=Instant)
    due_at: datetime = Field(sa_type=Instant)
    attempts: int = 0
    state: str = "waiting"
    reason: str = ""
    sent_at: datetime | None = Field(default=None, sa_type=Instant)
    done_at: datetime | None = Field(default=None, sa_type=Instant)


class CardPartRow(SQLModel, table=True):
    """A part of a message that came from a card and is not whole yet: ``number`` of ``total`` with this ``reference``.

    ``sender``: way and card. ``content``: header and data as they came.
    """

    __tablename__ = "card_part"
    sender: str = Field(primary_key=True, max_length=160)
    reference: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    total: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    number: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    content: bytes
    at: datetime = Field(sa_type=Instant)


class CardQuote(SQLModel, table=True):
    """A quote as a card was sent it: with the agreement's proof it tells what its user saw."""

    __tablename__ = "card_quote"
    quote_id: str = Field(primary_key=True, foreign_key="quote.id", sa_type=Identifier)
    terminal_id: str = Field(foreign_key="card.terminal_id", index=True, sa_type=Identifier)
    shown: bytes


def card_row(connection: Any, **where: str) -> Any:
    """The card with this ``terminal_id``, ``iccid`` or ``msisdn``; ``None`` where there is none."""
    card = table(Card)
    [(name, value)] = where.items()
    return connection.execute(select(card).where(card.c[name] == value)).first()


def update_card(connection: Any, terminal: str, **values: Any) -> None:
    """Change these columns of a card's row."""
    card = table(Card)
    connection.execute(update(card).where(card.c.terminal_id == terminal).values(values))
