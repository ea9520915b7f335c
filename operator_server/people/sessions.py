"""Sessions of people at a browser: a new secret at each logon, an idle and an absolute end."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, Engine, Row, delete, or_, select, update

from operator_server.audit import audited
from operator_server.people.passwords import fits
from operator_server.people.persons import person_row
from operator_server.people.roles import ROLES, SELF
from operator_server.store.people import ApiToken, Person, PersonSession
from operator_server.store.rows import add, table
from operator_server.store.store import transact
from signalling.clock import to_micros
from signalling.ids import new_id

SEEN_EVERY = timedelta(minutes=1)
"""How often it is written that a session or token is in use."""
KEPT = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: a person by session or token, with what is permitted now.

    ``actor``: as the audit trail names it. ``session``: id of the session, empty for a token. ``secret``: of the
    session, from which its CSRF token is made. ``stale``: whether to write that it is in use.
    """

    person: str
    name: str
    role: str
    permissions: frozenset[str]
    actor: str
    session: str = ""
    secret: str = ""
    token: str = ""
    must_change: bool = False
    stale: bool = False


def log_on(engine: Engine, name: str, password: str, now: datetime, validity: timedelta) -> str | None:
    """The secret of a new session, ``None`` where name and password do not fit or the person is disabled."""
    with engine.connect() as connection:
        row = person_row(connection, name)
    # Outside of any transaction: it takes as long as twenty commits.
    right = fits(password, row.password_hash if row is not None else "")
    if row is None or not right or row.status != "active":
        known = f"person/{name}" if row is not None else "person/(unknown)"
        transact(engine, lambda c: audited(c, "system", "logon.refused", known, None, None, now))
        return None
    secret = secrets.token_urlsafe(32)
    return secret if transact(engine, lambda c: _open(c, row, secret, now, validity)) else None


def _open(connection: Connection, known: Row[Any], secret: str, now: datetime, validity: timedelta) -> bool:
    row, person, session = person_row(connection, known.name), table(Person), table(PersonSession)
    if row is None or row.status != "active" or row.password_hash != known.password_hash:
        return False
    connection.execute(delete(session).where(session.c.person_id == row.id, session.c.expires_at < now - KEPT))
    add(
        connection,
        PersonSession(
            id=new_id(to_micros(now)), secret_digest=_digest(secret), person_id=row.id, opened_at=now, seen_at=now,
            expires_at=now + validity,
        ),
    )  # fmt: skip
    connection.execute(update(person).where(person.c.id == row.id).values(logon_at=now))
    audited(connection, f"person:{row.name}", "logon", f"person/{row.name}", None, None, now)
    return True


def find_session(connection: Connection, secret: str, now: datetime, idle: timedelta) -> Caller | None:
    """Who the session's secret stands for, ``None`` where it ended, is over or was idle for too long."""
    session, person = table(PersonSession), table(Person)
    row = connection.execute(
        select(session, person.c.name, person.c.role, person.c.must_change)
        .join(person, person.c.id == session.c.person_id)
        .where(session.c.secret_digest == _digest(secret), person.c.status == "active")
    ).first()
    if row is None or row.ended_at is not None or now >= row.expires_at or now >= row.seen_at + idle:
        return None
    permissions = frozenset({SELF}) if row.must_change else ROLES.get(row.role, frozenset())
    return Caller(
        row.person_id, row.name, row.role, permissions, f"person:{row.name}", session=row.id, secret=secret,
        must_change=row.must_change, stale=now >= row.seen_at + SEEN_EVERY,
    )  # fmt: skip


def find_token(connection: Connection, secret: str, now: datetime) -> Caller | None:
    """Who the bearer token stands for, ``None`` where it is unknown, revoked or over, or its person disabled."""
    token, person = table(ApiToken), table(Person)
    row = connection.execute(
        select(token, person.c.name, person.c.role)
        .join(person, person.c.id == token.c.person_id)
        .where(token.c.secret_digest == _digest(secret), person.c.status == "active")
    ).first()
    if row is None or row.revoked_at is not None or now >= row.expires_at:
        return None
    return Caller(
        row.person_id, row.name, row.role, ROLES.get(row.role, frozenset()).intersection([*row.scopes, SELF]),
        f"token:{row.id} ({row.name})", token=row.id, stale=row.used_at is None or now >= row.used_at + SEEN_EVERY,
    )  # fmt: skip


def note_use(connection: Connection, caller: Caller, now: datetime) -> None:
    """Write that a session or token is in use."""
    if caller.session:
        session = table(PersonSession)
        connection.execute(update(session).where(session.c.id == caller.session).values(seen_at=now))
    elif caller.token:
        token = table(ApiToken)
        connection.execute(
            update(token)
            .where(token.c.id == caller.token, or_(token.c.used_at.is_(None), token.c.used_at < now))
            .values(used_at=now)
        )


def log_off(connection: Connection, caller: Caller, now: datetime) -> None:
    """End the caller's session."""
    session = table(PersonSession)
    connection.execute(update(session).where(session.c.id == caller.session).values(ended_at=now))
    audited(connection, caller.actor, "logoff", f"person/{caller.name}", None, None, now)


def _digest(secret: str) -> bytes:
    return sha256(secret.encode()).digest()
