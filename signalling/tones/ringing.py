"""What lies on a card of tones, as its file holds it, and which tone a call plays."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from signalling.decoding import UNREADABLE
from signalling.tones.tune import ToneError

EF_TONES = 0x6F7B
"""The card's file of tones: a length of two bytes, then :class:`ToneFile` as MessagePack."""

EF_RECORDING = 0x6F7C
"""The card's file for what the phone recorded in a call: a length of two bytes, then what
:func:`signalling.tones.recognise.encode_recording` gives."""

MAX_FILE = 0x7FFF
MAX_RECORDING = 2048
Role = Literal["caller", "group", "own", "all"]


class Binding(msgspec.Struct, frozen=True, array_like=True):
    """A tone for calls: from a caller, from one of a group, to one of the own numbers, or for all."""

    role: Role
    numbers: Annotated[tuple[str, ...], Meta(max_length=50)]
    product: str


class ToneFile(msgspec.Struct, frozen=True, array_like=True):
    """``tones``: product to data as :func:`signalling.tones.messages.unpack` reads it. ``sample``: to be played now."""

    tones: dict[str, bytes] = {}
    bindings: tuple[Binding, ...] = ()
    sample: bytes = b""


def encode_file(file: ToneFile) -> bytes:
    """The file's content. Raises :class:`ToneError` where it is too long."""
    body = msgspec.msgpack.encode(file)
    if len(body) + 2 > MAX_FILE:
        raise ToneError(f"{len(body)} bytes of tones do not fit into the card's file")
    return len(body).to_bytes(2, "big") + body


def decode_file(data: bytes) -> ToneFile:
    """What the file says. Raises :class:`ToneError`."""
    size = int.from_bytes(data[:2], "big")
    if len(data) < 2 + size:
        raise ToneError(f"the file of tones has {len(data)} bytes, it says {2 + size}")
    try:
        return msgspec.msgpack.decode(data[2 : 2 + size], type=ToneFile)
    except UNREADABLE as error:
        raise ToneError(f"no file of tones: {error}") from None


def plain_number(number: str) -> str:
    """The number as numbers are compared: without blanks, 00 as +."""
    digits = "".join(char for char in number if char in "+0123456789*#")
    return "+" + digits[2:] if digits.startswith("00") else digits


def bound_tone(file: ToneFile, caller: str, called: str = "") -> str | None:
    """The product of the tone that an incoming call plays; ``None`` for the phone's own.

    Who calls counts before the number that is called, one caller before a group; of equals the last that was set.
    """
    caller, called = plain_number(caller), plain_number(called)
    wanted: tuple[tuple[Role, str], ...] = (("caller", caller), ("group", caller), ("own", called))
    for role, number in wanted:
        for each in reversed(file.bindings):
            if number and each.role == role and number in each.numbers and each.product in file.tones:
                return each.product
    return next(
        (each.product for each in reversed(file.bindings) if each.role == "all" and each.product in file.tones), None
    )
