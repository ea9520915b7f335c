"""Versions as they are found in the wild, in one order, and what an offer requires of them.

A version that PEP 440 knows is taken as it is. Others are read the way Debian writes them
(``[epoch:]upstream[-revision]``, deb-version(7)) and mapped onto PEP 440: what follows the leading numbers, and the
revision, become a local part, so that ``2:1.4.3-1+deb12u1`` satisfies ``>=1.4``, ``==1.4.3`` and ``<=1.4.3`` and
still is older than ``2:1.4.3-2``; ``~`` makes a pre-release. A text without a number at its start has no place in the
order: nothing matches it, and nothing is older or newer than it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

_DEBIAN = re.compile(
    r"v?(?:(?P<epoch>[0-9]+)[:!])?(?P<release>[0-9]+(?:\.[0-9]+)*)(?P<rest>[A-Za-z0-9.+~_-]*)\Z", re.ASCII
)
_PRE = re.compile(r"[~._-]?(?P<kind>alpha|beta|rc|pre|a|b)[~._-]?(?P<number>[0-9]*)(?![A-Za-z0-9])", re.ASCII)
_PIECE = re.compile(r"[0-9]+|[A-Za-z]+", re.ASCII)
_NAME = re.compile(r"(?P<name>[a-z0-9](?:[A-Za-z0-9_.+:/@-]|~(?!=))*)\s*(?P<specifier>.*)\Z", re.ASCII | re.DOTALL)
_MAX_LENGTH = 256


@lru_cache(maxsize=65_536)
def parse_version(text: str) -> Version | None:
    """The place of ``text`` in the order of versions, or ``None`` where it has none."""
    if len(text) > _MAX_LENGTH:
        return None
    text = text.strip()
    # PEP 440 would read Debian's revision "1.4-2" as a post-release, above every 1.4 that a specifier names.
    if "-" not in text and "+" not in text:
        try:
            return Version(text)
        except InvalidVersion:
            pass
    found = _DEBIAN.match(text)
    if found is None:
        return None
    mapped = found["release"]
    if found["epoch"]:
        mapped = f"{int(found['epoch'])}!{mapped}"
    rest = found["rest"]
    if pre := _PRE.match(rest):
        mapped += f"{pre['kind']}{pre['number'] or 0}"
        rest = rest[pre.end() :]
    if rest.startswith("~"):
        mapped += ".dev0"
    local = ".".join(_PIECE.findall(rest))
    return Version(f"{mapped}+{local}" if local else mapped)


def compare(left: str, right: str) -> int | None:
    """Negative, zero or positive as ``left`` is older than, equal to or newer than ``right``; ``None``: no order.

    An epoch counts only where both have one.
    """
    if left == right:
        return 0
    first, second = parse_version(left), parse_version(right)
    if first is None or second is None:
        return None
    if bool(first.epoch) != bool(second.epoch):
        first, second = _without_epoch(first), _without_epoch(second)
    return (first > second) - (first < second)


def newest(versions: Iterable[str]) -> str | None:
    """The newest of ``versions``; those that have no place in the order are left out."""
    best: str | None = None
    for version in versions:
        if parse_version(version) is not None and (best is None or (compare(version, best) or 0) > 0):
            best = version
    return best


def parse_specifier(text: str) -> SpecifierSet:
    """A PEP 440 specifier such as ``>=2.30,<3``. Raises ``ValueError`` that says what is wrong with it."""
    if "===" in text:
        raise ValueError(f"{text!r}: '===' compares letters, not versions; write '=='")
    try:
        specifiers = SpecifierSet(text)
    except InvalidSpecifier:
        raise ValueError(f"{text!r} is not a version specifier such as '>=2.30,<3' (PEP 440)") from None
    if any("+" in specifier.version for specifier in specifiers):
        raise ValueError(f"{text!r}: a build after '+' cannot be required; name the version before it")
    return specifiers


@lru_cache(maxsize=65_536)
def satisfies(version: str, specifier: SpecifierSet) -> bool:
    """Whether a version found in the wild lies in ``specifier``; one that cannot be compared lies only in none at all.

    The version's epoch counts only where the specifier names one.
    """
    if not str(specifier):
        return True
    found = parse_version(version)
    if found is None:
        return False
    if found.epoch and not any("!" in each.version for each in specifier):
        found = _without_epoch(found)
    return specifier.contains(found, prereleases=True)


def _without_epoch(version: Version) -> Version:
    return Version(str(version).partition("!")[2]) if version.epoch else version


@dataclass(frozen=True, slots=True)
class Requirement:
    """A component, package or product, and which of its versions will do. ``specifier`` may be empty: any."""

    name: str
    specifier: SpecifierSet

    @classmethod
    def parse(cls, text: str) -> Requirement:
        """Read ``deb/libc6>=2.30,<3`` or a bare name. Raises ``ValueError``."""
        found = _NAME.match(text.strip())
        if found is None:
            raise ValueError(f"{text!r} does not begin with the name of a package or product")
        return cls(found["name"], parse_specifier(found["specifier"]))

    def accepts(self, version: str) -> bool:
        """Whether this version of the thing will do."""
        return satisfies(version, self.specifier)

    def __str__(self) -> str:
        return f"{self.name}{self.specifier}"
