"""The operator's signing keys over time: what checks what was signed before, and lets terminals follow a change.

``server_keys.json`` lies beside the key and holds nothing secret: each public key with the instant since when it signs,
and, where the key before it was at hand, that key's signature under the change (``key-change`` in docs/protocol.md). A
key that came otherwise, since the one before was lost, stands there without; terminals cannot follow to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from operator_server.files import sync_directory, write_atomically
from signalling.clock import to_micros
from signalling.documents import KeyChange
from signalling.messages import Signed
from signalling.proof import public_bytes, sign

MOST_TOLD = 16
"""Changes that a terminal is told at logon, the newest ones."""


class HistoryError(ValueError):
    """The history cannot be read; the text says what to do."""


class KnownKey(msgspec.Struct, frozen=True, omit_defaults=True):
    """A public key of the operator, since when it signs, and the signed change from the key before it."""

    public_key: bytes
    since: datetime
    change: Signed | None = None


def read_history(path: Path) -> list[KnownKey]:
    """All keys, the oldest first. Raises :class:`HistoryError`."""
    if not path.exists():
        return []
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[KnownKey])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise HistoryError(f"{path}: cannot be read; restore it from the back-up, or move it away: {error}") from None


def noted(path: Path, key: Ed25519PrivateKey, now: datetime) -> list[KnownKey]:
    """The history that ends with this key; one that is not its last yet is written into it."""
    history = read_history(path)
    public = public_bytes(key)
    if not history or history[-1].public_key != public:
        history.append(KnownKey(public, now))
        _write(path, history)
    return history


def hand_over(path: Path, old: Ed25519PrivateKey, new: Ed25519PrivateKey, server: str, now: datetime) -> None:
    """Write into the history that ``new`` takes the place of ``old``, signed with ``old``."""
    change = KeyChange(server, public_bytes(old), public_bytes(new), to_micros(now))
    signed = sign(old, KeyChange.PURPOSE, change.encode())
    _write(path, [*noted(path, old, now), KnownKey(public_bytes(new), now, signed)])


def changes(history: Sequence[KnownKey]) -> list[Signed]:
    """What terminals are told: the signed changes that lead to the last key without a break."""
    found: list[Signed] = []
    for each in reversed(history):
        if each.change is None:
            break
        found.append(each.change)
    return found[:MOST_TOLD][::-1]


def _write(path: Path, history: Sequence[KnownKey]) -> None:
    write_atomically(path, msgspec.json.format(msgspec.json.encode(history), indent=2) + b"\n")
    sync_directory(path.parent)
