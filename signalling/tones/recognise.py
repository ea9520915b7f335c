"""Makes a tone of its sound: what a phone recorded in a call becomes notes again (audio option, US 6,018,654 col. 5).

1. Where the sound is loud and where it is silent tells where notes begin and end.
2. Within a loud stretch the frequency is followed sample by sample: a sine obeys ``x[n-1] + x[n+1] = 2 cos(w) x[n]``.
   A stretch is cut where another of the 48 pitches holds from there on.
3. Of all tempos and styles the one is taken whose note lengths meet the stretches, rests between them included.

It takes one voice of sines without lost samples; noise 30 dB below does no harm from octave 5 on. Lengths are met
within :data:`TOLERANCE` samples, pitches within 40 cents where a sound is too short to be told from its neighbours.
Two equal notes that follow each other without a break are heard as one; it is written as the fewest notes that last as
long.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from signalling.decoding import UNREADABLE
from signalling.tones.sound import FACTORS, RATE, SOUNDING, frequency, samples_of, waveform
from signalling.tones.tune import LENGTHS, MAX_NOTES, OCTAVES, TEMPOS, Note, Style, Tone, ToneError
from signalling.tones.voice import FRAME_SAMPLES, decode_voice, encode_voice, frames

TOLERANCE = 12
"""Samples, 1.5 ms: as far as a length may be off."""

_QUIET = 0.08
"""Of the loudest: below it is silence."""
_CLICK = 4
"""Samples that are loud for less long are noise."""
_GAP = 6
"""Samples of silence that part two notes; less is a sine on its way through zero."""
_SHORTEST = 40
"""Samples of the shortest stretch that has a pitch."""
_WINDOW = 48
_SEMITONE = 2 ** (1 / 12) - 1
_ENOUGH = 4000
"""Samples that tell the pitch of a long stretch."""

_PITCHES = tuple((pitch, octave) for octave in OCTAVES for pitch in range(1, 13))
_FREQUENCIES = tuple(frequency(Note(pitch, octave)) for pitch, octave in _PITCHES)
_COSINES = tuple(math.cos(2 * math.pi * each / RATE) for each in _FREQUENCIES)
_SIZES_AT = {
    tempo: sorted(
        (samples_of(Note(0, 4, length, sign), tempo), length, sign)
        for length in LENGTHS
        for sign in range(len(FACTORS))
    )
    for tempo in TEMPOS
}
"""By tempo: how many samples a note lasts, its length and sign."""


class Heard(NamedTuple):
    """A stretch of sound: which of the 48 pitches, where it begins and ends, in samples."""

    place: int
    start: int
    end: int

    @property
    def pitch(self) -> tuple[int, int]:
        """Pitch and octave."""
        return _PITCHES[self.place]


class Recording(msgspec.Struct, frozen=True, array_like=True):
    """What was heard in so many samples; this is what a phone gives its card of a call."""

    heard: Annotated[tuple[Heard, ...], Meta(min_length=1, max_length=MAX_NOTES)]
    length: Annotated[int, Meta(ge=0, le=10_000_000)]


def encode_recording(samples: Sequence[int]) -> bytes:
    """The recording of a sound, digitized. Raises :class:`ToneError` where there is no note, or too many."""
    heard = tuple(listen(samples))
    if len(heard) > MAX_NOTES:
        raise ToneError(f"{len(heard)} notes were heard; a tone has at most {MAX_NOTES}")
    return msgspec.msgpack.encode(Recording(heard, len(samples)))


def decode_recording(data: bytes) -> Recording:
    """The recording in these bytes: stretches in their order. Raises :class:`ToneError`."""
    try:
        recording = msgspec.msgpack.decode(data, type=Recording)
    except UNREADABLE as error:
        raise ToneError(f"no recording: {error}") from None
    at = 0
    for place, start, end in recording.heard:
        if not 0 <= place < len(_PITCHES) or not at <= start < end <= recording.length:
            raise ToneError(f"no recording: a stretch from {start} to {end} of pitch {place}")
        at = end
    return recording


def recognise(samples: Sequence[int], title: str, loop: int = 0, tempo: int = 0) -> Tone:
    """The tone that these samples are the sound of. Raises :class:`ToneError` where they are of none."""
    return written(Recording(tuple(listen(samples)), len(samples)), title, loop, tempo)


def written(recording: Recording, title: str, loop: int = 0, tempo: int = 0) -> Tone:
    """The tone that was heard. Raises :class:`ToneError` where its lengths are of no tempo.

    ``tempo``: a quarter at 125 sounds as an eighth at 63 nearly does; where this one fits it is taken.
    """
    heard = recording.heard
    best: tuple[tuple[int, int, int, int], list[Note], int, Style] | None = None
    for style in Style:
        for beat in TEMPOS:
            found = _fitted(heard, recording.length, style, beat)
            if found is not None and (best is None or (beat != tempo, *found[0]) < (best[2] != tempo, *best[0])):
                best = (*found, beat, style)
    if best is None:
        raise ToneError("the sound follows no beat: no tempo meets its notes")
    _, notes, beat, style = best
    if len(notes) > MAX_NOTES:
        raise ToneError(f"{len(notes)} notes were heard; a tone has at most {MAX_NOTES}")
    return Tone(title, tuple(notes), beat, style, loop)


def same_sound(one: Tone, other: Tone) -> bool:
    """Whether two tones sound alike: the same pitches, each beginning and lasting alike within :data:`TOLERANCE`."""
    mine, yours = _score(one), _score(other)
    return len(mine) == len(yours) and all(
        (a.place == b.place and abs(a.start - b.start) <= TOLERANCE * (n + 1) and abs(_long(a) - _long(b)) <= TOLERANCE)
        for n, (a, b) in enumerate(zip(mine, yours, strict=True))
    )


def recorded(tone: Tone) -> Tone:
    """The tone as a phone records it from a call. Raises :class:`ToneError` where its sound cannot become it again."""
    # The phone hears whole frames.
    heard = recognise(decode_voice(b"".join(frames(played(tone)))), tone.title, tone.loop, tone.tempo)
    if not same_sound(heard, tone):
        raise ToneError(f"{tone.title}: a phone cannot record it from its sound; it is too fast")
    return heard


def played(tone: Tone) -> bytes:
    """The tone as it is played in a call: sines, once, A-law."""
    return encode_voice(waveform(tone, "sine"))


def _score(tone: Tone) -> list[Heard]:
    """What of the tone sounds, when; equal notes without a break are one."""
    up, down = SOUNDING[tone.style]
    found: list[Heard] = []
    at = 0
    for note in tone.notes:
        whole = samples_of(note, tone.tempo)
        if note.pitch:
            place, end = _PITCHES.index((note.pitch, note.octave)), at + whole * up // down
            if found and found[-1].end == at and found[-1].place == place:
                found[-1] = found[-1]._replace(end=end)
            else:
                found.append(Heard(place, at, end))
        at += whole
    return found


def _long(heard: Heard) -> int:
    return heard.end - heard.start


def listen(samples: Sequence[int]) -> list[Heard]:
    """The stretches of sound. Raises :class:`ToneError` where there is none, or one that is of no pitch."""
    peak = max(map(abs, samples), default=0)
    if peak < 256:
        raise ToneError("nothing was heard")
    found: list[Heard] = []
    for start, end in _loud(samples, max(1, int(peak * _QUIET))):
        found += _pitched(samples, start, end)
    if not found:
        raise ToneError("no note was heard")
    return found


def _loud(samples: Sequence[int], limit: int) -> list[tuple[int, int]]:
    """Where it is loud: a silence shorter than :data:`_GAP` parts nothing."""
    stretches: list[tuple[int, int]] = []
    start, last = -1, -_GAP
    for at, sample in enumerate(samples):
        if sample > limit or sample < -limit:
            if at - last > _GAP:
                stretches.append((start, last + 1))
                start = at
            last = at
    return [(begin, end) for begin, end in [*stretches, (start, last + 1)] if begin >= 0 and end - begin >= _CLICK]


def _pitched(samples: Sequence[int], start: int, end: int) -> list[Heard]:
    """A loud stretch, cut where its pitch changes."""
    if end - start < _SHORTEST:
        raise ToneError(f"a sound of {(end - start) * 1000 / RATE:.1f} ms at {start / RATE:.2f} s is too short")
    # Sums over x[n] (x[n-1] + x[n+1]) and 2 x[n]^2: their ratio over a window is the cosine of what sounds in it.
    mixed, squares = [0], [0]
    for at in range(start + 1, end - 1):
        mixed.append(mixed[-1] + samples[at] * (samples[at - 1] + samples[at + 1]))
        squares.append(squares[-1] + 2 * samples[at] * samples[at])

    def place(first: int, last: int) -> int:
        return _nearest(_ratio(mixed, squares, first, last))

    count = len(squares) - 1
    step = _WINDOW // 4
    places = [
        (first, place(first, min(first + _WINDOW, count))) for first in range(0, max(1, count - _WINDOW + 1), step)
    ]
    cuts, current, at = [], places[0][1], 0
    beyond = _WINDOW // step
    for number, (first, now) in enumerate(places):
        # Windows across a change show anything: what counts is that the pitch is still there a window later.
        if now != current and now == places[min(number + beyond, len(places) - 1)][1] and first - at >= step:
            cuts.append(_changed(samples, start + 1 + at, start + 1 + min(first + _WINDOW, count), current, now))
            current, at = now, cuts[-1] - start - 1
    edges = [start, *cuts, end]
    found: list[Heard] = []
    for begin, stop in pairwise(edges):
        first, last = max(0, begin - start), min(count, stop - start - 2)
        heard = _certain(samples, begin, stop, _ratio(mixed, squares, min(first, last - 1), last))
        if found and found[-1].place == heard:
            found[-1] = found[-1]._replace(end=stop)
        else:
            found.append(Heard(heard, begin, stop))
    return found


def _ratio(mixed: Sequence[int], squares: Sequence[int], first: int, last: int) -> float:
    energy = squares[last] - squares[first]
    return (mixed[last] - mixed[first]) / energy if energy else 2.0


def _nearest(cosine: float) -> int:
    hertz = math.acos(max(-1.0, min(1.0, cosine))) * RATE / (2 * math.pi)
    if hertz <= 0:
        return 0
    return max(0, min(len(_PITCHES) - 1, round(12 * math.log2(hertz / _FREQUENCIES[0]))))


def _certain(samples: Sequence[int], begin: int, end: int, cosine: float) -> int:
    """The pitch of a stretch: the note next to the frequency, or its neighbour where the stretch holds more of it."""
    place = _nearest(cosine)
    hertz = math.acos(max(-1.0, min(1.0, cosine))) * RATE / (2 * math.pi)
    near = range(max(0, place - 1), min(len(_PITCHES), place + 2))
    if (end - begin) * _FREQUENCIES[place] * _SEMITONE >= 1.5 * RATE:
        # Long enough to tell neighbours apart by how much of each is in it, whatever the noise.
        part = samples[begin : min(end, begin + _ENOUGH)]
        energy = sum(sample * sample for sample in part)
        shares = {each: _power(part, each) * 2 / (len(part) * energy) for each in near}
        best = max(near, key=lambda each: shares[each])
        # Equal notes in a row begin anew with their wave, so that each takes from the share of the others.
        if shares[best] >= 0.8:
            return best
    if hertz > 0 and abs(1200 * math.log2(hertz / _FREQUENCIES[place])) <= 40:
        return place
    raise ToneError(f"the sound at {begin / RATE:.2f} s has {hertz:.0f} Hz, which is no note of octaves 4 to 7")


def _power(samples: Sequence[int], place: int) -> float:
    """How much of a pitch is in the samples (Goertzel)."""
    twice = 2 * _COSINES[place]
    before = now = 0.0
    for sample in samples:
        before, now = now, sample + twice * now - before
    return before * before + now * now - twice * before * now


def _changed(samples: Sequence[int], first: int, last: int, before: int, after: int) -> int:
    """Where between these places one pitch gives way to the other: where the errors of both together are least."""
    ahead, behind = 2 * _COSINES[before], 2 * _COSINES[after]
    around = range(max(1, first), min(last, len(samples) - 1))
    old = [(samples[at - 1] + samples[at + 1] - ahead * samples[at]) ** 2 for at in around]
    new = [(samples[at - 1] + samples[at + 1] - behind * samples[at]) ** 2 for at in around]
    error = sum(new)
    least, found = error, around.start
    for at, (one, other) in enumerate(zip(old, new, strict=True)):
        error += one - other
        if error < least:
            least, found = error, around.start + at + 1
    return found


def _fitted(
    heard: Sequence[Heard], length: int, style: Style, tempo: int
) -> tuple[tuple[int, int, int, int], list[Note]] | None:
    """The notes of what was heard at a tempo, and how bad they are; ``None`` where they do not meet it."""
    up, down = SOUNDING[style]
    notes: list[Note] = []
    off = 0.0
    at = 0
    for each, after in zip(heard, [*(one.start for one in heard[1:]), length], strict=True):
        if each.start - at > TOLERANCE:
            rests = _pieces(each.start - at, tempo, 0, 4)
            if rests is None:
                return None
            notes += rests[0]
            off += rests[1]
        pitch, octave = each.pitch
        # A note that sounds to its end may be several in a row.
        pieces = _pieces(_long(each) * down / up, tempo, pitch, octave, single=style is not Style.CONTINUOUS)
        if pieces is None:
            return None
        notes += pieces[0]
        off += pieces[1]
        whole = sum(samples_of(note, tempo) for note in pieces[0])
        at = each.start + whole
        if at - after > TOLERANCE:
            return None
    # Silence that is shorter than a frame may have filled the last one.
    if length - at > FRAME_SAMPLES + TOLERANCE:
        rests = _pieces(length - at, tempo, 0, 4, partial=True)
        if rests is None:
            return None
        notes += rests[0]
        off += rests[1]
    signs = sum(1 for note in notes if note.sign)
    far = sum(abs(LENGTHS.index(note.length) - 2) for note in notes)
    return (len(notes), signs, round(off / len(notes)), far), notes


def _pieces(
    samples: float, tempo: int, pitch: int, octave: int, *, single: bool = False, partial: bool = False
) -> tuple[list[Note], float] | None:
    """The fewest notes that last so long, and how far off they are; ``None`` where none do.

    ``single``: one alone. ``partial``: silence at the end may be left over, since the last frame is filled with it.
    """
    sizes = _SIZES_AT[tempo]
    left, found = samples, list[Note]()
    while True:
        place = bisect_left(sizes, (left,))
        smaller = sizes[place - 1] if place else None
        size, length, sign = min(sizes[max(0, place - 1) : place + 1], key=lambda each: (abs(each[0] - left), each[2]))
        if abs(size - left) <= TOLERANCE:
            return [*found, Note(pitch, octave, length, sign)], abs(size - left)
        if single or smaller is None or len(found) >= MAX_NOTES:
            return (found, 0.0) if partial and smaller is None and left < FRAME_SAMPLES + TOLERANCE else None
        found.append(Note(pitch, octave, smaller[1], smaller[2]))
        left -= smaller[0]
