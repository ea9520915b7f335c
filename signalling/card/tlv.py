"""BER-TLV and COMPREHENSION-TLV objects of ETSI TS 101 220, clause 7.

A tag is one byte; ``7F`` opens a comprehension tag of three bytes. A length is one byte up to 7F, ``81 xx`` up to 255,
``82 xx xx`` beyond. Bit 8 of a comprehension tag says that the receiver must understand the object.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

MAX_VALUE = 0xFFFF


class CardError(ValueError):
    """Base of what this package says of bytes that do not hold, and of values that have no coding."""


class TlvError(CardError):
    """Bytes that are no TLV objects, or an object that is missing; the text says where and what."""


class Tlv(NamedTuple):
    """One COMPREHENSION-TLV object: tag without the comprehension bit, value, whether it must be understood."""

    tag: int
    value: bytes
    required: bool = True


def encode_length(length: int) -> bytes:
    """A length. Raises :class:`TlvError` beyond 65535."""
    if length < 0x80:
        return bytes((length,))
    if length <= 0xFF:
        return bytes((0x81, length))
    if length <= MAX_VALUE:
        return bytes((0x82, length >> 8, length & 0xFF))
    raise TlvError(f"a value of {length} bytes is too long for a TLV object")


def encode_ber(tag: int, value: bytes) -> bytes:
    """A BER-TLV object with a tag of one byte."""
    return bytes((tag,)) + encode_length(len(value)) + value


def encode(objects: Iterable[Tlv]) -> bytes:
    """COMPREHENSION-TLV objects, one after the other. Raises :class:`TlvError`."""
    out = bytearray()
    for tag, value, required in objects:
        if 0 < tag < 0x7F:
            out.append(tag | (0x80 if required else 0))
        elif 0x7F <= tag <= 0x7FFF:
            out += bytes((0x7F, (tag >> 8) | (0x80 if required else 0), tag & 0xFF))
        else:
            raise TlvError(f"tag {tag:#x} has no coding")
        out += encode_length(len(value))
        out += value
    return bytes(out)


def decode_ber(data: bytes) -> tuple[int, bytes, int]:
    """The BER-TLV object at the beginning: tag, value, and the offset behind it. Raises :class:`TlvError`."""
    if not data:
        raise TlvError("there is no byte for a tag")
    if data[0] in (0x00, 0xFF):
        raise TlvError(f"tag {data[0]:02X} is not used")
    start, length = _length(data, 1)
    return data[0], data[start : start + length], start + length


def decode(data: bytes) -> list[Tlv]:
    """The COMPREHENSION-TLV objects that make up the whole of ``data``. Raises :class:`TlvError`."""
    objects: list[Tlv] = []
    offset, end = 0, len(data)
    while offset < end:
        first = data[offset]
        if first in (0x00, 0x80, 0xFF):
            raise TlvError(f"tag {first:02X} at byte {offset} is not used")
        if first == 0x7F:
            if offset + 3 > end:
                raise TlvError(f"the tag of three bytes at byte {offset} is cut short")
            tag = (data[offset + 1] & 0x7F) << 8 | data[offset + 2]
            required = data[offset + 1] >= 0x80
            if tag < 0x7F:
                raise TlvError(f"tag {tag:#x} at byte {offset} needs one byte, not three")
            offset += 3
        else:
            tag, required = first & 0x7F, first >= 0x80
            offset += 1
        offset, length = _length(data, offset)
        objects.append(Tlv(tag, data[offset : offset + length], required))
        offset += length
    return objects


def _length(data: bytes, offset: int) -> tuple[int, int]:
    """Where the value begins, and its length, checked against what is there."""
    if offset >= len(data):
        raise TlvError(f"there is no length at byte {offset}")
    first = data[offset]
    if first < 0x80:
        start, length = offset + 1, first
    elif first in (0x81, 0x82):
        start = offset + 1 + (first & 0x7F)
        if start > len(data):
            raise TlvError(f"the length at byte {offset} is cut short")
        length = int.from_bytes(data[offset + 1 : start], "big")
    else:
        raise TlvError(f"length {first:02X} at byte {offset} is not used")
    if start + length > len(data):
        raise TlvError(f"{length} bytes are announced at byte {offset}, {len(data) - start} are there")
    return start, length


def first(objects: Iterable[Tlv], tag: int) -> bytes | None:
    """The value of the first object of this tag."""
    for each in objects:
        if each.tag == tag:
            return each.value
    return None


def require(objects: Iterable[Tlv], tag: int, what: str, least: int = 0) -> bytes:
    """The value of the first object of this tag, of at least so many bytes. Raises :class:`TlvError`."""
    value = first(objects, tag)
    if value is None:
        raise TlvError(f"{what} (tag {tag:02X}) is missing")
    if len(value) < least:
        raise TlvError(f"{what} (tag {tag:02X}) has {len(value)} bytes, at least {least} are needed")
    return value
