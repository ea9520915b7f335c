"""One-time links to the offers page, and the sessions that they open.

A link carries 32 random bytes, a session's cookie 32 others; the store holds the SHA-256 of each alone. Whoever opens
a link uses it up: what is posted afterwards is proved by the session, which names the link.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Connection, Row, select, update

from operator_server.store.devices import WebToken
from operator_server.store.invitations import WebSession
from operator_server.store.rows import add, table
from signalling.clock import to_micros
from signalling.ids import new_id

TOKEN_BYTES = 32
PURPOSE = "menu"

LinkState = Literal["open", "used", "expired"]


@dataclass(frozen=True, slots=True)
class Session:
    """An open page: which link opened it, for which device and subscriber."""

    id: str
    token: str
    token_digest: bytes
    terminal: str
    subscriber: str
    expires: datetime


def text_of(secret: bytes) -> str:
    """The secret as it stands in a link or a cookie."""
    return base64.urlsafe_b64encode(secret).rstrip(b"=").decode()


def _digest_of(text: str) -> bytes | None:
    """SHA-256 of the secret that this text stands for; ``None`` where it can be none."""
    try:
        secret = base64.urlsafe_b64decode(text.encode("ascii") + b"=")
    except (binascii.Error, UnicodeEncodeError, ValueError):
        return None
    if len(secret) != TOKEN_BYTES or text_of(secret) != text:
        return None
    return hashlib.sha256(secret).digest()


def make_link(
    connection: Connection, terminal: str, subscriber: str, now: datetime, validity: timedelta
) -> tuple[str, bytes]:
    """A new link's id and its secret, which nobody can read from the store again."""
    secret, token = secrets.token_bytes(TOKEN_BYTES), new_id(to_micros(now))
    add(
        connection,
        WebToken(
            id=token,
            token_digest=hashlib.sha256(secret).digest(),
            terminal_id=terminal,
            subscriber_id=subscriber,
            created_at=now,
            expires_at=now + validity,
            purpose=PURPOSE,
        ),
    )
    return token, secret


def find_link(connection: Connection, text: str) -> Row[Any] | None:
    """The link with this token, whatever became of it."""
    digest, tokens = _digest_of(text), table(WebToken)
    if digest is None:
        return None
    return connection.execute(
        select(tokens).where(tokens.c.token_digest == digest, tokens.c.purpose == PURPOSE)
    ).first()


def state_of(link: Row[Any], now: datetime) -> LinkState:
    """What can be done with a link."""
    if link.used_at is not None:
        return "used"
    return "expired" if now >= link.expires_at else "open"


def open_session(connection: Connection, link: Row[Any], now: datetime, validity: timedelta) -> str | None:
    """Use a link up: the new session's secret for the cookie, or ``None`` where the link cannot be opened any more."""
    tokens = table(WebToken)
    opened = connection.execute(
        update(tokens)
        .where(tokens.c.id == link.id, tokens.c.used_at.is_(None), tokens.c.expires_at > now)
        .values(used_at=now)
    )
    if opened.rowcount != 1:
        return None
    secret = secrets.token_bytes(TOKEN_BYTES)
    add(
        connection,
        WebSession(
            id=new_id(to_micros(now)),
            secret_digest=hashlib.sha256(secret).digest(),
            token_id=link.id,
            terminal_id=link.terminal_id,
            subscriber_id=link.subscriber_id,
            opened_at=now,
            expires_at=now + validity,
        ),
    )
    return text_of(secret)


def find_session(connection: Connection, text: str, now: datetime) -> Session | None:
    """The session of this cookie while it is open."""
    digest, sessions, tokens = _digest_of(text), table(WebSession), table(WebToken)
    if digest is None:
        return None
    row = connection.execute(
        select(sessions, tokens.c.token_digest)
        .join(tokens, tokens.c.id == sessions.c.token_id)
        .where(sessions.c.secret_digest == digest, sessions.c.ended_at.is_(None), sessions.c.expires_at > now)
    ).first()
    if row is None:
        return None
    return Session(row.id, row.token_id, row.token_digest, row.terminal_id, row.subscriber_id, row.expires_at)


def end_session(connection: Connection, session: Session, now: datetime) -> None:
    """Close the page."""
    sessions = table(WebSession)
    connection.execute(update(sessions).where(sessions.c.id == session.id).values(ended_at=now))
