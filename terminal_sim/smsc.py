"""A short message centre for tests and trials: SMPP 3.4 for one or more servers, a line protocol for simulated phones.

It listens on the loopback alone. Messages for a phone that is not attached wait for it, and what a phone sends waits
for a server that is bound to receive, and comes again until one has acknowledged it. It can lose, repeat and refuse on
demand, as networks do.
"""

from __future__ import annotations

import os
import struct
from collections import deque
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from smpplib import consts, smpp
from smpplib.exceptions import PDUError, UnknownCommandError
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from signalling.card import sms
from signalling.card import text as texts
from signalling.card.tlv import CardError
from signalling.clock import Clock

LARGEST_PDU = 4096
MOST_WAITING = 1000
AGAIN_SECONDS = 0.5
_RECEIVES = ("bind_receiver", "bind_transceiver")
_UDHI, _RECEIPT = 0x40, 0x04
Done = Callable[[bool], None]


class Centre:
    """``refuse``: status to answer the next submissions with; ``lose``, ``repeat``: what becomes of those to phones."""

    def __init__(self, reactor: Any, clock: Clock, password: str = "") -> None:
        self.refuse: deque[int] = deque()
        self.lose: Callable[[bytes], bool] = lambda tpdu: False
        self.repeat: Callable[[bytes], bool] = lambda tpdu: False
        self.submitted: list[tuple[str, bytes]] = []
        self.phones: dict[str, RadioSide] = {}
        self.servers: list[ServerSide] = []
        self._reactor, self._clock, self._password = reactor, clock, password
        self._waiting: dict[str, deque[tuple[bytes, Done]]] = {}
        self._held: deque[tuple[str, sms.Submit]] = deque()
        self._ports: list[Any] = []
        self._sequence = 0
        self._run, self._named = os.urandom(4).hex(), 0

    @property
    def sequence(self) -> int:
        """The last sequence number that was used."""
        return self._sequence

    def next_sequence(self) -> int:
        """A sequence number for a request of the centre."""
        self._sequence = self._sequence % 0x7FFFFFFF + 1
        return self._sequence

    def listen(self, port: int = 0, radio_port: int = 0) -> tuple[int, int]:
        """Open both ports on the loopback; their numbers."""
        for number, side in ((port, ServerSide), (radio_port, RadioSide)):
            factory: Any = Factory.forProtocol(lambda side=side: side(self))  # type: ignore[misc]  # bound by default
            self._ports.append(self._reactor.listenTCP(number, factory, interface="127.0.0.1"))
        return self._ports[0].getHost().port, self._ports[1].getHost().port

    def close(self) -> list[Any]:
        """Close the ports and all connections; what to wait for."""
        sides: list[ServerSide | RadioSide] = [*self.servers, *self.phones.values()]
        for side in sides:
            side.transport.abortConnection()
        return [port.stopListening() for port in self._ports]

    def name(self) -> str:
        """What the next message is called, as no other is."""
        self._named += 1
        return f"{self._run}{self._named:06x}"

    def now(self) -> datetime:
        """The time that messages are stamped with."""
        return self._clock.now()

    def knows(self, password: str) -> bool:
        """Whether a server may bind with this password."""
        return password == self._password

    def to_phone(self, number: str, deliver: sms.Deliver, done: Done = lambda arrived: None) -> None:
        """A submission of a server; ``done`` is told whether it reached the phone, when that is known."""
        tpdu = deliver.encode()
        self.submitted.append((number, tpdu))
        if self.lose(tpdu):
            done(False)
            return
        for _ in range(2 if self.repeat(tpdu) else 1):
            phone = self.phones.get(number)
            if phone is not None:
                phone.bring(tpdu)
                done(True)
            else:
                waiting = self._waiting.setdefault(number, deque(maxlen=MOST_WAITING))
                waiting.append((tpdu, done))

    def attached(self, number: str, phone: RadioSide) -> None:
        """A phone is on; what waited for it comes."""
        self.phones[number] = phone
        for tpdu, done in self._waiting.pop(number, ()):
            phone.bring(tpdu)
            done(True)

    def from_phone(self, number: str, submit: sms.Submit) -> None:
        """A message of a phone: to a server, or kept until one is bound."""
        server = next((each for each in self.servers if each.receives), None)
        if server is None:
            self._held.append((number, submit))
        else:
            server.bring(number, submit)

    def not_taken(self, messages: Iterable[tuple[str, sms.Submit]]) -> None:
        """Messages that a server did not acknowledge come again, before those that came since."""
        self._held.extendleft(reversed(list(messages)))
        self._reactor.callLater(AGAIN_SECONDS, self._try_again)

    def _try_again(self) -> None:
        for server in self.servers:
            self.bound(server)

    def bound(self, server: ServerSide) -> None:
        """A server can receive; what was kept goes to it."""
        while server.receives and self._held:
            server.bring(*self._held.popleft())


