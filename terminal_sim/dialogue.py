"""The terminal's side of the link as a machine: payloads and the user's wishes in, payloads and events out.

It knows no socket and no clock; ``now`` comes in with each call, in microseconds. The order of things::

    hello --challenge/logon--> proving --welcome--> open
    open: the server inquires, asks for sections, sends offers, asks for counters, sends notices, at any time;
          the user's wishes begin exchanges with odd numbers, each answered by the server with ``re``.

Whatever binds is in the state's journal before the message that speaks of it goes out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from signalling import messages as m
from signalling.envelope import BodyError, EnvelopeError, UnknownType, decode, encode
from signalling.ids import new_id
from signalling.proof import ProofError, logon_statement
from terminal_sim import counters, delivery
from terminal_sim import journal as lines
from terminal_sim.answers import ANSWERS, Answers, Sent
from terminal_sim.events import (
    Answer,
    CardDataArrived,
    Closed,
    Complaint,
    Event,
    Interrogated,
    LoggedOn,
    MenuShown,
    NoticeArrived,
    Refused,
    SectionsSent,
)
from terminal_sim.interrogation import Response
from terminal_sim.menu import Line, Menu, MenuError, MenuPages
from terminal_sim.negotiation import BadQuote, Quotation, confirmation, counter_proposal
from terminal_sim.state import Agreement, State

PROTOCOL = 1
Binding = Literal["tls-exporter", "tls-server-end-point", "none"]
Phase = Literal["hello", "proving", "open", "closed"]

ANYTIME: tuple[type[m.Message], ...] = (m.Error, m.Ping, m.Pong, m.Bye)
EXPECTED: dict[Phase, tuple[type[m.Message], ...]] = {
    "hello": (m.Challenge, *ANYTIME),
    "proving": (m.Welcome, *ANYTIME),
    "open": tuple(kind for kind in m.FROM_SERVER if kind not in (m.Challenge, m.Welcome)),
    "closed": (),
}


class _Received(NamedTuple):
    """Where a message of the server belongs, and when it came."""

    exchange: int
    id: int
    re: int | None
    now: int


class Dialogue:
    """One link, from connect to close."""

    def __init__(
        self,
        state: State,
        languages: tuple[str, ...] = ("en",),
        software: str = "terminal_sim",
        *,
        withhold_reports: bool = False,
    ) -> None:
        """``withhold_reports``: answer counter inquiries with no report, as a terminal does that reports late."""
        self.state = state
        self._withhold = withhold_reports
        self.phase: Phase = "hello"
        self.menu = Menu("")
        self.waiting: dict[int, Sent] = {}
        self._languages, self._software = languages, software
        self._binding: tuple[Binding, bytes] = ("none", b"")
        self._out: list[bytes] = []
        self._events: list[Event] = []
        self._last_id = 0
        self._next_exchange = 1
        self._pages = MenuPages()
        self._responses: dict[int, Response] = {}
        self._notices: dict[str, tuple[int, int]] = {}
        self._offset = 0
        self._answers = Answers(state, self.server_time)

    # What the shell calls.

    def connected(self, binding: Binding, data: bytes) -> None:
        """The transport stands; ``data`` names the channel (see ``signalling.proof.logon_statement``)."""
        self._binding = (binding, data)

    def receive(self, payload: bytes, now: int) -> list[Event]:
        """One payload from the server; what follows from it for the user. Never raises for what a server sends."""
        if self.phase == "closed":
            return []
        try:
            envelope = decode(payload)
        except EnvelopeError as error:
            self._fail("bad_envelope", str(error))
            return self._take_events()
        try:
            message = m.decode_from_server(envelope)
        except UnknownType as error:
            self._send(m.Error(code="unknown_type", reason=str(error)), envelope.exchange, envelope.id)
            return self._take_events()
        except BodyError as error:
            self._fail("bad_body", str(error)[:1000], envelope.id)
            return self._take_events()
        if not isinstance(message, EXPECTED[self.phase]):
            self._fail("wrong_state", f"{message.TYPE} does not belong here ({self.phase})", envelope.id)
            return self._take_events()
        handler = _HANDLERS.get(type(message))
        if handler is not None:
            handler(self, message, _Received(envelope.exchange, envelope.id, envelope.re, now))
        else:
            self._answered(message, envelope.re, now)
        return self._take_events()

    def take(self) -> list[bytes]:
        """The payloads to send now, in order."""
        out, self._out = self._out, []
        return out

    def server_time(self, now: int) -> int:
        """The server's clock, as the welcome told it."""
        return now + self._offset

    # What the user wants. Each returns the id that the answer will carry.

    def request(self, line: Line, mode: str) -> int:
        """The request signal. Raises ``MenuError``."""
        message = self.menu.request(line, mode)
        line.mark = "requested"
        return self._ask(message, self._begin(), line)

    def counter(self, line: Line, quotation: Quotation, mode: str, spending_limit: int | None) -> int:
        """A counter-proposal to a quote. Raises ``MenuError``."""
        return self._ask(counter_proposal(quotation, mode, spending_limit), quotation.exchange, line)

    def decline(self, line: Line, quotation: Quotation) -> int:
        """Leave the negotiation."""
        return self._ask(m.Decline(quote=quotation.quote.quote), quotation.exchange, line)

    def confirm(self, line: Line, quotation: Quotation, now: int) -> int:
        """The user's yes: the agreement is in the journal before it is sent."""
        quote = quotation.quote
        agreement = new_id(now)
        self.state.record(
            lines.Confirmed(
                at=now,
                agreement=agreement,
                quote_id=quote.quote,
                offer=quote.offer,
                version=quote.offer_version,
                product=quote.product,
                release=quote.release,
                title=quotation.entry.title,
                subscriber=quote.subscriber,
                terms=quote.mode,
                amount=quote.amount,
                tax=quote.tax,
                currency=quote.currency,
                delivers=bool(quote.digest),
                quote=quotation.signed,
                confirmation=confirmation(quotation, self.state.identity, agreement, now),
                spending_limit=quote.spending_limit,
            )
        )
        return self._confirm(self.state.agreements[agreement], quotation.exchange, line)

    def reject(self, line: Line, reason: str = "") -> int:
        """The reject signal. Raises ``MenuError``."""
        return self._ask(self.menu.reject(line, reason), self._begin(), line)

    def later(self, line: Line) -> int:
        """Neither taken nor rejected."""
        return self._ask(self.menu.later(line), self._begin(), line)

    def advance(self, agreement: Agreement, now: int) -> int | None:
        """Send what the agreement's step calls for, also after a reconnect; None where nothing is to be sent."""
        if agreement.step == "confirmed":
            return self._confirm(agreement, self._begin(), None)
        if agreement.step == "agreed":
            delivery.order(self.state, agreement, now)
        if agreement.step == "ordered" and agreement.order is not None:
            return self._ask(m.DeliveryRequest(order=agreement.order), self._begin(), agreement)
        if agreement.step in ("installed", "failed") and agreement.receipt is not None:
            return self._ask(m.Receipt(receipt=agreement.receipt), self._begin(), agreement)
        return None

    def report(self, now: int, *, everything: bool = False) -> int | None:
        """Bring the counters' reports; None when there is nothing to report."""
        reports = counters.report(self.state, now, everything=everything)
        return self._ask(m.CounterReports(reports=reports), self._begin()) if reports else None

    def repeat(self, re: int) -> int:
        """Send once more, in the same exchange, what went out with id ``re`` and waits for its answer."""
        sent = self.waiting[re]
        return self._ask(sent.message, sent.exchange, sent.about)

    def status(self) -> int:
        """Ask for the state of software, authorizations, counters and charges."""
        return self._ask(m.StatusRequest(), self._begin())

    def read(self, notices: list[str], now: int) -> None:
        """The user saw these messages."""
        self.state.record(lines.NoticesRead(at=now, notices=notices))
        for notice in notices:
            exchange, re = self._notices.pop(notice, (None, None))
            self._send(m.NoticeRead(notices=[notice]), self._begin() if exchange is None else exchange, re)

    def carry(self, card: str, data: bytes) -> None:
        """Take part of a SIM card's packet to the server."""
        self._send(m.CardData(card, data), self._begin())

    def ping(self) -> int:
        """Are you there?"""
        return self._ask(m.Ping(), 0)

    def bye(self, reason: str = "") -> None:
        """End the link."""
        if self.phase != "closed":
            self._send(m.Bye(reason=reason), 0)
            self.phase = "closed"

    # The server's words.

    def _challenge(self, message: m.Challenge, got: _Received) -> None:
        trust, identity = self.state.trust, self.state.identity
        if message.protocol != PROTOCOL:
            self._fail("protocol", f"the server speaks protocol {message.protocol}, this terminal {PROTOCOL}", got.id)
            return
        if message.server != trust.server:
            self._fail("wrong_server", f"this is {message.server}, trusted is {trust.server}", got.id)
            return
        binding, data = self._binding
        proof = identity.key.sign(logon_statement(message.nonce, identity.terminal, message.server, binding, data))
        logon = m.Logon(
            terminal=identity.terminal,
            binding=binding,
            signature=proof,
            languages=list(self._languages),
            software=self._software,
        )
        self.phase = "proving"
        self._send(logon, 0, got.id)

    def _welcome(self, message: m.Welcome, got: _Received) -> None:
        self.phase = "open"
        self._offset = message.time - got.now
        trust = self.state.trust.after(message.key_changes, message.time)
        if trust is not self.state.trust:
            self.state.trusts(trust)
        self._events.append(LoggedOn(message.session, message.idle_timeout, message.rate))

    def _inquiry(self, message: m.Inquiry, got: _Received) -> None:
        response = Response(self.state.configuration())
        self._responses = {got.exchange: response}
        self._reply(got, response.report())
        self._events.append(Interrogated(message.trigger, response.code))

    def _section_request(self, message: m.SectionRequest, got: _Received) -> None:
        response = self._responses.get(got.exchange)
        if response is None:
            self._reply(got, m.Error(code="wrong_state", reason="no inquiry was answered in this exchange"))
            return
        for part in response.parts(message.sections):
            self._reply(got, part)
        self._events.append(SectionsSent(tuple(dict.fromkeys(message.sections))))

    def _offers(self, message: m.Offers, got: _Received) -> None:
        try:
            menu = self._pages.add(message)
        except MenuError as error:
            self._reply(got, m.Error(code="bad_page", reason=str(error)))
            return
        if menu is None:
            return
        self.menu = menu
        shown = [
            lines.ShownOffer(line.entry.offer, line.entry.version, line.entry.product, line.entry.release)
            for line in menu.lines
        ]
        self.state.record(lines.Shown(at=got.now, menu=menu.id, offers=shown))
        self._events.append(MenuShown(menu))

    def _counter_inquiry(self, message: m.CounterInquiry, got: _Received) -> None:
        counters.announce(self.state, message.cut_overs, got.now)
        reports = [] if self._withhold else counters.report(self.state, got.now)
        if reports:
            self._ask(m.CounterReports(reports=reports), got.exchange, None, got.id)
        else:
            self._reply(got, m.CounterReports(reports=[]))

    def _counter_noted(self, message: m.CounterNoted, got: _Received) -> None:
        try:
            counters.acknowledged(self.state, message, got.now, self.server_time(got.now))
        except (ProofError, BodyError) as error:
            self._reply(got, m.Error(code="bad_signature", reason=f"usage grant: {error}"))
        if got.re in self.waiting:
            self._answered(message, got.re, got.now)

    def _notice(self, message: m.Notice, got: _Received) -> None:
        self._notices[message.notice] = (got.exchange, got.id)
        known = self.state.notices.get(message.notice)
        if known is None:
            self.state.record(
                lines.Noticed(
                    at=got.now,
                    notice=message.notice,
                    about=message.kind,
                    text=message.text,
                    subject=message.subject,
                    state=message.state,
                )
            )
        if known is not None and known.read:
            self.read([message.notice], got.now)
        else:
            self._events.append(NoticeArrived(message))

    def _ping(self, message: m.Ping, got: _Received) -> None:
        self._reply(got, m.Pong())

    def _bye(self, message: m.Bye, got: _Received) -> None:
        self.phase = "closed"
        self._events.append(Closed(message.reason or "the server ended the link"))

    def _card_data(self, message: m.CardData, got: _Received) -> None:
        self._events.append(CardDataArrived(message.card, message.data))

    # Answers to what the user wanted.

    def _answered(self, message: m.Message, re: int | None, now: int) -> None:
        if isinstance(message, m.Error):
            self._complaint(message, re)
            return
        sent = self.waiting.get(re) if re is not None else None
        if re is None or sent is None or not isinstance(message, ANSWERS[type(sent.message)]):
            self._send(m.Error(code="unexpected", reason=f"{message.TYPE} answers nothing that was asked"), 0)
            return
        del self.waiting[re]
        try:
            value = self._answers.settle(sent, message, now)
        except (ProofError, BodyError, BadQuote, delivery.BadGrant) as error:
            self._send(m.Error(code="bad_answer", reason=str(error)[:1000]), sent.exchange)
            value = Refused("bad_answer", str(error))
        else:
            if isinstance(message, m.Agreed):
                self.menu.settle(value.confirmed.offer, "agreed")
        self._events.append(Answer(re, value))

    def _complaint(self, message: m.Error, re: int | None) -> None:
        self._events.append(Complaint(message.code, message.reason))
        if re is not None and self.waiting.pop(re, None) is not None:
            self._events.append(Answer(re, Refused(message.code, message.reason)))
        if message.closing:
            self.phase = "closed"
            self._events.append(Closed(f"{message.code}: {message.reason}"))

    # Sending.

    def _confirm(self, agreement: Agreement, exchange: int, line: Line | None) -> int:
        return self._ask(m.Confirm(confirmation=agreement.confirmed.confirmation), exchange, line)

    def _begin(self) -> int:
        exchange, self._next_exchange = self._next_exchange, self._next_exchange + 2
        return exchange

    def _ask(self, message: m.Message, exchange: int, about: Any = None, re: int | None = None) -> int:
        id = self._send(message, exchange, re)
        self.waiting[id] = Sent(message, exchange, about)
        return id

    def _send(self, message: m.Message, exchange: int, re: int | None = None) -> int:
        self._last_id += 1
        self._out.append(encode(message, id=self._last_id, exchange=exchange, re=re))
        return self._last_id

    def _reply(self, got: _Received, message: m.Message) -> None:
        self._send(message, got.exchange, got.id)

    def _fail(self, code: str, reason: str, re: int | None = None) -> None:
        self._send(m.Error(code=code, reason=reason, closing=True), 0, re)
        self.phase = "closed"
        self._events.append(Closed(f"{code}: {reason}"))

    def _take_events(self) -> list[Event]:
        events, self._events = self._events, []
        return events


_HANDLERS: dict[type[m.Message], Callable[[Dialogue, Any, _Received], None]] = {
    m.Challenge: Dialogue._challenge,
    m.Welcome: Dialogue._welcome,
    m.Inquiry: Dialogue._inquiry,
    m.SectionRequest: Dialogue._section_request,
    m.Offers: Dialogue._offers,
    m.CounterInquiry: Dialogue._counter_inquiry,
    m.CounterNoted: Dialogue._counter_noted,
    m.Notice: Dialogue._notice,
    m.CardData: Dialogue._card_data,
    m.Ping: Dialogue._ping,
    m.Bye: Dialogue._bye,
}
