"""The overview: what happened today, and what is to be mended, for each role what it may read."""

from __future__ import annotations

from datetime import timedelta

import pytest
from operator_samples import NOW, House
from sqlalchemy import Connection, insert, update
from web_dealings import deal
from web_samples import Site

from operator_server.people.roles import ROLES
from operator_server.store.accounting import CounterGap
from operator_server.store.configurations import Interrogation, InterrogationOrder
from operator_server.store.dealings import Agreement, Delivery
from operator_server.store.feed import record, sequence
from operator_server.store.parties import Event, TerminalSession
from operator_server.store.rows import add, table
from operator_server.web.console import overview_data
from operator_server.web.console.overview_data import Fleet, Kept, Today, charged, day_begins
from operator_server.web.console.troubles_data import Repository, troubles
from signalling.clock import to_micros
from signalling.ids import new_id

HTML = {"Accept": "text/html"}
DAY = day_begins(NOW, "Europe/Berlin")


def test_a_large_fleet_is_counted_for_all_who_look(monkeypatch: pytest.MonkeyPatch) -> None:
    now: list[float] = [100.0]
    counted: list[int] = []

    def count() -> Fleet:
        now[0] += 0.5
        counted.append(1)
        return Fleet(len(counted), 0, 0)

    kept = Kept(lambda: now[0])
    assert [kept.look(count).active for _ in range(3)] == [1, 1, 1]
    now[0] += 10.1
    assert kept.look(count).active == 2
    monkeypatch.setattr(overview_data, "WORTH_KEEPING", 1.0)
    small = Kept(lambda: now[0])
    assert [small.look(count).active for _ in range(2)] == [3, 4]


def everything(permission: str) -> bool:
    return True


def found(house: House) -> dict[str, int]:
    with house.engine.connect() as connection:
        repository = Repository(house.operator.repository_dir / "metadata")
        return {each.title: each.count for each in troubles(connection, repository, house.clock.now(), everything)}


def logons(connection: Connection, at_hours: list[int]) -> None:
    for hour in at_hours:
        at = DAY + timedelta(hours=hour)
        id = new_id(to_micros(at))
        add(connection, Interrogation(
            id=id, terminal_id="T-1", trigger="logon", at=at, outcome="answered", shown="game@1" if hour > 2 else ""
        ), Event(id=id, at=at, kind="interrogated", terminal_id="T-1", reference=id))  # fmt: skip


def test_the_day_begins_at_midnight_of_the_operators_zone() -> None:
    assert DAY.isoformat() == "2026-11-01T23:00:00+00:00"


def test_events_of_today_are_counted_once_however_often_one_looks(house: House) -> None:
    today = Today()

    def tally() -> tuple[int, int, int]:
        with house.engine.connect() as connection:
            found = today.tally(connection, DAY)
        return found.logons, found.shown, found.rejected

    house.change(lambda c: logons(c, [-30, -1, 1, 2, 3]))
    assert tally() == (3, 1, 0)
    house.change(sequence)
    assert tally() == (3, 1, 0)
    house.change(lambda c: (logons(c, [4]), record(c, NOW, "rejected")))
    assert tally() == (4, 2, 1)
    house.change(sequence)
    house.change(lambda c: logons(c, [5]))
    assert tally() == tally() == (5, 3, 1)
    with house.engine.connect() as connection:
        assert today.tally(connection, DAY + timedelta(days=1)).logons == 0
        assert Today().tally(connection, DAY).logons == 5


def test_charges_are_summed_by_mode_and_currency(house: House) -> None:
    house.user().take("game", "buy")
    with house.engine.connect() as connection:
        [row] = charged(connection, DAY)
        assert (row.mode, row.currency, row.count) == ("one_off", "EUR", 1)
        assert row.net == 6_990_000
        assert charged(connection, NOW + timedelta(days=1)) == []


def test_what_is_to_be_mended_is_found_and_gone_when_it_is_mended(house: House) -> None:
    assert found(house) == {}
    taken = house.user().take("game", "buy")
    session, gap, agreement = table(TerminalSession), table(CounterGap), table(Agreement)

    def spoil(connection: Connection) -> None:
        connection.execute(update(session).where(session.c.terminal_id == "T-2").values(unanswered=3))
        [installation] = house.rows(Delivery)
        add(connection, CounterGap(
            id="g", installation_id=installation.installation_id, counter="use", first_sequence=2, last_sequence=4,
            noticed_at=NOW,
        ))  # fmt: skip
        connection.execute(update(agreement).values(state="failed"))
        ordered = house.clock.now() - timedelta(hours=1)
        add(connection, InterrogationOrder(id="o", terminal_id="T-3", ordered_at=ordered))

    house.change(spoil)
    assert taken is not None
    assert found(house) == {
        "Terminals that do not answer": 1, "Gaps in counter reports": 1, "Failed deliveries of the last seven days": 1,
        "Interrogations that nobody took up": 1,
    }  # fmt: skip
    house.change(lambda c: c.execute(update(session).values(unanswered=0)))
    house.change(lambda c: c.execute(update(gap).values(closed_at=NOW)))
    house.change(lambda c: c.execute(update(table(InterrogationOrder)).values(state="done")))
    house.clock.advance(timedelta(days=9))
    assert found(house) == {"The repository's signatures have ended": 2}
    house.operator.repository.refresh_timestamp(house.clock.now())
    assert found(house) == {}


def test_a_repository_that_is_not_there_is_told(house: House) -> None:
    for file in (house.operator.repository_dir / "metadata").iterdir():
        file.unlink()
    assert found(house) == {"No repository is published": 1}


@pytest.mark.parametrize("role", ROLES)
def test_each_role_sees_what_it_may_read(site: Site, role: str) -> None:
    deal(site.house)
    page = site.logged_on(role).get("/console", headers=HTML).text
    assert ("Charges today" in page) == ("charges.read" in ROLES[role])
    assert ("terminals on line" in page) == ("terminals.read" in ROLES[role])
    live = site.logged_on(role).get("/console/overview/live").text
    assert "<html" not in live
    assert "To be mended" in live


def test_an_idle_day_says_what_to_do_next(site: Site) -> None:
    page = site.logged_on("administrator").get("/console", headers=HTML).text
    for text in ("No offer was shown today.", "Nothing was charged today.", "Nothing is waiting"):
        assert text in page


def test_text_of_a_terminal_is_text(site: Site) -> None:
    bad = "<script>alert(1)</script>"

    def spoil(connection: Connection) -> None:
        connection.execute(insert(table(TerminalSession)).values(terminal_id=bad, node="", session="", unanswered=1))

    site.house.change(spoil)
    page = site.logged_on("support").get("/console", headers=HTML).text
    assert "<script>alert" not in page
    assert "&lt;script&gt;" in page
    assert "/console/terminals/%3Cscript%3E" in page
