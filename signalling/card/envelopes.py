"""Envelopes: what the phone tells the card of its own accord (ETSI TS 102 223, 7; 3GPP TS 31.111, 7.1)."""

from __future__ import annotations

from dataclasses import dataclass

from signalling.card.tlv import Tlv, TlvError, decode, decode_ber, encode, encode_ber, first, require
from signalling.card.usat import (
    EVENT_DOWNLOAD,
    MENU_SELECTION,
    SMS_PP,
    USSD_DOWNLOAD,
    CommandError,
    Device,
    Tag,
)


@dataclass(frozen=True, slots=True)
class MenuSelection:
    """Envelope: the user chose a line of the card's menu, or asks for help about it."""

    item: int
    help: bool = False

    def encode(self) -> bytes:
        """The data of ENVELOPE."""
        objects = [Tlv(Tag.DEVICES, bytes((Device.KEYPAD, Device.CARD))), Tlv(Tag.ITEM_ID, bytes((self.item,)))]
        return encode_ber(MENU_SELECTION, encode(objects + ([Tlv(Tag.HELP, b"")] if self.help else [])))


@dataclass(frozen=True, slots=True)
class SmsDownload:
    """Envelope: a message came for the card. ``tpdu``: the SMS-DELIVER; ``service_centre``: its address, coded."""

    tpdu: bytes
    service_centre: bytes = b""

    def encode(self) -> bytes:
        """The data of ENVELOPE."""
        objects = [Tlv(Tag.DEVICES, bytes((Device.NETWORK, Device.CARD)))]
        if self.service_centre:
            objects.append(Tlv(Tag.ADDRESS, self.service_centre))
        return encode_ber(SMS_PP, encode([*objects, Tlv(Tag.TPDU, self.tpdu)]))


@dataclass(frozen=True, slots=True)
class UssdDownload:
    """Envelope: the network began a USSD session for the card (3GPP TS 31.111, 7.6): coding and string."""

    dcs: int
    data: bytes

    def encode(self) -> bytes:
        """The data of ENVELOPE."""
        objects = [
            Tlv(Tag.DEVICES, bytes((Device.NETWORK, Device.CARD))),
            Tlv(Tag.USSD, bytes((self.dcs,)) + self.data),
        ]
        return encode_ber(USSD_DOWNLOAD, encode(objects))


@dataclass(frozen=True, slots=True)
class EventDownload:
    """Envelope: something happened that the card wants to be told of (ETSI TS 102 223, 7.5).

    ``cause``: why a call ended (Q.850), absent where the radio was lost.
    """

    event: int
    cause: int | None = None

    def encode(self) -> bytes:
        """The data of ENVELOPE."""
        objects = [
            Tlv(Tag.EVENTS, bytes((self.event,))),
            Tlv(Tag.DEVICES, bytes((Device.NETWORK, Device.CARD))),
            Tlv(Tag.TRANSACTION, b"\x00"),
        ]
        # Coding standard GSM, location: the network that serves the far end (TS 24.008, 10.5.4.11).
        cause = b"" if self.cause is None else bytes((0xE4, 0x80 | self.cause))
        return encode_ber(EVENT_DOWNLOAD, encode([*objects, Tlv(Tag.CAUSE, cause)]))


Envelope = MenuSelection | SmsDownload | UssdDownload | EventDownload


def decode_envelope(data: bytes) -> Envelope:
    """The envelope in these bytes. Raises :class:`signalling.card.tlv.CardError`."""
    tag, body, end = decode_ber(data)
    if end != len(data):
        raise TlvError(f"{len(data) - end} bytes follow the envelope")
    objects = decode(body)
    if tag == MENU_SELECTION:
        item = require(objects, Tag.ITEM_ID, "item identifier", 1)[0]
        return MenuSelection(item, first(objects, Tag.HELP) is not None)
    if tag == SMS_PP:
        return SmsDownload(require(objects, Tag.TPDU, "SMS TPDU"), first(objects, Tag.ADDRESS) or b"")
    if tag == USSD_DOWNLOAD:
        value = require(objects, Tag.USSD, "USSD string", 1)
        return UssdDownload(value[0], value[1:])
    if tag == EVENT_DOWNLOAD:
        cause = first(objects, Tag.CAUSE)
        return EventDownload(
            require(objects, Tag.EVENTS, "event list", 1)[0], cause[1] & 0x7F if cause and len(cause) > 1 else None
        )
    raise CommandError(f"envelope {tag:02X} is not known")
