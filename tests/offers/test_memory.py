from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from offer_samples import BUY, FREE, catalogues, configurations, ids, offer, releases, terminal, unhurried

from offers.catalogue import Catalogue, Offer
from offers.classes import Rules
from offers.index import OfferIndex, Releases
from offers.memory import OfferMemory, UnknownCode
from offers.stock import StockTaking
from offers.versions import compare, satisfies
from signalling.configuration import Configuration


def offered(configuration: Configuration, *offers: Offer, published: Releases | None = None) -> list[str]:
    memory = OfferMemory(Catalogue(offers), published or {each.product: ["2.0"] for each in offers})
    memory.learn(configuration.code(), configuration)
    return ids(memory.lookup(configuration.code()))


CASES: list[tuple[dict[str, Any], dict[str, dict[str, str]], bool]] = [
    ({}, {}, True),
    ({"model": ["aurora-*"]}, {}, True),
    ({"model": ["Aurora-?"]}, {}, True),
    ({"model": ["borealis-*"]}, {}, False),
    ({"model": ["borealis-*", "aurora-3"]}, {}, True),
    ({"manufacturer": ["Polaris"]}, {}, False),
    ({"manufacturer": ["Polaris"]}, {"hardware": {"manufacturer": "Polaris"}}, True),
    ({"architecture": ["x86_64"]}, {"hardware": {"architecture": "armv7l"}}, False),
    ({"minima": {"memory_mib": 512}}, {"hardware": {"memory_mib": "512"}}, True),
    ({"minima": {"memory_mib": 768}}, {"hardware": {"memory_mib": "512"}}, False),
    ({"minima": {"memory_mib": 256}}, {"hardware": {"memory_mib": "1024"}}, True),
    ({"minima": {"cameras": 1}}, {}, False),
    ({"minima": {"cameras": 1}}, {"hardware": {"cameras": "two"}}, False),
    ({"firmware": ["radio>=2.0,<2.4"]}, {"firmware": {"radio": "2.3.9"}}, True),
    ({"firmware": ["radio>=2.0,<2.4"]}, {"firmware": {"radio": "2.4"}}, False),
    ({"firmware": ["radio"]}, {"base_software": {"radio": "2.0"}}, False),
    ({"base_software": ["python3>=3.9"]}, {"base_software": {"python3": "3.11.2-1+b1"}}, True),
    ({"base_software": ["python3>=3.9"]}, {"base_software": {"python3": "3.7.3-1"}}, False),
    ({"base_software": ["python3>=3.9"]}, {"base_software": {"python3": "nightly"}}, False),
    ({"base_software": ["python3"]}, {"base_software": {"python3": "nightly"}}, True),
    ({"base_software": ["python3>=3.9"]}, {}, False),
    ({"requires": ["deb/libc6>=2.30,<3"]}, {"base_software": {"deb/libc6": "2.36-9+deb12u10"}}, True),
    ({"requires": ["maps>=2"]}, {"catalogue_items": {"maps": "2.1"}}, True),
    ({"requires": ["maps>=2"]}, {"catalogue_items": {"maps": "1.9"}}, False),
    ({"requires": ["maps", "mail"]}, {"catalogue_items": {"maps": "1"}}, False),
    ({"conflicts": ["mail"]}, {"base_software": {"mail": "1"}}, False),
    ({"conflicts": ["mail"]}, {"catalogue_items": {"mail": "1"}}, False),
    ({"conflicts": ["mail<2"]}, {"catalogue_items": {"mail": "2"}}, True),
    ({"conflicts": ["mail"]}, {}, True),
]


@pytest.mark.requirement("S4")
@pytest.mark.parametrize(("target", "sections", "expected"), CASES)
def test_only_offers_tuned_to_the_configuration_come(
    target: dict[str, Any], sections: dict[str, dict[str, str]], expected: bool
) -> None:
    hardware = {"model": "aurora-3"} | sections.get("hardware", {})
    configuration = Configuration(**(sections | {"hardware": hardware}))
    assert offered(configuration, offer("chess", target=target)) == (["chess"] if expected else [])


@pytest.mark.requirement("S4")
def test_codes_of_two_terminals_bring_the_offers_of_each() -> None:
    memory = OfferMemory(
        Catalogue([offer("small"), offer("large", target={"minima": {"memory_mib": 1024}})]),
        {"small": ["1"], "large": ["1"]},
    )
    weak, strong = terminal(memory=256), terminal(memory=2048)
    for configuration in (weak, strong):
        memory.learn(configuration.code(), configuration)
    assert ids(memory.lookup(weak.code())) == ["small"]
    assert ids(memory.lookup(strong.code())) == ["large", "small"]


