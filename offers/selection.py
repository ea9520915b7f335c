"""The menu for one subscriber on one terminal, and why each offer is in it or not."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from offers.catalogue import Offer
from offers.document import WITHOUT_PACKAGE
from offers.index import OfferRef
from offers.memory import OfferMemory
from offers.modes import permitted
from offers.versions import Requirement
from signalling.configuration import Configuration

NEEDS_PACKAGE = "it needs a package, and nothing can be installed on this terminal"


@dataclass(frozen=True, slots=True)
class Explained:
    """Whether an offer is shown, and if not, what keeps it out, a sentence for each filter."""

    offer: Offer
    shown: bool
    reasons: tuple[str, ...]


def select(
    memory: OfferMemory,
    code: bytes,
    *,
    hidden_products: Collection[str],
    groups: Collection[str],
    now: datetime,
    takes_packages: bool = True,
) -> list[OfferRef]:
    """The menu for a configuration code: offers with the modes that the subscriber may use, in order.

    ``hidden_products``: see :func:`offers.rejections.hidden_products`. ``groups``: of the subscriber.
    ``takes_packages``: whether anything can be installed on the terminal; without it only services are left. What an
    offer depends on is installed, or stands before it and in its ``needs``. Raises
    :class:`offers.memory.UnknownCode`.
    """
    return _menu(memory.lookup(code), hidden_products, groups, now, takes_packages)


def explain(
    memory: OfferMemory,
    configuration: Configuration,
    *,
    hidden_products: Collection[str],
    groups: Collection[str],
    now: datetime,
    takes_packages: bool = True,
) -> list[Explained]:
    """What :func:`select` does with each offer of the catalogue for this configuration, and why."""
    index = memory.index
    menu = _menu(index.refs(configuration), hidden_products, groups, now, takes_packages)
    shown = {ref.offer.id for ref in menu}
    providers = _by_product(menu)
    result = []
    for offer in index.catalogue:
        reasons = [
            *index.objections(offer, configuration),
            *_objections(offer, hidden_products, groups, now),
            *([] if takes_packages or offer.kind in WITHOUT_PACKAGE else [NEEDS_PACKAGE]),
            *(
                f"it depends on {need}, which is neither there nor in the menu"
                for need in index.unmet(offer, configuration)
                if _provider(need, providers) is None
            ),
        ]
        result.append(Explained(offer, offer.id in shown, tuple(reasons)))
    return result


def _menu(
    refs: Iterable[OfferRef],
    hidden_products: Collection[str],
    groups: Collection[str],
    now: datetime,
    takes_packages: bool,
) -> list[OfferRef]:
    kept = []
    dependent = False
    for ref in refs:
        if not takes_packages and ref.offer.kind not in WITHOUT_PACKAGE:
            continue
        if ref.plain:
            if ref.product not in hidden_products:
                kept.append(ref)
        elif next(_objections(ref.offer, hidden_products, groups, now), None) is None:
            modes = permitted(ref.modes, groups)
            kept.append(ref if len(modes) == len(ref.modes) else replace(ref, modes=modes))
            dependent = dependent or bool(ref.unmet)
    return _with_needs(kept) if dependent else kept


def _objections(
    offer: Offer, hidden_products: Collection[str], groups: Collection[str], now: datetime
) -> Iterator[str]:
    """What keeps an offer from this subscriber at this time, apart from other offers."""
    if offer.product in hidden_products:
        yield f"{offer.product} was rejected, and the rejection has not ended"
    if offer.valid_from is not None and now < offer.valid_from:
        yield f"it is not valid before {offer.valid_from:%Y-%m-%d %H:%M} UTC"
    if offer.valid_until is not None and now >= offer.valid_until:
        yield f"it was valid until {offer.valid_until:%Y-%m-%d %H:%M} UTC"
    if offer.include and offer.include.isdisjoint(groups):
        yield f"it is for subscribers of {', '.join(sorted(offer.include))} only"
    if not offer.exclude.isdisjoint(groups):
        yield f"it is not for subscribers of {', '.join(sorted(offer.exclude.intersection(groups)))}"
    if not permitted(offer.modes, groups):
        yield "none of its charging modes is open to the subscriber"


def _with_needs(kept: list[OfferRef]) -> list[OfferRef]:
    """Drop what depends on something that is not to be had; put needs before what needs them."""
    while True:
        providers = _by_product(kept)
        served = [ref for ref in kept if all(_provider(need, providers) is not None for need in ref.unmet)]
        if len(served) == len(kept):
            break
        kept = served
    ordered: dict[str, OfferRef] = {}

    def place(ref: OfferRef) -> None:
        if ref.offer.id in ordered:
            return
        needs = [provider for need in ref.unmet if (provider := _provider(need, providers)) is not None]
        for provider in needs:
            place(provider)
        ordered[ref.offer.id] = replace(ref, needs=tuple(each.offer.id for each in needs)) if needs else ref

    for ref in kept:
        place(ref)
    return list(ordered.values())


def _by_product(refs: Iterable[OfferRef]) -> dict[str, list[OfferRef]]:
    result: dict[str, list[OfferRef]] = {}
    for ref in refs:
        result.setdefault(ref.product, []).append(ref)
    return result


def _provider(need: Requirement, providers: dict[str, list[OfferRef]]) -> OfferRef | None:
    """The first offer of the menu that brings what is needed."""
    return next((ref for ref in providers.get(need.name, ()) if need.accepts(ref.release)), None)
