"""The console in a real browser: good at both widths, light and dark, with the keyboard, live; nothing is blocked."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "devices"))

from chromium import PROGRAM, Tab, browser
from operator_samples import PLAIN, House
from sqlalchemy import Connection, update
from test_offers_browser import CONTRAST, OVERFLOW, UNNAMED
from web_samples import PASSWORD, Site

from operator_server.audit import audited
from operator_server.store.accounting import CounterGap
from operator_server.store.configurations import Interrogation
from operator_server.store.feed import record, sequence
from operator_server.store.parties import Event, Notice, TerminalSession
from operator_server.store.rows import add, table
from operator_server.web.server import EmbeddedServer, bind, make_config, serve_here
from signalling.clock import to_micros
from signalling.configuration import Configuration
from signalling.ids import new_id
from signalling.messages import Reject

pytestmark = [pytest.mark.peer, pytest.mark.skipif(PROGRAM is None, reason="chromium is not installed")]

PICTURES = os.environ.get("TOLLGATE_PICTURES", "")
"""Folder that the pictures are kept in."""


def busy_day(house: House) -> None:
    """Logons, an agreement, a rejection, and some things to be mended."""
    user, other = house.user(), house.user("T-3", "A-2")
    user.take("game", "buy")
    other.say(Reject("notes", other.version("notes"), "no need"))
    newer = Configuration(
        hardware={"model": "aurora-3", "memory_mib": "512"}, firmware={"boot": "1.4"},
        base_software={"os": "5.1", "browser": "88.0"}, catalogue_items={"game": "1.0"},
    )  # fmt: skip
    code, now = house.interrogated("T-1", newer), house.clock.now()
    session = table(TerminalSession)

    def happen(connection: Connection) -> None:
        for minute in range(40):
            at = now - timedelta(minutes=minute)
            id = new_id(to_micros(at))
            add(connection, Interrogation(
                id=id, terminal_id=f"T-{1 + minute % 3}", trigger="logon", at=at,
                outcome="answered" if minute % 7 else "no_answer", code=code if minute % 7 else None,
                previous_code=PLAIN.code(), changed="hardware,base_software" if minute in (1, 2, 3) else "",
                shown="game@1 notes@1 hotline@1" if minute % 7 else "",
                reason="" if minute % 7 else "nothing came within 30 s",
            ), Event(id=id, at=at, kind="interrogated", terminal_id="T-1", reference=id))  # fmt: skip
        connection.execute(update(session).where(session.c.terminal_id == "T-2").values(unanswered=3))
        online = update(session).where(session.c.terminal_id != "T-2")
        connection.execute(online.values(lease_until=now + timedelta(days=400)))
        installation = connection.exec_driver_sql("SELECT id FROM installation").scalar()
        add(
            connection,
            CounterGap(
                id="g", installation_id=str(installation), counter="use", first_sequence=2, last_sequence=4,
                noticed_at=now,
            ),
            Notice(
                id=new_id(to_micros(now)), terminal_id="T-1", kind="validity",
                text="Your release of the game 1.0 is valid until 30 November.", created_at=now,
            ),
        )  # fmt: skip
        before, after = {"credit_limit": "20.00", "status": "active"}, {"credit_limit": "50.00", "status": "active"}
        audited(connection, "person:billing", "account.credit_limit", "account/A-1", before, after, now)
        for _ in range(17):
            record(connection, now, "quoted")

    house.change(happen)
    while house.change(sequence):
        pass


@pytest.fixture
def address(site: Site) -> Iterator[str]:
    busy_day(site.house)
    keys, listener = site.house.operator.keys, bind("127.0.0.1", 0)
    server = EmbeddedServer(make_config(site.app, str(keys.certificate), str(keys.private_key)))
    port = listener.getsockname()[1]
    thread = threading.Thread(target=lambda: asyncio.run(serve_here(server, listener)), daemon=True)
    thread.start()
    yield f"https://localhost:{port}"
    server.should_exit = True
    thread.join(timeout=20)


@pytest.fixture
def tab(tmp_path: Path) -> Iterator[Tab]:
    with browser(tmp_path / "profile") as tab:
        yield tab


def logged_on(tab: Tab, address: str, name: str) -> None:
    tab.go(f"{address}/logon")
    tab.evaluate(f"document.querySelector('#name').value = '{name}'")
    tab.evaluate(f"document.querySelector('#password').value = '{PASSWORD}'")
    tab.press("button.first")


def looked_at(tab: Tab, name: str, folder: Path) -> None:
    """Nothing sticks out, every text can be read, every field has a name, every table a caption."""
    for width in (375, 1440):
        for dark in (False, True):
            tab.look(width, dark=dark)
            assert tab.evaluate(OVERFLOW) <= 0, (name, width)
            ratio, text = tab.evaluate(CONTRAST)
            assert ratio >= 4.5, (name, width, dark, ratio, text)
            tab.picture((Path(PICTURES) if PICTURES else folder) / f"{name}-{width}-{'dark' if dark else 'light'}.png")
    assert tab.evaluate(UNNAMED) == 0
    assert tab.evaluate("document.querySelectorAll('h1').length") == 1
    assert tab.evaluate("[...document.querySelectorAll('table')].filter(e => !e.caption).length") == 0
    assert tab.evaluate("document.querySelectorAll('main').length") == 1


def faults(tab: Tab) -> list[str]:
    """What the browser complains of: blocked styles and scripts, failed requests, errors of our script."""
    tab.evaluate("1")
    entries = [e["params"]["entry"] for e in tab.events if e.get("method") == "Log.entryAdded"]
    thrown = [e for e in tab.events if e.get("method") == "Runtime.exceptionThrown"]
    return [f"{e['source']}: {e['text']}" for e in entries if "favicon" not in e.get("url", "")] + [
        str(each) for each in thrown
    ]


@pytest.mark.slow
def test_the_pages_look_well_and_the_browser_complains_of_nothing(tab: Tab, address: str, tmp_path: Path) -> None:
    tab.go(f"{address}/logon")
    looked_at(tab, "logon", tmp_path)
    logged_on(tab, address, "administrator")
    for name, path in (
        ("overview", "/console"), ("terminals", "/console/terminals"), ("terminal", "/console/terminals/T-1"),
        ("rejected", "/console/terminals/T-3"), ("empty", "/console/terminals?id=none"), ("audit", "/console/audit"),
        ("interrogations", "/console/terminals/T-1/interrogations"), ("password", "/password"),
    ):  # fmt: skip
        tab.go(f"{address}{path}")
        looked_at(tab, name, tmp_path)
    assert faults(tab) == []
    tab.go(f"{address}/console/terminals/T-77")
    looked_at(tab, "missing", tmp_path)


def test_the_overview_follows_what_happens_and_the_menu_opens_by_keyboard(tab: Tab, address: str, site: Site) -> None:
    logged_on(tab, address, "administrator")
    tab.look(375, dark=False)
    assert tab.evaluate("location.pathname") == "/console"
    before = tab.evaluate("document.querySelector('[data-live]').textContent")
    assert "18, 53 %" in before
    site.house.change(lambda c: [record(c, site.house.clock.now(), "delivered") for _ in range(333)])
    tab.wait("document.querySelector('[data-live]').textContent.includes('334')")
    tab.go(f"{address}/console/terminals")
    tab.key("Tab")
    assert tab.evaluate("document.activeElement.className") == "skip"
    for _ in range(2):
        tab.key("Tab")
    assert tab.evaluate("document.activeElement.tagName") == "SUMMARY"
    tab.key("Enter", "\r")
    assert tab.evaluate("document.querySelector('details.menu').open") is True
    assert faults(tab) == []
