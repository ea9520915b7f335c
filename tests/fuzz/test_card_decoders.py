"""What decodes bytes of cards, phones, nodes and centres, on mutated and random ones: no exception but its own, and an
end in time."""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import card_targets
import tone_targets

TARGETS = card_targets.TARGETS | tone_targets.TARGETS
SEEDS = card_targets.SEEDS | tone_targets.SEEDS
ROUNDS = 3_000
SLOW = {"recording": 300}
"""Fewer rounds where an input is work."""

SLOWEST = 0.25
INTERESTING = [b"\x00", b"\xff", b"\x7f", b"\x80", b"\x81", b"\x82\xff\xff", b"\x7f\x80\x00", b"\xd0", b"\x02\x70\x00"]


def mutated(data: bytes, chance: random.Random) -> bytes:
    """The bytes with one to four changes."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(changed) + 1)
        match chance.randrange(5):
            case 0:
                changed[at : at + 1] = bytes((chance.randrange(256),))
            case 1:
                del changed[at : at + chance.randint(1, 8)]
            case 2:
                changed[at:at] = chance.choice(INTERESTING)
            case 3:
                changed[at : at + 1] = chance.choice(INTERESTING)
            case _:
                changed[at:at] = changed[at : at + chance.randint(1, 30)]
    return bytes(changed)


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_a_decoder_raises_its_own_error_alone_and_comes_to_an_end(target: str) -> None:
    chance = random.Random(20261121)
    decode, accepted = TARGETS[target], 0
    for round_ in range(SLOW.get(target, ROUNDS)):
        data = mutated(chance.choice(SEEDS[target]), chance) if round_ % 4 else chance.randbytes(chance.randint(0, 200))
        begun = time.perf_counter()
        try:
            decode(data)
            accepted += 1
        except tone_targets.OWN:
            pass
        assert time.perf_counter() - begun < SLOWEST, data.hex()
    assert accepted
