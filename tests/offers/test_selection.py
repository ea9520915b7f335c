from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from offer_samples import (
    BUY,
    FREE,
    NOW,
    catalogues,
    configurations,
    groups,
    hidden_products,
    ids,
    offer,
    releases,
    terminal,
    unhurried,
)

from offers.catalogue import Catalogue, Offer
from offers.index import OfferRef, Releases
from offers.memory import OfferMemory
from offers.selection import explain, select
from signalling.configuration import Configuration


def menu(
    *offers: Offer,
    hidden: Collection[str] = (),
    of: Collection[str] = (),
    now: datetime = NOW,
    published: Releases | None = None,
    items: dict[str, str] | None = None,
) -> list[OfferRef]:
    memory = OfferMemory(Catalogue(offers), published or {each.product: ["2.0"] for each in offers})
    configuration = terminal(catalogue_items=items or {})
    memory.learn(configuration.code(), configuration)
    return select(memory, configuration.code(), hidden_products=frozenset(hidden), groups=frozenset(of), now=now)


def reasons(configuration: Configuration, *offers: Offer, published: Releases, **keys: Any) -> dict[str, str]:
    memory = OfferMemory(Catalogue(offers), published)
    filters: dict[str, Any] = {"hidden_products": frozenset(), "groups": frozenset(), "now": NOW} | keys
    return {each.offer.id: "; ".join(each.reasons) for each in explain(memory, configuration, **filters)}


@pytest.mark.requirement("S5")
def test_a_hidden_product_is_in_no_offer_of_the_menu() -> None:
    several = (offer("chess"), offer("chess-pro", product="chess"), offer("maps"))
    assert ids(menu(*several)) == ["chess", "chess-pro", "maps"]
    assert ids(menu(*several, hidden={"chess"})) == ["maps"]


def test_an_offer_is_shown_from_its_beginning_up_to_its_end() -> None:
    end = NOW + timedelta(days=1)
    winter = offer("winter", valid={"from": NOW, "until": end})
    assert ids(menu(winter, now=NOW - timedelta(microseconds=1))) == []
    assert ids(menu(winter, now=NOW)) == ["winter"]
    assert ids(menu(winter, now=end - timedelta(microseconds=1))) == ["winter"]
    assert ids(menu(winter, now=end)) == []


@pytest.mark.parametrize(
    ("subscribers", "of", "shown"),
    [
        ({"include": ["staff", "business"]}, {"business"}, True),
        ({"include": ["staff"]}, {"business"}, False),
        ({"include": ["staff"]}, set(), False),
        ({"exclude": ["staff"]}, set(), True),
        ({"exclude": ["staff"]}, {"staff", "business"}, False),
        ({"include": ["business"], "exclude": ["staff"]}, {"staff", "business"}, False),
    ],
)
def test_groups_include_and_exclude(subscribers: dict[str, list[str]], of: set[str], shown: bool) -> None:
    assert ids(menu(offer("desk", subscribers=subscribers), of=of)) == (["desk"] if shown else [])


def test_only_modes_open_to_the_subscriber_come_with_an_offer() -> None:
    chess = offer("chess", mode=[BUY, FREE | {"groups": ["staff"]}])
    assert [mode.id for mode in menu(chess)[0].modes] == ["buy"]
    assert [mode.id for mode in menu(chess, of={"staff"})[0].modes] == ["buy", "free"]


@pytest.mark.requirement("S7")
def test_an_offer_of_which_no_mode_is_open_is_not_shown() -> None:
    assert menu(offer("chess", mode=[BUY | {"groups": ["staff"]}])) == []


@pytest.mark.requirement("S4")
def test_a_dependency_stands_before_what_needs_it() -> None:
    maps = offer("maps", depends_on=["navigator>=2"], priority=9)
    shown = menu(maps, offer("navigator"), offer("chess", priority=5))
    assert ids(shown) == ["navigator", "maps", "chess"]
    assert [ref.needs for ref in shown] == [(), ("navigator",), ()]


@pytest.mark.requirement("S4")
@pytest.mark.parametrize(
    ("items", "published", "hidden", "expected"),
    [
        ({}, ["2.0"], set(), ["navigator", "maps"]),
        ({}, ["1.0"], set(), ["navigator"]),
        ({}, ["2.0"], {"navigator"}, []),
        ({}, [], set(), []),
        ({"navigator": "2.0"}, ["2.0"], set(), ["maps"]),
        ({"navigator": "2.0"}, ["2.0"], {"navigator"}, ["maps"]),
        ({"navigator": "1.0"}, ["2.0"], set(), ["navigator", "maps"]),
        ({"navigator": "1.0"}, [], set(), []),
    ],
)
def test_a_dependency_is_installed_or_in_the_same_menu(
    items: dict[str, str], published: list[str], hidden: set[str], expected: list[str]
) -> None:
    releases = {"navigator": published, "maps": ["1"]}
    shown = menu(
        offer("maps", depends_on=["navigator>=2"]), offer("navigator"), items=items, published=releases, hidden=hidden
    )
    assert ids(shown) == expected
    assert all(ref.needs == () for ref in shown if "navigator" not in expected)