def test_offers_stand_by_priority_and_then_by_id() -> None:
    assert offered(terminal(), offer("b"), offer("c", priority=5), offer("a")) == ["c", "a", "b"]


PRESENCE = [
    ({}, {}, ""),
    ({"chess": "2.0"}, {}, None),
    ({"chess": "2.0.0"}, {}, None),
    ({"chess": "2.1"}, {}, None),
    ({"chess": "1.9"}, {}, "1.9"),
    ({"chess": "2.0~rc1"}, {}, "2.0~rc1"),
    ({"chess": "nightly"}, {}, None),
    ({}, {"gnuchess": "6.2.7-1"}, None),
    ({}, {"gnuchess": "1.5-1"}, "1.5-1"),
    ({"chess": "1.0"}, {"gnuchess": "2.0-1"}, None),
    ({"chess": "1.0"}, {"gnuchess": "1.5-1"}, "1.5-1"),
    ({"maps": "2.0"}, {"chess": "9"}, ""),
]


@pytest.mark.requirement("S6")
@pytest.mark.parametrize(("items", "packages", "replaces"), PRESENCE)
def test_what_is_present_is_not_offered_but_a_newer_version_is(
    items: dict[str, str], packages: dict[str, str], replaces: str | None
) -> None:
    """``replaces`` is ``None`` where nothing is offered."""
    configuration = terminal(catalogue_items=items, base_software=packages)
    memory = OfferMemory(Catalogue([offer("chess", package="gnuchess")]), {"chess": ["1.0", "2.0"]})
    memory.learn(configuration.code(), configuration)
    refs = memory.lookup(configuration.code())
    assert [(ref.release, ref.replaces) for ref in refs] == ([] if replaces is None else [("2.0", replaces)])


@pytest.mark.requirement("S6")
@pytest.mark.parametrize(("items", "expected"), [({}, []), ({"chess": "1.0"}, ["chess"]), ({"chess": "2.0"}, [])])
def test_an_update_is_only_for_those_who_have_an_older_version(items: dict[str, str], expected: list[str]) -> None:
    assert offered(terminal(catalogue_items=items), offer("chess", kind="update")) == expected


RELEASES = [
    ("latest", ["1.9", "1.10", "2.0rc1"], "1.10"),
    ("latest", ["2.0rc1"], "2.0rc1"),
    ("latest", [], None),
    ("latest", ["nightly"], None),
    ("1.9", ["1.9.0", "2.0"], "1.9.0"),
    ("1.8", ["1.9", "2.0"], None),
    ("~=1.4", ["1.3", "1.4.2", "1.9", "2.0"], "1.9"),
    (">=3", ["1.3"], None),
]


@pytest.mark.parametrize(("wanted", "published", "expected"), RELEASES)
def test_the_release_is_the_newest_valid_one_that_the_offer_means(
    wanted: str, published: list[str], expected: str | None
) -> None:
    memory = OfferMemory(Catalogue([offer("chess", release=wanted)]), {"chess": published})
    memory.learn(terminal().code(), terminal())
    assert [ref.release for ref in memory.lookup(terminal().code())] == ([expected] if expected else [])
    assert memory.current["chess"].release == expected


def test_a_service_needs_no_published_release() -> None:
    memory = OfferMemory(Catalogue([offer("info", kind="service", release="3"), offer("mail", kind="service")]), {})
    memory.learn(terminal().code(), terminal())
    assert [ref.release for ref in memory.lookup(terminal().code())] == ["3", "1"]
    assert offered(terminal(catalogue_items={"info": "3"}), offer("info", kind="service", release="3")) == []


def test_a_code_that_was_not_learnt_has_no_offers() -> None:
    memory = OfferMemory(Catalogue([offer("chess")]), {})
    assert not memory.knows(bytes(32))
    with pytest.raises(UnknownCode, match="00000000"):
        memory.lookup(bytes(32))


def test_terminals_that_no_rule_tells_apart_share_class_and_list() -> None:
    memory = OfferMemory(Catalogue([offer("chess", target={"minima": {"memory_mib": 256}})]), {"chess": ["1"]})
    many = [terminal(memory=1024, base_software={"editor": str(number)}) for number in range(50)]
    for configuration in many:
        memory.learn(configuration.code(), configuration)
    assert len(memory) == 50
    assert memory.class_count == 1
    assert len({id(memory.lookup(configuration.code())) for configuration in many}) == 1


