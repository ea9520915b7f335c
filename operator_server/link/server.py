"""The link server: admits links, proves terminals, has them interrogated, and brings their messages to the desks."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from typing import Any, cast

from twisted.internet.defer import Deferred, inlineCallbacks, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from operator_server.desk import Desks, Refused, Visitor
from operator_server.interrogation.interrogator import Interrogator
from operator_server.interrogation.offering import Offering
from operator_server.interrogation.runner import Runner
from operator_server.link.attendance import Attendance
from operator_server.link.machine import Claimed, Faulted, Heard, Left, LoggedOff, State
from operator_server.link.protocol import LinkFactory, LinkProtocol, on
from operator_server.link.registry import LEASE, Registry, give_back
from operator_server.link.tls import LinkTls, TlsFactory, binding_data
from operator_server.link.visitors import Proof, StoreVisitors, Stranger, Visitors, checked
from operator_server.link.wheel import Wheel
from operator_server.offering.menus import LogonContext
from operator_server.settings import Settings
from operator_server.store.feed import record
from operator_server.store.store import Store
from operator_server.timers import Timers
from signalling.clock import Clock
from signalling.ids import new_id
from signalling.messages import (
    Bye,
    ConfigurationReport,
    Error,
    Message,
    Noted,
    Ping,
    Refusal,
    Reject,
    SectionPart,
    Signed,
    Trigger,
    Welcome,
)
from signalling.proof import logon_statement

log = Logger()

CLOSING_SECONDS = 5
"""How long a link that is being closed may take to send its last word."""

LEASE_SECONDS = 1.0
WATCH_SECONDS = 1.0
REFUSALS_IN_FEED = 60.0
"""Seconds in which refused logons of one terminal make one event."""

AfterInterrogation = Callable[["LinkServer", Visitor, Trigger, bytes], None]


class LinkServer:
    """The terminals' side of the operator, in one process named ``node``.

    ``after_interrogation`` is called with the code when the offers of an interrogation have gone out; it may
    :meth:`send` more.
    Without ``tls`` links are plain, which is for trials on loopback. Without ``visitors`` who logs on is looked up on
    the store's reading thread, and the proof is checked on the reactor.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        clock: Clock,
        offering: Offering,
        desks: Desks,
        *,
        reactor: Any,
        node: str,
        tls: LinkTls | None,
        after_interrogation: AfterInterrogation | None = None,
        visitors: Visitors | None = None,
        key_changes: Sequence[Signed] = (),
    ) -> None:
        link = settings.link
        self._key_changes = list(key_changes)
        self.tls = tls
        self.rate, self.burst = link.messages_per_second, link.message_burst
        self.seconds: Callable[[], float] = reactor.seconds
        self.registry = Registry(node)
        self._settings = settings
        self._server_id = settings.operator.server_id
        self._bindings = frozenset[str](link.channel_bindings)
        self._store = store
        self._clock = clock
        self._desks = desks
        self._reactor = reactor
        self._after_interrogation = after_interrogation
        self._visitors = visitors or StoreVisitors(store, clock, reactor)
        self.interrogator = Interrogator(
            settings,
            store,
            clock,
            offering,
            self._visitors,
            reactor=reactor,
            node=node,
            lease_micros=LEASE,
            after=self._after,
        )
        self.runner = Runner(settings, store, clock, self.registry, self.interrogator)
        self._session_prefix, self._sessions = new_id(clock.micros()), 0
        self._links: set[LinkProtocol] = set()
        self._by_address: Counter[str] = Counter()
        self._wheel: Wheel[LinkProtocol] = Wheel()
        self._refused_at: dict[str, float] = {}
        self._port: Any = None
        self._timers = Timers(reactor, log, "the link's timer")
        self._attendance = Attendance(
            self.registry, store, clock, self._visitors, seconds=self.seconds, close=self._close, tell=self._event
        )

    # Starting and stopping.

    @inlineCallbacks
    def start(self) -> Generator[Deferred[Any], Any, None]:
        """Load what is known and start the timers; links may come from then on."""
        yield self.interrogator.load()
        yield self.runner.load()
        node = self.registry.node
        yield self._store.write(lambda connection: give_back(connection, node))
        self._timers.every(1.0, self._turn)
        self._timers.every(LEASE_SECONDS, self._attendance.renew)
        self._timers.every(WATCH_SECONDS, self._attendance.watch)
        self._timers.every(self._settings.interrogation.poll, self._poll)

    @inlineCallbacks
    def listen(self) -> Generator[Deferred[Any], Any, int]:
        """Start, then listen as the settings say; fires with the port number."""
        yield self.start()
        factory: Any = LinkFactory(self)
        if self.tls is not None:
            factory = TlsFactory(cast(Any, self.tls), False, factory)
        link = self._settings.link
        port = self._port = self._reactor.listenTCP(link.port, factory, backlog=1024, interface=link.host)
        number: int = port.getHost().port
        return number

    @inlineCallbacks
    def stop(self, reason: str = "the server stops") -> Generator[Deferred[Any], Any, None]:
        """Take leave of all terminals and give the leases back."""
        if self._port is not None:
            yield maybeDeferred(self._port.stopListening)
            self._port = None
        self._timers.stop()
        for link in list(self._links):
            self._close(link, Bye(reason))
            link.transport.loseConnection()
        node = self.registry.node
        yield self._store.write(lambda connection: give_back(connection, node))

    # What the app may do.

    def send(self, terminal: str, message: Message) -> bool:
        """Send a message of an exchange of its own; false when the terminal is not on line here."""
        link = self.registry.get(terminal)
        if link is None or link.machine.state is not State.LOGGED_ON:
            return False
        link.machine.send(message, link.machine.begin())
        link.flush()
        return True

    # Links come and go.

    def admits(self, address: str) -> bool:
        """Whether one more link, from this address, is within the limits."""
        limits = self._settings.link
        if len(self._links) >= limits.max_links:
            log.warn(
                "a connection from {address} is closed: {limit} links are open", address=address, limit=limits.max_links
            )
            return False
        return self._by_address[address] < limits.max_links_per_address

    def connected(self, link: LinkProtocol) -> None:
        """A new link."""
        self._links.add(link)
        self._by_address[link.address] += 1
        link.opened_at = link.heard_at = self.seconds()
        limits = self._settings.link
        self._wheel.put(link, min(limits.handshake_timeout, limits.idle_timeout / 2))
        link.machine.challenge(self._server_id, os.urandom(32), self._clock.micros())

    def disconnected(self, link: LinkProtocol) -> None:
        """A link is gone."""
        self._log_off(link)
        self._wheel.remove(link)
        self._links.discard(link)
        if self._by_address[link.address] <= 1:
            del self._by_address[link.address]
        else:
            self._by_address[link.address] -= 1

    def closing(self, link: LinkProtocol) -> None:
        """A link has said its last word."""
        self._log_off(link)
        self._wheel.put(link, CLOSING_SECONDS)

    def _log_off(self, link: LinkProtocol) -> None:
        self.interrogator.left(link)
        if link.terminal:
            self.registry.remove(link)
            link.terminal = ""

    def _close(self, link: LinkProtocol, last: Bye | Error) -> None:
        link.machine.close(last)
        link.flush()

    # Logon.

    def claimed(self, link: LinkProtocol, event: Claimed) -> None:
        """Look up who claims to be there, and check the proof."""
        logon = event.logon
        data = binding_data(logon.binding, self.tls, link.transport.getHandle(), self._bindings)
        if data is None:
            self._refuse(link, logon.terminal, f"binding {logon.binding} may not be used here", known=False)
            return
        statement = logon_statement(event.nonce, logon.terminal, self._server_id, logon.binding, data)
        proof = Proof(statement, logon.signature)
        self._visitors.read(logon.terminal, proof, lambda found: self._looked_up(found, link, logon.terminal, proof))

    def _looked_up(
        self, found: LogonContext | Stranger | Failure, link: LinkProtocol, terminal: str, proof: Proof
    ) -> None:
        machine = link.machine
        if isinstance(found, LogonContext) and not found.proven:
            found = checked(found, proof)
        if machine.state is not State.PROVING:
            return
        if isinstance(found, Failure):
            log.failure("a logon was not looked up", found)
            self._close(link, Error("internal", "no terminal can be logged on now; try again later", closing=True))
            return
        if isinstance(found, Stranger):
            self._refuse(link, terminal, found.cause, known=found.known)
            return
        now = self._clock.micros()
        link.visitor = found.visitor
        link.terminal = terminal
        self._sessions += 1
        link.session = f"{self._session_prefix}-{self._sessions:x}"
        link.heard_at = self.seconds()
        machine.accept(Welcome(link.session, now, self._settings.link.idle_timeout, self.rate, self._key_changes))
        before = self.registry.put(link)
        if before is not None and before is not link:
            self._supersede(before, link)
        self.interrogator.begin(link, "logon", found)
        link.flush()

    def _refuse(self, link: LinkProtocol, terminal: str, cause: str, *, known: bool) -> None:
        log.info(
            "logon of {terminal} from {address} refused: {cause}", terminal=terminal, address=link.address, cause=cause
        )
        link.machine.refuse()
        link.flush()
        now = self.seconds()
        if known and now - self._refused_at.get(terminal, -REFUSALS_IN_FEED) >= REFUSALS_IN_FEED:
            self._refused_at[terminal] = now
            self._event("logon_refused", terminal, cause=cause, address=link.address)

    def _supersede(self, before: LinkProtocol, after: LinkProtocol) -> None:
        self._event("link_superseded", after.terminal, session=before.session, by=after.session, address=after.address)
        self._close(before, Bye("superseded by another link of this terminal"))

    def _event(self, kind: str, terminal: str, **data: Any) -> None:
        at = self._clock.now()
        written = self._store.write(lambda connection: record(connection, at, kind, terminal=terminal, **data))
        written.addErrback(lambda failure: log.failure("an event was not written", failure))

    def logged_off(self, link: LinkProtocol, event: LoggedOff) -> None:
        """The terminal's session is over, the link stays."""
        self._log_off(link)
        link.machine.challenge(self._server_id, os.urandom(32), self._clock.micros())
        link.opened_at = link.heard_at

    # Messages.

    def heard(self, link: LinkProtocol, event: Heard) -> None:
        """A message of a proven terminal."""
        message = event.message
        kind = type(message)
        if kind is ConfigurationReport or kind is SectionPart:
            self.interrogator.heard(link, event)
        elif kind is Error:
            self._complaint(link, event)
        else:
            handler = self._desks.get(kind)
            if handler is None:
                link.machine.send(Error("not_served", f"{message.TYPE} is not served here"), event.exchange, event.id)
                return
            answer = maybeDeferred(handler, link.visitor, message)
            answer.addCallback(self._reply, link, event, link.session)
            answer.addErrback(self._failed, link, event, link.session)

    def _complaint(self, link: LinkProtocol, event: Heard) -> None:
        interview = link.interview
        if interview is not None and interview.exchange.number == event.exchange:
            self.interrogator.heard(link, event)
        else:
            error = event.message
            log.info("{terminal} says: {code}: {reason}", terminal=link.terminal, code=error.code, reason=error.reason)

    def _reply(self, replies: Sequence[Message], link: LinkProtocol, event: Heard, session: str) -> None:
        if link.session != session or link.machine.state is not State.LOGGED_ON:
            return
        for reply in replies:
            link.machine.send(reply, event.exchange, event.id)
            if type(reply) is Noted and type(event.message) is Reject:
                self.interrogator.rejected(link, reply.offer)
        link.flush()

    def _failed(self, failure: Failure, link: LinkProtocol, event: Heard, session: str) -> None:
        problem = failure.value
        if isinstance(problem, Refused):
            reply: Message = Refusal(problem.code, problem.reason[:4000])
        else:
            reference = new_id(self._clock.micros())
            kind = event.message.TYPE
            log.failure("{kind} of {terminal} failed, reference {reference}", failure, kind=kind,
                        terminal=link.terminal, reference=reference)  # fmt: skip
            reply = Error("internal", f"the server failed on this {kind}; its reference is {reference}")
        self._reply([reply], link, event, session)

    def left(self, link: LinkProtocol, event: Left) -> None:
        """The terminal took leave."""

    def faulted(self, link: LinkProtocol, event: Faulted) -> None:
        """The terminal broke a rule."""
        log.info("link from {address} ({terminal}) closed: {code}: {reason}", address=link.address,
                 terminal=link.terminal or "nobody", code=event.code, reason=event.reason)  # fmt: skip

    def _after(self, link: LinkProtocol, visitor: Visitor, trigger: Trigger, code: bytes) -> None:
        self.registry.leased(link)
        if self._after_interrogation is not None:
            self._after_interrogation(self, visitor, trigger, code)

    # Time.

    def _turn(self) -> None:
        now = self.seconds()
        for link in self._wheel.turn():
            wait = self._check(link, now)
            if wait is not None and link in self._links:
                self._wheel.put(link, wait)

    def _check(self, link: LinkProtocol, now: float) -> float | None:
        """Look at a link whose time has come; seconds until the next look."""
        limits, state = self._settings.link, link.machine.state
        if link.closing:
            link.transport.abortConnection()
            return None
        if state is not State.LOGGED_ON:
            left = link.opened_at + limits.handshake_timeout - now
            if left > 0:
                return left
            self._close(link, Error("timeout", "no logon in time", closing=True))
            return None
        silent = now - link.heard_at
        if silent >= limits.idle_timeout:
            self._close(link, Error("idle", f"no word in {limits.idle_timeout} seconds", closing=True))
            return None
        if silent >= limits.idle_timeout / 2:
            if not link.pinged:
                link.pinged = True
                link.machine.send(Ping())
                link.flush()
            return limits.idle_timeout - silent
        return limits.idle_timeout / 2 - silent

    def _poll(self) -> None:
        self.interrogator.sweep()
        self.runner.poll()


on(Claimed, LinkServer.claimed)
on(Heard, LinkServer.heard)
on(LoggedOff, LinkServer.logged_off)
on(Left, LinkServer.left)
on(Faulted, LinkServer.faulted)
