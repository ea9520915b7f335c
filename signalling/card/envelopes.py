"""Envelopes: what the phone tells the card of its own accord (ETSI TS 102 223, 7; 3GPP TS 31.111, 7.1)."""

from __future__ import annotations

from dataclasses import dataclass

from signalling.card.tlv import Tlv, TlvError, decode, decode_ber, encode, encode_ber, first, require
from signalling.card.usat import MENU_SELECTION, SMS_PP, CommandError, Device, Tag


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


def decode_envelope(data: bytes) -> MenuSelection | SmsDownload:
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
    raise CommandError(f"envelope {tag:02X} is not known")
