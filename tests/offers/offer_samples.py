"""Offers, configurations and catalogues for the tests of the offers, and strategies that make many of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from offers.catalogue import Catalogue, Offer, build_offer
from offers.document import OfferTable
from offers.index import OfferRef
from offers.modes import TariffPrice, build_mode
from signalling.configuration import Configuration

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
unhurried = settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.too_slow])
"""For properties over whole catalogues, on machines that are busy with something else too."""

TARIFFS = {"games": TariffPrice("EUR", "S")}
TAX_RATES = {"S": 1900, "Z": 0}
FREE = {"id": "free", "kind": "free", "label": "Free", "currency": "EUR", "tax_category": "S"}
BUY = {"id": "buy", "kind": "one_off", "label": "Buy", "amount": "4.99", "currency": "EUR", "tax_category": "S"}


def offer(offer_id: str, **keys: Any) -> Offer:
    """An offer of the product of the same name, free, for everybody, but for what ``keys`` say."""
    raw = {
        "id": offer_id,
        "product": offer_id,
        "kind": "software",
        "text": {"en": {"title": offer_id}},
        "mode": [FREE],
    } | keys
    table = OfferTable.model_validate(raw)
    built = [build_mode(entry, TARIFFS, TAX_RATES) for entry in table.mode]
    assert not [faults for _, faults in built if faults]
    return build_offer(table, [mode for mode, _ in built if mode is not None], "en")


def terminal(model: str = "aurora-3", memory: int = 512, **sections: dict[str, str]) -> Configuration:
    """A terminal's configuration."""
    return Configuration(hardware={"model": model, "memory_mib": str(memory)}, **sections)


def ids(refs: Sequence[OfferRef]) -> list[str]:
    """The ids of the offers, in order."""
    return [ref.offer.id for ref in refs]


VERSIONS = ("1.0", "1.5", "2.0", "2:2.0-1+deb12u1", "3.0~rc1", "unknown")
PRODUCTS = ("chess", "maps", "mail", "tools")
PACKAGES = ("libc6", "gnuchess")
MODELS = ("aurora-1", "aurora-2", "borealis-1")
GROUPS = ("staff", "business")

_specifiers = st.sampled_from(["", ">=1.5", "<2", "==1.0", ">=1,<3", "~=1.0"])


def _requirements(names: Sequence[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.builds("".join, st.tuples(st.sampled_from(names), _specifiers)), max_size=2)


_some_groups = st.lists(st.sampled_from(GROUPS), unique=True, max_size=1)
_instants = st.none() | st.sampled_from([datetime(2026, month, 1, tzinfo=UTC) for month in (10, 11, 12)])


@st.composite
def _offer_keys(draw: st.DrawFn, product_place: int) -> dict[str, Any]:
    start, end = draw(_instants), draw(_instants)
    validity = {name: instant for name, instant in (("from", start), ("until", end)) if instant is not None}
    return {
        "product": PRODUCTS[product_place],
        "kind": draw(st.sampled_from(["software", "data", "update", "service"])),
        "release": "latest",
        "priority": draw(st.integers(0, 2)),
        "package": draw(st.sampled_from([None, "gnuchess"])),
        "valid": validity,
        "target": {
            "model": draw(st.lists(st.sampled_from([*MODELS, "aurora-*", "AURORA-?"]), max_size=2)),
            "minima": draw(st.dictionaries(st.just("memory_mib"), st.sampled_from([256, 512]), max_size=1)),
            "firmware": draw(_requirements(["radio"])),
            "base_software": draw(_requirements(PACKAGES)),
            "requires": draw(_requirements([*PRODUCTS, *PACKAGES])),
            "conflicts": draw(_requirements([*PRODUCTS, *PACKAGES])),
        },
        "subscribers": {"include": draw(_some_groups), "exclude": draw(_some_groups)},
        # Products depend on those before them only, so there is no circle.
        "depends_on": draw(_requirements(PRODUCTS[:product_place])) if product_place else [],
        "mode": [FREE | {"groups": draw(_some_groups)}, BUY | {"groups": draw(_some_groups)}],
    }


@st.composite
def catalogues(draw: st.DrawFn) -> Catalogue:
    """Up to eight offers of four products, with rules of every kind."""
    places = draw(st.lists(st.integers(0, len(PRODUCTS) - 1), min_size=1, max_size=8))
    return Catalogue([offer(f"offer-{number}", **draw(_offer_keys(place))) for number, place in enumerate(places)])


def _entries(names: Sequence[str]) -> st.SearchStrategy[dict[str, str]]:
    return st.dictionaries(st.sampled_from(names), st.sampled_from(VERSIONS), max_size=len(names))


configurations = st.builds(
    Configuration,
    hardware=st.fixed_dictionaries(
        {}, optional={"model": st.sampled_from(MODELS), "memory_mib": st.sampled_from(["128", "256", "512", "none"])}
    ),
    firmware=_entries(["radio"]),
    base_software=_entries([*PACKAGES, "editor"]),
    catalogue_items=_entries(PRODUCTS),
)

releases = st.dictionaries(st.sampled_from(PRODUCTS), st.lists(st.sampled_from(VERSIONS), unique=True, max_size=3))
groups = st.frozensets(st.sampled_from(GROUPS))
hidden_products = st.frozensets(st.sampled_from(PRODUCTS), max_size=2)
