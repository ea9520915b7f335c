"""Tokens of scripts: shown once, kept as SHA-256 (256 random bits need no slow hash), scoped, revocable, expiring."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, Row, select, update

from operator_server.audit import audited
from operator_server.people.persons import PersonError, UnknownPerson, person_row
from operator_server.people.roles import checked_scopes
from operator_server.store.people import ApiToken, Person
from operator_server.store.rows import add, matching, table
from signalling.clock import to_micros
from signalling.ids import new_id

PREFIX = "tollgate_"
"""How tokens begin, so that scanners of leaked secrets find them."""
LONGEST = timedelta(days=3660)


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token as made; ``secret`` is told once and kept nowhere."""

    id: str
    secret: str
    scopes: list[str]
    expires_at: datetime


def create_token(
    connection: Connection,
    person: str,
    label: str,
    scopes: Iterable[str],
    validity: timedelta,
    now: datetime,
    *,
    actor: str,
) -> NewToken:
    """A token by which scripts act for a person, within ``scopes`` and the person's role.

    Raises :class:`PersonError` and :class:`operator_server.people.roles.UnknownRole`.
    """
    row = person_row(connection, person)
    if row is None:
        raise UnknownPerson(f"user {person}: there is none; `tollgate user list` shows all")
    if not label.strip() or len(label) > 100:
        raise PersonError("label: 1 to 100 characters that say what the token is for")
    if not timedelta() < validity <= LONGEST:
        raise PersonError(f"validity: more than nothing and at most {LONGEST.days} days")
    made = NewToken(
        new_id(to_micros(now)), PREFIX + secrets.token_urlsafe(32), checked_scopes(scopes, row.role), now + validity
    )
    add(
        connection,
        ApiToken(
            id=made.id, label=label, secret_digest=sha256(made.secret.encode()).digest(), person_id=row.id,
            scopes=made.scopes, created_at=now, expires_at=made.expires_at,
        ),
    )  # fmt: skip
    told = {"person": person, "label": label, "scopes": made.scopes, "expires_at": made.expires_at}
    audited(connection, actor, "token.create", f"token/{made.id}", None, told, now)
    return made


def tokens(connection: Connection, person: str = "") -> list[Row[Any]]:
    """All tokens, or those of one person, newest first, with the person's name as ``person``."""
    token, people = table(ApiToken), table(Person)
    columns = [column for column in token.c if column.name != "secret_digest"]
    query = (
        select(*columns, people.c.name.label("person"))
        .join(people, people.c.id == token.c.person_id)
        .order_by(token.c.id.desc())
    )
    return list(connection.execute(matching(query, (people.c.name, person))))


def revoke_token(connection: Connection, token_id: str, now: datetime, *, actor: str) -> None:
    """End a token. Raises :class:`PersonError` where there is none, or it was revoked before."""
    token = table(ApiToken)
    row = connection.execute(select(token).where(token.c.id == token_id)).first()
    if row is None:
        raise UnknownPerson(f"token {token_id}: there is none; `tollgate token list` shows all")
    if row.revoked_at is not None:
        raise PersonError(f"token {token_id}: was revoked at {row.revoked_at:%Y-%m-%d %H:%M} already")
    connection.execute(update(token).where(token.c.id == token_id).values(revoked_at=now))
    audited(connection, actor, "token.revoke", f"token/{token_id}", {"revoked": False}, {"revoked": True}, now)
