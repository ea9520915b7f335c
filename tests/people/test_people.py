"""People, their sessions and tokens."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select

from operator_server.people import persons, tokens
from operator_server.people.first import FILE, ensure_administrator
from operator_server.people.passwords import OneTimePassword, UnfitPassword, fits, hash_password
from operator_server.people.persons import PersonError, PersonTaken, UnknownPerson, WrongPassword
from operator_server.people.roles import ADMINISTRATION, OVERSIGHT, PERMISSIONS, ROLES, WRITES, UnknownRole
from operator_server.people.sessions import Caller, find_session, find_token, log_off, log_on, note_use
from operator_server.store.people import ApiToken, Person, PersonSession
from operator_server.store.rows import table
from operator_server.store.store import transact

NOW = datetime(2026, 11, 2, 9, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
IDLE, VALID = timedelta(minutes=30), timedelta(hours=12)
ONCE = OneTimePassword("abcde-fghij", hash_password("abcde-fghij"))
GOOD = "four plain words here"


def make(engine: Engine, name: str = "erika", role: str = "billing") -> None:
    transact(engine, lambda c: persons.create_person(c, name, role, ONCE, NOW, actor="cli:test"))


def session_of(engine: Engine, secret: str, now: datetime = NOW) -> Caller | None:
    with engine.connect() as connection:
        return find_session(connection, secret, now, IDLE)


def logged_on(engine: Engine, name: str = "erika", password: str = ONCE.text, now: datetime = NOW) -> str:
    secret = log_on(engine, name, password, now, VALID)
    assert secret is not None
    return secret


def rows(engine: Engine, model: Any) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(select(table(model))))


def test_nobody_but_the_administrator_may_all_and_auditors_and_support_change_nothing_but_a_rejection() -> None:
    assert ROLES["administrator"] == PERMISSIONS
    assert not any(ROLES[role] & ADMINISTRATION for role in ROLES if role != "administrator")
    assert not ROLES["auditor"] & WRITES
    assert ROLES["support"] & WRITES == {"rejections.undo"}
    assert [role for role in ROLES if "audit.read" in ROLES[role]] == ["auditor", "administrator"]
    assert ROLES["auditor"] >= OVERSIGHT


def test_a_one_time_password_lets_in_but_to_nothing_else_than_ones_own_password(engine: Engine) -> None:
    make(engine)
    caller = session_of(engine, logged_on(engine))
    assert caller is not None
    assert (caller.must_change, caller.permissions) == (True, {"self"})
    persons.change_password(engine, "erika", ONCE.text, GOOD, NOW)
    assert log_on(engine, "erika", ONCE.text, NOW, VALID) is None
    caller = session_of(engine, logged_on(engine, password=GOOD))
    assert caller is not None
    assert (caller.must_change, caller.permissions) == (False, ROLES["billing"])


@pytest.mark.parametrize(
    ("new", "kind"),
    [
        ("short", UnfitPassword),
        ("a" * 20, UnfitPassword),
        ("my name is erika!", UnfitPassword),
        (ONCE.text, PersonError),
    ],
)
def test_a_password_must_be_worth_the_name(engine: Engine, new: str, kind: type[Exception]) -> None:
    make(engine)
    with pytest.raises(kind):
        persons.change_password(engine, "erika", ONCE.text, new, NOW)
    with pytest.raises(WrongPassword):
        persons.change_password(engine, "erika", "something else", GOOD, NOW)


def test_neither_passwords_nor_secrets_are_in_the_database(engine: Engine) -> None:
    make(engine)
    secret = logged_on(engine)
    made = transact(engine, lambda c: tokens.create_token(c, "erika", "export", ["read"], DAY, NOW, actor="cli:test"))
    kept = repr([rows(engine, model) for model in (Person, PersonSession, ApiToken)])
    assert "$argon2id$" in kept
    assert not any(each in kept for each in (ONCE.text, secret, made.secret))


def test_no_password_fits_a_name_that_nobody_has(engine: Engine) -> None:
    assert log_on(engine, "nobody", ONCE.text, NOW, VALID) is None
    assert not fits("anything", "")


def test_each_logon_has_a_secret_of_its_own(engine: Engine) -> None:
    make(engine)
    first, second = logged_on(engine), logged_on(engine)
    assert first != second
    caller = session_of(engine, first)
    assert caller is not None
    transact(engine, lambda c: log_off(c, caller, NOW))
    assert session_of(engine, first) is None
    assert session_of(engine, second) is not None


def test_a_session_ends_when_idle_and_at_its_end_however_busy(engine: Engine) -> None:
    make(engine)
    secret = logged_on(engine)
    now, caller = NOW, session_of(engine, secret)
    assert session_of(engine, secret, NOW + IDLE) is None
    while now + 20 * MINUTE < NOW + VALID:
        now += 20 * MINUTE
        caller = session_of(engine, secret, now)
        assert caller is not None
        assert caller.stale
        transact(engine, lambda c, caller=caller, now=now: note_use(c, caller, now))
        again = session_of(engine, secret, now + timedelta(seconds=59))
        assert again is not None
        assert not again.stale
    assert session_of(engine, secret, NOW + VALID) is None


@pytest.mark.parametrize("change", ["disable", "role", "password"])
def test_whoever_is_disabled_or_changed_is_logged_off(engine: Engine, change: str) -> None:
    make(engine)
    secret = logged_on(engine)
    do: Any = {
        "disable": lambda c: persons.set_status(c, "erika", "disabled", NOW, actor="cli:test"),
        "role": lambda c: persons.set_role(c, "erika", "support", NOW, actor="cli:test"),
        "password": lambda c: persons.reset_password(c, "erika", ONCE, NOW, actor="cli:test"),
    }[change]
    transact(engine, do)
    assert session_of(engine, secret) is None
    assert (log_on(engine, "erika", ONCE.text, NOW, VALID) is None) == (change == "disable")


def test_the_last_administrator_stays(engine: Engine) -> None:
    make(engine, "root", "administrator")
    for change in (
        lambda c: persons.set_status(c, "root", "disabled", NOW, actor="cli:test"),
        lambda c: persons.set_role(c, "root", "support", NOW, actor="cli:test"),
    ):
        with pytest.raises(PersonError, match="last administrator"):
            transact(engine, change)
    make(engine, "other", "administrator")
    transact(engine, lambda c: persons.set_role(c, "root", "support", NOW, actor="cli:test"))


def test_names_and_roles_are_checked(engine: Engine) -> None:
    make(engine)
    with pytest.raises(PersonTaken):
        make(engine)
    with pytest.raises(PersonError, match="1 to 64"):
        make(engine, "Erika Muster")
    with pytest.raises(UnknownRole, match="there are operator, billing"):
        make(engine, "max", "boss")
    with pytest.raises(UnknownPerson):
        transact(engine, lambda c: persons.set_role(c, "max", "support", NOW, actor="cli:test"))


def token(engine: Engine, *scopes: str, validity: timedelta = DAY) -> tokens.NewToken:
    return transact(
        engine, lambda c: tokens.create_token(c, "erika", "export", scopes, validity, NOW, actor="cli:test")
    )


def by_token(engine: Engine, secret: str, now: datetime = NOW) -> Caller | None:
    with engine.connect() as connection:
        return find_token(connection, secret, now)


def test_a_token_may_what_its_scopes_and_its_persons_role_both_allow(engine: Engine) -> None:
    make(engine)
    made = token(engine, "invoices.read", "payments.write")
    caller = by_token(engine, made.secret)
    assert caller is not None
    assert caller.permissions == {"invoices.read", "payments.write", "self"}
    transact(engine, lambda c: persons.set_role(c, "erika", "support", NOW, actor="cli:test"))
    caller = by_token(engine, made.secret)
    assert caller is not None
    assert caller.permissions == {"invoices.read", "self"}
    with pytest.raises(UnknownRole, match="does not have it"):
        token(engine, "people.write")
    with pytest.raises(UnknownRole, match="there is none"):
        token(engine, "everything")


def test_a_token_ends_by_time_by_revocation_and_with_its_person(engine: Engine) -> None:
    make(engine)
    first, second = token(engine, "read"), token(engine, "read", validity=2 * DAY)
    assert by_token(engine, first.secret, NOW + DAY) is None
    assert by_token(engine, second.secret, NOW + DAY) is not None
    transact(engine, lambda c: persons.set_status(c, "erika", "disabled", NOW, actor="cli:test"))
    assert by_token(engine, second.secret) is None
    transact(engine, lambda c: persons.set_status(c, "erika", "active", NOW, actor="cli:test"))
    transact(engine, lambda c: tokens.revoke_token(c, second.id, NOW, actor="cli:test"))
    assert by_token(engine, second.secret) is None
    with pytest.raises(PersonError, match="already"):
        transact(engine, lambda c: tokens.revoke_token(c, second.id, NOW, actor="cli:test"))


def test_the_first_start_makes_one_administrator_and_no_second_one(engine: Engine, tmp_path: Path) -> None:
    told: list[str] = []
    made = ensure_administrator(engine, tmp_path, NOW, tell=told.append, terminal=False)
    assert made is not None
    file = tmp_path / FILE
    assert (file.read_text().strip(), file.stat().st_mode & 0o777) == (made.text, 0o600)
    assert str(file) in told[0]
    assert made.text not in told[0]
    assert ensure_administrator(engine, tmp_path, NOW, tell=told.append, terminal=False) is None
    caller = session_of(engine, logged_on(engine, "admin", made.text))
    assert caller is not None
    assert caller.role == "administrator"


def test_at_a_terminal_the_first_password_is_shown_and_no_file_is_written(engine: Engine, tmp_path: Path) -> None:
    told: list[str] = []
    made = ensure_administrator(engine, tmp_path, NOW, tell=told.append, terminal=True)
    assert made is not None
    assert made.text in told[0]
    assert not (tmp_path / FILE).exists()
