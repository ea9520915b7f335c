"""What a phone reads from and writes into a card's files beside the dialogue."""

from __future__ import annotations

from collections.abc import Callable

from signalling.card import apdu
from signalling.card.apdu import Apdu, Reply
from signalling.tones import ToneError
from signalling.tones.ringing import EF_RECORDING, EF_TONES, ToneFile, decode_file

Exchange = Callable[[Apdu], Reply]
"""Gives the card a command; its answer. Raises :class:`CardFault`."""

_PIECE = 255


class CardFault(RuntimeError):
    """The card answered what no card may; the text says what."""


def read_iccid(exchange: Exchange) -> str:
    """The card's number."""
    _select(exchange, apdu.EF_ICCID)
    return apdu.unswap_digits(exchange(Apdu(apdu.CLA_ISO, apdu.READ_BINARY, expected=10)).data)


def read_tone_file(exchange: Exchange) -> ToneFile:
    """The card's file of tones, read in pieces; empty where the card has none, or a damaged one."""
    try:
        _select(exchange, EF_TONES)
        data = exchange(Apdu(apdu.CLA_ISO, apdu.READ_BINARY, expected=2)).data
        end = 2 + int.from_bytes(data, "big")
        while len(data) < end:
            size, at = min(_PIECE, end - len(data)), len(data)
            piece = exchange(Apdu(apdu.CLA_ISO, apdu.READ_BINARY, at >> 8, at & 0xFF, expected=size)).data
            if not piece:
                break
            data += piece
        return decode_file(data)
    except (CardFault, ToneError):
        return ToneFile()


def write_recording(exchange: Exchange, data: bytes) -> None:
    """Give the card what was recorded. Raises :class:`CardFault` where it has no place for it."""
    _select(exchange, EF_RECORDING)
    content = len(data).to_bytes(2, "big") + data
    for at in range(0, len(content), _PIECE):
        exchange(Apdu(apdu.CLA_ISO, apdu.UPDATE_BINARY, at >> 8, at & 0xFF, content[at : at + _PIECE]))


def _select(exchange: Exchange, file: int) -> None:
    exchange(Apdu(apdu.CLA_ISO, apdu.SELECT, 0, 4, file.to_bytes(2, "big")))
