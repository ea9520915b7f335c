"""The envelope around each message: ``{id, re, exchange, type, body}``, one MessagePack map, decoded in two steps.

First the envelope, strictly; then the body by its type. So an unknown type is a question that can be answered with an
error, while bytes that are no envelope end the link.
"""

from __future__ import annotations

from typing import Any

import msgspec

from signalling.decoding import UNREADABLE

MAX_ID = 2**53 - 1


class EnvelopeError(ValueError):
    """Bytes that are no envelope."""


class UnknownType(ValueError):
    """An envelope whose type nobody here knows."""


class BodyError(ValueError):
    """A body that does not fit the schema of its type; the text names the field."""


class Envelope(msgspec.Struct, forbid_unknown_fields=True):
    """``id``: the sender's own number of this message, rising from 1 on each link. ``re``: the id that it answers.

    ``exchange``: the dialogue it belongs to; 0 is the link itself, even numbers are begun by the server, odd ones by
    the terminal. ``body``: the encoded map, left as it is until the type is known.
    """

    id: int
    exchange: int
    type: str
    body: msgspec.Raw
    re: int | None = None


_decoder = msgspec.msgpack.Decoder(Envelope)
_encoder = msgspec.msgpack.Encoder()


def encode(message: Any, *, id: int, exchange: int = 0, re: int | None = None) -> bytes:
    """One payload: the envelope around ``message``, which is an instance of a type in :mod:`signalling.messages`."""
    return _encoder.encode({"id": id, "re": re, "exchange": exchange, "type": message.TYPE, "body": message})


def decode(payload: bytes) -> Envelope:
    """The envelope in ``payload``. Raises :class:`EnvelopeError`."""
    try:
        envelope = _decoder.decode(payload)
    except UNREADABLE as error:
        raise EnvelopeError(f"not an envelope: {error}") from None
    if not (0 < envelope.id <= MAX_ID and 0 <= envelope.exchange <= MAX_ID):
        raise EnvelopeError("id or exchange out of range")
    return envelope
