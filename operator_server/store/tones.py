"""Tones that can be bought, those on their way to cards, and where phones are."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Column, Text
from sqlmodel import Field, SQLModel

from charging.columns import Identifier, Instant, Json


class ToneRow(SQLModel, table=True):
    """A tone. ``id``: the product whose offers sell it; ``kinds``: what it is found under; ``rtttl``: the tune."""

    __tablename__ = "tone"
    id: str = Field(primary_key=True, sa_type=Identifier)
    title: str = Field(max_length=15)
    kinds: list[str] = Field(default_factory=list, sa_column=Column(Json, nullable=False))
    rtttl: str = Field(sa_column=Column(Text, nullable=False))
    added_at: datetime = Field(sa_type=Instant)


class ToneDelivery(SQLModel, table=True):
    """A tone that was agreed on. ``state``: sent, kept, or not_kept; ``packet_id``: the packet that took it last.

    ``form``: smart, rtttl or audio; ``code``: what who is to hear it dials behind the number of the service.
    """

    __tablename__ = "tone_delivery"
    agreement_id: str = Field(primary_key=True, foreign_key="agreement.id", sa_type=Identifier)
    terminal_id: str = Field(foreign_key="card.terminal_id", index=True, sa_type=Identifier)
    tone_id: str = Field(foreign_key="tone.id", sa_type=Identifier)
    packet_id: str = Field(sa_type=Identifier)
    form: str = Field(default="smart", max_length=8)
    code: str = Field(default="", max_length=8)
    state: str = "sent"
    reason: str = ""
    sent_at: datetime = Field(sa_type=Instant)
    done_at: datetime | None = Field(default=None, sa_type=Instant)


class PhoneLocation(SQLModel, table=True):
    """Which node serves a number now (the home register). ``busy``: it holds a connection already."""

    __tablename__ = "phone_location"
    msisdn: str = Field(primary_key=True, max_length=21)
    node: str = Field(sa_type=Identifier)
    busy: bool = False
    updated_at: datetime = Field(sa_type=Instant)


class ToneWish(SQLModel, table=True):
    """How tones are to come to a card. ``form``: smart, rtttl, audio, or empty for what is usual here.

    ``way``: sms or ussd through the nodes that serve phones; empty for the way that the card speaks itself.
    """

    __tablename__ = "tone_wish"
    terminal_id: str = Field(primary_key=True, foreign_key="card.terminal_id", sa_type=Identifier)
    form: str = Field(default="", max_length=8)
    way: str = Field(default="", max_length=8)


class DeliveryReport(SQLModel, table=True):
    """What a serving node, or a short message centre, reports of one message to a phone.

    ``outcome``: delivered, busy, absent or failed. ``steps``: what the node did, in its order; ``channel``: over which.
    """

    __tablename__ = "delivery_report"
    id: str = Field(primary_key=True, sa_type=Identifier)
    at: datetime = Field(sa_type=Instant)
    terminal_id: str = Field(foreign_key="card.terminal_id", index=True, sa_type=Identifier)
    packet_id: str = Field(default="", sa_type=Identifier)
    node: str = Field(default="", sa_type=Identifier)
    way: str = Field(max_length=8)
    outcome: str = Field(max_length=16)
    steps: str = Field(default="", max_length=200)
    channel: str = Field(default="", max_length=8)
    reason: str = Field(default="", max_length=200)
