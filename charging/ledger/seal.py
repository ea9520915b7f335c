"""Sealing: the identifiers of a commit group, its Merkle root, and the chain of the groups of one writer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256
from itertools import count

import msgspec

from signalling.ids import new_id

FIRST_ROOT = bytes(32)
"""What the first group of a writer takes as its previous root."""

GROUP_DIGITS = 6
"""Digits at the end of a transfer's id that count within its group."""

_encoder = msgspec.msgpack.Encoder()

Leg = tuple[int, str, int]
"""Ledger account, currency, amount."""


def group_ids(now_micros: int) -> Iterator[str]:
    """UUIDv7 that ascend one by one, so that a group is all between its first and its last and nothing else is.

    They share their random part but for a counter of 24 bits; 50 random bits keep the groups of a millisecond apart.
    """
    prefix = new_id(now_micros)[:-GROUP_DIGITS]
    return (f"{prefix}{number:06x}" for number in count())


def leaf(transfer: Sequence[object], legs: Sequence[Leg]) -> bytes:
    """The hash of a transfer's row, in the order of its columns, with its postings in the order of their legs."""
    return sha256(b"\0" + _encoder.encode((transfer, legs))).digest()


def group_root(previous_root: bytes, leaves: Sequence[bytes]) -> bytes:
    """Merkle root (RFC 6962, section 2.1) over the previous root and then the transfers' leaves."""
    level = [sha256(b"\0" + previous_root).digest(), *leaves]
    while len(level) > 1:
        above = [sha256(b"\1" + left + right).digest() for left, right in zip(level[::2], level[1::2], strict=False)]
        if len(level) % 2:
            above.append(level[-1])
        level = above
    return level[0]