def test_a_rebuild_leaves_look_ups_as_they_were_until_it_is_done() -> None:
    one, two, late = terminal("one"), terminal("two"), terminal("late")
    memory = OfferMemory(Catalogue([offer("old")]), {"old": ["1"]})
    memory.learn(one.code(), one)
    memory.learn(two.code(), two)
    steps = memory.rebuild(Catalogue([offer("new")]), {"new": ["1"]}, [(each.code(), each) for each in (one, two)])
    assert next(steps) == 1
    memory.learn(late.code(), late)
    assert next(steps) == 2
    assert [ids(memory.lookup(each.code())) for each in (one, two, late)] == [["old"]] * 3
    assert list(steps) == []
    assert [ids(memory.lookup(each.code())) for each in (one, two, late)] == [["new"]] * 3
    assert memory.catalogue.get("new") is not None


def test_a_rebuild_that_stops_half_way_changes_nothing() -> None:
    memory = OfferMemory(Catalogue([offer("old")]), {"old": ["1"]})
    memory.learn(terminal().code(), terminal())
    steps = memory.rebuild(Catalogue([offer("new")]), {"new": ["1"]}, [(terminal().code(), terminal())])
    next(steps)
    steps.close()  # type: ignore[attr-defined]  # an iterator to its users, a generator here
    assert ids(memory.lookup(terminal().code())) == ["old"]


def test_of_two_rebuilds_the_one_begun_last_stays() -> None:
    stored = [(terminal().code(), terminal())]
    memory = OfferMemory(Catalogue([]), {})
    first = memory.rebuild(Catalogue([offer("first")]), {"first": ["1"]}, stored)
    next(first)
    for _ in memory.rebuild(Catalogue([offer("second")]), {"second": ["1"]}, stored):
        pass
    assert list(first) == []
    assert ids(memory.lookup(terminal().code())) == ["second"]


def _fits(each: Offer, configuration: Configuration) -> bool:
    """What an offer's targeting means, written down a second time, fact by fact."""

    def installed(name: str, specifier: Any, *sections: dict[str, str]) -> bool:
        return any(name in section and satisfies(section[name], specifier) for section in sections)

    target, hardware = each.target, configuration.hardware
    anywhere = (configuration.catalogue_items, configuration.base_software)
    models = [pattern.lower() for pattern in target.hardware.get("model", ())]
    model = hardware.get("model", "").lower()
    return (
        (not models or model in models or (model.startswith("aurora-") and bool({"aurora-*", "aurora-?"} & {*models})))
        and all(
            key in hardware and hardware[key].isdigit() and int(hardware[key]) >= least
            for key, least in target.minima.items()
        )
        and all(installed(need.name, need.specifier, configuration.firmware) for need in target.firmware)
        and all(installed(need.name, need.specifier, configuration.base_software) for need in target.base_software)
        and all(installed(need.name, need.specifier, *anywhere) for need in target.requires)
        and not any(installed(foe.name, foe.specifier, *anywhere) for foe in target.conflicts)
    )


@pytest.mark.requirement("S4")
@unhurried
@given(catalogues(), configurations)
def test_the_projection_loses_nothing_that_a_rule_asks_for(catalogue: Catalogue, configuration: Configuration) -> None:
    rules = Rules(catalogue)
    fitting = rules.fitting(rules.offer_class(configuration))
    assert fitting == [each for each in catalogue if _fits(each, configuration)]


@unhurried
@given(catalogues(), releases, st.lists(configurations, min_size=2, max_size=12))
def test_configurations_of_one_class_with_the_same_stock_get_the_same_offers(
    catalogue: Catalogue, published: Releases, several: list[Configuration]
) -> None:
    index, rules, stock = OfferIndex(catalogue, published), Rules(catalogue), StockTaking(catalogue)
    by_class: dict[object, set[int]] = {}
    for configuration in several:
        key = (rules.offer_class(configuration), repr(stock.held(configuration)))
        by_class.setdefault(key, set()).add(id(index.refs(configuration)))
    assert all(len(lists) == 1 for lists in by_class.values())


@pytest.mark.requirement("S6")
@unhurried
@given(catalogues(), releases, configurations)
def test_nothing_is_offered_that_is_there_in_the_same_or_a_newer_version(
    catalogue: Catalogue, published: Releases, configuration: Configuration
) -> None:
    for ref in OfferIndex(catalogue, published).refs(configuration):
        present = configuration.catalogue_items.get(ref.product)
        if present is not None:
            assert (compare(present, ref.release) or 0) < 0
            assert ref.replaces


def test_modes_and_content_travel_with_the_offer() -> None:
    chess = offer("chess", mode=[FREE, BUY])
    index = OfferIndex(Catalogue([chess]), {"chess": ["1"]})
    assert [mode.id for mode in index.refs(terminal())[0].modes] == ["free", "buy"]
