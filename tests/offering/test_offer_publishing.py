"""Offers put live: the folder is whole or as it was, what stood before can be put back, whom an offer reaches."""

from __future__ import annotations

import threading
import tomllib
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from operator_samples import NOW, House

from offers.audience import fit, reach
from operator_server.delivery.publishing import valid_releases
from operator_server.offering import publishing
from operator_server.offering.acceptance import acceptance
from operator_server.offering.history import changes, roll_back_offer, source_of_content, versions
from operator_server.offering.loading import load
from operator_server.offering.population import Population
from operator_server.offering.preview import preview
from operator_server.offering.publishing import BadOffer, OfferFileError, UnknownOffer
from operator_server.offering.refresh import FreshOffers
from operator_server.offering.toml_text import line_of, line_of_fault, toml_text
from operator_server.settings import load_settings
from operator_server.store.configurations import Interrogation
from operator_server.store.rows import add
from signalling.configuration import Configuration
from signalling.ids import new_id
from signalling.messages import Reject

MAPS = """id = "maps"
product = "maps"
kind = "service"
text.en = { title = "Maps" }

[[mode]]
id = "free"
kind = "free"
label = { en = "Free" }
currency = "EUR"
tax_category = "S"
"""


def publish(house: House, source: str, **options: Any) -> Any:
    settings = house.operator.settings
    now = house.clock.now()
    return house.change(lambda c: publishing.publish_offer(c, settings, source, now, actor="cli:test", **options))


def folder(house: House) -> dict[str, str]:
    offers: Path = house.operator.settings.config_dir / "offers"
    return {path.name: path.read_text() for path in offers.glob("*")}


def test_a_fault_changes_nothing_and_names_file_key_and_value(house: House) -> None:
    before = folder(house)
    with pytest.raises(BadOffer) as caught:
        publish(house, MAPS.replace('"EUR"', '"Euro"'))
    [problem] = caught.value.problems
    assert (problem.file, problem.key, problem.value) == ("maps.toml", "mode[0].currency", "'Euro'")
    assert folder(house) == before
    with house.engine.connect() as connection:
        assert not changes(connection, "maps")


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/b", "", "Maps", "..", "x" * 49, "a\\nb", "maps\\u0000"])
def test_no_name_leads_out_of_the_folder(house: House, name: str) -> None:
    before = folder(house)
    with pytest.raises(BadOffer):
        publish(house, MAPS.replace('"maps"', f'"{name}"', 1))
    assert folder(house) == before
    assert not list(house.folder.rglob("evil*"))


def test_an_offer_named_as_a_file_of_several_leaves_the_others_in_it(house: House) -> None:
    publish(house, MAPS.replace('id = "maps"', 'id = "shop"'))
    publish(house, MAPS.replace('id = "maps"', 'id = "shop"').replace('"Maps"', '"Maps of shops"'))
    catalogue = load(house.operator.settings).catalogue
    assert {"game", "notes", "shop"} <= {offer.id for offer in catalogue}
    assert set(folder(house)) == {"shop.toml", "own-shop.toml"}


def test_what_another_changed_meanwhile_is_not_written_over(house: House) -> None:
    publish(house, MAPS, instead_of="")
    with pytest.raises(OfferFileError, match="in the catalogue already"):
        publish(house, MAPS, instead_of="")
    newer = MAPS.replace('"Maps"', '"Atlas"')
    publish(house, newer, instead_of=MAPS)
    with pytest.raises(OfferFileError, match="changed meanwhile"):
        publish(house, MAPS, instead_of=MAPS)
    assert folder(house)["maps.toml"] == newer


def test_many_who_publish_at_once_leave_a_whole_catalogue(house: House) -> None:
    errors: list[Exception] = []

    def work(number: int) -> None:
        try:
            publish(house, MAPS.replace('"maps"', f'"maps-{number}"'))
        except Exception as error:  # noqa: BLE001 - a thread's error must reach the test
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert {f"maps-{number}" for number in range(6)} <= {o.id for o in load(house.operator.settings).catalogue}


def test_an_offer_goes_back_to_what_it_was_also_after_it_was_withdrawn(house: House) -> None:
    settings = house.operator.settings
    first = publish(house, MAPS + "# as written\n")
    house.clock.advance(timedelta(hours=1))
    second = publish(house, MAPS.replace('"Maps"', '"Atlas"'))
    with house.engine.connect() as connection:
        assert [each.id for each in versions(connection, "maps")] == [second.version, first.version]
    house.clock.advance(timedelta(hours=1))
    now = house.clock.now()
    house.change(lambda c: publishing.withdraw_offer(c, settings, "maps", now, actor="person:eve"))
    back = house.change(lambda c: roll_back_offer(c, settings, "maps", first.version, now, actor="person:eve"))
    assert back.version == first.version
    assert folder(house)["maps.toml"].endswith("# as written\n")
    with house.engine.connect() as connection:
        done = [(each.action, each.actor, each.version) for each in changes(connection, "maps")]
    assert done == [
        ("roll-back", "person:eve", first.version), ("withdraw", "person:eve", ""),
        ("publish", "cli:test", second.version), ("publish", "cli:test", first.version),
    ]  # fmt: skip
    with pytest.raises(UnknownOffer, match="offer history maps"):
        house.change(lambda c: roll_back_offer(c, settings, "maps", "maps@0", now, actor="x"))
    with pytest.raises(OfferFileError, match="already"):
        house.change(lambda c: roll_back_offer(c, settings, "maps", first.version, now, actor="x"))


def test_what_was_kept_of_an_offer_makes_the_same_offer(house: House) -> None:
    for offer in load(house.operator.settings).catalogue:
        source = source_of_content(dict(offer.content))
        assert publishing.check_offer(house.operator.settings, source).offer.version == offer.version


