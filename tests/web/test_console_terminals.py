"""Terminals in the console: found by what one knows of them, explained, and interrogated."""

from __future__ import annotations

import re
from typing import Any

import pytest
from operator_samples import NOW, PLAIN, House
from sqlalchemy import Connection, insert, update
from starlette.testclient import TestClient
from web_dealings import deal
from web_samples import Site

from operator_server import parties
from operator_server.people.roles import ROLES
from operator_server.store.configurations import Interrogation, InterrogationOrder
from operator_server.store.parties import Account, Notice, Terminal, TerminalSession
from operator_server.store.people import AuditEntry
from operator_server.store.rows import add, table
from operator_server.web.gate import CSRF_HEADER
from signalling.configuration import Configuration
from signalling.messages import Reject

HTML = {"Accept": "text/html"}
BAD = "<script>alert(1)</script>"


def listed(client: TestClient, **asked: str) -> set[str]:
    page = client.get("/console/terminals", params=asked, headers=HTML)
    assert page.status_code == 200, page.text
    return set(re.findall(r'<a href="/console/terminals/([^"]+)">', page.text))


def test_a_terminal_is_found_by_id_user_model_code_and_state(site: Site) -> None:
    house = site.house
    house.interrogated("T-2", Configuration(hardware={"model": "Borealis 7"}))
    session = table(TerminalSession)
    house.change(lambda c: c.execute(update(session).where(session.c.terminal_id == "T-3").values(
        unanswered=2, lease_until=NOW.replace(year=2030)
    )))  # fmt: skip
    house.change(lambda c: parties.revoke_terminal(c, "T-1", NOW, reason="lost"))
    client = site.logged_on("support")
    assert listed(client) == {"T-1", "T-2", "T-3"}
    assert listed(client, id="T-3") == {"T-3"}
    assert listed(client, user="A-1") == {"T-1", "T-2"}
    assert listed(client, model="boreal") == {"T-2"}
    assert listed(client, code=PLAIN.code().hex()[:9].upper()) == {"T-1", "T-3"}
    assert listed(client, state="online") == listed(client, state="silent") == {"T-3"}
    assert listed(client, state="revoked") == {"T-1"}
    assert listed(client, id="nothing") == listed(client, state="gaps") == listed(client, state="failed") == set()


def test_a_code_that_is_none_is_told_beside_its_field(site: Site) -> None:
    page = site.logged_on("support").get("/console/terminals", params={"code": "xyz"}, headers=HTML)
    assert page.status_code == 422
    assert 'aria-invalid="true"' in page.text
    assert "A code has the digits" in page.text


def test_long_lists_are_read_in_parts(site: Site) -> None:
    site.house.change(lambda c: c.execute(insert(table(Terminal)), [
        {"id": f"X-{n:03}", "label": "", "status": "active", "enrolled_at": NOW} for n in range(120)
    ]))  # fmt: skip
    client = site.logged_on("support")
    seen: list[str] = []
    url = "/console/terminals?id=X-"
    while url:
        page = client.get(url, headers=HTML).text
        seen += re.findall(r'<a href="/console/terminals/([^"]+)">', page)
        following = re.search(r'rel="next" href="([^"]+)"', page)
        url = following[1].replace("&amp;", "&") if following else ""
    assert seen == [f"X-{n:03}" for n in range(120)]
    assert "120 terminals" in page


@pytest.mark.parametrize("role", ROLES)
def test_each_role_sees_of_a_terminal_what_it_may_read(site: Site, role: str) -> None:
    deal(site.house)
    page = site.logged_on(role).get("/console/terminals/T-1", headers=HTML)
    assert page.status_code == (200 if "terminals.read" in ROLES[role] else 403)
    if page.status_code == 403:
        return
    assert ('id="agreements"' in page.text) == ("agreements.read" in ROLES[role])
    assert ('id="counters"' in page.text) == ("usage.read" in ROLES[role])
    assert ("/interrogate" in page.text) == ("terminals.interrogate" in ROLES[role])
    assert ('href="/console/accounts/A-1"' in page.text) == ("accounts.read" in ROLES[role])