class ServerSide(Protocol):
    """SMPP with one server."""

    transport: Any

    def __init__(self, centre: Centre) -> None:
        self._centre = centre
        self._buffer = b""
        self._bound = ""
        self._unanswered: dict[int, tuple[str, sms.Submit]] = {}

    @property
    def receives(self) -> bool:
        """Whether messages of phones go here."""
        return self._bound in _RECEIVES

    def connectionMade(self) -> None:
        self._centre.servers.append(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self in self._centre.servers:
            self._centre.servers.remove(self)
        if self._unanswered:
            self._centre.not_taken(self._unanswered.values())

    def dataReceived(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= 4:
            length = int.from_bytes(self._buffer[:4], "big")
            if not 16 <= length <= LARGEST_PDU:
                self.transport.abortConnection()
                return
            if len(self._buffer) < length:
                return
            raw, self._buffer = self._buffer[:length], self._buffer[length:]
            self._received(raw)

    def _received(self, raw: bytes) -> None:
        try:
            pdu = smpp.parse_pdu(raw, client=self._centre, allow_unknown_opt_params=True)
        except (PDUError, UnknownCommandError, struct.error, ValueError, LookupError, TypeError, AttributeError):
            self.transport.abortConnection()
            return
        if pdu.command.startswith("bind_") and not pdu.command.endswith("_resp"):
            self._bind(pdu)
        elif pdu.command == "enquire_link":
            self._answer("enquire_link_resp", pdu)
        elif pdu.command == "unbind":
            self._answer("unbind_resp", pdu)
            self._bound = ""
        elif pdu.command == "submit_sm":
            self._submit(pdu)
        elif pdu.command == "deliver_sm_resp":
            message = self._unanswered.pop(pdu.sequence, None)
            if message is not None and pdu.status != consts.SMPP_ESME_ROK:
                self._centre.not_taken([message])

    def _bind(self, pdu: Any) -> None:
        if not self._centre.knows(_text(pdu.password)):
            self._answer(pdu.command + "_resp", pdu, status=consts.SMPP_ESME_RINVPASWD)
            return
        self._bound = pdu.command
        self._answer(pdu.command + "_resp", pdu, system_id="centre")
        self._centre.bound(self)

    def _submit(self, pdu: Any) -> None:
        status = consts.SMPP_ESME_ROK if self._bound else consts.SMPP_ESME_RINVBNDSTS
        if self._bound and self._centre.refuse:
            status = self._centre.refuse.popleft()
        deliver: sms.Deliver | None = None
        if status == consts.SMPP_ESME_ROK:
            try:
                deliver = self._deliver(pdu)
                deliver.encode()
            except CardError:
                status = consts.SMPP_ESME_RINVMSGLEN
        name = self._centre.name()
        self._answer("submit_sm_resp", pdu, status=status, message_id=name)
        if status == consts.SMPP_ESME_ROK and deliver is not None:
            number = _number(pdu.destination_addr, pdu.dest_addr_ton)
            wanted = bool(pdu.registered_delivery)
            self._centre.to_phone(number, deliver, lambda ok: self._receipt(number, name, ok) if wanted else None)

    def _deliver(self, pdu: Any) -> sms.Deliver:
        """What the phone gets. A text comes a byte a character, and goes on packed."""
        sender, dcs = _number(pdu.source_addr, pdu.source_addr_ton), pdu.data_coding or 0
        data, has_header = pdu.short_message or b"", bool(pdu.esm_class & _UDHI)
        if dcs == 0 and not has_header:
            content, dcs = sms.text_content(texts.from_septets(data))
        else:
            content = sms.decode_user_data(data, has_header=has_header)
        return sms.Deliver(sender, content, self._centre.now(), pdu.protocol_id or 0, dcs)

    def _receipt(self, number: str, name: str, arrived: bool) -> None:
        """Tell the server what became of its message (SMPP 3.4, appendix B)."""
        if not self.receives:
            return
        told = f"id:{name} sub:001 dlvrd:00{int(arrived)} submit date:2001010000 done date:2001010000 "
        told += f"stat:{'DELIVRD' if arrived else 'UNDELIV'} err:000 text:"
        self._to_server(number, "", told.encode(), esm_class=_RECEIPT, data_coding=0)

    def bring(self, number: str, submit: sms.Submit) -> None:
        """A message of a phone; a text goes on a byte a character."""
        data = submit.content.encode()
        if submit.dcs == 0 and not submit.content.elements:
            data = texts.to_septets(sms.content_text(submit))
        sequence = self._to_server(
            number, submit.to, data, esm_class=_UDHI if submit.content.elements else 0, protocol_id=submit.pid,
            data_coding=submit.dcs,
        )  # fmt: skip
        self._unanswered[sequence] = number, submit

    def _to_server(self, number: str, to: str, data: bytes, **fields: Any) -> int:
        pdu = smpp.make_pdu(
            "deliver_sm",
            client=self._centre,
            source_addr_ton=consts.SMPP_TON_INTL,
            source_addr_npi=consts.SMPP_NPI_ISDN,
            source_addr=number.removeprefix("+"),
            dest_addr_ton=consts.SMPP_TON_INTL,
            dest_addr_npi=consts.SMPP_NPI_ISDN,
            destination_addr=to.removeprefix("+"),
            short_message=data,
            **fields,
        )
        self.transport.write(pdu.generate())
        return int(pdu.sequence)

    def _answer(self, command: str, to: Any, *, status: int = 0, **fields: Any) -> None:
        pdu = smpp.make_pdu(command, client=self._centre, status=status, **fields)
        pdu.sequence = to.sequence
        self.transport.write(pdu.generate())


class RadioSide(LineOnlyReceiver):
    """One phone: lines ``ATTACH number``, ``MO hex`` from it, ``MT hex`` to it."""

    delimiter = b"\n"
    MAX_LENGTH = 1024
    transport: Any

    def __init__(self, centre: Centre) -> None:
        self._centre = centre
        self._number = ""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._centre.phones.get(self._number) is self:
            del self._centre.phones[self._number]

    def lineReceived(self, line: bytes) -> None:
        word, _, rest = line.decode("ascii", "replace").partition(" ")
        if word == "ATTACH":
            self._number = rest
            self._centre.attached(rest, self)
        elif word == "MO" and self._number:
            try:
                submit = sms.decode_submit(bytes.fromhex(rest))
            except ValueError:
                return
            self._centre.from_phone(self._number, submit)

    def bring(self, tpdu: bytes) -> None:
        """A message for the phone."""
        self.transport.write(b"MT " + tpdu.hex().encode() + b"\n")


def _text(value: Any) -> str:
    return value.decode("ascii", "replace").rstrip("\x00") if isinstance(value, bytes) else str(value or "")


def _number(address: Any, ton: Any) -> str:
    return ("+" if ton == consts.SMPP_TON_INTL else "") + _text(address)
