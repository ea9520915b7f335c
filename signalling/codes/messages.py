"""What a mobile and a base station say to each other about feature codes.

Up go :class:`Uplink` envelopes, each signed by the terminal's key for the purpose ``air`` with a counter that rises;
down come lists of messages. ``channel`` says by which of the network's channels a message travels.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from signalling.codes.table import CodeError, EfNumber, FeatureCode, FeatureName
from signalling.decoding import UNREADABLE
from signalling.messages import Count, Id, Signed

Channel = Literal["access", "paging", "traffic"]
Digits = Annotated[str, Meta(max_length=50)]
Text = Annotated[str, Meta(max_length=300)]
Sequence = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Names = Annotated[list[FeatureName], Meta(max_length=100)]

PURPOSE = "air"
UPDATE_HEADER = "feature-codes"
"""Marks a message that updates codes among all others of its channel."""


class Up(msgspec.Struct, frozen=True, tag=True):
    """Base of what the mobile says."""


class Down(msgspec.Struct, frozen=True, tag=True):
    """Base of what the base station says."""


class Register(Up, frozen=True):
    """Entering a network. ``sequence``: of its codes that the mobile holds, 0 for none; ``display``: it has one."""

    sequence: Sequence
    display: bool = True


class PageResponse(Up, frozen=True):
    """The sequence of the overhead message was not the mobile's: send the codes."""

    sequence: Sequence


class StatusResponse(Up, frozen=True):
    """The features that the mobile supports."""

    features: Names


class Origination(Up, frozen=True):
    """A feature is wanted. ``local``: the digits are translated already, else they are codes of the home network."""

    digits: Digits
    local: bool


class OriginationContinuation(Up, frozen=True):
    """The wanted feature again, now in the code that came down."""

    digits: Digits


class EfResponse(Up, frozen=True):
    """Whether the mobile has the option of features that are unlocked."""

    ef: EfNumber
    available: bool


class SurchargeAnswer(Up, frozen=True):
    """The user's yes, with the signed confirmation of the quote, or no."""

    feature: FeatureName
    confirmation: Signed | None = None


class Activate(Up, frozen=True):
    """The key fitted and the code is kept: switch the feature."""

    digits: Digits


class NewCodesRead(Up, frozen=True):
    """The user has seen that these features are new here."""

    features: Names


class Overhead(Down, frozen=True):
    """Broadcast: the network, the sequence of its codes, whether they come at registration or on demand."""

    network: Id
    sequence: Sequence
    download: Literal["registration", "on_demand"]


class StatusRequest(Down, frozen=True):
    """Which features does the mobile support?"""


class FeatureCodes(Down, frozen=True):
    """Codes of this network. ``whole``: all that are free of charge, else those that were asked for."""

    sequence: Sequence
    channel: Channel
    codes: Annotated[list[FeatureCode], Meta(max_length=100)]
    whole: bool = True
    header: Literal["feature-codes"] = "feature-codes"


class Registered(Down, frozen=True):
    """The registration is acknowledged."""

    network: Id


class Acknowledged(Down, frozen=True):
    """The feature is switched; ``active`` says which way."""

    feature: FeatureName
    active: bool


class Tone(Down, frozen=True):
    """Not to be had: a tone, and words for who has a display."""

    tone: Literal["busy", "reorder"]
    text: Text


class GeneralPage(Down, frozen=True):
    """Does the mobile have feature number ``ef``?"""

    ef: EfNumber


class SurchargeNotice(Down, frozen=True):
    """A feature costs something here: the home network's signed quote, to be accepted or not."""

    feature: FeatureName
    ef: EfNumber
    text: Text
    quote: Signed


class FeatureKey(Down, frozen=True):
    """What was accepted: the feature's number, its key and its code."""

    ef: EfNumber
    key: Annotated[bytes, Meta(min_length=16, max_length=16)]
    code: FeatureCode
    channel: Literal["traffic"] = "traffic"
    header: Literal["feature-codes"] = "feature-codes"


class Refusal(Down, frozen=True):
    """A no, and why; nothing has changed."""

    code: Id
    reason: Text


class Released(Down, frozen=True):
    """The call is over."""


Said = (
    Register
    | PageResponse
    | StatusResponse
    | Origination
    | OriginationContinuation
    | EfResponse
    | SurchargeAnswer
    | Activate
    | NewCodesRead
)
Heard = (
    Overhead
    | StatusRequest
    | FeatureCodes
    | Registered
    | Acknowledged
    | Tone
    | GeneralPage
    | SurchargeNotice
    | FeatureKey
    | Refusal
    | Released
)


class Uplink(msgspec.Struct, frozen=True, kw_only=True):
    """What is signed: who speaks, of which home network, to which network, and the message."""

    terminal: Id
    home: Id
    network: Id
    counter: Count
    message: Said


_uplink = msgspec.msgpack.Decoder(Uplink)
_signed = msgspec.msgpack.Decoder(Signed)
_heard = msgspec.msgpack.Decoder(list[Heard])


def encode_signed(signed: Signed) -> bytes:
    """A signed uplink as it travels."""
    return msgspec.msgpack.encode(signed)


def decode_signed(data: bytes) -> Signed:
    """A signed uplink. Raises :class:`CodeError`."""
    try:
        return _signed.decode(data)
    except UNREADABLE as error:
        raise CodeError(f"not a signed message: {error}") from None


def encode_uplink(uplink: Uplink) -> bytes:
    """The bytes to sign."""
    return msgspec.msgpack.encode(uplink)


def decode_uplink(data: bytes) -> Uplink:
    """What was signed. Raises :class:`CodeError`."""
    try:
        return _uplink.decode(data)
    except UNREADABLE as error:
        raise CodeError(f"not a message of a mobile: {error}") from None


def encode_heard(messages: list[Heard]) -> bytes:
    """Messages to a mobile as they travel."""
    return msgspec.msgpack.encode(messages)


def decode_heard(data: bytes) -> list[Heard]:
    """Messages from a base station. Raises :class:`CodeError`."""
    try:
        return _heard.decode(data)
    except UNREADABLE as error:
        raise CodeError(f"not messages of a base station: {error}") from None
