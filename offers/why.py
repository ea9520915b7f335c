"""Why each offer of the catalogue is in a subscriber's menu or not: every filter that keeps it out says so."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from offers.catalogue import Offer
from offers.index import OfferIndex
from offers.memory import OfferMemory
from offers.modes import Mode, permitted
from offers.rejections import RejectionRecord, stands
from offers.selection import NEEDS_PACKAGE
from signalling.configuration import Configuration

FILTERS = (
    "release", "configuration", "present", "rejected", "time", "group", "package", "price", "agreement", "dependency",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Objection:
    """What keeps an offer out. ``filter``: one of :data:`FILTERS`."""

    filter: str
    text: str


@dataclass(frozen=True, slots=True)
class Why:
    """An offer, whether it stands in the menu, and what keeps it out; nothing does where it is shown."""

    offer: Offer
    release: str
    shown: bool
    objections: tuple[Objection, ...]


def why(
    memory: OfferMemory,
    configuration: Configuration,
    menu: Collection[str],
    *,
    rejections: Iterable[RejectionRecord],
    groups: Collection[str],
    now: datetime,
    closed: Callable[[Mode], str],
    takes_packages: bool = True,
    agreed: Collection[str] = (),
) -> list[Why]:
    """Each offer of the catalogue, in its order, with what keeps it from this subscriber on this configuration.

    ``menu``: ids of the offers that are shown. ``closed``: why a mode cannot be taken now, such as for want of a price
    in the account's currency, empty where it can. ``agreed``: products under an agreement, for terminals whose
    configuration does not tell what they have.
    """
    index = memory.index
    standing = [record for record in rejections if stands(record, index.current, now)]
    told = []
    for offer in index.catalogue:
        found = [
            *(Objection(name, text) for name, text in index.filtered(offer, configuration)),
            *_personal(offer, standing, groups, now, closed),
        ]
        if not takes_packages and offer.kind != "service":
            found.append(Objection("package", NEEDS_PACKAGE))
        if offer.product in agreed:
            found.append(Objection("agreement", f"there is an agreement on {offer.product} already"))
        found += _unmet(index, offer, configuration, menu)
        shown = offer.id in menu
        if not shown and not found:
            found.append(Objection("dependency", "what it depends on is offered by an offer that is not in the menu"))
        told.append(Why(offer, index.current[offer.id].release or "", shown, () if shown else tuple(found)))
    return told


def _personal(
    offer: Offer,
    standing: Iterable[RejectionRecord],
    groups: Collection[str],
    now: datetime,
    closed: Callable[[Mode], str],
) -> Iterator[Objection]:
    for record in standing:
        if record.product == offer.product:
            yield Objection("rejected", _rejected(record, offer))
    if offer.valid_from is not None and now < offer.valid_from:
        yield Objection("time", f"it is not valid before {offer.valid_from:%Y-%m-%d %H:%M} UTC")
    if offer.valid_until is not None and now >= offer.valid_until:
        yield Objection("time", f"it was valid until {offer.valid_until:%Y-%m-%d %H:%M} UTC")
    if offer.include and offer.include.isdisjoint(groups):
        yield Objection("group", f"it is for subscribers of {', '.join(sorted(offer.include))} only")
    if not offer.exclude.isdisjoint(groups):
        yield Objection(
            "group", f"it is not for subscribers of {', '.join(sorted(offer.exclude.intersection(groups)))}"
        )
    modes = permitted(offer.modes, groups)
    if not modes:
        yield Objection("group", "none of its charging modes is open to the subscriber")
    reasons = [closed(mode) for mode in modes]
    if modes and all(reasons):
        for reason in reasons:
            yield Objection("price", reason)


def _rejected(record: RejectionRecord, offer: Offer) -> str:
    until = "until support undoes it" if record.until is None else f"until {record.until:%Y-%m-%d %H:%M} UTC"
    opens = [
        text
        for text, does in (
            ("other prices", offer.rejection.on_new_price),
            ("a newer release", offer.rejection.on_new_release),
        )
        if does and record.offer == offer.id
    ]
    sooner = f", or {' or '.join(opens)}" if opens else ""
    return f"{record.product} was rejected at {record.rejected_at:%Y-%m-%d %H:%M} UTC, {until}{sooner}"


def _unmet(index: OfferIndex, offer: Offer, configuration: Configuration, menu: Collection[str]) -> Iterator[Objection]:
    for need in index.unmet(offer, configuration):
        providers = (now for id, now in index.current.items() if id in menu and now.offer.product == need.name)
        if not any(now.release is not None and need.accepts(now.release) for now in providers):
            yield Objection("dependency", f"it depends on {need}, which is neither there nor in the menu")
