"""The link as a state machine: bytes and decisions in, bytes and events out. No socket, no clock, no chance.

Theory of operation. The server speaks first. A link goes through these states::

    fresh --challenge()--> challenged --logon--> proving --accept()--> logged_on
      ^                                             |                     |
      |                                          refuse()               logoff
      +---------------------------------------------|---------------------+
                                                    v
    from everywhere, by a fault, a bye or close():  closed

``TABLE`` says which message is heard in which state, and by what; any other message is a fault. The rules:

1. Bytes that are no frame, no envelope or no body of their type, and messages that their state does not hear, are
   faults: an ``error`` with ``closing`` goes out, and the link is closed. A type that nobody knows is answered with an
   ``error``, and the link stays.
2. The terminal numbers its messages upwards; ``re`` names a message that was sent to it.
3. Exchange 0 is the link itself. The terminal begins odd exchanges, the server even ones from 2. What is not about
   the link belongs to an exchange that the terminal may begin or the server has begun.
4. More messages than the rate allows are a fault. The parts of a section that was asked for do not count: their number
   is bounded by the request.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from typing import Any

import msgspec

from signalling.envelope import BodyError, Envelope, EnvelopeError, UnknownType, decode, encode
from signalling.framing import FrameError, FrameReader, frame
from signalling.messages import (
    FROM_TERMINAL,
    Bye,
    Challenge,
    ConfigurationReport,
    Error,
    Logoff,
    Logon,
    Message,
    Ping,
    Pong,
    SectionPart,
    Welcome,
    decode_from_terminal,
)

PROTOCOL = 1
"""The version of the protocol that a challenge announces."""

LOGON_REFUSED = Error("logon_refused", "this terminal cannot be logged on with this proof", closing=True)
"""The same words whatever was wrong, so that a stranger does not learn which terminals there are."""


class State(Enum):
    """Where a link stands."""

    FRESH = auto()
    CHALLENGED = auto()
    PROVING = auto()
    LOGGED_ON = auto()
    CLOSED = auto()


class Event(msgspec.Struct, frozen=True):
    """Base of what a link makes known."""


class Claimed(Event, frozen=True):
    """A terminal claims to be somebody: look up the key, check the proof over ``nonce``, then accept or refuse."""

    logon: Logon
    nonce: bytes


class Heard(Event, frozen=True):
    """A message of the proven terminal, for interrogation or for a desk."""

    id: int
    exchange: int
    message: Any


class LoggedOff(Event, frozen=True):
    """The terminal's session is over; give the link a new challenge."""


class Left(Event, frozen=True):
    """The terminal took leave."""

    reason: str


class Faulted(Event, frozen=True):
    """The terminal broke a rule; the link is closed."""

    code: str
    reason: str


