"""USSD strings (3GPP TS 22.090, coding by TS 23.038, 5 and 6.1.2.3): texts for people, and bytes for a card.

A string has at most 160 bytes: 182 characters of the default alphabet, 80 of UCS2. Bytes for a card have a user data
header as short messages have (TS 31.115, secured packets in USSD), and go to it unread.
"""

from __future__ import annotations

from signalling.card import sms
from signalling.card import text as texts
from signalling.card.tlv import CardError

MAX_STRING = 160
MAX_SEPTETS = MAX_STRING * 8 // 7
TEXT, TEXT_UCS2 = 0x0F, 0x48
FOR_CARD = 0x96
"""Header and 8-bit data of class 2: for the card."""

_CR = 0x0D
_WITH_LANGUAGE, _UCS2_WITH_LANGUAGE = 0x10, 0x11


class UssdError(CardError):
    """A string that does not hold."""


def encode_ussd(text: str) -> tuple[int, bytes]:
    """Coding and bytes of a text. Raises :class:`CardError` where it is too long."""
    if texts.in_alphabet(text):
        return TEXT, _packed(texts.to_septets(text))
    data = text.encode("utf-16-be", "replace")
    if len(data) > MAX_STRING:
        raise UssdError(f"{len(data)} bytes do not fit into a string of {MAX_STRING}")
    return TEXT_UCS2, data


def _packed(septets: bytes) -> bytes:
    """Septets packed; a carriage return fills seven spare bits, so that they do not read as ``@``."""
    if len(septets) > MAX_SEPTETS:
        raise UssdError(f"{len(septets)} characters do not fit into a string of {MAX_SEPTETS}")
    if len(septets) % 8 == 7 or (septets and len(septets) % 8 == 0 and septets[-1] == _CR):
        septets += bytes((_CR,))
    return texts.pack(septets)


def decode_ussd(dcs: int, data: bytes) -> str:
    """The text of a string. Raises :class:`CardError` for what is for a card, compressed, or no text."""
    if len(data) > MAX_STRING:
        raise UssdError(f"{len(data)} bytes; a string has at most {MAX_STRING}")
    if dcs == _WITH_LANGUAGE:
        # Two characters of a language and a carriage return go before the text.
        return _unpacked(data)[3:]
    if dcs == _UCS2_WITH_LANGUAGE:
        return _wide(data[2:])
    group = dcs >> 4
    alphabet = {0x0: 0, 0x2: 0, 0x3: 0, 0x4: dcs >> 2 & 3, 0x5: dcs >> 2 & 3, 0xF: dcs >> 2 & 1}.get(group)
    if alphabet == 0:
        return _unpacked(data)
    if alphabet == 2:
        return _wide(data)
    raise UssdError(f"coding {dcs:02X} is not of a text")


def _unpacked(data: bytes) -> str:
    septets = texts.unpack(data, len(data) * 8 // 7)
    if septets and len(septets) % 8 == 0 and septets[-1] == _CR:
        septets = septets[:-1]
    return texts.from_septets(septets)


def _wide(data: bytes) -> str:
    if len(data) % 2:
        raise UssdError(f"{len(data)} bytes are no UCS2 text, which has two a character")
    return data.decode("utf-16-be", "replace")


def is_for_card(dcs: int) -> bool:
    """Whether a string of this coding goes to the card: 8-bit data of class 2 with a header."""
    return dcs == FOR_CARD


def card_content(data: bytes) -> sms.UserData:
    """Header and data of a string for a card. Raises :class:`CardError`."""
    if len(data) > MAX_STRING:
        raise UssdError(f"{len(data)} bytes; a string has at most {MAX_STRING}")
    return sms.decode_user_data(data, has_header=True)
