"""What is published of a product, what a terminal has of it already, and what that means for an offer.

Claims 1 and 14: what is present is not transmitted again, an update of it is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from offers.catalogue import Offer
from offers.document import WITHOUT_PACKAGE
from offers.versions import Requirement, compare, newest, parse_specifier, parse_version, satisfies
from signalling.configuration import Configuration

SERVICE_RELEASE = "1"
"""The release of a service that names none of its own: nothing of it is published."""

Held = Mapping[str, tuple[str, ...]]
"""Product to the versions of it that a terminal has."""


def release_of(offer: Offer, published: Collection[str]) -> str | None:
    """The version that the offer offers, of those of its product that are published and valid; ``None``: there is none.

    ``latest`` and specifiers name a pre-release only where nothing else is left.
    """
    if offer.kind in WITHOUT_PACKAGE:
        return SERVICE_RELEASE if offer.release == "latest" else offer.release
    if parse_version(offer.release) is not None:
        return next((version for version in published if compare(version, offer.release) == 0), None)
    specifier = parse_specifier("" if offer.release == "latest" else offer.release)
    fitting = [version for version in published if satisfies(version, specifier)]
    return newest(version for version in fitting if _is_final(version)) or newest(fitting)


def _is_final(version: str) -> bool:
    parsed = parse_version(version)
    return parsed is not None and not parsed.is_prerelease


class StockTaking:
    """Reads from configurations what they hold of the products that a catalogue names."""

    def __init__(self, offers: Iterable[Offer]) -> None:
        self._products: set[str] = set()
        self._packages: dict[str, set[str]] = {}
        for offer in offers:
            self._products |= {offer.product, *(need.name for need in offer.depends_on)}
            if offer.package:
                self._packages.setdefault(offer.package, set()).add(offer.product)

    def held(self, configuration: Configuration) -> dict[str, tuple[str, ...]]:
        """What we installed, and what came from elsewhere under the package name that an offer declares."""
        versions: dict[str, set[str]] = {}
        for product, version in configuration.catalogue_items.items():
            if product in self._products:
                versions.setdefault(product, set()).add(version)
        base = configuration.base_software
        for package in self._packages.keys() & base.keys():
            for product in self._packages[package]:
                versions.setdefault(product, set()).add(base[package])
        return {product: tuple(sorted(versions[product])) for product in sorted(versions)}


def objection(offer: Offer, release: str, held: Held) -> str:
    """Why the terminal has no need of this release, as a sentence; empty where it has."""
    versions = held.get(offer.product)
    if not versions:
        return f"{offer.product} is not there, so there is nothing to update" if offer.kind == "update" else ""
    for version in versions:
        order = compare(version, release)
        if order is None:
            return f"{offer.product} is there in version {version!r}, which cannot be compared with {release!r}"
        if order >= 0:
            return f"{offer.product} is there already in version {version}, {release} is not newer"
    return ""


def unmet(offer: Offer, held: Held) -> tuple[Requirement, ...]:
    """The products that the offer depends on and the terminal does not have in a version that will do."""
    return tuple(need for need in offer.depends_on if not any(map(need.accepts, held.get(need.name, ()))))