class LinkMachine:
    """One link. ``rate`` in messages a second, ``burst`` how many may come at once; ``now`` in seconds, only rising."""

    __slots__ = ("_allowance", "_arrival", "_begun", "_heard", "_nonce", "_out", "_reader", "_sent", "_step", "state")

    def __init__(self, rate: int, burst: int) -> None:
        self.state = State.FRESH
        self._reader = FrameReader()
        self._out: list[bytes] = []
        self._nonce = b""
        self._sent = 0
        self._heard = 0
        self._begun = 0
        self._step = 1.0 / rate
        self._allowance = burst / rate
        self._arrival = 0.0

    # What the shell does.

    def challenge(self, server: str, nonce: bytes, time: int) -> None:
        """Open the dialogue: ask for a proof over ``nonce``, 32 fresh random bytes."""
        assert self.state is State.FRESH
        self._nonce = nonce
        self.state = State.CHALLENGED
        self.send(Challenge(PROTOCOL, server, nonce, time))

    def accept(self, welcome: Welcome) -> None:
        """The proof holds."""
        assert self.state is State.PROVING
        self.state = State.LOGGED_ON
        self.send(welcome)

    def refuse(self) -> None:
        """The proof does not hold, or there is no such terminal."""
        assert self.state is State.PROVING
        self.close(LOGON_REFUSED)

    def begin(self) -> int:
        """The number of a new exchange of the server."""
        self._begun += 2
        return self._begun

    def send(self, message: Any, exchange: int = 0, re: int | None = None) -> int:
        """Queue a message; returns its id. Raises :class:`signalling.framing.FrameError` when it is too long."""
        self._sent += 1
        self._out.append(frame(encode(message, id=self._sent, exchange=exchange, re=re)))
        return self._sent

    def close(self, last: Bye | Error, exchange: int = 0, re: int | None = None) -> None:
        """Queue the last word and close."""
        if self.state is not State.CLOSED:
            self.send(last, exchange, re)
            self.state = State.CLOSED

    def output(self) -> bytes:
        """What is to be sent now; the queue is empty afterwards."""
        out = self._out
        if not out:
            return b""
        data = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        return data

    @property
    def over(self) -> bool:
        """Whether the last word is said."""
        return self.state is State.CLOSED

    # What the terminal does.

    def receive(self, data: bytes, now: float) -> list[Event]:
        """Take in bytes of the terminal."""
        events: list[Event] = []
        if self.over:
            return events
        try:
            payloads = self._reader.feed(data)
        except FrameError as error:
            self._fault(events, "bad_frame", str(error))
            return events
        for payload in payloads:
            self._payload(payload, now, events)
            if self.over:
                break
        return events

    def _payload(self, payload: bytes, now: float, events: list[Event]) -> None:
        arrival = self._arrival
        self._arrival = arrival = (arrival if arrival > now else now) + self._step
        if arrival - now > self._allowance:
            return self._fault(events, "rate", "too many messages a second; `welcome` says how many are allowed")
        try:
            envelope = decode(payload)
        except EnvelopeError as error:
            return self._fault(events, "garbage", str(error))
        if envelope.id <= self._heard:
            return self._fault(events, "wrong_id", f"id {envelope.id} after {self._heard}; ids rise", envelope)
        self._heard = envelope.id
        if envelope.re is not None and not 0 < envelope.re <= self._sent:
            return self._fault(events, "wrong_id", f"re {envelope.re} names no message sent to you", envelope)
        try:
            message = decode_from_terminal(envelope)
        except UnknownType as error:
            self.send(Error("unknown_type", str(error)), envelope.exchange, envelope.id)
            return None
        except BodyError as error:
            return self._fault(events, "malformed", str(error), envelope)
        rule = TABLE[self.state].get(type(message))
        if rule is None:
            reason = f"{message.TYPE} does not fit here: the link is {self.state.name.lower()}"
            return self._fault(events, "wrong_state", reason, envelope)
        return rule(self, envelope, message, events)

    def _fault(self, events: list[Event], code: str, reason: str, envelope: Envelope | None = None) -> None:
        error = Error(code, reason[:4000], closing=True)
        if envelope is None:
            self.close(error)
        else:
            self.close(error, envelope.exchange, envelope.id)
        events.append(Faulted(code, reason))

    def _claim(self, envelope: Envelope, message: Logon, events: list[Event]) -> None:
        self.state = State.PROVING
        nonce, self._nonce = self._nonce, b""
        events.append(Claimed(message, nonce))

    def _log_off(self, envelope: Envelope, message: Logoff, events: list[Event]) -> None:
        self.state = State.FRESH
        events.append(LoggedOff())

    def _answer_ping(self, envelope: Envelope, message: Ping, events: list[Event]) -> None:
        self.send(Pong(), envelope.exchange, envelope.id)

    def _nothing(self, envelope: Envelope, message: Pong, events: list[Event]) -> None:
        pass

    def _leave(self, envelope: Envelope, message: Bye, events: list[Event]) -> None:
        self.state = State.CLOSED
        events.append(Left(message.reason))

    def _complaint(self, envelope: Envelope, message: Error, events: list[Event]) -> None:
        if message.closing:
            self.state = State.CLOSED
            events.append(Left(f"{message.code}: {message.reason}"))
        else:
            events.append(Heard(envelope.id, envelope.exchange, message))

    def _part(self, envelope: Envelope, message: SectionPart, events: list[Event]) -> None:
        self._arrival -= self._step
        self._hear(envelope, message, events)

    def _hear(self, envelope: Envelope, message: Message, events: list[Event]) -> None:
        exchange = envelope.exchange
        if not exchange & 1 and not 0 < exchange <= self._begun:
            reason = f"{message.TYPE} in exchange {exchange}; yours are odd, mine even and begun by me"
            return self._fault(events, "wrong_exchange", reason, envelope)
        if exchange & 1 and type(message) in _ANSWERS:
            return self._fault(events, "wrong_exchange", f"{message.TYPE} answers in the server's exchange", envelope)
        events.append(Heard(envelope.id, exchange, message))
        return None


_ANSWERS = frozenset({ConfigurationReport, SectionPart})

_Rule = Callable[[LinkMachine, Envelope, Any, list[Event]], None]

_ALWAYS: dict[type[Message], _Rule] = {
    Ping: LinkMachine._answer_ping,
    Pong: LinkMachine._nothing,
    Error: LinkMachine._complaint,
    Bye: LinkMachine._leave,
}
_LINK_ONLY = frozenset({Logon, Logoff, *_ALWAYS})

TABLE: dict[State, dict[type[Message], _Rule]] = {
    State.FRESH: {},
    State.CHALLENGED: {**_ALWAYS, Logon: LinkMachine._claim},
    State.PROVING: {**_ALWAYS},
    State.LOGGED_ON: {
        **_ALWAYS,
        Logoff: LinkMachine._log_off,
        **{kind: LinkMachine._hear for kind in FROM_TERMINAL if kind not in _LINK_ONLY},
        SectionPart: LinkMachine._part,
    },
    State.CLOSED: {},
}
"""What is heard in which state, and by what."""
