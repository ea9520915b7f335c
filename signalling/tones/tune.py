"""A tone, and how it is written as text: RTTTL, with the style and loop pairs and the length signs of its successor.

``name:d=4,o=6,b=63:notes``: a note is a length (1, 2, 4, 8, 16, 32), a letter ``a`` to ``g`` (``h`` is ``b``) or ``p``
for a rest, ``#``, an octave (4 to 7; a of octave 4 has 440 Hz) and a sign: ``.`` dotted, ``;`` double-dotted, ``&`` two
thirds. What a part leaves out has the default that the middle part tells.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum

MAX_TITLE = 15
MAX_NOTES = 125
"""So that a tone always fits into one pattern of the binary form: 255 instructions with an octave for each note."""
MAX_TEXT = 1500
FOREVER = 15

TEMPOS = (
    25, 28, 31, 35, 40, 45, 50, 56, 63, 70, 80, 90, 100, 112, 125, 140,
    160, 180, 200, 225, 250, 285, 320, 355, 400, 450, 500, 565, 635, 715, 800, 900,
)  # fmt: skip
"""Beats per minute that both forms know; the place is the binary form's code."""
LENGTHS = (1, 2, 4, 8, 16, 32)
OCTAVES = (4, 5, 6, 7)
PITCHES = ("p", "c", "c#", "d", "d#", "e", "f", "f#", "g", "g#", "a", "a#", "b")
SIGNS = ("", ".", ";", "&")

_NOTE = re.compile(r"(32|16|8|4|2|1)?([a-hp]#?)([.;&]?)([4-7]?)([.;&]?)", re.ASCII)
_SAME = {"h": "b", "e#": "f", "b#": "c", "h#": "c"}
_PAIR = re.compile(r"([dobsl])=([0-9]{1,3}|[nsc])", re.ASCII)


class ToneError(ValueError):
    """What is no tone; the text says where and why."""


class Style(IntEnum):
    """Between notes: a short rest, none, or a long one."""

    NATURAL = 0
    CONTINUOUS = 1
    STACCATO = 2


@dataclass(frozen=True, slots=True)
class Note:
    """``pitch``: place in :data:`PITCHES`, 0 a rest; ``length``: of :data:`LENGTHS`; ``sign``: place in :data:`SIGNS`.

    A rest has the octave 4, which says nothing. Raises :class:`ToneError`.
    """

    pitch: int
    octave: int = 4
    length: int = 4
    sign: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.pitch < len(PITCHES) or self.octave not in OCTAVES or self.length not in LENGTHS:
            raise ToneError(f"{self}: no such pitch, octave or length")
        if not 0 <= self.sign < len(SIGNS):
            raise ToneError(f"{self}: no such length sign")
        if self.pitch == 0 and self.octave != OCTAVES[0]:
            raise ToneError(f"{self}: a rest has no octave")


@dataclass(frozen=True, slots=True)
class Tone:
    """A tune of one voice. ``loop``: how often it comes again, 15 for ever. Raises :class:`ToneError`."""

    title: str
    notes: tuple[Note, ...]
    tempo: int = 63
    style: Style = Style.NATURAL
    loop: int = 0

    def __post_init__(self) -> None:
        bad = next(
            (char for char in self.title if char == ":" or not (" " <= char <= "~" or "\xa0" <= char <= "ÿ")), ""
        )
        if bad or not self.title.strip() or self.title != self.title.strip() or len(self.title) > MAX_TITLE:
            raise ToneError(
                f"title {self.title!r}: 1 to {MAX_TITLE} characters of Latin-1 without a colon, no space around them"
            )
        if not 1 <= len(self.notes) <= MAX_NOTES:
            raise ToneError(f"{self.title}: {len(self.notes)} notes; a tone has 1 to {MAX_NOTES}")
        if self.tempo not in TEMPOS:
            raise ToneError(f"{self.title}: tempo {self.tempo} is none of {', '.join(map(str, TEMPOS))}")
        if not 0 <= self.loop <= FOREVER:
            raise ToneError(f"{self.title}: loop {self.loop} is not 0 to {FOREVER}")

    def sample(self, notes: int) -> Tone:
        """The first notes, once."""
        return Tone(self.title, self.notes[: max(1, notes)], self.tempo, self.style)


