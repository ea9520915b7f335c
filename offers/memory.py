"""The offer memory: addressable by configuration code, each area the offers tuned to one configuration (claim 2)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from offers.catalogue import Catalogue
from offers.index import Current, OfferIndex, OfferRef, Releases
from signalling.configuration import Configuration


class UnknownCode(LookupError):
    """A configuration code that the memory has not learnt."""


class OfferMemory:
    """Code to ordered offers. A code is learnt once; look-ups only read.

    Safe to use from several threads: while one rebuilds, others learn and look up.
    """

    def __init__(self, catalogue: Catalogue, releases: Releases) -> None:
        self._index = OfferIndex(catalogue, releases)
        self._building: tuple[OfferIndex, ...] = ()

    @property
    def index(self) -> OfferIndex:
        """The index in force; it does not change under its holder but for codes that are learnt."""
        return self._index

    @property
    def catalogue(self) -> Catalogue:
        """The catalogue in force."""
        return self._index.catalogue

    @property
    def current(self) -> Mapping[str, Current]:
        """Offer id to the offer and the release it offers now."""
        return self._index.current

    @property
    def class_count(self) -> int:
        """How many offer classes the codes learnt fall into."""
        return self._index.class_count

    def __len__(self) -> int:
        """How many codes are known."""
        return len(self._index.by_code)

    def knows(self, code: bytes) -> bool:
        """Whether the code was learnt."""
        return code in self._index.by_code

    def learn(self, code: bytes, configuration: Configuration) -> None:
        """Put a code in its class; to learn it again changes nothing."""
        # The index in force last: a rebuild that ends in between then already has the code.
        for index in (*self._building, self._index):
            if code not in index.by_code:
                index.learn(code, configuration)

    def lookup(self, code: bytes) -> tuple[OfferRef, ...]:
        """The offers tuned to the configuration and not present in it, in order. Raises :class:`UnknownCode`."""
        try:
            return self._index.by_code[code]
        except KeyError:
            raise UnknownCode(f"configuration code {code.hex()[:16]}... was not learnt") from None

    def rebuild(
        self, catalogue: Catalogue, releases: Releases, configurations: Iterable[tuple[bytes, Configuration]]
    ) -> Iterator[int]:
        """Take over changed rules or releases, a stored configuration a step; yields how many are done.

        Look-ups go on in the old index until the last step, which puts the new one in its place. Whoever stops before
        that leaves everything as it was. Codes learnt meanwhile are in the new index too. Of two rebuilds at once, the
        one that was begun last stays.
        """
        index = OfferIndex(catalogue, releases)
        self._building = (*self._building, index)
        try:
            for done, (code, configuration) in enumerate(configurations, 1):
                if code not in index.by_code:
                    index.learn(code, configuration)
                yield done
            if index in self._building:
                self._index = index
                # Rebuilds begun before this one know older rules.
                self._building = self._building[self._building.index(index) :]
        finally:
            self._building = tuple(each for each in self._building if each is not index)
