"""A phone's radio at a serving node: short messages, USSD and calls, over one connection.

Lines both ways, a word and its arguments, bytes as hexadecimal (``-`` for none):

==========================  ============================================================================================
from the phone              ``ATTACH number``; ``PAGED``; ``MO tpdu``; ``DONE ref``, ``FAIL ref cause`` for what came;
                            ``USSD session op coding bytes``; ``CALL call number``; ``HANGUP call cause``
from the node               ``NODE name``; ``PAGE``; ``CHANNEL name`` (``-``: released); ``MT ref tpdu``;
                            ``MTU ref coding bytes``; ``USSD ...`` as above; ``ANSWERED call``;
                            ``VOICE call place frame``; ``RELEASED call cause``; ``CANCELLED``
==========================  ============================================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.protocol import Factory, connectionDone
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from signalling.card import sms, ussd
from signalling.card.tlv import CardError
from signalling.tones.nodes import NORMAL
from terminal_sim.card_files import CardFault
from terminal_sim.handset import Handset, Services
from terminal_sim.recorder import Recorder

CARD, USER = "card", "user"


def for_card(message: sms.Deliver) -> bool:
    """Whether a short message goes to the card and not to its user."""
    return message.pid == sms.PID_SIM_DOWNLOAD or message.dcs == sms.DCS_CARD


class AirPhone(Services):
    """What a phone does over the air. :attr:`handset` is set before it is connected.

    ``told``: called with each text for the user, ``trouble`` with what is wrong, ``changed`` when the screen did.
    ``takes``: whether the phone takes messages now.
    """

    def __init__(
        self,
        number: str,
        told: Callable[[str], None] = lambda text: None,
        trouble: Callable[[str], None] = lambda text: None,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self.handset: Handset
        self.number = number
        self.node = ""
        self.channel = ""
        self.takes = True
        self.radio: AirRadio | None = None
        self._told, self._trouble, self._changed = told, trouble, changed
        self._sessions = 0
        self._session: tuple[int, str] | None = None
        self._recorder = Recorder()
        self._calls = 0
        self._call = 0

    # What card and user want.

    def send(self, tpdu: bytes) -> bool:
        """A short message; false without a network."""
        return self._say(f"MO {tpdu.hex()}")

    def text(self, to: str, text: str) -> bool:
        """A short message that the user writes. Raises :class:`CardError` where it is too long for one."""
        content, dcs = sms.text_content(text)
        return self.send(sms.Submit(to, content, 0, 0, dcs).encode())

    def ussd(self, dcs: int, data: bytes) -> bool:
        """A session of the card."""
        return self._begin(CARD, dcs, data)

    def dial(self, text: str) -> bool:
        """The user dials a code, or answers in the session that he began. Raises :class:`CardError`."""
        dcs, data = ussd.encode_ussd(text)
        if self._session is not None and self._session[1] == USER:
            return self._say(f"USSD {self._session[0]} continue {dcs:02x} {_hex(data)}")
        return self._begin(USER, dcs, data)

    def _begin(self, whose: str, dcs: int, data: bytes) -> bool:
        if self._session is not None:
            return False
        self._sessions += 1
        self._session = self._sessions, whose
        if self._say(f"USSD {self._sessions} begin {dcs:02x} {_hex(data)}"):
            return True
        self._session = None
        return False

    def leave(self) -> None:
        """The user ends his session."""
        if self._session is not None and self._session[1] == USER:
            self._say(f"USSD {self._session[0]} abort 0f -")
            self._session = None

    def call(self, number: str) -> bool:
        """A call of the card; what is heard in it is recorded."""
        if self._call:
            return False
        self._calls += 1
        self._recorder = Recorder()
        self._call = self._calls if self._say(f"CALL {self._calls} {number}") else 0
        return bool(self._call)

    def hang_up(self) -> None:
        """The user ends the call before its time."""
        if self._call:
            self._say(f"HANGUP {self._call} {NORMAL}")
            self._released(None)

    def _say(self, line: str) -> bool:
        if self.radio is None:
            return False
        self.radio.transport.write(line.encode() + b"\n")
        return True

    # What the network does.

    def connected(self, radio: AirRadio) -> None:
        """The radio is on."""
        self.radio = radio
        self._say(f"ATTACH {self.number}")

    def lost(self, radio: AirRadio, why: str) -> None:
        """The radio is gone, and what went over it."""
        if self.radio is not radio:
            return
        self.radio, self.node, self.channel = None, "", ""
        if self._session is not None:
            self._session_over(None)
        if self._call:
            self._released(None)
        self._trouble(f"no network: {why}")

    def heard(self, line: str) -> None:
        """A line of the node. Raises ``ValueError`` for nonsense."""
        word, *rest = line.split(" ")
        match word, rest:
            case "NODE", [name]:
                self.node = name
            case "PAGE", []:
                self._say("PAGED")
            case "CHANNEL", [name]:
                self.channel = name.strip("-")
            case "MT", [ref, data]:
                self._delivered(ref, lambda: self._message(sms.decode_deliver(bytes.fromhex(data)), data))
            case "MTU", [ref, dcs, data]:
                self._delivered(ref, lambda: self._string(int(dcs, 16), _bytes(data)))
            case "USSD", [session, op, dcs, data]:
                if self._session is not None and self._session[0] == int(session):
                    self._answered(op, int(dcs, 16), _bytes(data))
            case "ANSWERED", [call] if int(call) == self._call:
                self.handset.call_connected()
            case "VOICE", [call, place, data] if int(call) == self._call:
                self._recorder.heard(int(place), bytes.fromhex(data))
            case "RELEASED", [call, cause] if int(call) == self._call:
                self._released(int(cause))
            case "CANCELLED", []:
                self._trouble("another node serves this number now")
        self._changed()

    def _delivered(self, ref: str, bring: Callable[[], bool]) -> None:
        if not self.takes:
            self._say(f"FAIL {ref} busy")
            return
        try:
            taken = bring()
        except (CardError, CardFault) as fault:
            self._say(f"FAIL {ref} {'-'.join(str(fault).split())[:80]}")
            return
        self._say(f"DONE {ref}" if taken else f"FAIL {ref} unable")

    def _message(self, message: sms.Deliver, data: str) -> bool:
        if for_card(message):
            return self.handset.deliver(bytes.fromhex(data))
        self._told(sms.content_text(message))
        return True

    def _string(self, dcs: int, data: bytes) -> bool:
        if ussd.is_for_card(dcs):
            return self.handset.deliver_ussd(dcs, data)
        self._told(ussd.decode_ussd(dcs, data))
        return True

    def _answered(self, op: str, dcs: int, data: bytes) -> None:
        try:
            text = ussd.decode_ussd(dcs, data)
        except CardError:
            text = ""
        if op == "continue":
            self._told(text)
        else:
            self._session_over(text if op == "end" else None)

    def _session_over(self, text: str | None) -> None:
        assert self._session is not None
        whose, self._session = self._session[1], None
        if whose == CARD:
            self.handset.ussd_answered(text)
        else:
            self._told(text if text is not None else "The session broke off.")

    def _released(self, cause: int | None) -> None:
        self._call = 0
        self.handset.call_ended(cause, self._recorder.recording() if cause == NORMAL else b"")


class AirRadio(LineOnlyReceiver):
    """The phone's side of the connection to a node."""

    delimiter = b"\n"
    MAX_LENGTH = 2048
    transport: Any

    def __init__(self, phone: AirPhone) -> None:
        self._phone = phone

    def connectionMade(self) -> None:
        self._phone.connected(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._phone.lost(self, reason.getErrorMessage())

    def lineReceived(self, line: bytes) -> None:
        try:
            self._phone.heard(line.decode("ascii", "replace"))
        except ValueError:
            self._phone.lost(self, "the node sends what is no message")
            self.transport.abortConnection()


def attach_at(reactor: Any, address: str, phone: AirPhone) -> Deferred[Any]:
    """Switch the radio to the node at ``host:port``; it leaves the one where it was."""
    before, phone.radio = phone.radio, None
    if before is not None:
        before.transport.loseConnection()
    host, _, port = address.rpartition(":")
    endpoint: Any = HostnameEndpoint(reactor, host, int(port))
    connected: Deferred[Any] = endpoint.connect(Factory.forProtocol(lambda: AirRadio(phone)))
    return connected


def _hex(data: bytes) -> str:
    return data.hex() or "-"


def _bytes(text: str) -> bytes:
    return b"" if text == "-" else bytes.fromhex(text)
