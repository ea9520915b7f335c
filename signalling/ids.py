"""Identifiers that grow with time (UUID version 7, RFC 9562 section 5.7).

A random unique key costs an index three to four times as much as one that grows, so every id made here starts
with the millisecond of its making. The rest is random enough to be unique; an id is no secret.
"""

from __future__ import annotations

import os
from random import Random

_random = Random(os.urandom(32))
os.register_at_fork(after_in_child=lambda: _random.seed(os.urandom(32)))


def new_id(now_micros: int) -> str:
    """A fresh UUIDv7 in its usual text form; ids made in a later millisecond sort after earlier ones."""
    millis = now_micros // 1000
    tail = _random.getrandbits(80)
    value = (
        (millis & 0xFFFFFFFFFFFF) << 80 | 0x7 << 76 | (tail >> 68 & 0xFFF) << 64 | 0b10 << 62 | tail & ((1 << 62) - 1)
    )
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
