"""The binary form of a tone: ringing tone programming of Nokia Smart Messaging 3.0, packed bit by bit.

It goes to port 5505 in one or more short messages. One song of up to four patterns; a tone is written as one pattern.
"""

from __future__ import annotations

from typing import TypeVar

from signalling.tones.tune import (
    FOREVER,
    LENGTHS,
    MAX_NOTES,
    OCTAVES,
    PITCHES,
    SIGNS,
    TEMPOS,
    Note,
    Style,
    Tone,
    ToneError,
)

MAX_BYTES = 400
PROGRAMMING, SOUND, UNICODE = 0b0100101, 0b0011101, 0b0100010
BASIC_SONG = 0b001
PATTERN, NOTE, SCALE, STYLE, TEMPO, VOLUME = range(6)
_DEFAULT_OCTAVE, _DEFAULT_TEMPO = 5, 63
_Value = TypeVar("_Value")


class _Writer:
    def __init__(self) -> None:
        self._bits: list[str] = []

    def put(self, *fields: tuple[int, int]) -> None:
        self._bits += [format(value, f"0{width}b") for value, width in fields]

    def data(self) -> bytes:
        bits = "".join(self._bits)
        bits += "0" * (-len(bits) % 8)
        return int(bits, 2).to_bytes(len(bits) // 8, "big")


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._whole = int.from_bytes(data, "big")
        self._size = len(data) * 8
        self.at = 0

    def take(self, width: int, what: str) -> int:
        if self.at + width > self._size:
            raise ToneError(f"the data ends at bit {self._size}, within {what}")
        self.at += width
        return self._whole >> (self._size - self.at) & ((1 << width) - 1)

    def align(self) -> None:
        self.at += -self.at % 8


def encode_smart(tone: Tone) -> bytes:
    """The bytes of a tone, as they go to port 5505."""
    instructions: list[tuple[tuple[int, int], ...]] = [
        ((TEMPO, 3), (TEMPOS.index(tone.tempo), 5)),
        ((STYLE, 3), (tone.style, 2)),
    ]
    octave = 0
    for note in tone.notes:
        if note.pitch and note.octave != octave:
            octave = note.octave
            instructions.append(((SCALE, 3), (OCTAVES.index(octave), 2)))
        instructions.append(((NOTE, 3), (note.pitch, 4), (LENGTHS.index(note.length), 3), (note.sign, 2)))
    out = _Writer()
    # Two commands, the first padded to a byte.
    out.put((2, 8), (PROGRAMMING, 7), (0, 1), (SOUND, 7), (BASIC_SONG, 3))
    title = tone.title.encode("latin-1")
    out.put((len(title), 4), *((char, 8) for char in title))
    out.put((1, 8), (PATTERN, 3), (0, 2), (tone.loop, 4), (len(instructions), 8))
    for instruction in instructions:
        out.put(*instruction)
    return out.data() + b"\x00"


def decode_smart(data: bytes) -> Tone:
    """The tone in these bytes. Loudness is passed over. Raises :class:`ToneError`."""
    if len(data) > MAX_BYTES:
        raise ToneError(f"{len(data)} bytes; a tone has at most {MAX_BYTES}")
    bits = _Reader(data)
    commands = bits.take(8, "the number of commands")
    if commands not in (2, 3) or bits.take(7, "the first command") != PROGRAMMING:
        raise ToneError("this is no ringing tone: it does not begin with 02 4A")
    bits.align()
    width = 8
    if commands == 3:
        if bits.take(7, "the second command") != UNICODE:
            raise ToneError("the second of three commands is not Unicode")
        bits.align()
        width = 16
    if bits.take(7, "the sound command") != SOUND:
        raise ToneError(f"no sound command before bit {bits.at}")
    if bits.take(3, "the kind of song") != BASIC_SONG:
        raise ToneError("only basic songs with a title are tones")
    title = "".join(chr(bits.take(width, "the title")) for _ in range(bits.take(4, "the title's length")))
    patterns = _Patterns(bits)
    for _ in range(bits.take(8, "the number of patterns")):
        patterns.read()
    return Tone(title.strip(), tuple(patterns.notes), patterns.tempo, patterns.style, patterns.loop)


class _Patterns:
    """Reads patterns one after the other; octave, tempo and style last from one to the next."""

    def __init__(self, bits: _Reader) -> None:
        self.notes: list[Note] = []
        self.tempo, self.style, self.loop = _DEFAULT_TEMPO, Style.NATURAL, 0
        self._octave = _DEFAULT_OCTAVE
        self._bits = bits
        self._known: dict[int, list[Note]] = {}
        self._count = 0

    def read(self) -> None:
        """A pattern, or one again that came before."""
        bits = self._bits
        if bits.take(3, "a pattern") != PATTERN:
            raise ToneError(f"no pattern at bit {bits.at - 3}")
        name, loop = bits.take(2, "a pattern's name"), bits.take(4, "a pattern's loop")
        length = bits.take(8, "a pattern's length")
        if length:
            self._known[name] = [note for _ in range(length) if (note := self._instruction()) is not None]
        elif name not in self._known:
            raise ToneError(f"pattern {'ABCD'[name]} is used before it is written")
        self._count += 1
        if self._count > 1 and (self.loop == FOREVER or loop == FOREVER):
            raise ToneError("a pattern that goes on for ever is the only one of its song")
        # Of a song of one pattern the loop is kept; in others each is written out.
        if self._count == 2:
            self.notes *= self.loop + 1
        times = 1 if self._count == 1 else loop + 1
        if len(self.notes) + times * len(self._known[name]) > MAX_NOTES:
            raise ToneError(f"more than {MAX_NOTES} notes")
        self.notes += self._known[name] * times
        self.loop = loop if self._count == 1 else 0

    def _instruction(self) -> Note | None:
        bits = self._bits
        kind = bits.take(3, "an instruction")
        if kind == NOTE:
            pitch, length, sign = bits.take(4, "a note"), bits.take(3, "a note"), bits.take(2, "a note")
            if pitch >= len(PITCHES) or length >= len(LENGTHS) or sign >= len(SIGNS):
                raise ToneError(f"no such note or length before bit {bits.at}")
            return Note(pitch, self._octave if pitch else OCTAVES[0], LENGTHS[length], sign)
        if kind == SCALE:
            self._octave = OCTAVES[bits.take(2, "an octave")]
        elif kind == STYLE:
            style = bits.take(2, "a style")
            if style > Style.STACCATO:
                raise ToneError(f"no such style before bit {bits.at}")
            self.style = self._once(self.style, Style(style), "style")
        elif kind == TEMPO:
            self.tempo = self._once(self.tempo, TEMPOS[bits.take(5, "a tempo")], "tempo")
        elif kind == VOLUME:
            bits.take(4, "a volume")
        else:
            raise ToneError(f"no instruction {kind:03b} before bit {bits.at}")
        return None

    def _once(self, now: _Value, then: _Value, what: str) -> _Value:
        if now != then and (self.notes or any(self._known.values())):
            raise ToneError(f"the {what} changes within the tune; a tone has one")
        return then
