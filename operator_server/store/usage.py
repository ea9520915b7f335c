"""Usage that other systems counted and handed in as records."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Column, Index
from sqlmodel import Field, SQLModel

from charging.columns import Digest, Identifier, Instant, Json, Micros


class UsageRecord(SQLModel, table=True):
    """A usage record as it was taken, once for each ``(source, id)``; ``digest`` is of its content.

    ``at`` is when the use was, ``charge_id`` the charge that it became, whose quantity and tariff version are its.
    ``position``: it was the how manieth to be rated by its agreement in its rating period. ``session``: the record of
    the same source that began the session with which this one goes on; without it is one of its own.
    """

    __tablename__ = "usage_record"
    __table_args__ = (Index("usage_record_at", "at"),)
    source: str = Field(primary_key=True, max_length=255)
    id: str = Field(primary_key=True, max_length=255)
    digest: bytes = Field(sa_type=Digest)
    subscriber_id: str = Field(sa_type=Identifier)
    tariff_id: str = Field(sa_type=Identifier)
    quantity: int = Field(sa_type=Micros)
    at: datetime = Field(sa_type=Instant)
    destination: str = ""
    position: int = Field(sa_type=Micros)
    charge_id: str = Field(unique=True, sa_type=Identifier)
    imported_at: datetime = Field(sa_type=Instant)
    session: str | None = Field(default=None, sa_type=Identifier)


class UsageState(SQLModel, table=True):
    """The rating state that the records of a standing agreement carry within a period, and the version it is of.

    ``uses``: records rated so far. Where the tariff counts over the life of the agreement, ``period`` is ``agreement``.
    """

    __tablename__ = "usage_state"
    agreement_id: str = Field(primary_key=True, sa_type=Identifier)
    period: str = Field(primary_key=True, max_length=16)
    tariff_version: str = Field(max_length=160)
    uses: int = Field(sa_type=Micros)
    state: dict[str, Any] = Field(sa_column=Column(Json, nullable=False))
