"""What two operators tell each other over the interconnect: JSON bodies of ``POST /roaming/v1/...``, each a type here.

Bytes are Base64 in JSON. Every field has its limit; a key that is not known is refused.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from operator_server.visited.faults import VisitedError
from signalling.codes.table import MOST_FEATURES, EfNumber, FeatureCode, FeatureName
from signalling.decoding import UNREADABLE
from signalling.messages import Digest, Id

PATH = "/roaming/v1"
MOST_BODY = 64 * 1024
MOST_ANSWER = 1024 * 1024
MOST_LINES = 1_000
"""Lines of a statement that one answer has."""
MOST_DISPUTED = 500
MOST_OWED = 10**15
"""Micros: a thousand million of the major unit."""

PublicKey = Annotated[bytes, Meta(min_length=32, max_length=32)]
MicrosOwed = Annotated[int, Meta(ge=0, le=MOST_OWED)]
Currency = Annotated[str, Meta(pattern=r"^[A-Z]{3}\Z")]
Month = Annotated[str, Meta(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])\Z")]
Direction = Literal["receivable", "payable"]
Text = Annotated[str, Meta(max_length=300)]
Cell = Annotated[str, Meta(max_length=64)]

T = TypeVar("T")


class Told(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of the bodies."""


class Hello(Told, frozen=True):
    """Whether we know each other."""


class Greeting(Told, frozen=True):
    """``network``: who answers; ``peer``: as whom it knows the caller."""

    network: Id
    peer: Id


class Vouched(Told, frozen=True):
    """What home says of a subscriber who registers elsewhere."""

    terminal: Id
    public_key: PublicKey
    language: Annotated[str, Meta(max_length=16)]
    codes: Annotated[list[FeatureCode], Meta(max_length=MOST_FEATURES)]


class Wanted(Told, frozen=True):
    """A feature that a subscriber wants elsewhere: its number there, and the micros that home will owe for it."""

    feature: FeatureName
    ef: EfNumber
    amount: MicrosOwed
    currency: Currency


class Asking(Told, frozen=True):
    """What the subscriber of a terminal is to pay for a feature."""

    terminal: Id
    wanted: Wanted


class Declining(Told, frozen=True):
    """The subscriber did not accept a quote."""

    terminal: Id
    quote: Id


class Settled(Told, frozen=True):
    """What home answers to a claim: the hash of the agreement, and the key of the feature."""

    agreement_digest: Digest
    key: Annotated[bytes, Meta(min_length=16, max_length=16)]


class Notice(Told, frozen=True):
    """New features here, for a subscriber whose mobile has no display."""

    terminal: Id
    features: Annotated[
        list[Annotated[str, Meta(min_length=1, max_length=40)]], Meta(min_length=1, max_length=MOST_FEATURES)
    ]


class Line(Told, frozen=True):
    """A settlement record as both sides must hold it alike."""

    id: Id
    terminal: Id
    feature: FeatureName
    agreement: Id
    amount: Cell
    currency: Cell
    agreed_at: Cell
    digest: Cell


class StatementWanted(Told, frozen=True):
    """The acknowledged records of a month of UTC that the answering side holds in ``direction``, behind ``after``."""

    month: Month
    direction: Direction
    after: Annotated[str, Meta(max_length=64)] = ""


class Statement(Told, frozen=True):
    """Lines in the order of their ids; ``more``: there are further ones behind the last."""

    lines: Annotated[list[Line], Meta(max_length=MOST_LINES)]
    more: bool = False


class Disputed(Told, frozen=True):
    """A record on which the sides differ, and how."""

    record: Id
    what: Text


class Disputes(Told, frozen=True):
    """All that the caller disputes of a month; ``direction`` is that of the caller."""

    month: Month
    direction: Direction
    records: Annotated[list[Disputed], Meta(max_length=MOST_DISPUTED)]


class Done(Told, frozen=True):
    """It is done."""


class Refused(msgspec.Struct, frozen=True):
    """A no: ``code`` for programs, ``reason`` for people."""

    code: Annotated[str, Meta(max_length=64)]
    reason: Annotated[str, Meta(max_length=1_000)]


def encode(told: Any) -> bytes:
    """A body as it travels."""
    return msgspec.json.encode(told)


def decode(data: bytes, kind: type[T]) -> T:
    """A body of a type. Raises :class:`VisitedError`."""
    try:
        return msgspec.json.decode(data, type=kind)
    except UNREADABLE as error:
        raise VisitedError("bad_message", f"not a {kind.__name__}: {error}"[:300]) from None
