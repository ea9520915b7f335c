"""``tollgate top`` shows what happens now."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from operator_samples import House

from operator_server.store.configurations import Interrogation, InterrogationOrder
from operator_server.store.parties import Event
from operator_server.store.rows import add
from signalling.clock import to_micros
from signalling.ids import new_id

if TYPE_CHECKING:
    from conftest import Tollgate


@pytest.fixture
def busy(house: House) -> House:
    """Six logons in the last minute and one before, an agreement, an order that nobody takes up."""
    house.user().take("game", "buy")
    now = house.clock.now()
    for seconds in (1, 2, 3, 4, 5, 6, 90):
        at = now - timedelta(seconds=seconds)
        id = new_id(to_micros(at))
        asked = Interrogation(id=id, terminal_id="T-1", trigger="logon", at=at, outcome="answered", shown="game@1")
        event = Event(id=id, at=at, kind="interrogated", terminal_id="T-1", reference=id)
        house.change(lambda c, asked=asked, event=event: add(c, asked, event))
    late = now - timedelta(hours=1)
    order = InterrogationOrder(id=new_id(to_micros(late)), terminal_id="T-1", ordered_at=late)
    house.change(lambda c: add(c, order))
    return house


def test_one_picture_for_programs_has_the_figures_of_the_overview(busy: House, tollgate: Tollgate) -> None:
    told = json.loads(tollgate("top", "--once", "--json").stdout)
    assert told["logons_per_second"] == pytest.approx(0.1)
    assert (told["today"]["logons"], told["today"]["shown"], told["today"]["agreed"]) == (7, 7, 1)
    [charge] = told["charges"]
    assert (charge["mode"], charge["currency"], charge["count"]) == ("one_off", "EUR", 1)
    assert isinstance(charge["net"], str)
    assert "Interrogations that nobody took up" in [each["title"] for each in told["problems"]]
    assert {"at", "kind", "about"} == set(told["events"][0])
    assert told["fleet"]["active"] >= 3


def test_one_picture_for_people_names_what_is_to_be_mended(busy: House, tollgate: Tollgate) -> None:
    output = tollgate("top", "--once").output
    for part in (
        "on line of",
        "0.1/s",
        "7 menus shown",
        "1 agreed",
        "one_off",
        "EUR",
        "1 x Interrogations that nobody took up",
    ):
        assert part in output


def test_an_idle_operator_has_a_picture_too(tollgate: Tollgate) -> None:
    assert "None yet." in tollgate("top", "--once").output


def test_json_without_once_is_told_what_to_say(tollgate: Tollgate) -> None:
    assert "--once" in tollgate("top", "--json", code=1).output


def test_the_live_view_is_new_every_two_seconds_until_it_is_interrupted(
    tollgate: Tollgate, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("operator_server.cli.top.time.sleep", sleep)
    assert "Last events" in tollgate("top").output
    assert waits == [2.0, 2.0]
