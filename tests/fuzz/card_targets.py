"""What is fuzzed of cards: each target decodes bytes, and may raise :class:`CardError` and nothing else.

What a decoder accepts is looked into further, so that an over-read or a value out of its bounds shows.
"""

from __future__ import annotations

from collections.abc import Callable

from signalling.card import commands, dialogue, envelopes, responses, secured, sms, text, tlv
from signalling.card.keys import diversify
from signalling.card.tlv import CardError

KEYS = diversify(bytes(16), "8949000000000000018").packets
OPEN = secured.Security(secured.Check.NONE, False, secured.Counting.NONE, 0, secured.Check.NONE, False)
"""The least of all security, so that fuzzing comes behind the checksum."""


def decode_tlv(data: bytes) -> None:
    """BER-TLV and COMPREHENSION-TLV, proactive commands, answers, envelopes, texts."""
    objects = tlv.decode(data)
    assert sum(len(each.value) + 2 for each in objects) <= len(data)
    assert tlv.decode(tlv.encode(objects)) == objects
    for each in objects:
        for decode in (text.decode_alpha, text.decode_text_string, responses.decode_imei, responses.decode_location):
            _attempt(decode, each.value)


def decode_commands(data: bytes) -> None:
    """What a phone fetches, and what a card is told."""
    for decode in (responses.decode_response, envelopes.decode_envelope, commands.decode_command):
        _attempt(decode, data)
    fetched = commands.decode_command(data)
    assert 0 <= fetched.type <= 255


def decode_packet(data: bytes) -> None:
    """Secured packets: as they come, and behind their checksum."""
    _attempt(lambda raw: secured.open_command(raw, KEYS, 0), data)
    _attempt(lambda raw: secured.open_response(raw, KEYS), data)
    _attempt(lambda raw: secured.open_response(raw, KEYS, OPEN), data)
    sealed = secured.seal_command(data[:1000], KEYS, dialogue.TAR, 7)
    assert secured.open_command(sealed, KEYS, 6).data == data[:1000]
    _attempt(dialogue.decode_from_card, data)
    _attempt(dialogue.decode_from_server, data)
    opened = secured.open_command(data, KEYS, 0, OPEN)
    assert len(opened.data) <= len(data)


_reassembler = sms.Reassembler(8)


def decode_sms(data: bytes) -> None:
    """SMS-SUBMIT, SMS-DELIVER, headers, and their parts put together."""
    for decode in (sms.decode_submit, sms.decode_deliver):
        message = _attempt(decode, data)
        if isinstance(message, sms.Submit | sms.Deliver):
            assert len(message.content.data) <= sms.MAX_USER_DATA
            _attempt(sms.content_text, message)
            _reassembler.add("+49", message.content)
    content = sms.decode_user_data(data, has_header=True)
    assert len(content.header()) + len(content.data) <= len(data) + 1
    whole = _reassembler.add("+48", content)
    assert whole is None or len(whole.data) <= 255 * max(1, len(data))


def _attempt(decode: Callable[[bytes], object], data: object) -> object:
    try:
        return decode(data)  # type: ignore[arg-type]  # texts take a message
    except CardError:
        return None


TARGETS: dict[str, Callable[[bytes], None]] = {
    "tlv": decode_tlv,
    "commands": decode_commands,
    "packet": decode_packet,
    "sms": decode_sms,
}
_SELECT = commands.encode_command(
    commands.SelectItem("Offers", (commands.Item(1, "One"), commands.Item(2, "Zwei €")), help=True)
)
_PACKET = secured.seal_command(b"hello", KEYS, dialogue.TAR, 1)
_PARTS = sms.split((sms.Element(sms.COMMAND_PACKET, b""),), _PACKET * 4, 5)
SEEDS: dict[str, list[bytes]] = {
    "tlv": [_SELECT[2:], responses.Response(1, 0x23, 0, 0, text="12", imei="352099001761481").encode()],
    "commands": [_SELECT, envelopes.MenuSelection(1).encode(), responses.Response(1, 0x24, 0, 0, item=2).encode()],
    "packet": [_PACKET, secured.seal_response(0, 1, dialogue.TAR, KEYS), dialogue.encode_message(dialogue.Hello())],
    "sms": [
        *(sms.Submit("+4900000", part, 1, 0x7F, 0xF6).encode() for part in _PARTS),
        sms.Submit("+49170", *sms.text_content("Grüße")[:1], 0, 0, 0).encode(),
        *(part.encode() for part in _PARTS),
    ],
}
