"""Tones as sound: WAV, one voice, 16 bits; the same tone gives the same bytes."""

from __future__ import annotations

import io
import math
import wave
from array import array
from typing import Literal

from signalling.tones.tune import FOREVER, SIGNS, Note, Style, Tone

RATE = 8000
LONGEST_SECONDS = 60
_LEVEL = 12000
FACTORS = ((1, 1), (3, 2), (7, 4), (2, 3))
"""What a length sign makes of a note's length."""
assert len(FACTORS) == len(SIGNS)
SOUNDING = {Style.NATURAL: (19, 20), Style.CONTINUOUS: (1, 1), Style.STACCATO: (1, 2)}
"""How much of a note sounds; then it is silent."""
Shape = Literal["square", "sine"]


def frequency(note: Note) -> float:
    """Hertz of a note; 0 for a rest."""
    return 440.0 * 2 ** ((note.pitch - 10) / 12 + note.octave - 4) if note.pitch else 0.0


def samples_of(note: Note, tempo: int) -> int:
    """How many samples a note lasts: a beat is a quarter."""
    up, down = FACTORS[note.sign]
    return RATE * 60 * 4 * up // (tempo * note.length * down)


def render(tone: Tone, shape: Shape = "square") -> bytes:
    """A WAV file; a tone that repeats is heard so, no longer than :data:`LONGEST_SECONDS`."""
    most = RATE * LONGEST_SECONDS
    once = waveform(tone, shape)
    whole = array("h")
    for _ in range(min(tone.loop + 1, FOREVER)):
        whole.extend(once[: most - len(whole)])
    if whole.itemsize != 2:  # pragma: no cover - no machine of ours
        raise RuntimeError("16-bit samples are not 2 bytes here")
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(whole.tobytes())
    return out.getvalue()


def waveform(tone: Tone, shape: Shape = "square") -> array[int]:
    """The samples of a tone, once; no longer than :data:`LONGEST_SECONDS`."""
    most = RATE * LONGEST_SECONDS
    once = array("h")
    for note in tone.notes:
        once.extend(_wave(frequency(note), min(samples_of(note, tone.tempo), most - len(once)), tone.style, shape))
    return once


def _wave(hertz: float, samples: int, style: Style, shape: Shape) -> list[int]:
    up, down = SOUNDING[style]
    sounding = samples * up // down if hertz else 0
    turn = 2 * math.pi * hertz / RATE
    if shape == "sine":
        heard = [round(_LEVEL * math.sin(turn * at)) for at in range(sounding)]
    else:
        heard = [_LEVEL if int(2 * hertz * at / RATE) % 2 == 0 else -_LEVEL for at in range(sounding)]
    return heard + [0] * (samples - sounding)
