"""The explanation of a menu agrees with the menu, whatever catalogue, configuration, groups and rejections."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from offer_samples import BUY, NOW, catalogues, configurations, groups, offer, releases, terminal, unhurried

from offers.catalogue import Catalogue, Offer
from offers.index import Releases
from offers.memory import OfferMemory
from offers.modes import Mode
from offers.selection import select
from offers.why import FILTERS, why
from signalling.configuration import Configuration


def is_open(mode: Mode) -> str:
    return ""


@unhurried
@given(catalogue=catalogues(), published=releases, configuration=configurations, of=groups)
def test_an_offer_has_objections_exactly_where_it_is_not_in_the_menu(
    catalogue: Catalogue, published: Releases, configuration: Configuration, of: frozenset[str]
) -> None:
    memory = OfferMemory(catalogue, published)
    memory.learn(bytes(32), configuration)
    shown = select(memory, bytes(32), hidden_products=frozenset(), groups=of, now=NOW)
    menu = {ref.offer.id for ref in shown}
    told = why(memory, configuration, menu, rejections=(), groups=of, now=NOW, closed=is_open)
    assert [each.offer.id for each in told] == [each.id for each in catalogue]
    for each in told:
        assert each.shown == (each.offer.id in menu) == (not each.objections)
        assert all(objection.filter in FILTERS and objection.text for objection in each.objections)


def objections(one: Offer, **keys: object) -> set[tuple[str, str]]:
    memory = OfferMemory(Catalogue([one]), {one.product: ["2.0"]})
    given = {"rejections": (), "groups": (), "now": NOW, "closed": is_open} | keys
    [told] = why(memory, terminal(catalogue_items={}), (), **given)  # type: ignore[arg-type]  # as each test gives them
    return {(objection.filter, objection.text) for objection in told.objections}


def test_each_personal_filter_speaks_for_itself() -> None:
    soon, past = NOW + timedelta(days=1), NOW - timedelta(days=1)
    late = f"{soon:%Y-%m-%d %H:%M} UTC"
    assert objections(offer("a", valid={"from": soon})) == {("time", f"it is not valid before {late}")}
    assert ("time", f"it was valid until {past:%Y-%m-%d %H:%M} UTC") in objections(
        offer("a", valid={"from": past - timedelta(days=1), "until": past})
    )
    assert ("agreement", "there is an agreement on a already") in objections(offer("a"), agreed={"a"})
    assert objections(offer("a"), takes_packages=False) == {
        ("package", "it needs a package, and nothing can be installed on this terminal")
    }


def test_every_closed_mode_says_what_closes_it_and_one_that_is_open_is_enough() -> None:
    one = offer("a", mode=[BUY, BUY | {"id": "rent"}])
    assert objections(one, closed=lambda mode: f"{mode.id}: no price") == {
        ("price", f"{BUY['id']}: no price"), ("price", "rent: no price"),
    }  # fmt: skip
    half = objections(one, closed=lambda mode: "no price" if mode.id == "rent" else "")
    assert not any(name == "price" for name, _ in half)
