"""The key of a feature that costs something (the EFCC): made at home for one feature of one terminal, and no other.

A mobile holds only digests of its keys, so it cannot unlock anything by itself; the key for one feature neither
unlocks nor bills another.
"""

from __future__ import annotations

import hashlib
import hmac

KEY_BYTES = 16
FEATURES = range(1, 65)


def feature_key(secret: bytes, terminal: str, ef: int) -> bytes:
    """The key of feature number ``ef`` for a terminal whose secret the home network keeps."""
    return hmac.new(secret, b"tollgate efcc 1\x00" + terminal.encode() + b"\x00" + bytes([ef]), "sha256").digest()[
        :KEY_BYTES
    ]


def key_digest(key: bytes) -> bytes:
    """What the mobile keeps of a key."""
    return hashlib.sha256(b"tollgate efcc digest 1\x00" + key).digest()


def fits(key: bytes, digest: bytes) -> bool:
    """Whether a key is the one of which the mobile keeps this digest."""
    return hmac.compare_digest(key_digest(key), digest)
