"""Sound on a voice channel: G.711 A-law, 8,000 samples a second, in frames of 20 ms (ITU-T G.711, RFC 3551 4.5.14)."""

from __future__ import annotations

from array import array
from collections.abc import Iterable

FRAME_SAMPLES = 160
SILENCE = 0xD5
_FLIP = 0x55


def _compressed(magnitude: int) -> int:
    """Segment and step of a magnitude of 12 bits."""
    segment = max(0, magnitude.bit_length() - 5)
    return segment << 4 | (magnitude >> max(1, segment)) & 0x0F


def _expanded(code: int) -> int:
    """The middle of what a code stands for, in 16 bits."""
    code ^= _FLIP
    segment, step = code >> 4 & 7, code & 0x0F
    magnitude = (step << 4 | 8) if segment == 0 else (step << 4 | 0x108) << (segment - 1)
    return magnitude if code & 0x80 else -magnitude


_COMPRESSED = bytes(
    (_compressed(place) | 0x80) ^ _FLIP if place < 4096 else _compressed(8191 - place) ^ _FLIP for place in range(8192)
)
"""By the upper 13 bits of a sample, taken without sign."""
_EXPANDED = tuple(_expanded(code) for code in range(256))


def encode_voice(samples: Iterable[int]) -> bytes:
    """16-bit samples as A-law, a byte a sample."""
    return bytes([_COMPRESSED[(sample >> 3) & 0x1FFF] for sample in samples])


def decode_voice(data: bytes) -> array[int]:
    """The samples of A-law bytes."""
    return array("h", [_EXPANDED[code] for code in data])


def frames(data: bytes) -> list[bytes]:
    """A-law bytes in frames; silence fills the last."""
    return [
        data[at : at + FRAME_SAMPLES].ljust(FRAME_SAMPLES, bytes((SILENCE,)))
        for at in range(0, len(data), FRAME_SAMPLES)
    ]
