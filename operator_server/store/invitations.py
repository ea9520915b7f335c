"""Links to the offers page on their way to devices' users, and the pages that such links opened."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Column, Index
from sqlmodel import Field, SQLModel

from charging.columns import Digest, Identifier, Instant, Json


class Invitation(SQLModel, table=True):
    """An offer that a subscriber was told of by a message about one device; it is not told of again."""

    __tablename__ = "invitation"
    terminal_id: str = Field(primary_key=True, foreign_key="terminal.id", sa_type=Identifier)
    subscriber_id: str = Field(primary_key=True, foreign_key="subscriber.id", sa_type=Identifier)
    offer_id: str = Field(primary_key=True, sa_type=Identifier)
    message_id: str = Field(index=True, sa_type=Identifier)
    invited_at: datetime = Field(sa_type=Instant)


class OutgoingMessage(SQLModel, table=True):
    """A message to a device's user. ``state``: waiting, sent or failed.

    ``titles``: of the offers that it tells of. ``sealed_token``: the link's token under the key vault, absent once the
    message is sent or has failed. ``due_at``: when it is to be tried (again). ``reason``: what the last try met.
    """

    __tablename__ = "outgoing_message"
    __table_args__ = (Index("outgoing_message_due", "state", "due_at"),)
    id: str = Field(primary_key=True, sa_type=Identifier)
    terminal_id: str = Field(foreign_key="terminal.id", index=True, sa_type=Identifier)
    subscriber_id: str = Field(foreign_key="subscriber.id", sa_type=Identifier)
    token_id: str = Field(foreign_key="web_token.id", sa_type=Identifier)
    recipient: str
    language: str
    titles: list[str] = Field(default_factory=list, sa_column=Column(Json, nullable=False))
    sealed_token: bytes | None = None
    created_at: datetime = Field(sa_type=Instant)
    due_at: datetime = Field(sa_type=Instant)
    attempts: int = 0
    state: str = "waiting"
    reason: str = ""
    sent_at: datetime | None = Field(default=None, sa_type=Instant)


class WebSession(SQLModel, table=True):
    """A page that a link opened: its secret is in the browser's cookie, its digest here."""

    __tablename__ = "web_session"
    id: str = Field(primary_key=True, sa_type=Identifier)
    secret_digest: bytes = Field(unique=True, sa_type=Digest)
    token_id: str = Field(foreign_key="web_token.id", index=True, sa_type=Identifier)
    terminal_id: str = Field(foreign_key="terminal.id", sa_type=Identifier)
    subscriber_id: str = Field(foreign_key="subscriber.id", sa_type=Identifier)
    opened_at: datetime = Field(sa_type=Instant)
    expires_at: datetime = Field(sa_type=Instant)
    ended_at: datetime | None = Field(default=None, sa_type=Instant)
