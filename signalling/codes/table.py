"""A network's set of feature codes, and the rules by which a roamer's set meets it.

A code is ``*``, two digits and ``#``. What is dialled may hold more behind the two digits, such as the number of a call
forwarding in ``*44*555-4444#``; only the two digits after the first ``*`` are looked at, and only they are replaced.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta

Direction = Literal["activate", "deactivate"]
"""The up arrow activates, the down arrow deactivates."""

FeatureName = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]
Code = Annotated[str, Meta(pattern=r"^\*[0-9]{2}#$")]
MenuPath = Annotated[str, Meta(pattern=r"^([0-9]{1,2}(-[0-9]{1,2}){0,4})?$")]
Title = Annotated[str, Meta(min_length=1, max_length=40)]
EfNumber = Annotated[int, Meta(ge=1, le=64)]
MOST_FEATURES = 100
MOST_SEQUENCE = 2**31 - 1

_DIALLED = re.compile(r"\*([0-9]{2})([*0-9-]{0,40})#\Z", re.ASCII)


class CodeError(ValueError):
    """Codes or digits that cannot be; the text says which and why."""


class FeatureCode(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A feature, and what is dialled for it. ``menu``: its place in a mobile's menu, such as ``6-5``.

    ``ef``: its number where it costs something here (a surcharge): the mobile unlocks it by a key of its own. 0: free.
    """

    feature: FeatureName
    title: Title
    activate: Code
    deactivate: Code
    menu: MenuPath = ""
    supported: bool = True
    ef: Annotated[int, Meta(ge=0, le=64)] = 0

    def code(self, direction: Direction) -> str:
        """What is dialled to switch it."""
        return self.activate if direction == "activate" else self.deactivate

    def same_codes(self, other: FeatureCode) -> bool:
        """Whether both are switched by the same codes."""
        return (self.activate, self.deactivate) == (other.activate, other.deactivate)


class Dialled(NamedTuple):
    """Digits as dialled, read with a set of codes."""

    feature: str
    direction: Direction
    rest: str


def check_codes(codes: Sequence[FeatureCode]) -> None:
    """Raises :class:`CodeError` where a set cannot be used: a name, a code, a menu place or a number stands twice."""
    if len(codes) > MOST_FEATURES:
        raise CodeError(f"{len(codes)} features: at most {MOST_FEATURES} fit into a mobile")
    seen: dict[tuple[str, str], str] = {}
    for each in codes:
        marks = [("feature", each.feature), ("code", each.activate), ("code", each.deactivate)]
        marks += [("menu", each.menu)] if each.menu else []
        marks += [("ef", str(each.ef))] if each.ef else []
        for mark in marks:
            if mark in seen:
                raise CodeError(f"feature {each.feature}: {mark[0]} {mark[1]} is that of {seen[mark]} already")
            seen[mark] = each.feature


def read_dialled(digits: str, codes: Iterable[FeatureCode]) -> Dialled | None:
    """What the digits mean in a set of codes; ``None`` where they mean nothing there.

    Raises :class:`CodeError` for what is no feature code at all.
    """
    match = _DIALLED.match(digits)
    if match is None:
        raise CodeError(f"{digits[:50]!r} is no feature code: *, two digits, perhaps a number, and # are needed")
    for each in codes:
        for direction in ("activate", "deactivate"):
            if each.code(direction)[1:3] == match[1]:
                return Dialled(each.feature, direction, match[2])
    return None


def dial(code: FeatureCode, direction: Direction, rest: str = "") -> str:
    """The digits that switch a feature, with what followed the code kept: ``*55`` and ``*555-4444#``."""
    return f"{code.code(direction)[:-1]}{rest}#"


def by_feature(codes: Iterable[FeatureCode]) -> dict[str, FeatureCode]:
    """Codes by the name of their feature."""
    return {each.feature: each for each in codes}


def differing(original: Mapping[str, FeatureCode], local: Iterable[FeatureCode]) -> dict[str, FeatureCode]:
    """The local codes that are worth keeping: those that differ from the original set, and those it does not have."""
    return {
        each.feature: each
        for each in local
        if (known := original.get(each.feature)) is None or not known.same_codes(each)
    }


def translate(digits: str, original: Iterable[FeatureCode], local: Mapping[str, FeatureCode]) -> str:
    """Digits in the user's own codes as the network here wants them; unchanged where there is nothing to translate.

    Raises :class:`CodeError` for what is no feature code.
    """
    meant = read_dialled(digits, original)
    here = None if meant is None else local.get(meant.feature)
    return digits if meant is None or here is None else dial(here, meant.direction, meant.rest)


def menu_digits(path: str, direction: Direction, codes: Iterable[FeatureCode]) -> str:
    """What a place of the menu dials in the user's own codes. Raises :class:`CodeError` where there is nothing."""
    for each in codes:
        if each.menu and each.menu == path:
            return dial(each, direction)
    raise CodeError(f"menu {path!r}: there is nothing at this place")
