"""Offer classes: configurations that no rule of the catalogue can tell apart.

The rules of all offers are built of *conditions*, each on one fact: a pattern on the model, a least amount of memory, a
range of a package's versions. Each condition has a bit. The projection of a configuration onto the truth of all
conditions is its *class*: an integer, the union of the bits that its facts set. A fact's bits depend on its key and
value alone, so they are worked out once for each value that occurs. An offer's rule then is arithmetic on the class.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import ClassVar

from offers.catalogue import Offer
from offers.versions import Requirement, parse_version
from signalling.configuration import Configuration, SectionName


@dataclass(frozen=True, slots=True)
class Pattern:
    """A hardware fact that matches a pattern, letters of either case."""

    key: str
    pattern: str

    sections: ClassVar[tuple[SectionName, ...]] = ("hardware",)

    def holds(self, value: str) -> bool:
        return fnmatchcase(value.lower(), self.pattern.lower())

    def objection(self, configuration: Configuration) -> str:
        found = configuration.hardware.get(self.key)
        return f"{self.key} is {found!r}, not {self.pattern!r}" if found is not None else f"{self.key} is not known"


@dataclass(frozen=True, slots=True)
class Minimum:
    """A numeric hardware fact that is at least so much."""

    key: str
    least: int

    sections: ClassVar[tuple[SectionName, ...]] = ("hardware",)

    def holds(self, value: str) -> bool:
        return value.isascii() and value.isdigit() and int(value) >= self.least

    def objection(self, configuration: Configuration) -> str:
        found = configuration.hardware.get(self.key)
        return f"{self.key} is {'not known' if found is None else found}, at least {self.least} is needed"


@dataclass(frozen=True, slots=True)
class Installed:
    """A component in one of these sections whose version lies in a range."""

    sections: tuple[SectionName, ...]
    requirement: Requirement

    @property
    def key(self) -> str:
        return self.requirement.name

    def holds(self, value: str) -> bool:
        return self.requirement.accepts(value)

    def objection(self, configuration: Configuration) -> str:
        versions = [
            entries[self.key] for section in self.sections if self.key in (entries := configuration.section(section))
        ]
        if not versions:
            return f"{self.key} is not there, {self.requirement} is needed"
        unknown = [version for version in versions if parse_version(version) is None]
        if unknown:
            return f"{self.key} has version {unknown[0]!r}, which cannot be compared with {self.requirement}"
        return f"{self.key} is {' and '.join(versions)}, {self.requirement} is needed"


Condition = Pattern | Minimum | Installed

_ANYWHERE: tuple[SectionName, ...] = ("catalogue_items", "base_software")


@dataclass(frozen=True, slots=True)
class Rule:
    """What an offer asks of a class: all bits of ``needed``, one of each of ``choices``, none of ``excluded``."""

    needed: int
    choices: tuple[int, ...]
    excluded: int

    def fits(self, offer_class: int) -> bool:
        """Whether a configuration of this class is one the offer is tuned to."""
        return (
            offer_class & self.needed == self.needed
            and not offer_class & self.excluded
            and all(offer_class & choice for choice in self.choices)
        )

    @property
    def gate(self) -> int:
        """Bits of which a fitting class has at least one; 0 where a class of no bits may fit."""
        return self.choices[0] if self.choices else self.needed & -self.needed


class Rules:
    """The rules of a set of offers, and the projection of configurations onto their conditions."""

    def __init__(self, offers: Iterable[Offer]) -> None:
        self._bits: dict[Condition, int] = {}
        self._by_fact: dict[SectionName, dict[str, list[Condition]]] = {}
        self._fact_bits: dict[tuple[SectionName, str, str], int] = {}
        self._rules = {offer: self._rule(offer) for offer in offers}
        self._behind: dict[int, list[tuple[int, Offer, Rule]]] = {}
        for place, (offer, rule) in enumerate(self._rules.items()):
            for bit in _single_bits(rule.gate) or (0,):
                self._behind.setdefault(bit, []).append((place, offer, rule))

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """The atomic conditions, in the order of their bits."""
        return tuple(self._bits)

    def offer_class(self, configuration: Configuration) -> int:
        """The class of a configuration: the bits of the conditions that hold for it."""
        result = 0
        for section, facts in self._by_fact.items():
            entries = configuration.section(section)
            for key in facts.keys() & entries.keys():
                result |= self._bits_of(section, key, entries[key])
        return result

    def fitting(self, offer_class: int) -> list[Offer]:
        """The offers tuned to a class, in the order in which they were given."""
        found = {
            place: offer
            for bit in (0, *_single_bits(offer_class))
            for place, offer, rule in self._behind.get(bit, ())
            if rule.fits(offer_class)
        }
        return [found[place] for place in sorted(found)]

    def objections(self, offer: Offer, configuration: Configuration) -> Iterator[str]:
        """Why the offer is not tuned to this configuration, a sentence each; none where it is."""
        offer_class = self.offer_class(configuration)
        rule = self._rules[offer]
        for condition in self._named(rule.needed & ~offer_class):
            yield condition.objection(configuration)
        for choice in rule.choices:
            if not offer_class & choice:
                yield "; ".join(condition.objection(configuration) for condition in self._named(choice))
        for condition in self._named(rule.excluded & offer_class):
            yield f"{condition.key} is there, which the offer excludes"

    def _named(self, bits: int) -> list[Condition]:
        return [condition for condition, bit in self._bits.items() if bits & bit]

    def _bits_of(self, section: SectionName, key: str, value: str) -> int:
        fact = (section, key, value)
        bits = self._fact_bits.get(fact)
        if bits is None:
            bits = 0
            for condition in self._by_fact[section][key]:
                if condition.holds(value):
                    bits |= self._bits[condition]
            self._fact_bits[fact] = bits
        return bits

    def _rule(self, offer: Offer) -> Rule:
        target = offer.target
        needed: list[Condition] = [Minimum(key, least) for key, least in target.minima.items()]
        needed += [Installed(("firmware",), requirement) for requirement in target.firmware]
        needed += [Installed(("base_software",), requirement) for requirement in target.base_software]
        needed += [Installed(_ANYWHERE, requirement) for requirement in target.requires]
        return Rule(
            needed=self._union(needed),
            choices=tuple(
                self._union([Pattern(key, pattern) for pattern in patterns])
                for key, patterns in target.hardware.items()
            ),
            excluded=self._union([Installed(_ANYWHERE, requirement) for requirement in target.conflicts]),
        )

    def _union(self, conditions: Iterable[Condition]) -> int:
        result = 0
        for condition in conditions:
            result |= self._bit(condition)
        return result

    def _bit(self, condition: Condition) -> int:
        bit = self._bits.get(condition)
        if bit is None:
            bit = self._bits[condition] = 1 << len(self._bits)
            for section in condition.sections:
                self._by_fact.setdefault(section, {}).setdefault(condition.key, []).append(condition)
        return bit


def _single_bits(bits: int) -> list[int]:
    result = []
    while bits:
        lowest = bits & -bits
        result.append(lowest)
        bits ^= lowest
    return result