def parse_rtttl(text: str) -> Tone:
    """The tone that an RTTTL text describes. Raises :class:`ToneError`."""
    if len(text) > MAX_TEXT:
        raise ToneError(f"the text has {len(text)} characters; a tone has at most {MAX_TEXT}")
    parts = text.strip().split(":")
    if len(parts) != 3:
        raise ToneError(f"{len(parts)} parts between colons; a tone is written NAME:DEFAULTS:NOTES")
    title, pairs, notes = parts
    defaults = _defaults(pairs)
    length, octave = int(defaults.get("d", "4")), int(defaults.get("o", "6"))
    if length not in LENGTHS:
        raise ToneError(f"d={length}: a length is one of {', '.join(map(str, LENGTHS))}")
    if octave not in OCTAVES:
        raise ToneError(f"o={octave}: an octave is 4 to 7")
    styles = {"n": Style.NATURAL, "c": Style.CONTINUOUS, "s": Style.STACCATO}
    read = [_note(written, place, length, octave) for place, written in enumerate(_split(notes), 1)]
    style = styles[defaults.get("s", "n")]
    return Tone(title.strip(), tuple(read), int(defaults.get("b", "63")), style, int(defaults.get("l", "0")))


def _split(text: str) -> list[str]:
    return ["".join(written.lower().split()) for written in text.split(",")]


def _defaults(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for written in _split(text) if text.strip() else ():
        pair = _PAIR.fullmatch(written)
        if pair is None or (pair[1] == "s") is pair[2].isdigit():
            raise ToneError(f"default {written!r}: d, o, b, l with a number, or s with n, s or c, such as b=125")
        if pair[1] in found:
            raise ToneError(f"default {written!r}: {pair[1]} is said twice")
        found[pair[1]] = pair[2]
    return found


def _note(written: str, place: int, length: int, octave: int) -> Note:
    match = _NOTE.fullmatch(written)
    if match is None or (match[3] and match[5]):
        raise ToneError(f"note {place}, {written!r}: length, letter or p, #, octave 4 to 7, dot, such as 8c#5.")
    name = _SAME.get(match[2], match[2])
    if name not in PITCHES:
        raise ToneError(f"note {place}, {written!r}: there is no {name}")
    own = int(match[4]) if match[4] else octave
    if name == "c" and match[2] != "c":
        own += 1
        if own not in OCTAVES:
            raise ToneError(f"note {place}, {written!r}: beyond octave 7")
    pitch = PITCHES.index(name)
    return Note(
        pitch, own if pitch else OCTAVES[0], int(match[1]) if match[1] else length, SIGNS.index(match[3] or match[5])
    )


def format_rtttl(tone: Tone) -> str:
    """The tone as RTTTL, in one form: the commonest length and octave are the defaults."""
    lengths = [note.length for note in tone.notes]
    octaves = [note.octave for note in tone.notes if note.pitch] or [6]
    length = max(LENGTHS, key=lambda each: (lengths.count(each), -each))
    octave = max(OCTAVES, key=lambda each: (octaves.count(each), -each))
    more = "" if tone.style is Style.NATURAL else f",s={tone.style.name[0].lower()}"
    more += f",l={tone.loop}" if tone.loop else ""
    notes = ",".join(
        ("" if note.length == length else str(note.length))
        + PITCHES[note.pitch]
        + (str(note.octave) if note.pitch and note.octave != octave else "")
        + SIGNS[note.sign]
        for note in tone.notes
    )
    return f"{tone.title}:d={length},o={octave},b={tone.tempo}{more}:{notes}"