def test_the_offers_of_the_sample_operator_are_made_again_from_what_is_kept() -> None:
    settings = load_settings(Path(__file__).parents[2] / "configs")
    for offer in load(settings).catalogue:
        source = source_of_content(dict(offer.content))
        assert publishing.check_offer(settings, source).offer.version == offer.version


def test_whom_an_offer_reaches_is_told_by_model(house: House) -> None:
    house.interrogated("T-3", Configuration(hardware={"model": "boreal-note"}))
    checked = publishing.check_offer(house.operator.settings, MAPS + '[target]\nmodel = ["aurora-*"]\n')
    with house.engine.connect() as connection:
        seen = preview(connection, checked.offer, NOW)
    assert (seen.terminals, seen.matching, seen.models, seen.rejected) == (3, 2, {"aurora-3": 2}, 0)


def test_the_groups_of_users_bound_whom_an_offer_reaches(house: House) -> None:
    checked = publishing.check_offer(house.operator.settings, MAPS + '[subscribers]\ninclude = ["business"]\n')
    with house.engine.connect() as connection:
        seen = preview(connection, checked.offer, NOW)
    assert (seen.matching, seen.reached) == (3, 0)


def test_who_rejected_an_offer_is_counted_and_whether_it_still_holds(house: House) -> None:
    user = house.user()
    user.menu()
    user.say(Reject(offer="game", version=user.version("game")))
    game = load(house.operator.settings).catalogue.get("game")
    assert game is not None
    with house.engine.connect() as connection:
        seen = preview(connection, game, NOW)
        later = preview(connection, game, NOW + timedelta(days=9_999))
    assert (seen.rejected, seen.hidden) == (1, 1)
    assert (later.rejected, later.hidden) == (1, 1 if game.rejection.until is None else 0)


def test_reach_of_all_offers_is_what_each_has_by_itself(house: House) -> None:
    house.interrogated("T-3", Configuration(hardware={"model": "boreal-note"}, catalogue_items={"notes": "1.0"}))
    catalogue = load(house.operator.settings).catalogue
    with house.engine.connect() as connection:
        releases, people = valid_releases(connection, NOW), Population().read(connection)
    whole = reach(catalogue, releases, people)
    assert whole == {offer.id: fit(offer, releases, people).matching for offer in catalogue}
    assert whole["notes"] == 2


def test_the_population_forgets_what_no_terminal_has_any_more(house: House) -> None:
    population = Population()
    with house.engine.connect() as connection:
        assert [(c.hardware["model"], n) for _, c, n in population.read(connection)] == [("aurora-3", 3)]
    house.interrogated("T-1", Configuration(hardware={"model": "new"}))
    with house.engine.connect() as connection:
        found = sorted((c.hardware["model"], n) for _, c, n in population.read(connection))
    assert found == [("aurora-3", 2), ("new", 1)]


def test_acceptance_counts_what_was_shown_asked_agreed_and_rejected(house: House) -> None:
    user = house.user()
    user.menu()
    user.take("game", "buy")
    at = house.clock.now()
    micros = int(at.timestamp() * 1_000_000)
    house.change(
        lambda c: add(
            c,
            Interrogation(
                id=new_id(micros), terminal_id="T-1", trigger="logon", at=at, outcome="answered",
                shown="game@abc notes@def",
            ),
        )
    )  # fmt: skip
    with house.engine.connect() as connection:
        found = acceptance(connection, at - timedelta(days=1))
        assert not acceptance(connection, at + timedelta(days=1))
    assert asdict(found["game"]) == {"shown": 1, "selected": 1, "agreed": 1, "rejected": 0}
    assert asdict(found["notes"]) == {"shown": 1, "selected": 0, "agreed": 0, "rejected": 0}


def test_a_key_is_found_on_its_line() -> None:
    source = MAPS + '\n[[mode]]\nid = "buy"\nlabel.en = "Buy"\n'
    assert source.split("\n")[line_of(source, "mode[1].id") - 1] == 'id = "buy"'
    assert source.split("\n")[line_of(source, "mode[1].label.en") - 1] == 'label.en = "Buy"'
    assert source.split("\n")[line_of(source, "text.en.title") - 1].startswith("text.en")
    assert source.split("\n")[line_of(source, "mode[1].amount") - 1] == "[[mode]]"
    assert line_of(source, "mode[1].amount") > line_of(source, "mode[0].kind")
    assert line_of(source, "nowhere") == 0
    assert line_of_fault("cannot be read as TOML: Invalid value (at line 3, column 5)") == 3


_leaf = st.one_of(
    st.text(), st.integers(-(2**62), 2**62), st.booleans(), st.dates(), st.datetimes(timezones=st.just(NOW.tzinfo))
)
_tables = st.dictionaries(
    st.text(min_size=1),
    st.recursive(
        _leaf,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(min_size=1), inner, max_size=4),
        max_leaves=8,
    ),
    max_size=5,
)


@given(_tables)
def test_tables_written_as_toml_read_back_the_same(document: dict[str, Any]) -> None:
    assert tomllib.loads(toml_text(document)) == document


def test_a_running_server_takes_over_what_is_published_and_withdrawn(house: House) -> None:
    running = FreshOffers(house.operator)
    made = publish(house, MAPS)
    running.take_over_changes()
    live = running.live.memory.catalogue.get("maps")
    assert live
    assert live.version == made.version
    now = house.clock.now()
    house.change(lambda c: publishing.withdraw_offer(c, house.operator.settings, "maps", now, actor="cli:test"))
    running.take_over_changes()
    assert running.live.memory.catalogue.get("maps") is None