def test_dependencies_of_dependencies_fall_together() -> None:
    chain = (offer("a", depends_on=["b"]), offer("b", depends_on=["c"]), offer("c"))
    assert ids(menu(*chain)) == ["c", "b", "a"]
    assert menu(*chain, hidden={"c"}) == []


def test_each_filter_says_why_it_removed_the_offer() -> None:
    found = reasons(
        terminal(memory=256, base_software={"libc6": "2.28-10"}, catalogue_items={"old": "2.0", "odd": "nightly"}),
        offer("large", target={"minima": {"memory_mib": 512}}),
        offer("other", target={"model": ["borealis-*", "corona"]}),
        offer("new", target={"base_software": ["libc6>=2.30"]}),
        offer("foe", target={"conflicts": ["libc6"]}),
        offer("old"),
        offer("odd"),
        offer("update", kind="update"),
        offer("missing"),
        offer("early", valid={"from": NOW + timedelta(days=1)}),
        offer("late", valid={"until": NOW}),
        offer("staff", subscribers={"include": ["staff"]}),
        offer("mode", mode=[FREE | {"groups": ["staff"]}]),
        offer("rejected"),
        offer("needy", depends_on=["rejected"]),
        offer("fine"),
        published={
            product: ["2.0"]
            for product in (
                *("large", "other", "new", "foe", "old", "odd", "update"),
                *("early", "late", "staff", "mode", "rejected", "needy", "fine"),
            )
        },
        hidden_products={"rejected"},
    )
    assert found == {
        "large": "memory_mib is 256, at least 512 is needed",
        "other": "model is 'aurora-3', not 'borealis-*'; model is 'aurora-3', not 'corona'",
        "new": "libc6 is 2.28-10, libc6>=2.30 is needed",
        "foe": "libc6 is there, which the offer excludes",
        "old": "old is there already in version 2.0, 2.0 is not newer",
        "odd": "odd is there in version 'nightly', which cannot be compared with '2.0'",
        "update": "update is not there, so there is nothing to update",
        "missing": "no valid release of missing is published",
        "early": "it is not valid before 2026-11-22 12:00 UTC",
        "late": "it was valid until 2026-11-21 12:00 UTC",
        "staff": "it is for subscribers of staff only",
        "mode": "none of its charging modes is open to the subscriber",
        "rejected": "rejected was rejected, and the rejection has not ended",
        "needy": "it depends on rejected, which is neither there nor in the menu",
        "fine": "",
    }


def test_every_filter_that_removed_an_offer_is_named_not_only_the_first() -> None:
    found = reasons(
        terminal(memory=256),
        offer("chess", target={"minima": {"memory_mib": 512}}, subscribers={"include": ["staff"]}, depends_on=["maps"]),
        published={},
        hidden_products={"chess"},
    )
    assert len(found["chess"].split("; ")) == 5


@unhurried
@given(catalogues(), releases, configurations, hidden_products, groups)
def test_explain_and_select_agree(
    catalogue: Catalogue,
    published: Releases,
    configuration: Configuration,
    hidden: frozenset[str],
    of: frozenset[str],
) -> None:
    memory = OfferMemory(catalogue, published)
    memory.learn(bytes(32), configuration)
    shown = select(memory, bytes(32), hidden_products=hidden, groups=of, now=NOW)
    explained = explain(memory, configuration, hidden_products=hidden, groups=of, now=NOW)
    assert {each.offer.id for each in explained if each.shown} == set(ids(shown))
    assert all(each.shown == (not each.reasons) for each in explained)
    assert [each.offer for each in explained] == list(catalogue)


@unhurried
@given(catalogues(), releases, configurations, hidden_products, groups)
def test_a_menu_keeps_its_promises(
    catalogue: Catalogue,
    published: Releases,
    configuration: Configuration,
    hidden: frozenset[str],
    of: frozenset[str],
) -> None:
    memory = OfferMemory(catalogue, published)
    memory.learn(bytes(32), configuration)
    before: set[str] = set()
    for ref in select(memory, bytes(32), hidden_products=hidden, groups=of, now=NOW):
        assert ref.modes
        assert ref.product not in hidden
        assert set(ref.needs) <= before
        assert bool(ref.needs) == bool(ref.unmet)
        assert ref.offer.id not in before
        before.add(ref.offer.id)