def test_a_page_says_why_an_offer_is_not_shown(site: Site) -> None:
    user = site.house.user("T-3", "A-2")
    user.say(Reject("notes", user.version("notes"), "no need"))
    page = site.logged_on("support").get("/console/terminals/T-3", headers=HTML).text
    assert "the account is in EUR" in page
    assert "notes was rejected at 2026-11-02 09:00 UTC, until 2026-12-02 09:00 UTC" in page


def test_what_changed_between_two_answers_is_told(site: Site) -> None:
    house = site.house
    before = PLAIN.code()
    after = house.interrogated("T-1", Configuration(hardware={"model": "aurora-3", "memory_mib": "512"}))

    def asked(connection: Connection) -> None:
        for place, (code, previous) in enumerate(((before, None), (after, before))):
            add(connection, Interrogation(
                id=f"i{place}", terminal_id="T-1", trigger="logon", at=NOW.replace(hour=place), outcome="answered",
                code=code, previous_code=previous, changed="hardware", shown="game@1 notes@2",
            ))  # fmt: skip

    house.change(asked)
    client = site.logged_on("support")
    for path in ("/console/terminals/T-1", "/console/terminals/T-1/interrogations"):
        page = client.get(path, headers=HTML).text
        assert re.search(r'Hardware, memory_mib:\s*<ins class="new">512</ins>', page), path
        assert "the first answer" in page
        assert "game, notes" in page


def test_a_terminal_that_has_told_nothing_says_what_comes_next(site: Site) -> None:
    site.house.change(lambda c: add(c, Terminal(id="T-9", enrolled_at=NOW)))
    page = site.logged_on("administrator").get("/console/terminals/T-9", headers=HTML).text
    for text in (
        "bound to no subscriber", "It has not told yet what it is made of", "It was never asked.",
        "Nothing was agreed on this terminal", "It has reported no use.", "No message was sent to its user.",
    ):  # fmt: skip
        assert text in page


def test_a_terminal_that_is_not_there_is_told(site: Site) -> None:
    answer = site.logged_on("support").get("/console/terminals/T-77", headers=HTML)
    assert answer.status_code == 404
    assert "Terminal T-77: is not enrolled" in answer.text


def orders(house: House) -> list[Any]:
    return house.rows(InterrogationOrder)


def test_interrogate_now_needs_the_token_of_the_page_and_is_written_down(site: Site) -> None:
    client = site.logged_on("operator")
    csrf = client.headers.pop(CSRF_HEADER)
    path = "/console/terminals/T-1/interrogate"
    for wrong in ({}, {"csrf": "0" * 64}, {"csrf": site.logged_on("operator").headers[CSRF_HEADER]}):
        assert client.post(path, data=wrong, headers=HTML).status_code == 403
    assert orders(site.house) == []
    page = client.get("/console/terminals/T-1", headers=HTML).text
    assert f'name="csrf" value="{csrf}"' in page
    answer = client.post(path, data={"csrf": csrf}, headers=HTML)
    assert (answer.status_code, answer.headers["location"]) == (303, "/console/terminals/T-1")
    page = client.get("/console/terminals/T-1", headers=HTML).text
    assert "The terminal is not on line" in page
    assert "waiting for a link" in page
    assert "The terminal is not on line" not in client.get("/console/terminals/T-1", headers=HTML).text
    [order] = orders(site.house)
    assert order.terminal_id == "T-1"
    [entry] = site.house.rows(AuditEntry, action="terminal.interrogate")
    assert entry.actor == "person:operator"
    assert site.logged_on("support").post(path, data={"csrf": csrf}, headers=HTML).status_code == 403


def test_names_and_texts_that_hold_script_are_shown_as_text(site: Site) -> None:
    def spoil(connection: Connection) -> None:
        connection.execute(update(table(Terminal)).values(label=BAD))
        connection.execute(update(table(Account)).values(name=BAD))
        add(connection, Notice(id="n", terminal_id="T-1", kind=BAD, text=BAD, created_at=NOW))
        add(connection, Interrogation(
            id="i", terminal_id="T-1", trigger=BAD, at=NOW, outcome=BAD, reason=BAD, shown=BAD, changed=BAD
        ))  # fmt: skip

    site.house.interrogated("T-1", Configuration(hardware={"model": BAD}))
    site.house.change(spoil)
    client = site.logged_on("administrator")
    for path in ("/console/terminals", "/console/terminals/T-1", f"/console/terminals?model={BAD}"):
        page = client.get(path, headers=HTML).text
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert" in page
