"""Terminal responses: what the phone gives back for a proactive command (ETSI TS 102 223, 6.8)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from signalling.card import text as texts
from signalling.card.apdu import swap_digits, unswap_digits
from signalling.card.tlv import Tlv, decode, encode, first, require
from signalling.card.usat import CommandError, Device, Tag


class Location(NamedTuple):
    """Where the phone is. ``network``: country and network code, five or six digits; the cell may be unknown."""

    network: str
    area: int
    cell: int | None = None

    def encode(self) -> bytes:
        """The value of a location information object."""
        mcc, mnc = self.network[:3], self.network[3:]
        third = mnc[2] if len(mnc) == 3 else "F"
        plmn = bytes(int(pair, 16) for pair in (mcc[1] + mcc[0], third + mcc[2], mnc[1] + mnc[0]))
        return plmn + self.area.to_bytes(2, "big") + (b"" if self.cell is None else self.cell.to_bytes(2, "big"))


def decode_location(value: bytes) -> Location:
    """The location in an object's value. Raises :class:`CommandError`."""
    if len(value) < 5:
        raise CommandError(f"a location has at least 5 bytes, here are {len(value)}")
    nibbles = "".join(f"{byte & 0xF:x}{byte >> 4:x}" for byte in value[:3])
    network = (nibbles[:3] + nibbles[4:] + nibbles[3]).rstrip("f")
    if not network.isdigit() or len(network) < 5:
        raise CommandError(f"{value[:3].hex()} names no network")
    cell = int.from_bytes(value[5:7], "big") if len(value) >= 7 else None
    return Location(network, int.from_bytes(value[3:5], "big"), cell)


@dataclass(frozen=True, slots=True)
class Response:
    """A terminal response. ``item``, ``text``, ``location``, ``imei``, ``language``: what the command asked for.

    ``extra``: additional information on the result, such as why the phone is busy.
    """

    number: int
    type: int
    qualifier: int
    result: int
    item: int | None = None
    text: str | None = None
    location: Location | None = None
    imei: str | None = None
    language: str | None = None
    extra: bytes = b""

    def encode(self) -> bytes:
        """The data of TERMINAL RESPONSE. Raises :class:`signalling.card.tlv.CardError`."""
        objects = [
            Tlv(Tag.COMMAND_DETAILS, bytes((self.number, self.type, self.qualifier))),
            Tlv(Tag.DEVICES, bytes((Device.TERMINAL, Device.CARD))),
            Tlv(Tag.RESULT, bytes((self.result,)) + self.extra),
        ]
        if self.item is not None:
            objects.append(Tlv(Tag.ITEM_ID, bytes((self.item,))))
        if self.text is not None:
            objects.append(Tlv(Tag.TEXT, texts.encode_text_string(self.text)))
        if self.location is not None:
            objects.append(Tlv(Tag.LOCATION, self.location.encode()))
        if self.imei is not None:
            objects.append(Tlv(Tag.IMEI, _encode_imei(self.imei)))
        if self.language is not None:
            objects.append(Tlv(Tag.LANGUAGE, self.language.encode("ascii")))
        return encode(objects)


def decode_response(data: bytes) -> Response:
    """The terminal response in these bytes. Raises :class:`signalling.card.tlv.CardError`."""
    objects = decode(data)
    number, kind, qualifier = require(objects, Tag.COMMAND_DETAILS, "command details", 3)[:3]
    result = require(objects, Tag.RESULT, "result", 1)
    item, text, place = first(objects, Tag.ITEM_ID), first(objects, Tag.TEXT), first(objects, Tag.LOCATION)
    imei, language = first(objects, Tag.IMEI), first(objects, Tag.LANGUAGE)
    return Response(
        number, kind, qualifier, result[0],
        item=item[0] if item else None,
        text=None if text is None else texts.decode_text_string(text),
        location=None if place is None else decode_location(place),
        imei=None if imei is None else decode_imei(imei),
        language=None if language is None else language.decode("ascii", "replace"),
        extra=result[1:],
    )  # fmt: skip


def _encode_imei(imei: str) -> bytes:
    """15 digits as a mobile identity: first digit and type, then pairs (3GPP TS 24.008, 10.5.1.4)."""
    if len(imei) != 15 or not imei.isascii() or not imei.isdigit():
        raise CommandError(f"IMEI {imei!r} has not 15 digits")
    return bytes((int(imei[0]) << 4 | 0x0A,)) + swap_digits(imei[1:])


def decode_imei(value: bytes) -> str:
    """The digits of an IMEI. Raises :class:`signalling.card.tlv.CardError`."""
    if len(value) != 8 or value[0] & 0x0F != 0x0A:
        raise CommandError(f"{value.hex()} is no IMEI")
    digits = f"{value[0] >> 4:x}" + unswap_digits(value[1:])
    if len(digits) != 15 or not digits.isdigit():
        raise CommandError(f"{value.hex()} is no IMEI")
    return digits
