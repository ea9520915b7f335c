"""A line of text as it is drawn: what is written from right to left in its order on the page, Arabic letters joined.

The order is that of Unicode's bidirectional algorithm (UAX #9) without embeddings, for one line; the joined letters are
the presentation forms, as far as the typeface has them. Text without such letters stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from functools import cache
from itertools import pairwise
from typing import NamedTuple
from unicodedata import bidirectional, category, decomposition

_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")
_LAM, _ALEFS, _TATWEEL = "\u0644", "\u0622\u0623\u0625\u0627", "\u0640"
_MIRRORED = dict(zip("()[]{}<>«»", ")(][}{><»«", strict=True))


class _Forms(NamedTuple):
    """By letter the forms that it takes beside others: isolated, final, initial, medial."""

    letters: dict[str, dict[str, str]]
    lam_with: dict[str, dict[str, str]]

    def joins_next(self, char: str) -> bool:
        """Whether a letter takes hold of the one after it."""
        return char == _TATWEEL or "initial" in self.letters.get(char, ())

    def joins_before(self, char: str) -> bool:
        """Whether a letter takes hold of the one before it."""
        return char == _TATWEEL or "final" in self.letters.get(char, ())


def drawn(text: str, glyphs: Container[int]) -> str:
    """A line from left to right, in the letters that a typeface with ``glyphs`` (code points) has for it."""
    if not _RIGHT_TO_LEFT.search(text):
        return text
    return _ordered("".join(_joined(text, glyphs)))


@cache
def _forms() -> _Forms:
    forms = _Forms({}, {})
    for code in range(0xFB50, 0xFEFD):
        kind, *of = decomposition(chr(code)).split() or [""]
        letters = [chr(int(each, 16)) for each in of]
        if len(letters) == 1:
            forms.letters.setdefault(letters[0], {}).setdefault(kind.strip("<>"), chr(code))
        elif len(letters) == 2 and letters[0] == _LAM and letters[1] in _ALEFS:
            forms.lam_with.setdefault(letters[1], {})[kind.strip("<>")] = chr(code)
    return forms


def _joined(text: str, glyphs: Container[int]) -> Iterator[str]:
    """The letters of ``text``, in the order they are read, each in the form that its neighbours ask for."""
    forms = _forms()
    letters = [at for at, char in enumerate(text) if category(char) != "Mn"]
    after = dict(pairwise(letters))
    before = {later: earlier for earlier, later in after.items()}
    swallowed = -1
    for at, char in enumerate(text):
        if at == swallowed:
            continue
        held = at in before and forms.joins_next(text[before[at]]) and forms.joins_before(char)
        following = text[after[at]] if at in after else ""
        holds = forms.joins_next(char) and forms.joins_before(following)
        shapes = forms.letters.get(char, {})
        if char == _LAM and text[at + 1 : at + 2] in forms.lam_with:
            shapes, holds, swallowed = forms.lam_with[text[at + 1]], False, at + 1
        kind = ("medial" if holds else "final") if held else ("initial" if holds else "isolated")
        shape = shapes.get(kind, char)
        if ord(shape) not in glyphs:
            shape, swallowed = char, -1
        yield shape


def _ordered(text: str) -> str:
    """The characters of a line from left to right; marks stay behind the letter that bears them."""
    clusters: list[str] = []
    for char in text:
        if clusters and category(char) == "Mn":
            clusters[-1] += char
        else:
            clusters.append(char)
    levels = _levels([bidirectional(cluster[0]) for cluster in clusters])
    shown = [
        _MIRRORED.get(cluster, cluster) if level % 2 else cluster
        for cluster, level in zip(clusters, levels, strict=True)
    ]
    for least in range(max(levels), 0, -1):
        begin = 0
        while begin < len(shown):
            end = begin
            while end < len(shown) and levels[end] >= least:
                end += 1
            shown[begin:end], levels[begin:end] = shown[begin:end][::-1], levels[begin:end][::-1]
            begin = end + 1
    return "".join(shown)


def _levels(classes: list[str]) -> list[int]:
    """How deep each character lies: even is read from the left, odd from the right."""
    kinds = _kinds(classes)
    base = next((kind for kind in kinds if kind in "LR"), "L")
    strong = base
    for at, kind in enumerate(kinds):
        if kind in "LR":
            strong = kind
        elif kind == "N" and strong == "L":
            kinds[at] = "L"
    at = 0
    while at < len(kinds):
        end = at
        while end < len(kinds) and kinds[end] == "O":
            end += 1
        if end > at:
            sides = [kinds[at - 1] if at else base, kinds[end] if end < len(kinds) else base]
            left, right = ("R" if side == "N" else side for side in sides)
            kinds[at:end] = [left if left == right else base] * (end - at)
        at = end + 1
    return [{"R": 1, "N": 2, "L": 0 if base == "L" else 2}[kind] for kind in kinds]


def _kinds(classes: list[str]) -> list[str]:
    """``L`` or ``R`` for letters, ``N`` for numbers with what belongs to them, ``O`` for anything else."""
    kinds = [{"L": "L", "R": "R", "AL": "R", "EN": "N", "AN": "N"}.get(each, "O") for each in classes]
    for at in range(1, len(kinds) - 1):
        if classes[at] in ("CS", "ES") and kinds[at - 1] == kinds[at + 1] == "N":
            kinds[at] = "N"
    for places in (range(1, len(kinds)), range(len(kinds) - 2, -1, -1)):
        step = places.step
        for at in places:
            if classes[at] == "ET" and kinds[at - step] == "N":
                kinds[at] = "N"
    return kinds
