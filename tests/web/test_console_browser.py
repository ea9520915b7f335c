"""The console in a real browser: good at both widths, light and dark, with the keyboard, live; nothing is blocked."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from browsing import IN_BROWSER, faults, served
from chromium import Tab
from console_browsing import logged_on, looked_at
from operator_samples import PLAIN, House
from sqlalchemy import Connection, update
from web_samples import Site

from operator_server.audit import audited
from operator_server.store.accounting import CounterGap
from operator_server.store.configurations import Interrogation
from operator_server.store.feed import record, sequence
from operator_server.store.parties import Event, Notice, TerminalSession
from operator_server.store.rows import add, table
from signalling.clock import to_micros
from signalling.configuration import Configuration
from signalling.ids import new_id
from signalling.messages import Reject

pytestmark = IN_BROWSER


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
    with served(site.app, site.house.operator) as address:
        yield address


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
