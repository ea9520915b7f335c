"""The colours of the PDFs: an ICC profile of sRGB (IEC 61966-2-1), version 2.1, which every part of PDF/A takes."""

from __future__ import annotations

import struct
from functools import cache

_CURVE_POINTS = 1024
_WHITE_D50 = (0.9642, 1.0, 0.8249)
_WHITE_D65 = (0.9505, 1.0, 1.0891)
# The primaries, adapted to D50 by Bradford's matrix.
_RED = (0.43607, 0.22249, 0.01392)
_GREEN = (0.38515, 0.71687, 0.09708)
_BLUE = (0.14307, 0.06061, 0.71410)


@cache
def srgb_profile() -> bytes:
    """The profile's bytes, always the same."""
    curve = _curve()
    tags = {
        b"desc": _description(b"sRGB IEC61966-2.1"),
        b"cprt": b"text\0\0\0\0No copyright, use freely\0",
        b"wtpt": _xyz(_WHITE_D65),
        b"rXYZ": _xyz(_RED),
        b"gXYZ": _xyz(_GREEN),
        b"bXYZ": _xyz(_BLUE),
        b"rTRC": curve,
        b"gTRC": curve,
        b"bTRC": curve,
    }
    start = 128 + 4 + 12 * len(tags)
    table, data, placed = [struct.pack(">I", len(tags))], b"", {}
    for name, content in tags.items():
        if content not in placed:
            placed[content] = start + len(data)
            data += content + bytes(-len(content) % 4)
        table.append(struct.pack(">4sII", name, placed[content], len(content)))
    size = start + len(data)
    header = struct.pack(">I4xI4s4s4s6H4s", size, 0x02100000, b"mntr", b"RGB ", b"XYZ ", 2026, 1, 1, 0, 0, 0, b"acsp")
    return header.ljust(68, b"\0") + _fixed(_WHITE_D50) + bytes(48) + b"".join(table) + data


def _curve() -> bytes:
    levels = (at / (_CURVE_POINTS - 1) for at in range(_CURVE_POINTS))
    linear = (level / 12.92 if level <= 0.04045 else ((level + 0.055) / 1.055) ** 2.4 for level in levels)
    points = [round(value * 65535) for value in linear]
    return struct.pack(f">4s4xI{_CURVE_POINTS}H", b"curv", _CURVE_POINTS, *points)


def _description(text: bytes) -> bytes:
    # Then come an empty Unicode and an empty Macintosh text, of fixed length.
    return b"desc\0\0\0\0" + struct.pack(">I", len(text) + 1) + text + b"\0" + bytes(8 + 3 + 67)


def _xyz(value: tuple[float, float, float]) -> bytes:
    return b"XYZ \0\0\0\0" + _fixed(value)


def _fixed(value: tuple[float, float, float]) -> bytes:
    return struct.pack(">3i", *(round(part * 65536) for part in value))
