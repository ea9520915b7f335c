"""A tone as short messages to port 5505, in the binary form or as RTTTL."""

from __future__ import annotations

from typing import Literal

from signalling.card.sms import CONCAT_8, MAX_USER_DATA, Element, UserData, ports_element
from signalling.tones.smart import decode_smart, encode_smart
from signalling.tones.tune import Tone, ToneError, format_rtttl, parse_rtttl

PORT = 5505
Form = Literal["smart", "rtttl"]


def pack(tone: Tone, form: Form = "smart") -> bytes:
    """The tone as data of a message."""
    return encode_smart(tone) if form == "smart" else format_rtttl(tone).encode("latin-1")


def unpack(data: bytes) -> Tone:
    """The tone in a message's data, in whichever form. Raises :class:`ToneError`."""
    if data[:1] in (b"\x02", b"\x03"):
        return decode_smart(data)
    return parse_rtttl(data.decode("latin-1"))


def tone_messages(tone: Tone, reference: int, form: Form = "smart") -> list[UserData]:
    """The messages of a tone; each part names the port, as phones expect (TS 23.040, 9.2.3.24.4)."""
    port, data = ports_element(PORT, 0), pack(tone, form)
    whole = UserData((port,), data)
    if len(whole.header()) + len(data) <= MAX_USER_DATA:
        return [whole]
    room = MAX_USER_DATA - len(UserData((Element(CONCAT_8, bytes(3)), port)).header())
    pieces = [data[at : at + room] for at in range(0, len(data), room)]
    return [
        UserData((Element(CONCAT_8, bytes((reference & 0xFF, len(pieces), number))), port), piece)
        for number, piece in enumerate(pieces, 1)
    ]


def tone_of(content: UserData) -> Tone:
    """The tone in a whole message. Raises :class:`ToneError`."""
    if content.ports is None or content.ports[0] != PORT:
        raise ToneError(f"the message goes to the ports {content.ports}; tones go to {PORT}")
    return unpack(content.data)
