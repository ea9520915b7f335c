"""What the home register and the nodes that serve phones tell each other, over a stream of frames.

A frame (:mod:`signalling.framing`) holds one MessagePack map with the key ``type`` and the fields of its kind. The node
begins with :class:`Attach`; all else follows the answer. Short messages are TPDUs of TS 23.040, USSD strings are bytes
with their coding (TS 23.038): both pass as they are.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from signalling.decoding import UNREADABLE
from signalling.messages import Count, Id

Number = Annotated[str, Meta(min_length=1, max_length=21, pattern=r"^\+?[0-9*#]+\Z")]
Tpdu = Annotated[bytes, Meta(min_length=1, max_length=256)]
String = Annotated[bytes, Meta(max_length=160)]
Octet = Annotated[int, Meta(ge=0, le=255)]
Frame = Annotated[bytes, Meta(min_length=1, max_length=160)]
Reason = Annotated[str, Meta(max_length=200)]
How = Literal["sms", "ussd"]
Outcome = Literal["delivered", "busy", "absent", "failed"]
Channel = Literal["", "SDCCH", "SACCH", "TCH"]
NORMAL, UNALLOCATED, NO_ANSWER, REJECTED, TEMPORARY = 16, 1, 19, 21, 41
"""Why a call ends (ITU-T Q.850)."""

TAKES_NOTHING_SO = "the phone takes nothing so"
"""Reason of :class:`Carried` where the phone's abilities do not allow this way."""


class NodeError(ValueError):
    """A frame that is no message of this dialogue."""


class NodeMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of the messages."""


# From the node.


class Attach(NodeMessage, frozen=True, tag="attach"):
    """A node says who it is; ``secret``: that of the operator's nodes."""

    node: Id
    secret: Annotated[str, Meta(max_length=128)] = ""


class Located(NodeMessage, frozen=True, tag="located"):
    """A phone is registered here now (location update)."""

    number: Number


class Held(NodeMessage, frozen=True, tag="held"):
    """Whether a phone here holds a connection."""

    number: Number
    busy: bool


class FromPhone(NodeMessage, frozen=True, tag="from_phone"):
    """An SMS-SUBMIT of a phone; the node has acknowledged it when :class:`Taken` comes."""

    ref: Count
    number: Number
    tpdu: Tpdu


class Carried(NodeMessage, frozen=True, tag="carried"):
    """What became of :class:`Carry`: the delivery report. ``steps``: what was done, in its order."""

    ref: Count
    outcome: Outcome
    steps: Annotated[list[Annotated[str, Meta(max_length=20)]], Meta(max_length=10)] = []
    channel: Channel = ""
    reason: Reason = ""


class Call(NodeMessage, frozen=True, tag="call"):
    """A phone calls a number of ours: a traffic channel stands."""

    number: Number
    call: Count
    to: Number


# From the home register.


class Attached(NodeMessage, frozen=True, tag="attached"):
    """The node is known; ``home``: who we are."""

    home: str


class Refused(NodeMessage, frozen=True, tag="refused"):
    """The node is not let in; the connection ends."""

    reason: Reason


class Cancelled(NodeMessage, frozen=True, tag="cancelled"):
    """The phone is registered elsewhere now (cancel location)."""

    number: Number


class Taken(NodeMessage, frozen=True, tag="taken"):
    """The message of a phone is taken over, or was not and may come again."""

    ref: Count
    ok: bool = True


class Carry(NodeMessage, frozen=True, tag="carry"):
    """Bring this to a phone: an SMS-DELIVER, or a USSD string that the network begins. Answered by :class:`Carried`."""

    ref: Count
    number: Number
    how: How
    data: Tpdu
    dcs: Octet = 0


class Answered(NodeMessage, frozen=True, tag="answered"):
    """The call is answered; sound follows."""

    call: Count


class Voice(NodeMessage, frozen=True, tag="voice"):
    """A frame of sound, 20 ms of G.711 A-law, the ``place``-th from 0. What comes goes to the phone unread."""

    call: Count
    place: Count
    frame: Frame


# From both.


class Ussd(NodeMessage, frozen=True, tag="ussd"):
    """A USSD session that a phone began: ``begin`` and ``continue`` carry strings, ``end`` the last one."""

    number: Number
    session: Count
    op: Literal["begin", "continue", "end", "abort"]
    dcs: Octet = 0x0F
    data: String = b""


class Hangup(NodeMessage, frozen=True, tag="hangup"):
    """The call ends. ``cause``: as in Q.850, 16 where nothing is wrong."""

    call: Count
    cause: Octet = NORMAL


FromNode = Attach | Located | Held | FromPhone | Carried | Call | Ussd | Hangup
FromHome = Attached | Refused | Cancelled | Taken | Carry | Answered | Voice | Ussd | Hangup

_encode = msgspec.msgpack.Encoder().encode
_from_node = msgspec.msgpack.Decoder(FromNode)
_from_home = msgspec.msgpack.Decoder(FromHome)


def encode_node(message: NodeMessage) -> bytes:
    """The payload of a frame."""
    return _encode(message)


def decode_from_node(payload: bytes) -> FromNode:
    """What a node says. Raises :class:`NodeError`."""
    message: FromNode = _decode(_from_node, payload)
    return message


def decode_from_home(payload: bytes) -> FromHome:
    """What the home register says. Raises :class:`NodeError`."""
    message: FromHome = _decode(_from_home, payload)
    return message


def _decode(decoder: msgspec.msgpack.Decoder[Any], payload: bytes) -> Any:
    try:
        return decoder.decode(payload)
    except UNREADABLE as error:
        raise NodeError(f"no message between home and node: {error}") from None
