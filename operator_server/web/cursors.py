"""Places in long lists: opaque, signed, good only for the list and the filters that they were made for."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

_TAG = 16


class BadCursor(ValueError):
    """Not a cursor of this list; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Place:
    """The key of the last item that was told, and how many there were when the list was begun."""

    key: tuple[Any, ...]
    total: int


class Cursors:
    """Makes and reads cursors with a secret that every process of the operator derives from its signing key."""

    def __init__(self, secret: bytes) -> None:
        self._secret = hashlib.sha256(b"tollgate cursors " + secret).digest()

    def make(self, of: str, place: Place) -> str:
        """The cursor that goes on after ``place`` in the list ``of`` (path and filters)."""
        content = msgspec.json.encode((place.key, place.total))
        return base64.urlsafe_b64encode(self._tag(of, content) + content).decode().rstrip("=")

    def read(self, of: str, cursor: str) -> Place:
        """Where the cursor goes on. Raises :class:`BadCursor`."""
        try:
            raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        except (binascii.Error, ValueError):
            raw = b""
        tag, content = raw[:_TAG], raw[_TAG:]
        if not content or not hmac.compare_digest(tag, self._tag(of, content)):
            raise BadCursor("not a cursor of this list with these filters; begin again without one")
        key, total = msgspec.json.decode(content, type=tuple[tuple[Any, ...], int])
        return Place(key, total)

    def _tag(self, of: str, content: bytes) -> bytes:
        return hmac.new(self._secret, of.encode() + b"\x00" + content, hashlib.sha256).digest()[:_TAG]


def filters_text(path: str, pairs: Sequence[tuple[str, str]]) -> str:
    """What names a list: its path and filters, without those parameters that name a place in it."""
    kept = sorted((name, value) for name, value in pairs if name not in ("limit", "offset", "cursor"))
    return msgspec.json.encode((path, kept)).decode()
