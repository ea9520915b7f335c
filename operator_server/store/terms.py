"""How agreements run in time: trials, periods, their end, announced prices; and what a subscriber lets them spend."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index
from sqlmodel import Field, SQLModel

from charging.columns import Identifier, Instant, Micros


class AgreementTerm(SQLModel, table=True):
    """An agreement that has periods, a trial or an end. ``state``: trial, running, ended.

    ``charged_from``: where the first charged period begins; ``periods``: how many periods are charged; ``next_at``:
    when the worker next has something to do, null for never. ``warn_at``: when the user is to be told that the trial
    ends, null once that is done. ``cancelled_at``: when the user cancelled; ``ends_at``: when that takes effect.
    """

    __tablename__ = "agreement_term"
    __table_args__ = (Index("agreement_term_due", "next_at"),)
    agreement_id: str = Field(primary_key=True, foreign_key="agreement.id", sa_type=Identifier)
    state: str = Field(max_length=16)
    started_at: datetime = Field(sa_type=Instant)
    trial_ends_at: datetime | None = Field(default=None, sa_type=Instant)
    warn_at: datetime | None = Field(default=None, sa_type=Instant)
    charged_from: datetime = Field(sa_type=Instant)
    periods: int = 0
    next_at: datetime | None = Field(default=None, sa_type=Instant)
    minimum_until: datetime | None = Field(default=None, sa_type=Instant)
    cancelled_at: datetime | None = Field(default=None, sa_type=Instant)
    ends_at: datetime | None = Field(default=None, sa_type=Instant)
    reason: str = ""


class AgreementPrice(SQLModel, table=True):
    """A price that was announced to the user of an agreement, as its terms allow; it holds from ``effective_at`` on."""

    __tablename__ = "agreement_price"
    agreement_id: str = Field(primary_key=True, foreign_key="agreement.id", sa_type=Identifier)
    effective_at: datetime = Field(primary_key=True, sa_type=Instant)
    announced_at: datetime = Field(sa_type=Instant)
    amount: int = Field(default=0, sa_type=Micros)
    tariff_version: str = ""


class SubscriberLimit(SQLModel, table=True):
    """What all of a subscriber's agreements together may cost in a month, micros net of ``currency``."""

    __tablename__ = "subscriber_limit"
    subscriber_id: str = Field(primary_key=True, foreign_key="subscriber.id", sa_type=Identifier)
    currency: str = Field(primary_key=True, max_length=3)
    amount: int = Field(sa_type=Micros)
    set_at: datetime = Field(sa_type=Instant)
