"""What the applet on a card and the server tell each other, inside secured packets.

Each message is a MessagePack array: a number that names its kind, then its fields in order; absent ones at the end may
be left out. Offers are named by their place in a menu, so that a message is short: a packet that fits into one short
message has about 100 bytes for it. Amounts are micros, instants microseconds since 1970.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from signalling.card.tlv import CardError
from signalling.decoding import UNREADABLE
from signalling.messages import Digest, Id, Micros

TAR = bytes.fromhex("B00010")
"""The applet's toolkit application reference."""

MAX_MESSAGE = 8 * 1024

Ref = Annotated[int, Meta(ge=1, le=255)]
Menu = Annotated[int, Meta(ge=0, le=65535)]
Short = Annotated[str, Meta(max_length=160)]
Long = Annotated[str, Meta(max_length=1000)]
ToneData = Annotated[bytes, Meta(max_length=1500)]
Grouping = Literal["letter", "kind", "new"]
ToneForm = Literal["smart", "rtttl", "audio"]


class MessageError(CardError):
    """Bytes that are no message of this dialogue."""


class CardMessage(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """Base of the messages."""


# From the server.


class Inquire(CardMessage, frozen=True, array_like=True, tag=1):
    """What is your configuration code? (claim 15, first step)"""

    trigger: Literal["logon", "calendar", "interval", "manual"] = "logon"


class SendSections(CardMessage, frozen=True, array_like=True, tag=2):
    """This code was never seen: send what it is made of."""


class ShowMenu(CardMessage, frozen=True, array_like=True, tag=3):
    """The offers: titles, whose place (from 1) names them in ``menu``."""

    menu: Menu
    titles: Annotated[list[Short], Meta(max_length=100)]


class ModeLine(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """A charging mode as it stands on the screen. ``limit``: a spending limit can be set."""

    mode: Id
    text: Short
    limit: bool = False


class ShowOffer(CardMessage, frozen=True, array_like=True, tag=4):
    """An offer's own screen: its text and its charging modes with their prices (claim 4)."""

    menu: Menu
    offer: Ref
    text: Long
    modes: Annotated[list[ModeLine], Meta(max_length=16)]


class ShowQuote(CardMessage, frozen=True, array_like=True, tag=5):
    """A quote to be confirmed. ``digest``: SHA-256 of the quote document; ``text``: price and terms as shown."""

    quote: Id
    digest: Digest
    mode: Id
    text: Long
    currency: Annotated[str, Meta(min_length=3, max_length=3)]
    limit: Micros | None = None
    may_limit: bool = False


class Tell(CardMessage, frozen=True, array_like=True, tag=6):
    """A text for the user. ``kind``: done and noted close what was asked, refused is a no, notice came unasked."""

    kind: Literal["done", "noted", "refused", "notice"]
    text: Long


class ShowGroups(CardMessage, frozen=True, array_like=True, tag=7):
    """What the tones can be narrowed down to: letters, or kinds."""

    groups: Annotated[list[Short], Meta(max_length=100)]


class PlaySample(CardMessage, frozen=True, array_like=True, tag=8):
    """The beginning of a tone, to be heard and not kept; ``data`` is of :func:`signalling.tones.messages.pack`."""

    data: ToneData


class KeepTone(CardMessage, frozen=True, array_like=True, tag=9):
    """A tone that was agreed on, for a slot of the card. ``delivery``: the agreement."""

    delivery: Id
    product: Id
    release: Id
    title: Short
    data: ToneData


class HearTone(CardMessage, frozen=True, array_like=True, tag=10):
    """A tone that was agreed on is played to who calls ``number``, to be recorded and kept.

    ``tempo``, ``loop``: what cannot be heard. ``check``: first bytes of :func:`tone_check` of what is to be recorded.
    """

    delivery: Id
    product: Id
    release: Id
    title: Short
    number: Annotated[str, Meta(max_length=21)]
    tempo: Annotated[int, Meta(ge=0, le=900)]
    loop: Annotated[int, Meta(ge=0, le=15)]
    check: Annotated[bytes, Meta(min_length=8, max_length=8)]


# From the card.


class Hello(CardMessage, frozen=True, array_like=True, tag=32):
    """The card is there; its user wants to see the offers (``asked``), or its phone was switched on."""

    asked: bool = True


class MyCode(CardMessage, frozen=True, array_like=True, tag=33):
    """The configuration code (claim 21)."""

    code: Digest


class MySections(CardMessage, frozen=True, array_like=True, tag=34):
    """The four sections in canonical form, in the order of ``signalling.configuration.SECTIONS``."""

    sections: Annotated[list[Annotated[bytes, Meta(max_length=2048)]], Meta(min_length=4, max_length=4)]


class WantOffer(CardMessage, frozen=True, array_like=True, tag=35):
    """The user looks at an offer: send its screen."""

    menu: Menu
    offer: Ref


class Take(CardMessage, frozen=True, array_like=True, tag=36):
    """The request signal for an offer in one of its modes (claims 2 and 22)."""

    menu: Menu
    offer: Ref
    mode: Id


class RejectOffer(CardMessage, frozen=True, array_like=True, tag=37):
    """The reject signal (claims 3 and 17)."""

    menu: Menu
    offer: Ref


class Postpone(CardMessage, frozen=True, array_like=True, tag=38):
    """Neither taken nor rejected."""

    menu: Menu
    offer: Ref


class Propose(CardMessage, frozen=True, array_like=True, tag=39):
    """Not that quote; rather this mode, or no more than this limit a period (claims 4 and 23)."""

    quote: Id
    mode: Id
    limit: Micros | None = None


class Yes(CardMessage, frozen=True, array_like=True, tag=40):
    """The user's confirmation: a :class:`signalling.documents.Confirmation` and the card's MAC on it.

    The MAC is :func:`signalling.card.keys.agreement_mac` over the document and the :func:`shown_digest` of the quote.
    """

    document: Annotated[bytes, Meta(max_length=512)]
    mac: Annotated[bytes, Meta(min_length=16, max_length=16)]


class No(CardMessage, frozen=True, array_like=True, tag=41):
    """The user leaves the negotiation."""

    quote: Id


class BrowseTones(CardMessage, frozen=True, array_like=True, tag=42):
    """The tones of a letter or a kind as a menu, or the newest; without ``key`` the letters or kinds there are."""

    by: Grouping
    key: Short = ""


class WantSample(CardMessage, frozen=True, array_like=True, tag=43):
    """The user wants to hear a tone before taking it."""

    menu: Menu
    offer: Ref


class ToneKept(CardMessage, frozen=True, array_like=True, tag=44):
    """The tone is in a slot. ``replaced``: the product that gave way to it."""

    delivery: Id
    replaced: Annotated[str, Meta(max_length=64)] = ""


class ToneNotKept(CardMessage, frozen=True, array_like=True, tag=45):
    """The tone was not kept: all slots are taken and the user gave none, its data is no tone, or the call broke off."""

    delivery: Id
    reason: Literal["full", "damaged", "broken"]


class WishForm(CardMessage, frozen=True, array_like=True, tag=46):
    """In which form the user wants tones from now on: binary, as RTTTL text, or played in a call and recorded."""

    form: ToneForm


FromServer = (
    Inquire | SendSections | ShowMenu | ShowOffer | ShowQuote | Tell | ShowGroups | PlaySample | KeepTone | HearTone
)  # fmt: skip
FromCard = (
    Hello | MyCode | MySections | WantOffer | Take | RejectOffer | Postpone | Propose | Yes | No
    | BrowseTones | WantSample | ToneKept | ToneNotKept | WishForm
)  # fmt: skip

_encode = msgspec.msgpack.Encoder().encode
_from_server = msgspec.msgpack.Decoder(FromServer)
_from_card = msgspec.msgpack.Decoder(FromCard)


def encode_message(message: CardMessage) -> bytes:
    """The bytes of a message, before they are sealed."""
    return _encode(message)


def decode_from_server(data: bytes) -> FromServer:
    """What the server says. Raises :class:`MessageError`."""
    message: FromServer = _decode(_from_server, data)
    return message


def decode_from_card(data: bytes) -> FromCard:
    """What the card says. Raises :class:`MessageError`."""
    message: FromCard = _decode(_from_card, data)
    return message


def _decode(decoder: msgspec.msgpack.Decoder[Any], data: bytes) -> Any:
    if len(data) > MAX_MESSAGE:
        raise MessageError(f"a message has at most {MAX_MESSAGE} bytes, here are {len(data)}")
    try:
        return decoder.decode(data)
    except UNREADABLE as error:
        raise MessageError(f"no message of the card's dialogue: {error}") from None


def shown_digest(quote: ShowQuote) -> bytes:
    """SHA-256 of a quote as the card was sent it, with every word that stood on the screen."""
    return hashlib.sha256(_encode(quote)).digest()


def tone_check(packed: bytes) -> bytes:
    """By what a card knows that it recorded the right tone: of SHA-256 over the tone as packed data, 8 bytes."""
    return hashlib.sha256(packed).digest()[:8]
