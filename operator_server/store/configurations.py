"""What terminals are made of and when they were asked."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index
from sqlmodel import Field, SQLModel

from charging.columns import Digest, Identifier, Instant


class Section(SQLModel, table=True):
    """The canonical form of a section, under its digest; fetched once whoever brings it first."""

    __tablename__ = "section"
    digest: bytes = Field(primary_key=True, sa_type=Digest)
    name: str
    canonical: bytes
    first_terminal: str = Field(sa_type=Identifier)
    first_seen_at: datetime = Field(sa_type=Instant)


class ConfigurationRow(SQLModel, table=True):
    """A configuration code and the sections it is made of."""

    __tablename__ = "configuration"
    code: bytes = Field(primary_key=True, sa_type=Digest)
    hardware: bytes = Field(sa_type=Digest)
    firmware: bytes = Field(sa_type=Digest)
    base_software: bytes = Field(sa_type=Digest)
    catalogue_items: bytes = Field(sa_type=Digest)
    first_terminal: str = Field(sa_type=Identifier)
    first_seen_at: datetime = Field(sa_type=Instant)


class Interrogation(SQLModel, table=True):
    """One inquiry and its outcome: answered, no_answer or refused.

    ``changed``: names of the sections that differ from the terminal's answer before, comma-separated. ``shown``: the
    versions of the offers that went out as the menu of this interrogation, separated by blanks.
    """

    __tablename__ = "interrogation"
    __table_args__ = (Index("interrogation_terminal", "terminal_id", "at"),)
    id: str = Field(primary_key=True, sa_type=Identifier)
    terminal_id: str = Field(sa_type=Identifier)
    trigger: str
    at: datetime = Field(sa_type=Instant)
    outcome: str
    code: bytes | None = Field(default=None, sa_type=Digest)
    previous_code: bytes | None = Field(default=None, sa_type=Digest)
    changed: str = ""
    sections_fetched: int = 0
    subscriber_id: str | None = Field(default=None, sa_type=Identifier)
    shown: str = ""
    reason: str = ""


class InterrogationPlan(SQLModel, table=True):
    """A calendar plan's stored state: when its next occurrence is due, and what to do about one that was missed."""

    __tablename__ = "interrogation_plan"
    name: str = Field(primary_key=True)
    kind: str
    expression: str
    jitter_seconds: int
    missed: str
    next_due_at: datetime = Field(sa_type=Instant)
    last_due_at: datetime | None = Field(default=None, sa_type=Instant)


class InterrogationOrder(SQLModel, table=True):
    """A person's order to interrogate one terminal: open, done, no_answer or not_connected."""

    __tablename__ = "interrogation_order"
    id: str = Field(primary_key=True, sa_type=Identifier)
    terminal_id: str = Field(index=True, sa_type=Identifier)
    ordered_at: datetime = Field(sa_type=Instant)
    state: str = Field(default="open", index=True)
    interrogation_id: str | None = Field(default=None, sa_type=Identifier)
