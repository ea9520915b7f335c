"""The home register on a port: nodes that serve phones attach, and what is for phones or comes from them goes through.

It is the gateway of short messages (SMS-GMSC), the USSD handler of the home register, the serving application behind
both, and the tone service that is called. What goes to a phone goes to the node that serves it now.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Generator
from typing import Any, cast

from sqlalchemy import Connection
from twisted.internet.defer import Deferred, inlineCallbacks, succeed
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure

from operator_server.cards import channel
from operator_server.cards.desk import CardDesk
from operator_server.context import Operator
from operator_server.link.tls import LinkTls
from operator_server.nodes import gateway
from operator_server.nodes.link import NodeLink
from operator_server.nodes.locations import location_of, set_busy, update_location
from operator_server.store.cards import card_row
from operator_server.store.store import Store
from operator_server.timers import Timers
from operator_server.tones import shop
from operator_server.tones.text_menu import TextMenu
from signalling.card import sms, ussd
from signalling.card.tlv import CardError
from signalling.tones import nodes as n

log = Logger()

TURN_SECONDS = 1.0
MOST_CALLS = 200
"""Calls at a time, of one node."""


class HomeRegister:
    """Serves nodes for one operator; ``listen`` and ``close`` it."""

    def __init__(self, operator: Operator, desk: CardDesk, store: Store, reactor: Any) -> None:
        self.nodes: dict[str, NodeLink] = {}
        self.reactor = reactor
        self.settings = operator.settings.nodes
        self._operator, self._desk, self.store, self._clock = operator, desk, store, operator.clock
        self._menu = TextMenu(desk, operator.vault, self.settings)
        self._links: set[NodeLink] = set()
        self._under_way: set[str] = set()
        self._texts = 0
        self._closed = False
        self._port: Any = None
        self._timers = Timers(reactor, log, "the home register")
        self._soon: Any = None

    # The port.

    def listen(self) -> int:
        """Open the port; its number."""
        factory: Any = Factory.forProtocol(lambda: NodeLink(self))
        if self.settings.tls:
            keys = self._operator.keys
            factory = TLSMemoryBIOFactory(cast(Any, LinkTls(keys.certificate, keys.private_key)), False, factory)
        self._port = self.reactor.listenTCP(self.settings.port, factory, interface=self.settings.host)
        self._timers.every(TURN_SECONDS, self._look)
        return int(self._port.getHost().port)

    def close(self) -> Deferred[Any]:
        """Let the nodes go."""
        self._closed = True
        self._timers.stop()
        if self._soon is not None and self._soon.active():
            self._soon.cancel()
        for link in list(self._links):
            link.transport.abortConnection()
        stopped: Deferred[Any] | None = self._port.stopListening() if self._port is not None else None
        return stopped if stopped is not None else succeed(None)

    def opened(self, link: NodeLink) -> None:
        """Somebody connected; nobody knows yet who."""
        self._links.add(link)

    def attach(self, link: NodeLink, message: n.Attach) -> None:
        """A node says who it is. One of the same name before it gives way."""
        if not hmac.compare_digest(message.secret.encode(), self.settings.secret.get_secret_value().encode()):
            log.warn("node {node} is not let in: its secret is not that of our nodes", node=message.node)
            link.send(n.Refused("the secret is not that of this operator's nodes: TOLLGATE_NODES__SECRET"))
            link.transport.loseConnection()
            return
        before = self.nodes.get(message.node)
        if before is not None:
            before.transport.abortConnection()
        link.name = message.node
        self.nodes[message.node] = link
        link.send(n.Attached(self._operator.settings.operator.server_id))
        log.info("node {node} is attached", node=message.node)

    def gone(self, link: NodeLink) -> None:
        """A connection ended."""
        self._links.discard(link)
        if self.nodes.get(link.name) is link:
            del self.nodes[link.name]
            log.info("node {node} is gone", node=link.name)

    # What nodes say.

    def located(self, link: NodeLink, message: n.Located) -> Deferred[Any]:
        """A phone registered there (location update); the node that served it before is told."""
        now = self._clock.now()

        def note(connection: Connection) -> str:
            before = update_location(connection, message.number, link.name, now)
            gateway.in_reach(connection, message.number, now)
            return before

        def noted(before: str) -> None:
            other = self.nodes.get(before)
            if other is not None and other is not link:
                other.send(n.Cancelled(message.number))
            self.soon()

        return self.store.write(note).addCallback(noted)

    def held(self, message: n.Held) -> Deferred[Any]:
        """A phone holds a connection, or none any more."""
        now = self._clock.now()
        noted: Deferred[Any] = self.store.write(lambda c: set_busy(c, message.number, message.busy, now))
        return noted.addErrback(lambda failure: failure.trap(LookupError))

    def from_phone(self, link: NodeLink, message: n.FromPhone) -> Deferred[Any]:
        """A short message of a phone: of its card, or a text of its user. The node is told when it is in the store."""

        def take(connection: Connection) -> str:
            submit = sms.decode_submit(message.tpdu)
            if submit.dcs == sms.DCS_CARD:
                self._take_packet(connection, message.number, submit.content, "sms")
                return ""
            return self._menu.by_message(connection, message.number, sms.content_text(submit), self._clock.now())

        def taken(answer: str) -> None:
            # A message of a phone is acknowledged when what follows from it is in the store.
            link.send(n.Taken(message.ref))
            if answer:
                self._send_text(message.number, answer)
            self.soon()

        def not_taken(failure: Failure) -> None:
            if failure.check(CardError):
                log.info("a message of {n} is ignored: {why}", n=message.number, why=failure.getErrorMessage())
            else:
                log.failure("a message of a phone was not taken", failure)
            link.send(n.Taken(message.ref, ok=failure.check(CardError) is not None))

        return self.store.write(take).addCallbacks(taken, not_taken)

    def _take_packet(self, connection: Connection, number: str, content: sms.UserData, way: str) -> None:
        now, card = self._clock.now(), card_row(connection, msisdn=number)
        if card is None:
            raise CardError("no card has this number")
        whole = channel.whole(connection, f"{gateway.ROUTE}/{number}", content, now)
        if whole is not None:
            self._desk.take(connection, card, whole, now, route=gateway.ROUTE, carrier=way)

    def _send_text(self, number: str, text: str) -> None:
        content, dcs = sms.text_content(text)
        sender = self._operator.settings.sms.number
        self._texts += 1
        deliver = sms.Deliver(sender, content, self._clock.now(), 0, dcs)
        sent = gateway.Due("", "", number, self._texts, b"", "", "sms")
        carry = n.Carry(0, number, "sms", deliver.encode())
        self._with_place(sent, lambda found: self._carry(found, [carry]))

    def ussd(self, link: NodeLink, message: n.Ussd) -> Deferred[Any]:
        """A step of a session that a phone began: a line of its user, or a packet of its card."""
        if message.op in ("end", "abort"):
            self._menu.forget(message.number, _session(message))
            return succeed(None)

        def take(connection: Connection) -> tuple[str, bool]:
            if ussd.is_for_card(message.dcs):
                self._take_packet(connection, message.number, ussd.card_content(message.data), "ussd")
                return "", True
            line = ussd.decode_ussd(message.dcs, message.data).strip()
            begins = message.op == "begin"
            if begins and line != self.settings.ussd_code:
                return "?", True
            return self._menu.answer(
                connection, message.number, line, self._clock.now(), session=_session(message), begin=begins
            )

        def answer(told: tuple[str, bool]) -> None:
            text, over = told
            dcs, data = ussd.encode_ussd(text)
            link.send(n.Ussd(message.number, message.session, "end" if over else "continue", dcs, data))
            self.soon()

        def failed(failure: Failure) -> None:
            log.info("a USSD string of {n} is ignored: {why}", n=message.number, why=failure.getErrorMessage())
            link.send(n.Ussd(message.number, message.session, "abort"))

        return self.store.write(take).addCallbacks(answer, failed)

    def call(self, link: NodeLink, message: n.Call) -> Deferred[Any]:
        """A phone calls: the tone that its code names is played to it, once, then the call is over."""
        number = self.settings.voice_number
        code = message.to.removeprefix(number)
        if not message.to.startswith(number) or len(link.calls) >= MOST_CALLS:
            cause = n.UNALLOCATED if not message.to.startswith(number) else n.TEMPORARY
            link.send(n.Hangup(message.call, cause))
            return succeed(None)

        def play(sound: bytes | None) -> None:
            if sound is None:
                link.send(n.Hangup(message.call, n.REJECTED))
                return
            if link.name and message.call not in link.calls:
                link.play(message.call, sound)

        return self.store.read(lambda c: shop.to_play(c, message.number, code)).addCallback(play)

    # What goes to phones.

    def soon(self) -> None:
        """Look at once what is due."""
        if not self._closed and (self._soon is None or not self._soon.active()):
            self._soon = self.reactor.callLater(0, self._send_due)

    def _look(self) -> Deferred[Any]:
        turned: Deferred[Any] = self.store.write(lambda c: self._desk.turn(c, self._clock.now()))
        turned.addErrback(lambda failure: log.failure("cards were not served", failure))
        return turned.addCallback(lambda _: self._send_due())

    def _send_due(self) -> Deferred[Any]:
        if self._closed:
            return succeed(None)
        found = self.store.read(lambda c: gateway.due(c, self._clock.now()))
        found.addCallback(self._send_each)
        return found.addErrback(lambda failure: log.failure("packets were not sent", failure))

    def _send_each(self, found: list[gateway.Due]) -> None:
        for each in found:
            # A card takes its packets in their order: one at a time.
            if each.number not in self._under_way:
                self._under_way.add(each.number)
                self._send(each).addErrback(lambda failure: log.failure("a packet was not sent", failure))

    @inlineCallbacks
    def _send(self, sent: gateway.Due) -> Generator[Deferred[Any], Any, None]:
        delivered = False
        try:
            reports = yield self._carry(sent, self._messages(sent))
            other = gateway.by_the_other_way(sent, reports)
            if other is not None:
                yield self.store.write(lambda c: gateway.note(c, sent, reports, self._clock.now()))
                sent, reports = other, (yield self._carry(other, self._messages(other)))
            if self._closed:
                return
            delivered = yield self.store.write(lambda c: gateway.settle(c, sent, reports, self._clock.now()))
        finally:
            self._under_way.discard(sent.number)
        if delivered:
            self.soon()

    def _messages(self, sent: gateway.Due) -> list[n.Carry]:
        return gateway.messages(sent, self._operator.settings.sms.number, self._clock.now())

    @inlineCallbacks
    def _carry(self, sent: gateway.Due, carries: list[n.Carry]) -> Generator[Deferred[Any], Any, list[n.Carried]]:
        """Bring messages to a phone, one after the other; what is reported of each, up to the first that fails."""
        reports: list[n.Carried] = []
        for carry in carries:
            link = self.nodes.get(sent.node)
            if link is None:
                why = f"node {sent.node} is not attached" if sent.node else "no node serves the number"
                reports.append(n.Carried(0, "absent", reason=why))
            else:
                reports.append((yield link.carry(carry)))
            if reports[-1].outcome != "delivered":
                break
        return reports

    def _with_place(self, sent: gateway.Due, then: Callable[[gateway.Due], Deferred[Any]]) -> None:
        def found(place: Any) -> Deferred[Any]:
            return then(sent._replace(node=place.node if place else ""))

        looked = self.store.read(lambda c: location_of(c, sent.number)).addCallback(found)
        looked.addErrback(lambda failure: log.failure("a text was not sent", failure))


def _session(message: n.Ussd) -> str:
    return f"ussd-{message.session}"
