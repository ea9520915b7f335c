"""Reject and later: what a user does not see again, and what comes back when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from operator_samples import DAY, HOUR, NOW, OFFERS, House, User
from sqlalchemy import update

from operator_server.negotiation.book import rejections_of
from operator_server.offering.loading import keep_versions, load
from operator_server.store.dealings import Rejection
from operator_server.store.parties import Event
from operator_server.store.rows import table
from signalling.clock import to_micros
from signalling.messages import Later, Reject

MONTH = timedelta(days=30)
NEVER_AGAIN_GAME = OFFERS.replace('text.de = { title = "Spiel" }', 'rejection = { until = "never" }', 1)


def reject(user: User, offer: str, reason: str = "") -> int | None:
    noted = user.say(Reject(offer, user.version(offer), reason))
    assert noted.offer == offer
    return noted.until


def test_a_reason_is_kept_on_one_line_as_every_database_takes_it(house: House, user: User) -> None:
    reject(user, "game", "no\0t\r\nfor me" + "x" * 300)
    [row] = house.rows(Rejection)
    assert row.reason.startswith("no t for me")
    assert len(row.reason) == 256


def offers(house: House, text: str) -> None:
    """Change the catalogue."""
    (house.folder / "configs" / "offers" / "shop.toml").write_text(text)
    house.take_over()


@pytest.mark.requirement("S5")
def test_a_rejected_offer_is_hidden_from_the_user_on_every_terminal_and_from_nobody_else(
    house: House, user: User
) -> None:
    assert reject(user, "game") is None
    for terminal in ("T-1", "T-2"):
        assert "game" not in house.user(terminal).menu()
        assert house.user(terminal).refused(house.user(terminal).request, "game", "buy") == "not_offered"
    assert "game" in house.user("T-3", "A-2").menu()


@pytest.mark.requirement("S5")
def test_a_rejection_outlives_the_server_and_the_years(house: House, user: User) -> None:
    reject(user, "game")
    house.engine.dispose()
    later = House(house.folder)
    later.clock.set(NOW + 3650 * DAY)
    assert "game" not in later.user("T-2").menu()


@pytest.mark.requirement("S5")
def test_a_rejection_with_an_end_ends_then_and_not_before(house: House, user: User) -> None:
    assert reject(user, "notes") == to_micros(NOW + MONTH)
    house.clock.set(NOW + MONTH - timedelta(microseconds=1))
    assert "notes" not in user.menu()
    house.clock.set(NOW + MONTH)
    assert "notes" in user.menu()


def test_a_rejection_that_is_repeated_is_stored_once_and_keeps_its_end(house: House, user: User) -> None:
    first = reject(user, "notes")
    house.clock.advance(DAY)
    assert reject(user, "notes") == first
    assert len(house.rows(Rejection)) == 1


@pytest.mark.requirement("S5")
def test_each_of_two_rejected_offers_of_one_product_hides_it_for_its_own_time(house: House, user: User) -> None:
    second = OFFERS[OFFERS.index('[[offer]]\nid = "notes"') : OFFERS.index('[[offer]]\nid = "levels"')]
    second = second.replace('id = "notes"', 'id = "notes-pro"', 1).replace('until = "30d"', 'until = "never"')
    offers(house, OFFERS + second)
    reject(user, "notes")
    assert reject(user, "notes-pro") is None
    house.clock.advance(2 * MONTH)
    assert not {"notes", "notes-pro"} & user.menu().keys()


@pytest.mark.requirement("S5")
@pytest.mark.parametrize(("reopen", "opened"), [("[]", False), ('["new_price"]', True)])
def test_another_price_opens_it_again_only_where_the_offer_says_so(
    house: House, user: User, reopen: str, opened: bool
) -> None:
    text = OFFERS.replace('text.de = { title = "Spiel" }', f"rejection = {{ reopen_on = {reopen} }}", 1)
    offers(house, text)
    reject(user, "game")
    offers(house, text.replace("6.99", "3.99"))
    assert ("game" in user.menu()) is opened


@pytest.mark.requirement("S5")
@pytest.mark.parametrize(("reopen", "opened"), [("[]", False), ('["new_release"]', True)])
def test_another_release_opens_it_again_only_where_the_offer_says_so(
    house: House, user: User, reopen: str, opened: bool
) -> None:
    offers(house, OFFERS.replace('text.de = { title = "Spiel" }', f"rejection = {{ reopen_on = {reopen} }}", 1))
    reject(user, "game")
    house.publish("game", "1.1", b"newer")
    assert ("game" in user.menu()) is opened


def test_support_can_undo_a_rejection(house: House, user: User) -> None:
    reject(user, "game")
    rejection = table(Rejection)
    house.change(lambda c: c.execute(update(rejection).values(undone_at=NOW)))
    assert "game" in user.menu()
    with house.engine.connect() as connection:
        assert rejections_of(connection, "A-1") == []


def test_later_is_no_rejection(house: House, user: User) -> None:
    assert user.say(Later("game", user.version("game"))).until is None
    assert "game" in user.menu()
    assert not house.rows(Rejection)
    assert [event.kind for event in house.rows(Event, subscriber_id="A-1", kind="postponed")] == ["postponed"]


def test_an_offer_that_is_not_in_the_catalogue_can_be_neither_rejected_nor_postponed(house: House, user: User) -> None:
    assert user.refused(user.say, Reject("nothing", "nothing@1")) == "unknown_offer"
    assert user.refused(user.say, Later("nothing", "nothing@1")) == "unknown_offer"
    assert not house.rows(Rejection)


REOPENING = OFFERS.replace('text.de = { title = "Spiel" }', 'rejection = { reopen_on = ["new_price"] }', 1)


@pytest.mark.requirement("S5")
def test_a_new_version_of_the_tariff_is_a_new_price_when_it_begins(house: House, user: User) -> None:
    offers(house, REOPENING)
    reject(user, "game")
    december = datetime(2026, 12, 1, tzinfo=UTC)
    house.clock.set(december - 2 * HOUR)
    assert "game" not in user.menu()
    house.clock.set(december)
    assert "game" in user.menu()


def test_a_rejection_is_of_the_price_that_was_shown_though_another_holds_by_now(house: House, user: User) -> None:
    offers(house, REOPENING)
    house.change(lambda c: keep_versions(c, load(house.operator.settings), NOW))
    shown = user.version("game")
    offers(house, REOPENING.replace("6.99", "3.99"))
    user.say(Reject("game", shown))
    assert "game" in user.menu()
    offers(house, REOPENING.replace('label = { en = "Buy once" }', 'label = { en = "Purchase" }'))
    assert "game" not in user.menu()


def test_a_rejection_is_of_the_release_that_was_shown_though_a_newer_one_came(house: House, user: User) -> None:
    offers(house, OFFERS.replace('text.de = { title = "Spiel" }', 'rejection = { reopen_on = ["new_release"] }', 1))
    house.publish("game", "1.1", b"newer")
    user.say(Reject("game", user.version("game"), release="1.0"))
    assert [row.release for row in house.rows(Rejection)] == ["1.0"]
    assert "game" in user.menu()


def test_a_release_that_was_never_published_cannot_be_rejected_into_the_future(house: House, user: User) -> None:
    user.say(Reject("game", user.version("game"), release="99"))
    assert [row.release for row in house.rows(Rejection)] == ["1.0"]
