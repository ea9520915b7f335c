"""People: made, listed, disabled, given a role or a password. Each change is in the audit trail."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Row, func, select, update

from operator_server.audit import audited
from operator_server.people.passwords import OneTimePassword, check_new, fits, hash_password
from operator_server.people.roles import checked_role
from operator_server.store.people import ApiToken, Person, PersonSession
from operator_server.store.rows import add, table
from operator_server.store.store import transact
from signalling.clock import to_micros
from signalling.ids import new_id

_NAME = re.compile(r"[a-z0-9][a-z0-9._@-]{0,63}\Z")


class PersonError(ValueError):
    """Something about a person that cannot be done; the text says what and why."""


class UnknownPerson(PersonError):
    """A name that nobody has."""


class PersonTaken(PersonError):
    """A name that somebody has."""


class WrongPassword(PersonError):
    """Not the present password."""


def person_row(connection: Connection, name: str) -> Row[Any] | None:
    """The person of this name."""
    person = table(Person)
    return connection.execute(select(person).where(person.c.name == name)).first()


def persons(connection: Connection) -> list[Row[Any]]:
    """Everybody, by name."""
    person = table(Person)
    return list(connection.execute(select(person).order_by(person.c.name)))


def create_person(
    connection: Connection, name: str, role: str, password: OneTimePassword, now: datetime, *, actor: str
) -> None:
    """Make a person with a one-time password, to be changed at the first logon.

    Raises :class:`PersonError` and :class:`operator_server.people.roles.UnknownRole`.
    """
    if not _NAME.match(name):
        raise PersonError(f"user {name!r}: 1 to 64 of a-z 0-9 . _ @ - are allowed, the first a letter or digit")
    checked_role(role)
    if person_row(connection, name) is not None:
        raise PersonTaken(f"user {name}: exists already")
    add(
        connection,
        Person(
            id=new_id(to_micros(now)), name=name, role=role, password_hash=password.kept, must_change=True,
            created_at=now, password_at=now,
        ),
    )  # fmt: skip
    audited(connection, actor, "person.create", f"person/{name}", None, {"role": role, "status": "active"}, now)


def set_role(connection: Connection, name: str, role: str, now: datetime, *, actor: str) -> None:
    """Give a person another role. Its sessions end; its tokens keep what both their scopes and the role allow."""
    row = _require(connection, name)
    checked_role(role)
    if row.role == "administrator" != role:
        _keep_one_administrator(connection, row)
    _change(connection, row, role=role)
    _end_sessions(connection, row.id, now)
    audited(connection, actor, "person.role", f"person/{name}", {"role": row.role}, {"role": role}, now)


def set_status(connection: Connection, name: str, status: str, now: datetime, *, actor: str) -> None:
    """Disable a person, whose sessions end and whose tokens no longer work, or let it in again (``active``)."""
    row = _require(connection, name)
    if status not in ("active", "disabled"):
        raise PersonError(f"user {name}: status {status!r} is neither active nor disabled")
    if status == "disabled":
        _keep_one_administrator(connection, row)
        _end_sessions(connection, row.id, now)
    _change(connection, row, status=status)
    audited(connection, actor, "person.status", f"person/{name}", {"status": row.status}, {"status": status}, now)


def reset_password(connection: Connection, name: str, password: OneTimePassword, now: datetime, *, actor: str) -> None:
    """Give a person a one-time password; all of its sessions end."""
    row = _require(connection, name)
    _change(connection, row, password_hash=password.kept, must_change=True, password_at=now)
    _end_sessions(connection, row.id, now)
    audited(connection, actor, "person.password_reset", f"person/{name}", *_chosen(row, now, must_change=True), now)


def change_password(engine: Engine, name: str, old: str, new: str, now: datetime) -> None:
    """Change one's own password. All sessions end; log on anew.

    Raises :class:`PersonError` and :class:`operator_server.people.passwords.UnfitPassword`.
    """
    with engine.connect() as connection:
        row = _require(connection, name)
    if not fits(old, row.password_hash):
        raise WrongPassword("the present password is another one")
    if old == new:
        raise PersonError("the new password is the present one")
    check_new(new, name)
    kept = hash_password(new)

    def change(connection: Connection) -> None:
        if _require(connection, name).password_hash != row.password_hash:
            raise PersonError("the password was changed meanwhile")
        _change(connection, row, password_hash=kept, must_change=False, password_at=now)
        _end_sessions(connection, row.id, now)
        told = _chosen(row, now, must_change=False)
        audited(connection, f"person:{name}", "person.password_change", f"person/{name}", *told, now)

    transact(engine, change)


def _chosen(row: Row[Any], now: datetime, *, must_change: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the trail tells of another password: since when there is one, and whether it is for one logon."""
    before = {"since": row.password_at, "must_change": row.must_change}
    return before, {"since": now, "must_change": must_change}


def _end_sessions(connection: Connection, person: str, now: datetime) -> None:
    """End every session of a person."""
    session = table(PersonSession)
    connection.execute(
        update(session).where(session.c.person_id == person, session.c.ended_at.is_(None)).values(ended_at=now)
    )


def open_tokens(connection: Connection, person: str, now: datetime) -> int:
    """How many tokens of a person work."""
    token = table(ApiToken)
    query = select(func.count()).where(
        token.c.person_id == person, token.c.revoked_at.is_(None), token.c.expires_at > now
    )
    return int(connection.execute(query).scalar_one())


def _require(connection: Connection, name: str) -> Row[Any]:
    row = person_row(connection, name)
    if row is None:
        raise UnknownPerson(f"user {name}: there is none; `tollgate user list` shows all")
    return row


def _change(connection: Connection, row: Row[Any], **values: Any) -> None:
    person = table(Person)
    connection.execute(update(person).where(person.c.id == row.id).values(**values))


def _keep_one_administrator(connection: Connection, row: Row[Any]) -> None:
    person = table(Person)
    if row.role != "administrator":
        return
    others = connection.execute(
        select(func.count()).where(person.c.role == "administrator", person.c.status == "active", person.c.id != row.id)
    ).scalar_one()
    if not others:
        raise PersonError(f"user {row.name}: is the last administrator; make another one first")
