"""Clients of the application, in process."""

from __future__ import annotations

from datetime import timedelta
from functools import cached_property
from typing import Any

from operator_samples import NOW, House
from sqlalchemy import Connection, update
from starlette.testclient import TestClient

from operator_server.people import persons, tokens
from operator_server.people.passwords import OneTimePassword, hash_password
from operator_server.people.roles import ROLES
from operator_server.store.people import Person
from operator_server.store.rows import table
from operator_server.store.store import transact
from operator_server.web.app import create_app
from operator_server.web.calls import Web
from operator_server.web.gate import COOKIE, CSRF_HEADER, Gate

PASSWORD = "four plain words here"
_ONCE = OneTimePassword(PASSWORD, hash_password(PASSWORD))
BASE = "https://testserver"


def furnish_people(house: House) -> None:
    """One person of each role, named as the role, all with :data:`PASSWORD`."""

    def make(connection: Connection) -> None:
        for role in ROLES:
            persons.create_person(connection, role, role, _ONCE, NOW, actor="cli:test")
        connection.execute(update(table(Person)).values(must_change=False))

    transact(house.engine, make)


class Site:
    """The application of an operator, and who may use it."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.web = Web(house.operator, house.offers, gate=Gate(house.operator, known_seconds=0))
        self.app = create_app(house.operator.repository_dir, web=self.web)
        self._tokens: dict[str, str] = {}

    @cached_property
    def stranger(self) -> TestClient:
        """Somebody who is not logged on."""
        return TestClient(self.app, base_url=BASE, raise_server_exceptions=False, follow_redirects=False)

    def token(self, role: str) -> str:
        """A token with all that the role permits."""
        if role not in self._tokens:
            scopes = sorted(ROLES[role])
            made = transact(
                self.house.engine,
                lambda c: tokens.create_token(
                    c, role, "test", scopes, timedelta(days=9), self.house.clock.now(), actor="cli:test"
                ),
            )
            self._tokens[role] = made.secret
        return self._tokens[role]

    def by(self, role: str) -> TestClient:
        """A script of this role."""
        client = TestClient(self.app, base_url=BASE, raise_server_exceptions=False, follow_redirects=False)
        client.headers["Authorization"] = f"Bearer {self.token(role)}"
        return client

    def logged_on(self, role: str, password: str = PASSWORD) -> TestClient:
        """A person of this role at a browser, whose pages send the CSRF token."""
        client = TestClient(self.app, base_url=BASE, raise_server_exceptions=False, follow_redirects=False)
        answer = client.post("/logon", data={"name": role, "password": password})
        assert answer.status_code == 303, answer.text
        assert COOKIE in client.cookies
        told = client.get("/api/v1/me").json()
        client.headers[CSRF_HEADER] = told["csrf_token"]
        return client


def problem(answer: Any, status: int) -> str:
    """The detail of the problem that the answer must be."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert (body["status"], set(body) - {"errors"}) == (status, {"type", "title", "status", "detail"})
    return str(body["detail"])
