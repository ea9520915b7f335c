"""A small server for the terminal's tests, built on signalling alone: it signs, remembers, and can be told to err."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from signalling import messages as m
from signalling.configuration import SECTIONS, Configuration, configuration_code, decode_section, section_digest
from signalling.documents import (
    Confirmation,
    CounterReport,
    DeliveryGrant,
    DeliveryOrder,
    DeliveryReceipt,
    Quote,
    UsageGrant,
    agreement_digest,
    decode_document,
)
from signalling.envelope import decode, encode
from signalling.proof import check, logon_statement, public_bytes, sign, verify
from terminal_sim.dialogue import Dialogue
from terminal_sim.events import Answer, Event
from terminal_sim.journal import MemoryJournal
from terminal_sim.state import State
from terminal_sim.trust import Trust

SERVER = "tollgate.test"
DAY = 86_400_000_000


def one_off(amount: int = 2_000_000) -> m.ModeTerms:
    return m.ModeTerms("once", "one_off", "Pay once", "2.00 EUR", "EUR", amount, "S", 1900)


def per_use(amount: int = 100_000, included: int = 2) -> m.ModeTerms:
    return m.ModeTerms(
        "use", "per_use", "Pay by use", "0.10 EUR a route", "EUR", amount, "S", 1900,
        unit="route", included=included, included_per="month", counter="uses",
    )  # fmt: skip


def entry(offer: str = "navigator-offer", product: str = "navigator", **changes: Any) -> m.OfferEntry:
    values: dict[str, Any] = {
        "offer": offer,
        "version": f"{offer}@1",
        "product": product,
        "release": "1.0",
        "kind": "software",
        "title": product.title(),
        "text": "",
        "size": 0,
        "modes": [one_off(), per_use()],
    }
    return m.OfferEntry(**{**values, **changes})


@dataclass
class FakeServer:
    """State that outlives links. ``alter`` may change or drop (None) each outgoing message."""

    now: int = 1_760_000_000_000_000
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    offers: list[m.OfferEntry] = field(default_factory=list)
    known_sections: dict[bytes, dict[str, str]] = field(default_factory=dict)
    terminals: dict[str, bytes] = field(default_factory=dict)
    quotes: dict[str, m.Signed] = field(default_factory=dict)
    agreements: dict[str, tuple[Quote, bytes]] = field(default_factory=dict)
    grants: dict[str, m.Signed] = field(default_factory=dict)
    receipts: dict[str, DeliveryReceipt] = field(default_factory=dict)
    reports: dict[tuple[str, str, int], bytes] = field(default_factory=dict)
    rejected: list[str] = field(default_factory=list)
    read: list[str] = field(default_factory=list)
    ceiling: int = 5
    page_size: int = 2
    notices: list[m.Notice] = field(default_factory=list)
    ask_counters: bool = True
    cut_overs: list[int] = field(default_factory=list)
    alter: Callable[[m.Message], m.Message | None] = lambda message: message
    grant_extra: dict[str, Any] = field(default_factory=dict)

    @property
    def public_key(self) -> bytes:
        return public_bytes(self.key)

    def link(self, binding: bytes = b"") -> FakeLink:
        return FakeLink(self, binding)


class FakeLink:
    """One link: payloads in by :meth:`receive`, out by :meth:`take`."""

    def __init__(self, server: FakeServer, binding: bytes) -> None:
        self.server = server
        self.binding = binding
        self.nonce = os.urandom(32)
        self.log: list[m.Message] = []
        self.terminal = ""
        self.closed = False
        self.sections: dict[str, list[bytes]] = {}
        self.section_log: list[str] = []
        self._out: list[bytes] = []
        self._id = 0
        self._exchange = 0
        self.say(m.Challenge(protocol=1, server=SERVER, nonce=self.nonce, time=server.now), 0)

    def take(self) -> list[bytes]:
        out, self._out = self._out, []
        return out

    def say(self, message: m.Message, exchange: int, re: int | None = None) -> None:
        altered = self.server.alter(message)
        if altered is not None:
            self._id += 1
            self._out.append(encode(altered, id=self._id, exchange=exchange, re=re))

    def begin(self, message: m.Message) -> None:
        self._exchange += 2
        self.say(message, self._exchange)

    def receive(self, payload: bytes) -> None:
        envelope = decode(payload)
        message = m.decode_from_terminal(envelope)
        self.log.append(message)
        getattr(self, "on_" + message.TYPE)(message, envelope.exchange, envelope.id)

    def said(self, kind: type[m.Message]) -> list[Any]:
        return [message for message in self.log if type(message) is kind]

    def on_logon(self, message: m.Logon, exchange: int, id: int) -> None:
        key = self.server.terminals[message.terminal]
        words = logon_statement(self.nonce, message.terminal, SERVER, message.binding, self.binding)
        verify(key, words, message.signature, "logon")
        self.terminal = message.terminal
        self.say(m.Welcome(session="s1", time=self.server.now, idle_timeout=300, rate=50), 0, id)
        self.begin(m.Inquiry(trigger="logon"))

    def on_configuration(self, message: m.ConfigurationReport, exchange: int, id: int) -> None:
        assert configuration_code(message.sections) == message.code
        self.digests = message.sections
        self.missing = [name for name in SECTIONS if message.sections[name] not in self.server.known_sections]
        if self.missing:
            self.say(m.SectionRequest(sections=list(self.missing)), exchange, id)
        else:
            self.after_interrogation()

    def on_section_part(self, message: m.SectionPart, exchange: int, id: int) -> None:
        parts = self.sections.setdefault(message.section, [])
        parts.append(message.data)
        assert message.part == len(parts)
        if len(parts) == message.parts:
            data = b"".join(self.sections.pop(message.section))
            assert section_digest(message.section, data) == self.digests[message.section]
            self.server.known_sections[self.digests[message.section]] = decode_section(message.section, data)
            self.section_log.append(message.section)
            self.missing.remove(message.section)
            if not self.missing:
                self.after_interrogation()

    def after_interrogation(self) -> None:
        offers, size = self.server.offers, self.server.page_size
        pages = [offers[start : start + size] for start in range(0, len(offers), size)] or [[]]
        self._exchange += 2
        for number, page in enumerate(pages, 1):
            self.say(
                m.Offers(menu=f"menu-{self._exchange}", page=number, pages=len(pages), offers=page), self._exchange
            )
        if self.server.ask_counters:
            self.begin(m.CounterInquiry(cut_overs=list(self.server.cut_overs)))
        for notice in self.server.notices:
            self.begin(notice)

    def quote(self, offer: str, mode: str, limit: int | None = None) -> Quote:
        chosen = next(entry for entry in self.server.offers if entry.offer == offer)
        terms = next(terms for terms in chosen.modes if terms.mode == mode)
        amount = terms.amount if terms.kind == "one_off" else 0
        return Quote(
            quote=f"q{len(self.server.quotes)}",
            server=SERVER,
            subscriber="sub",
            terminal=self.terminal,
            offer=offer,
            offer_version=chosen.version,
            product=chosen.product,
            release=chosen.release,
            digest=bytes(32) if self.server.grant_extra else b"",
            length=0,
            mode=terms,
            amount=amount,
            tax=amount * 19 // 100,
            currency=terms.currency,
            tariff_version="t1",
            terms="",
            issued=self.server.now,
            expires=self.server.now + 900_000_000,
            spending_limit=limit,
        )

    def send_quote(self, quote: Quote, exchange: int, re: int, answer: Any = "quoted") -> None:
        signed = sign(self.server.key, Quote.PURPOSE, quote.encode())
        self.server.quotes[quote.quote] = signed
        self.say(m.QuoteMessage(quote=signed, answer=answer), exchange, re)

    def on_request(self, message: m.Request, exchange: int, id: int) -> None:
        self.send_quote(self.quote(message.offer, message.mode), exchange, id)

    def on_counter_proposal(self, message: m.CounterProposal, exchange: int, id: int) -> None:
        before = decode_document(Quote, self.server.quotes[message.quote].document)
        quote = self.quote(before.offer, message.mode, message.spending_limit)
        self.send_quote(quote, exchange, id, "accepted")

    def on_confirm(self, message: m.Confirm, exchange: int, id: int) -> None:
        key = self.server.terminals[self.terminal]
        document = decode_document(Confirmation, check(key, Confirmation.PURPOSE, message.confirmation))
        signed = self.server.quotes[document.quote]
        quote = decode_document(Quote, signed.document)
        digest = agreement_digest(signed, message.confirmation)
        self.server.agreements[document.agreement] = (quote, digest)
        self.say(m.Agreed(agreement=document.agreement, digest=digest), exchange, id)

    def on_decline(self, message: m.Decline, exchange: int, id: int) -> None:
        quote = decode_document(Quote, self.server.quotes[message.quote].document)
        self.say(m.Noted(offer=quote.offer), exchange, id)

    def on_reject(self, message: m.Reject, exchange: int, id: int) -> None:
        self.server.rejected.append(message.offer)
        self.say(m.Noted(offer=message.offer), exchange, id)

    def on_later(self, message: m.Later, exchange: int, id: int) -> None:
        self.say(m.Noted(offer=message.offer), exchange, id)

    def usage(self, installation: str, epoch: int = 0) -> m.Signed:
        now = self.server.now
        grant = UsageGrant(
            f"u{now}", installation, "uses", epoch, self.server.ceiling, now, now + 45 * DAY, now + 35 * DAY
        )
        return sign(self.server.key, UsageGrant.PURPOSE, grant.encode())

    def on_delivery_request(self, message: m.DeliveryRequest, exchange: int, id: int) -> None:
        key = self.server.terminals[self.terminal]
        order = decode_document(DeliveryOrder, check(key, DeliveryOrder.PURPOSE, message.order))
        quote, digest = self.server.agreements[order.agreement]
        assert order.agreement_digest == digest
        installation = f"i-{order.agreement}"
        if order.agreement not in self.server.grants:
            values: dict[str, Any] = {"target": "", "sha256": b"", "length": 0, "sealed": False, "content_key": b""}
            extra = {k: v(order) if callable(v) else v for k, v in self.server.grant_extra.items()}
            grant = DeliveryGrant(
                agreement=order.agreement,
                installation=installation,
                product=quote.product,
                release=quote.release,
                issued=self.server.now,
                expires=self.server.now + 7 * DAY,
                **{**values, **extra},
            )
            self.server.grants[order.agreement] = sign(self.server.key, DeliveryGrant.PURPOSE, grant.encode())
        usage = [self.usage(installation)] if quote.mode.counter else []
        self.say(m.DeliveryGrantMessage(grant=self.server.grants[order.agreement], usage=usage), exchange, id)

    def on_receipt(self, message: m.Receipt, exchange: int, id: int) -> None:
        key = self.server.terminals[self.terminal]
        receipt = decode_document(DeliveryReceipt, check(key, DeliveryReceipt.PURPOSE, message.receipt))
        self.server.receipts.setdefault(receipt.agreement, receipt)
        charge: Any = "charged" if receipt.outcome == "installed" else "reversed"
        self.say(m.ReceiptNoted(agreement=receipt.agreement, charge=charge), exchange, id)

    def on_counter_reports(self, message: m.CounterReports, exchange: int, id: int) -> None:
        key = self.server.terminals[self.terminal]
        outcomes, usage = [], []
        for signed in message.reports:
            report = decode_document(CounterReport, check(key, CounterReport.PURPOSE, signed))
            at = (report.installation, report.counter, report.sequence)
            known = self.server.reports.get(at)
            status: Any = "accepted" if known is None else "duplicate" if known == signed.document else "conflict"
            self.server.reports[at] = signed.document
            outcomes.append(
                m.CounterOutcome(report.installation, report.counter, report.epoch, report.sequence, status)
            )
            usage.append(self.usage(report.installation, report.epoch))
        self.say(m.CounterNoted(outcomes=outcomes, usage=usage), exchange, id)

    def on_notice_read(self, message: m.NoticeRead, exchange: int, id: int) -> None:
        self.server.read += message.notices

    def on_status_request(self, message: m.StatusRequest, exchange: int, id: int) -> None:
        self.say(m.Status(installations=[], charges=[m.ChargeStatus("EUR", 1, 0, 0, 9)]), exchange, id)

    def on_ping(self, message: m.Ping, exchange: int, id: int) -> None:
        self.say(m.Pong(), exchange, id)

    def on_pong(self, message: m.Pong, exchange: int, id: int) -> None:
        pass

    def on_error(self, message: m.Error, exchange: int, id: int) -> None:
        self.closed = self.closed or message.closing

    def on_bye(self, message: m.Bye, exchange: int, id: int) -> None:
        self.closed = True


CONFIGURATION = Configuration(
    hardware={"model": "aurora-3", "memory_mib": "512"},
    firmware={"os": "7.1"},
    base_software={"python3": "3.9.2"},
)


@dataclass
class Pair:
    """A terminal that talks to a fake server; :meth:`pump` carries payloads until both are silent."""

    server: FakeServer
    state: State
    events: list[Event] = field(default_factory=list)

    def connect(self) -> Pair:
        self.dialogue = Dialogue(self.state)
        self.link: FakeLink = self.server.link()
        self.dialogue.connected("none", b"")
        return self.pump()

    def pump(self) -> Pair:
        for _ in range(100):
            to_terminal, to_server = self.link.take(), self.dialogue.take()
            if not to_terminal and not to_server:
                return self
            for payload in to_server:
                self.link.receive(payload)
            for payload in to_terminal:
                self.events += self.dialogue.receive(payload, self.server.now)
        raise AssertionError("they never stop talking")

    def answer(self, re: int) -> Any:
        self.pump()
        return next(event.value for event in self.events if isinstance(event, Answer) and event.re == re)

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def restart(self) -> Pair:
        """The terminal dies and comes up again with what its journal holds."""
        journal = MemoryJournal(self.state.journal.load())
        self.state = State(self.state.identity, self.state.trust, journal, self.state.folder)
        self.events = []
        return self.connect()


def make_trust(server: FakeServer, **changes: Any) -> Trust:
    values: dict[str, Any] = {
        "server": SERVER,
        "server_public_key": server.public_key,
        "host": "localhost",
        "port": 1,
        "tls": False,
    }
    return Trust(**{**values, **changes})
