"""From a configuration to the offers tuned to it, for one state of catalogue and releases."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from offers.catalogue import Catalogue, Offer
from offers.classes import Rules
from offers.modes import Mode
from offers.stock import StockTaking, objection, release_of, unmet
from offers.versions import Requirement, newest
from signalling.configuration import Configuration

Releases = Mapping[str, Collection[str]]
"""Product to its published versions whose status is valid."""


@dataclass(frozen=True, slots=True)
class OfferRef:
    """An offer for terminals of one kind: the release they would get, and the version of theirs that it replaces.

    ``unmet``: products it depends on that the terminal lacks. ``modes``: the charging modes that are open; ``needs``:
    ids of offers of the same menu that must be taken first. In the memory these two are of the offer alone, in a menu
    of the subscriber. ``plain``: no filter depends on the subscriber or the time, but for rejections.
    """

    offer: Offer
    product: str
    release: str
    modes: tuple[Mode, ...]
    replaces: str = ""
    unmet: tuple[Requirement, ...] = ()
    needs: tuple[str, ...] = ()
    plain: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class Current:
    """An offer as it stands now, and the release it offers, ``None`` while none is published."""

    offer: Offer
    release: str | None


class OfferIndex:
    """Rules, releases, and the offers of each class that was met.

    Codes share what does not tell them apart: the work of a class is done once, the list of a class and stock exists
    once.
    """

    def __init__(self, catalogue: Catalogue, releases: Releases) -> None:
        self.catalogue = catalogue
        self.current = {
            offer.id: Current(offer, release_of(offer, releases.get(offer.product, ()))) for offer in catalogue
        }
        self.by_code: dict[bytes, tuple[OfferRef, ...]] = {}
        self._rules = Rules(catalogue)
        self._stock = StockTaking(catalogue)
        self._whole = {
            offer.id: OfferRef(
                offer, offer.product, now.release, offer.modes, unmet=offer.depends_on, plain=_plain(offer)
            )
            for offer in catalogue
            if (now := self.current[offer.id]).release is not None
        }
        self._classes: dict[int, tuple[OfferRef, ...]] = {}
        self._lists: dict[tuple[OfferRef, ...], tuple[OfferRef, ...]] = {}

    @property
    def class_count(self) -> int:
        """How many offer classes were met."""
        return len(self._classes)

    def learn(self, code: bytes, configuration: Configuration) -> None:
        """Put the code in its class."""
        self.by_code[code] = self.refs(configuration)

    def refs(self, configuration: Configuration) -> tuple[OfferRef, ...]:
        """The offers tuned to this configuration and not present in it, in the order of menus."""
        offer_class = self._rules.offer_class(configuration)
        fitting = self._classes.get(offer_class)
        if fitting is None:
            offers = self._rules.fitting(offer_class)
            fitting = self._classes[offer_class] = tuple(
                self._whole[offer.id] for offer in offers if offer.id in self._whole
            )
        held = self._stock.held(configuration)
        refs = tuple(ref for each in fitting if (ref := _in_stock(each, held)) is not None)
        return self._lists.setdefault(refs, refs)

    def objections(self, offer: Offer, configuration: Configuration) -> Iterator[str]:
        """Why the offer is not among the configuration's, a sentence each; none where it is."""
        return (text for _, text in self.filtered(offer, configuration))

    def filtered(self, offer: Offer, configuration: Configuration) -> Iterator[tuple[str, str]]:
        """The same with the filter's name before each: release, configuration or present."""
        release = self.current[offer.id].release
        if release is None:
            wanted = "" if offer.release == "latest" else f" that is {offer.release}"
            yield "release", f"no valid release of {offer.product}{wanted} is published"
        for text in self._rules.objections(offer, configuration):
            yield "configuration", text
        if release is not None and (reason := objection(offer, release, self._stock.held(configuration))):
            yield "present", reason

    def unmet(self, offer: Offer, configuration: Configuration) -> tuple[Requirement, ...]:
        """What the offer depends on and this configuration lacks."""
        return unmet(offer, self._stock.held(configuration))


def _in_stock(ref: OfferRef, held: Mapping[str, tuple[str, ...]]) -> OfferRef | None:
    """The offer for a terminal that holds this, or ``None`` where it has no need of it."""
    offer = ref.offer
    if ref.product not in held and offer.kind != "update" and (not ref.unmet or held.keys().isdisjoint(_names(ref))):
        return ref
    if objection(offer, ref.release, held):
        return None
    missing = unmet(offer, held)
    return OfferRef(
        offer,
        ref.product,
        ref.release,
        ref.modes,
        replaces=newest(held.get(ref.product, ())) or "",
        unmet=missing,
        plain=_plain(offer, missing),
    )


def _names(ref: OfferRef) -> list[str]:
    return [need.name for need in ref.unmet]


def _plain(offer: Offer, missing: tuple[Requirement, ...] | None = None) -> bool:
    """Whether nothing about the offer depends on the subscriber's groups, the time or the rest of the menu."""
    bound = offer.valid_from or offer.valid_until or offer.include or offer.exclude
    waiting = offer.depends_on if missing is None else missing
    return not bound and not waiting and not any(mode.groups for mode in offer.modes)
