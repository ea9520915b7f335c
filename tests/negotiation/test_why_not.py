"""Why or why not: each filter that removes an offer says so, and nothing else does."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "negotiation"))

from operator_fixtures import furnished
from operator_samples import NOW, PLAIN, House, copied
from sqlalchemy import update

from offers.why import FILTERS
from operator_server import parties
from operator_server.negotiation.why import NothingOffered, explain_terminal
from operator_server.store.parties import Binding, Subscriber, TerminalSession
from operator_server.store.rows import table
from signalling.configuration import Configuration
from signalling.messages import Reject

__all__ = ["furnished"]


@pytest.fixture
def house(furnished: Path, tmp_path: Path) -> Iterator[House]:
    house = copied(furnished, tmp_path / "operator")
    yield house
    house.engine.dispose()


def told(house: House, terminal: str = "T-1") -> dict[str, str]:
    """Filter and text for each offer; empty for one that is shown."""
    with house.engine.connect() as connection:
        found = explain_terminal(connection, house.offers, terminal, house.clock.now())
    for each in found.offers:
        assert each.shown == (not each.objections), each
        assert all(objection.filter in FILTERS for objection in each.objections)
    return {each.offer.id: "; ".join(f"{o.filter}: {o.text}" for o in each.objections) for each in found.offers}


def test_what_is_shown_has_nothing_against_it_and_is_the_menu_itself(house: House) -> None:
    found = told(house)
    assert {offer for offer, text in found.items() if not text} == set(house.user().menu()) - {"yen"}
    assert found["game"] == ""


def test_a_price_in_another_currency_keeps_an_offer_out(house: House) -> None:
    assert told(house)["yen"] == "price: mode buy is priced in JPY, the account is in EUR"


def test_a_rejection_says_when_it_was_and_until_when_it_holds(house: House) -> None:
    user = house.user()
    user.say(Reject("notes", user.version("notes"), "no"))
    user.say(Reject("game", user.version("game"), "no"))
    found = told(house)
    assert "rejected: notes was rejected at 2026-11-02 09:00 UTC, until 2026-12-02 09:00 UTC" in found["notes"]
    assert "rejected: game was rejected at 2026-11-02 09:00 UTC, until support undoes it" in found["game"]
    assert found["levels"] == "dependency: it depends on game, which is neither there nor in the menu"
    house.clock.advance(timedelta(days=31))
    assert told(house)["notes"] == ""


def test_what_is_installed_is_told_as_present(house: House) -> None:
    installed = Configuration(hardware=PLAIN.hardware, catalogue_items={"game": "1.0"})
    house.interrogated("T-1", installed)
    found = told(house)
    assert found["game"].startswith("present: ")
    assert found["levels"] == ""


def test_a_release_that_is_missing_is_told(house: House) -> None:
    house.change(lambda c: c.exec_driver_sql("UPDATE release SET status = 'revoked' WHERE product = 'notes'"))
    house.take_over()
    assert told(house)["notes"] == "release: no valid release of notes is published"


def test_terminals_that_are_offered_nothing_say_why(house: House) -> None:
    def refused(terminal: str) -> str:
        with house.engine.connect() as connection, pytest.raises(NothingOffered) as no:
            explain_terminal(connection, house.offers, terminal, NOW)
        return str(no.value)

    assert refused("T-9") == "terminal T-9 is not enrolled"
    session, binding = table(TerminalSession), table(Binding)
    house.change(lambda c: c.execute(update(session).where(session.c.terminal_id == "T-1").values(code=None)))
    assert "has not answered an interrogation yet" in refused("T-1")
    house.change(lambda c: c.execute(update(binding).where(binding.c.terminal_id == "T-2").values(valid_to=NOW)))
    assert "bound to no subscriber" in refused("T-2")
    house.change(lambda c: parties.revoke_terminal(c, "T-3", NOW, reason="lost"))
    assert "is revoked" in refused("T-3")


def test_a_mode_for_a_group_alone_is_told_to_others(house: House) -> None:
    subscriber = table(Subscriber)
    assert told(house)["hotline"] == ""
    house.change(lambda c: c.execute(update(subscriber).values(groups=["staff"])))
    assert told(house)["game"] == ""
