"""Whom offers reach: configurations and how many terminals have each, against the rules (claims 2 and 12).

Work is by configuration and class, never by terminal: a hundred thousand terminals are as quick as what tells them
apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from offers.catalogue import Catalogue, Offer
from offers.index import OfferIndex, OfferRef, Releases
from signalling.configuration import Configuration

Population = Iterable[tuple[bytes, Configuration, int]]
"""Each configuration code with what it stands for, and how many terminals have it."""


@dataclass(frozen=True, slots=True)
class Fit:
    """Of ``terminals`` those that an offer fits, by model, most first; ``codes`` are their configurations.

    ``release``: what would be delivered; ``None`` while none is published, and then the offer fits nobody.
    """

    terminals: int
    models: dict[str, int]
    codes: frozenset[bytes]
    release: str | None

    @property
    def matching(self) -> int:
        """How many terminals the offer fits."""
        return sum(self.models.values())


def fit(offer: Offer, releases: Releases, population: Population) -> Fit:
    """Whose terminals ``offer`` fits: it is tuned to them and they have need of it. Groups of users are not asked."""
    index = OfferIndex(Catalogue([offer]), releases)
    models: Counter[str] = Counter()
    codes = set()
    terminals = 0
    for code, configuration, count in population:
        terminals += count
        if index.refs(configuration):
            codes.add(code)
            models[configuration.hardware.get("model", "")] += count
    return Fit(terminals, dict(models.most_common()), frozenset(codes), index.current[offer.id].release)


def reach(catalogue: Catalogue, releases: Releases, population: Population) -> dict[str, int]:
    """Offer id to how many terminals each offer fits."""
    index = OfferIndex(catalogue, releases)
    # Configurations of one list share it, so the lists are told apart without being compared.
    by_identity: dict[int, tuple[OfferRef, ...]] = {}
    counts: Counter[int] = Counter()
    for _, configuration, count in population:
        refs = index.refs(configuration)
        by_identity[id(refs)] = refs
        counts[id(refs)] += count
    found: Counter[str] = Counter()
    for key, count in counts.items():
        for ref in by_identity[key]:
            found[ref.offer.id] += count
    return {offer.id: found[offer.id] for offer in catalogue}
