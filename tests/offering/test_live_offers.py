"""The offers of a running server: menus, and what a change of files, releases, prices or clock does to them."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import pytest
from operator_samples import DAY, NOW, OFFERS, PLAIN, TARIFF, House, User

from operator_server.delivery.publishing import withdraw
from operator_server.offering.live import read_configuration, read_supply, supply_stamp
from operator_server.offering.loading import BrokenCatalogue, keep_versions, load
from operator_server.store.dealings import OfferVersion, TariffVersionRow
from signalling.configuration import Configuration

DECEMBER = datetime(2026, 11, 30, 23, tzinfo=UTC)


def change(house: House, *, offers: str = OFFERS, tariff: str = TARIFF) -> None:
    """Other files, taken over."""
    folder = house.folder / "configs"
    (folder / "offers" / "shop.toml").write_text(offers)
    (folder / "tariffs" / "games.toml").write_text(tariff)
    house.take_over()


@pytest.mark.requirement("S7")
def test_each_offer_of_a_menu_carries_its_modes_with_price_currency_and_tax(user: User) -> None:
    game = user.menu()["game"]
    per_use, buy = game.modes
    assert (buy.mode, buy.kind, buy.amount, buy.currency, buy.tax_category, buy.tax_rate) == (
        "buy", "one_off", 6_990_000, "EUR", "S", 1900,
    )  # fmt: skip
    assert (per_use.kind, per_use.amount, per_use.unit, per_use.included) == ("per_use", 50_000, "use", 10)
    assert per_use.price_text == "€0.05 per use, 10 included per month, plus 19% tax"
    assert all(entry.modes for entry in user.menu().values())


def test_the_menu_speaks_the_users_language_and_keeps_them_apart(house: House) -> None:
    titles = {language: house.user(language=language).menu()["game"].title for language in ("en", "de", "fr")}
    assert titles == {"en": "Game", "de": "Spiel", "fr": "Game"}
    assert house.user(language="en").menu()["game"].title == "Game"


def test_the_menu_of_a_group_is_not_shown_to_others(house: House, user: User) -> None:
    staff = house.user("T-1", "A-1", "staff")
    assert [mode.mode for mode in staff.menu()["game"].modes] == ["per-use", "buy", "staff"]
    assert [mode.mode for mode in user.menu()["game"].modes] == ["per-use", "buy"]


def test_a_terminal_that_answered_nothing_known_has_an_empty_menu(house: House, user: User) -> None:
    from operator_server.offering.menus import LogonContext

    menu = house.offers.menu(bytes(32), user.visitor, LogonContext(user.visitor, (), None))
    assert tuple(menu.entries) == ()


def test_what_needs_another_offer_names_it(user: User) -> None:
    assert user.menu()["levels"].needs == ["game"]


@pytest.mark.requirement("S6")
def test_what_the_code_names_as_present_is_offered_only_as_a_newer_version(house: House, user: User) -> None:
    house.interrogated("T-1", Configuration(hardware=PLAIN.hardware, catalogue_items={"game": "1.0"}))
    assert "game" not in user.menu()
    assert user.menu()["levels"].needs == []
    house.publish("game", "1.1", b"newer", sealed=True)
    newer = user.menu()["game"]
    assert (newer.release, newer.replaces) == ("1.1", "1.0")


def test_a_change_of_the_files_is_in_the_next_menu(house: House, user: User) -> None:
    before = user.menu()["game"]
    change(house, offers=OFFERS.replace("6.99", "3.99"))
    after = user.menu()["game"]
    assert after.modes[1].amount == 3_990_000
    assert before.version != after.version
    assert user.menu().keys() >= {"notes", "hotline"}


def test_a_release_that_is_withdrawn_leaves_the_menu(house: House, user: User) -> None:
    house.change(lambda c: withdraw(c, "game", "1.0", "a fault", NOW))
    assert "game" in user.menu()
    house.take_over()
    assert "game" not in user.menu()


def test_files_with_a_fault_name_file_key_and_reason_and_change_nothing(house: House, user: User) -> None:
    before = user.menu()
    with pytest.raises(BrokenCatalogue) as broken:
        change(house, offers=OFFERS.replace('kind = "one_off"', 'kind = "for-ever"', 1))
    [problem] = broken.value.problems
    assert problem.file.endswith("shop.toml")
    assert problem.key == "offer[0].mode[1].kind"
    assert "free, one_off, per_use, subscription" in problem.reason
    assert user.menu() == before


@pytest.mark.requirement("S7")
def test_an_offer_without_a_mode_is_refused(house: House) -> None:
    text = OFFERS[: OFFERS.index("[[offer.mode]]")]
    with pytest.raises(BrokenCatalogue, match=r"shop\.toml: offer\[0\]\.mode"):
        change(house, offers=text)


@pytest.mark.parametrize(("key", "other"), [("currency", "CHF"), ("tax_category", "Z")])
def test_a_tariff_keeps_its_currency_and_tax_category(house: House, key: str, other: str) -> None:
    old = {"currency": "EUR", "tax_category": "S"}[key]
    first, mark, rest = TARIFF.partition("[[version]]\neffective_from = 2026-12-01")
    with pytest.raises(BrokenCatalogue, match=rf"games\.{key} = '{other}'") as broken:
        change(house, tariff=first + mark + rest.replace(f'{key} = "{old}"', f'{key} = "{other}"'))
    assert "make another tariff" in str(broken.value)


def test_a_tax_category_that_the_operator_does_not_know_is_named(house: House) -> None:
    with pytest.raises(BrokenCatalogue, match=r"games\.tax_category = 'X'.*S, Z"):
        change(house, tariff=TARIFF.replace('tax_category = "S"', 'tax_category = "X"'))


def test_the_price_of_a_tariff_changes_at_its_instant(house: House, user: User) -> None:
    house.clock.set(DECEMBER - DAY)
    assert user.menu()["game"].modes[0].amount == 50_000
    house.clock.set(DECEMBER)
    first = user.menu()["game"].modes[0]
    assert (first.amount, first.included) == (70_000, 0)
    assert first.tariff_version.startswith("games@2026-12-01")


def test_a_mode_whose_tariff_begins_later_is_not_offered_before(house: House, user: User) -> None:
    first = TARIFF.index("[[version]]")
    change(house, tariff=TARIFF[:first] + TARIFF[TARIFF.rindex("[[version]]") :])
    assert [mode.mode for mode in user.menu()["game"].modes] == ["buy"]
    assert user.refused(user.request, "game", "per-use") == "mode_not_allowed"
    house.clock.set(DECEMBER)
    assert [mode.mode for mode in user.menu()["game"].modes] == ["per-use", "buy"]


def test_an_offer_none_of_whose_modes_has_a_price_yet_is_not_offered(house: House, user: User) -> None:
    first = TARIFF.index("[[version]]")
    a, b = OFFERS.index('[[offer.mode]]\nid = "buy"'), OFFERS.index('[[offer.mode]]\nid = "staff"')
    change(house, offers=OFFERS[:a] + OFFERS[b:], tariff=TARIFF[:first] + TARIFF[TARIFF.rindex("[[version]]") :])
    assert "game" not in user.menu()
    house.clock.set(DECEMBER)
    assert "game" in user.menu()


def test_menus_asked_for_while_a_price_changes_are_of_one_price_or_the_other(house: House, user: User) -> None:
    seen: set[int] = set()
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            seen.add(user.menu()["game"].modes[1].amount)

    thread = threading.Thread(target=look)
    thread.start()
    for _ in range(5):
        change(house, offers=OFFERS.replace("6.99", "3.99"))
        change(house)
    done.set()
    thread.join()
    assert seen <= {6_990_000, 3_990_000}
    assert user.menu()["game"].modes[1].amount == 6_990_000


def test_the_stamp_of_the_supply_changes_with_whatever_changes_it(house: House) -> None:
    def stamp() -> tuple[object, ...]:
        with house.engine.connect() as connection:
            return supply_stamp(connection, house.clock.now())

    stamps = [stamp()]
    house.publish("game", "1.1", b"newer")
    stamps.append(stamp())
    house.change(lambda c: withdraw(c, "game", "1.1", "a fault", NOW))
    stamps.append(stamp())
    assert len(set(stamps)) == 3
    with house.engine.connect() as connection:
        assert read_supply(connection, NOW).stamp == stamps[-1]
    assert stamp() == stamps[-1]


def test_what_was_shown_can_be_read_when_the_files_have_changed(house: House) -> None:
    loaded = load(house.operator.settings)
    for _ in range(2):
        house.change(lambda c: keep_versions(c, loaded, NOW))
    assert {row.offer_id for row in house.rows(OfferVersion)} == {"game", "notes", "levels", "hotline", "yen"}
    assert len(house.rows(TariffVersionRow)) == 2
    change(house, offers=OFFERS.replace("6.99", "3.99"))
    house.change(lambda c: keep_versions(c, load(house.operator.settings), NOW))
    assert len(house.rows(OfferVersion, offer_id="game")) == 2


def test_a_stored_configuration_is_read_back_by_its_code(house: House) -> None:
    with house.engine.connect() as connection:
        assert read_configuration(connection, PLAIN.code()) == PLAIN
        with pytest.raises(LookupError, match="is not stored"):
            read_configuration(connection, bytes(32))
