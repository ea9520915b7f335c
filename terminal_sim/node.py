"""A node that serves phones, simulated: pages them, sets up connections, carries messages, USSD and calls unread.

It attaches to the home register over :mod:`signalling.tones.nodes`, and phones to it by the lines of
:mod:`terminal_sim.air`. A phone that holds a connection is not paged again and gets no second one: what is for it goes
over the one that stands. Short messages and USSD go over control channels (SDCCH, beside a call SACCH), calls over a
traffic channel (TCH).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, cast

from twisted.internet.protocol import Factory, connectionDone
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from signalling.tones import nodes as n
from terminal_sim.home_line import AGAIN_SECONDS, HomeLine

ANSWER_SECONDS = 10.0
HOLD_SECONDS = 1.5
"""How long a connection stands that was set up for a delivery, after the last."""

MOST_KEPT = 1000
SMS, CALLS = "SDCCH", "TCH"


class Node:
    """A node of this name, with a line to its ``home`` register. ``log`` is told what it does, a line each.

    Messages of phones that the home register has not acknowledged are kept, and go again when it is there.
    """

    def __init__(
        self, name: str, reactor: Any, secret: str = "", log: Callable[[str], None] = lambda line: None
    ) -> None:
        self.name, self.reactor, self.log = name, reactor, log
        self.phones: dict[str, Air] = {}
        self.home = HomeLine(reactor, n.Attach(name, secret), log, self._home_is_there, self._home_is_gone, self._heard)
        self._kept: dict[int, n.FromPhone] = {}
        self._refs = 0
        self._calls: dict[int, tuple[Air, int]] = {}
        self._port: Any = None

    # The port.

    def listen(self, port: int = 0) -> int:
        """Open the port for phones on the loopback; its number."""
        factory: Any = Factory.forProtocol(lambda: Air(self))
        self._port = self.reactor.listenTCP(port, factory, interface="127.0.0.1")
        return int(self._port.getHost().port)

    def close(self) -> list[Any]:
        """Close all lines; what to wait for."""
        for phone in list(self.phones.values()):
            phone.transport.abortConnection()
        self.home.close()
        return [self._port.stopListening()] if self._port is not None else []

    def say(self, message: n.NodeMessage) -> bool:
        """A message to the home register; false where there is no line to it."""
        return self.home.say(message)

    # The home register.

    def _home_is_there(self) -> None:
        for number in self.phones:
            self.say(n.Located(number))
        for message in list(self._kept.values()):
            self.say(message)

    def _home_is_gone(self) -> None:
        """Calls break with the line."""
        for call in list(self._calls):
            self._hang_up(call, n.TEMPORARY)
        for phone in self.phones.values():
            phone.end_session()

    def _heard(self, message: n.FromHome) -> None:
        match message:
            case n.Carry():
                self._carry(message)
            case n.Taken(ref=ref, ok=ok):
                if ok:
                    self._kept.pop(ref, None)
                elif ref in self._kept:
                    self.reactor.callLater(AGAIN_SECONDS, lambda: ref in self._kept and self.say(self._kept[ref]))
            case n.Cancelled(number=number):
                phone = self.phones.pop(number, None)
                if phone is not None:
                    self.log(f"{number} is served elsewhere now")
                    phone.cancelled()
            case n.Ussd(number=number):
                phone = self.phones.get(number)
                if phone is not None:
                    phone.ussd(message)
            case n.Answered(call=call):
                self._to_call(call, "ANSWERED")
            case n.Voice(call=call, place=place, frame=sound):
                self._to_call(call, "VOICE", f"{place} {sound.hex()}")
            case n.Hangup(call=call, cause=cause):
                self._hang_up(call, cause)
            case _:
                pass

    def _carry(self, message: n.Carry) -> None:
        phone = self.phones.get(message.number)
        if phone is None:
            self.say(n.Carried(message.ref, "absent", reason="the phone is not here"))
        else:
            phone.carry(message)

    # What phones want.

    def located(self, phone: Air) -> None:
        """A phone is here now."""
        before = self.phones.get(phone.number)
        if before is not None:
            before.transport.abortConnection()
        self.phones[phone.number] = phone
        self.log(f"{phone.number} is here")
        self.say(n.Located(phone.number))

    def left(self, phone: Air) -> None:
        """A phone is off, or elsewhere."""
        if self.phones.get(phone.number) is phone:
            del self.phones[phone.number]
        for call, (whose, _) in list(self._calls.items()):
            if whose is phone:
                del self._calls[call]
                self.say(n.Hangup(call, n.TEMPORARY))

    def from_phone(self, number: str, tpdu: bytes) -> None:
        """A short message: kept until the home register has it."""
        self._refs += 1
        message = n.FromPhone(self._refs, number, tpdu)
        if len(self._kept) < MOST_KEPT:
            self._kept[self._refs] = message
        self.say(message)

    def call(self, phone: Air, own: int, to: str) -> None:
        """A phone calls."""
        self._refs += 1
        self._calls[self._refs] = phone, own
        if not self.say(n.Call(phone.number, self._refs, to)):
            self._hang_up(self._refs, n.TEMPORARY)

    def hung_up(self, phone: Air, own: int, cause: int) -> None:
        """A phone ends its call."""
        for call, (whose, number) in list(self._calls.items()):
            if whose is phone and number == own:
                del self._calls[call]
                self.say(n.Hangup(call, cause))
                phone.released(own, cause, tell=False)

    def _to_call(self, call: int, word: str, rest: str = "") -> None:
        found = self._calls.get(call)
        if found is not None:
            phone, own = found
            phone.say(f"{word} {own} {rest}".rstrip())

    def _hang_up(self, call: int, cause: int) -> None:
        found = self._calls.pop(call, None)
        if found is not None:
            found[0].released(found[1], cause)


class Air(LineOnlyReceiver):
    """One phone's radio, the node's side. ``channel``: of the connection that stands, empty for none."""

    delimiter = b"\n"
    MAX_LENGTH = 2048
    transport: Any

    def __init__(self, node: Node) -> None:
        self.number = ""
        self.channel = ""
        self._node = node
        self._waiting: deque[n.Carry] = deque()
        self._now: n.Carry | None = None
        self._steps: list[str] = []
        self._late: Any = None
        self._release: Any = None
        self._session: int | None = None
        self._call: int | None = None

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._node.left(self)
        self._stop(self._late)
        self._stop(self._release)
        for each in [self._now, *self._waiting]:
            if each is not None:
                self._node.say(n.Carried(each.ref, "absent", self._steps, reason="the radio was lost"))
        self._now = None
        self._waiting.clear()
        if self._session is not None:
            self._node.say(n.Ussd(self.number, self._session, "abort"))

    @staticmethod
    def _stop(timer: Any) -> None:
        if timer is not None and timer.active():
            timer.cancel()

    def say(self, line: str) -> None:
        """A line to the phone."""
        self.transport.write(line.encode() + b"\n")

    def lineReceived(self, line: bytes) -> None:
        word, *rest = line.decode("ascii", "replace").strip().split(" ")
        try:
            if word == "ATTACH":
                self.number = n.Located(rest[0]).number
                self.say(f"NODE {self._node.name}")
                self._node.located(self)
            elif self.number:
                self._heard(word, rest)
        except (ValueError, IndexError):
            self._node.log(f"{self.number or 'a phone'} sends what is no message")
            self.transport.abortConnection()

    def _heard(self, word: str, rest: list[str]) -> None:
        match word:
            case "PAGED":
                self._paged()
            case "DONE":
                self._reported(int(rest[0]), "delivered", "")
            case "FAIL":
                why = rest[1]
                words = n.TAKES_NOTHING_SO if why == "unable" else why.replace("-", " ")
                self._reported(int(rest[0]), "busy" if why == "busy" else "failed", words)
            case "MO":
                self._connect(SMS)
                self._node.log(f"{self.number} deliver from the phone over {self._beside()}")
                self._node.from_phone(self.number, bytes.fromhex(rest[0]))
                self._release_soon()
            case "USSD":
                self._ussd_from_phone(int(rest[0]), rest[1], int(rest[2], 16), rest[3])
            case "CALL":
                self._call = int(rest[0])
                self._connect(CALLS)
                self._node.log(f"{self.number} calls {rest[1]} over {CALLS}")
                self._node.call(self, self._call, rest[1])
            case "HANGUP":
                self._node.hung_up(self, int(rest[0]), int(rest[1]))
            case _:
                raise ValueError(word)

    # Connections.

    def _connect(self, channel: str) -> None:
        """A connection that the phone asks for; a call takes the place of what stands."""
        self._stop(self._release)
        if self.channel and channel != CALLS:
            return
        if not self.channel:
            self._node.say(n.Held(self.number, busy=True))
        self.channel = channel
        self.say(f"CHANNEL {channel}")

    def _beside(self) -> n.Channel:
        """The control channel: of its own, or beside a call."""
        return "SACCH" if self.channel == CALLS else "SDCCH"

    def _release_soon(self) -> None:
        self._stop(self._release)
        if self._session is None and self._call is None:
            self._release = self._node.reactor.callLater(HOLD_SECONDS, self._released)

    def _released(self) -> None:
        self.channel = ""
        self.say("CHANNEL -")
        self._node.say(n.Held(self.number, busy=False))

    def cancelled(self) -> None:
        """Another node serves the phone."""
        self.say("CANCELLED")
        self.transport.loseConnection()

    # To the phone.

    def carry(self, message: n.Carry) -> None:
        """Bring this to the phone, after what came before."""
        self._waiting.append(message)
        if self._now is None:
            self._next()

    def _next(self) -> None:
        if not self._waiting:
            self._release_soon()
            return
        self._now, self._steps = self._waiting.popleft(), []
        self._stop(self._release)
        self._late = self._node.reactor.callLater(ANSWER_SECONDS, self._no_answer)
        if self.channel:
            # It is known to be there: no page, no second connection.
            self._bring()
        else:
            self._step("page")
            self.say("PAGE")

    def _paged(self) -> None:
        if self._now is not None and not self.channel:
            self._step("connect")
            self._connect(SMS)
            self._bring()

    def _bring(self) -> None:
        message = self._now
        assert message is not None
        self._step(f"{'ussd' if message.how == 'ussd' else 'deliver'}")
        data = message.data.hex()
        if message.how == "ussd":
            self.say(f"MTU {message.ref} {message.dcs:02x} {data}")
        else:
            self.say(f"MT {message.ref} {data}")

    def _step(self, what: str) -> None:
        self._steps.append(what)
        over = "" if what == "page" else f" over {self._beside()}"
        self._node.log(f"{self.number} {what}{over}")

    def _no_answer(self) -> None:
        assert self._now is not None
        outcome: n.Outcome = "failed" if self.channel else "absent"
        self._reported(self._now.ref, outcome, "the phone does not answer")

    def _reported(self, ref: int, outcome: n.Outcome, reason: str) -> None:
        message = self._now
        if message is None or message.ref != ref:
            return
        self._stop(self._late)
        channel: n.Channel = self._beside() if self.channel else ""
        self._node.say(n.Carried(ref, outcome, self._steps, channel, reason))
        self._now = None
        self._next()

    # USSD and calls.

    def _ussd_from_phone(self, session: int, op: str, dcs: int, data: str) -> None:
        if op == "begin":
            self._session = session
        self._connect(SMS)
        self._node.log(f"{self.number} ussd {op} over {self._beside()}")
        raw = b"" if data == "-" else bytes.fromhex(data)
        if not self._node.say(n.Ussd(self.number, session, cast(Any, op), dcs, raw)) or op == "abort":
            self.end_session(tell=op != "abort")

    def ussd(self, message: n.Ussd) -> None:
        """What the session is answered: as it is."""
        self.say(f"USSD {message.session} {message.op} {message.dcs:02x} {message.data.hex() or '-'}")
        if message.op in ("end", "abort") and message.session == self._session:
            self._session = None
            self._release_soon()

    def end_session(self, *, tell: bool = True) -> None:
        """The session cannot go on."""
        session, self._session = self._session, None
        if session is not None and tell:
            self.say(f"USSD {session} abort 0f -")
        self._release_soon()

    def released(self, call: int, cause: int, *, tell: bool = True) -> None:
        """The call is over; its channel with it."""
        self._node.log(f"{self.number} call over, cause {cause}")
        if tell:
            self.say(f"RELEASED {call} {cause}")
        self._call = None
        self.channel = SMS if self._session is not None else ""
        self.say(f"CHANNEL {self.channel or '-'}")
        if not self.channel:
            self._node.say(n.Held(self.number, busy=False))
