"""What is fuzzed beside cards: tones in both forms, USSD strings, what nodes say, SMPP messages, recorded sound.

Each target decodes bytes, and may raise its own error and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from smpplib import smpp
from smpplib.exceptions import PDUError

from operator_server.cards.smpp_pdu import message_of, read_pdu, receipt_of
from signalling.card import sms, ussd
from signalling.card.tlv import CardError
from signalling.tones import ToneError, format_rtttl, parse_rtttl
from signalling.tones.messages import pack, tone_of, unpack
from signalling.tones.nodes import Carry, NodeError, Ussd, decode_from_home, decode_from_node, encode_node
from signalling.tones.recognise import decode_recording, encode_recording, played, recognise, same_sound, written
from signalling.tones.ringing import bound_tone, decode_file, encode_file
from signalling.tones.smart import decode_smart
from signalling.tones.voice import decode_voice

OWN = (CardError, ToneError, NodeError, PDUError)


class Centre:
    """Stands for smpplib's client."""

    sequence = 1

    def next_sequence(self) -> int:
        return 1


_CENTRE: Any = Centre()


def decode_rtttl(data: bytes) -> None:
    """A tone as text; what is one can be written again, in both forms."""
    tone = parse_rtttl(data.decode("latin-1"))
    assert parse_rtttl(format_rtttl(tone)) == tone
    assert decode_smart(pack(tone)) == tone


def decode_smart_message(data: bytes) -> None:
    """A tone in the binary form, alone and in the user data of a message; a card's file of tones."""
    for decode in (lambda raw: tone_of(sms.decode_user_data(raw, has_header=True)), decode_file):
        found = _attempt(decode, data)
        if found is not None and hasattr(found, "bindings"):
            bound_tone(found, "+491", "+492")
            assert decode_file(encode_file(found)) == found
    tone = unpack(data)
    assert decode_smart(pack(tone)) == tone


def decode_ussd_string(data: bytes) -> None:
    """A USSD string: its coding, then its bytes; for people and for cards."""
    dcs, string = (data[0], data[1:]) if data else (ussd.TEXT, b"")
    _attempt(ussd.card_content, string)
    text = ussd.decode_ussd(dcs, string)
    again, coded = ussd.encode_ussd(text[:80])
    assert len(coded) <= ussd.MAX_STRING
    assert ussd.decode_ussd(again, coded).rstrip("\r") == text[:80].rstrip("\r")


def decode_nodes(data: bytes) -> None:
    """What home register and nodes tell each other."""
    _attempt(decode_from_home, data)
    message = decode_from_node(data)
    assert decode_from_node(encode_node(message)) == message


def decode_smpp(data: bytes) -> None:
    """A message of a short message centre."""
    pdu = read_pdu(len(data).to_bytes(4, "big") + data[4:], _CENTRE)
    _, content, header, _ = message_of(pdu)
    receipt_of(pdu)
    sms.decode_user_data(content, has_header=header)


def decode_sound(data: bytes) -> None:
    """Sound of a call, and what a phone gives its card of one; what is a tone sounds as itself."""
    _attempt(lambda raw: written(decode_recording(raw), "Any", tempo=112), data)
    sound = decode_voice(data)
    tone = recognise(sound, "Any")
    assert len(played(tone)) <= len(sound) + 2000
    assert same_sound(tone, tone)


def _attempt(decode: Callable[[bytes], object], data: bytes) -> object:
    try:
        return decode(data)
    except OWN:
        return None


TARGETS: dict[str, Callable[[bytes], None]] = {
    "rtttl": decode_rtttl,
    "smart": decode_smart_message,
    "ussd": decode_ussd_string,
    "nodes": decode_nodes,
    "smpp": decode_smpp,
    "recording": decode_sound,
}
_TONE = parse_rtttl("Bach:d=4,o=5,b=112,s=s,l=2:8e,8g.,p,c6,2c7;")
_CARD = bytes((ussd.FOR_CARD, 0x02, 0x70, 0x00)) + bytes(range(20))


def _pdu(**fields: Any) -> bytes:
    made = smpp.make_pdu(
        "deliver_sm", client=_CENTRE, source_addr_ton=1, source_addr_npi=1, source_addr="491701234567", dest_addr_ton=1,
        dest_addr_npi=1, destination_addr="4900000", protocol_id=0x7F, data_coding=0xF6, **fields,
    )  # fmt: skip
    return bytes(made.generate())


SEEDS: dict[str, list[bytes]] = {
    "rtttl": [format_rtttl(_TONE).encode("latin-1"), b"Fifth:d=8,o=5,b=125:g,g,g,2d#.,p,f,f,f,2d."],
    "smart": [pack(_TONE), pack(_TONE, "rtttl"), bytes.fromhex("06050415810000") + pack(_TONE)],
    "ussd": [bytes((dcs,)) + coded for dcs, coded in (ussd.encode_ussd("*100#"), ussd.encode_ussd("Ünş"))] + [_CARD],
    "nodes": [
        encode_node(Carry(1, "+491", "sms", b"\x04", 0)),
        encode_node(Ussd("+491", 1, "begin", 15, b"\xaa")),
        bytes.fromhex("84a474797065a663617272696564a372656601a76f7574636f6d65a464656c69"),
    ],
    "smpp": [
        _pdu(esm_class=0x40, short_message=b"\x02\x70\x00hello"),
        _pdu(esm_class=0x04, short_message=b"id:7 sub:001 dlvrd:001 stat:DELIVRD err:000 text:"),
    ],
    "recording": [
        encode_recording(decode_voice(played(_TONE))),
        played(parse_rtttl("A:d=8,o=6,b=450:a,p,c"))[:400],
        bytes((0xD5,)) * 64,
        played(_TONE)[:300],
    ],
}
