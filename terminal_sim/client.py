"""What a menu or a scripted user holds of a link: each wish is a Deferred of its answer.

Time-outs run on the reactor's clock; everything that is written down carries the business clock's instants.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from typing import Protocol as Interface

from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.interfaces import IReactorTime
from twisted.internet.threads import deferToThreadPool

from signalling.clock import Clock
from signalling.envelope import EnvelopeError, decode
from signalling.framing import frame
from terminal_sim import delivery
from terminal_sim.dialogue import Binding, Dialogue
from terminal_sim.events import Answer, Closed, Event, MenuShown, Refused
from terminal_sim.menu import Line
from terminal_sim.negotiation import Quotation
from terminal_sim.repository_fetcher import Progress
from terminal_sim.state import Agreement, State

ANSWER_TIMEOUT = 60.0
DOWNLOAD_TRIES = 4


class LinkLost(ConnectionError):
    """The link ended, or an answer did not come, before what was asked for was answered."""


class NotReached(LinkLost):
    """No connection came about at all."""


class StepRefused(Exception):
    """The server's no, or an answer the terminal does not accept, that leaves an agreement at the step where it was."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(f"{refused.code}: {refused.reason}")
        self.refused = refused


class Faults(Interface):
    """A terminal that misbehaves on purpose; the types are those on the wire. Asked once for each message."""

    def cut_after(self, sent: str) -> bool:
        """Whether the link breaks right after this message left."""

    def forget(self, received: str) -> bool:
        """Whether the terminal loses this message as if it had never come."""

    def repeat(self, sent: str) -> bool:
        """Whether the terminal sends this message twice."""


class Client:
    """One link of a terminal. Make it by :func:`terminal_sim.link.connect`.

    ``on_event`` is told every event of the dialogue, also those that answer a Deferred.
    """

    def __init__(
        self,
        state: State,
        clock: Clock,
        reactor: IReactorTime,
        *,
        receiver: delivery.SoftwareReceiver,
        on_event: Callable[[Event], None] = lambda event: None,
        faults: Faults | None = None,
        languages: tuple[str, ...] = ("en",),
        withhold_reports: bool = False,
    ) -> None:
        self.state = state
        self.dialogue = Dialogue(state, languages, withhold_reports=withhold_reports)
        self.ready: Deferred[Client] = Deferred()
        self.closed: Deferred[str] = Deferred()
        self.receiver = receiver
        self._clock, self._reactor = clock, reactor
        self._on_event, self._faults = on_event, faults
        self._transport: Any = None
        self._waiting: dict[int, Deferred[Any]] = {}
        self._settled: list[Deferred[None]] = []
        self._following: dict[str, list[Deferred[Agreement]]] = {}
        self._over = ""

    # The user's wishes.

    def request(self, line: Line, mode: str) -> Deferred[Quotation | Refused]:
        """The request signal for one charging mode. Raises ``MenuError`` at once."""
        return self._answer(self.dialogue.request(line, mode))

    def counter(self, line: Line, quotation: Quotation, mode: str, limit: int | None) -> Deferred[Quotation | Refused]:
        """A counter-proposal. ``limit``: micros a period."""
        return self._answer(self.dialogue.counter(line, quotation, mode, limit))

    def confirm(self, line: Line, quotation: Quotation) -> Deferred[Agreement | Refused]:
        """Close the agreement."""
        return self._answer(self.dialogue.confirm(line, quotation, self._clock.micros()))

    def decline(self, line: Line, quotation: Quotation) -> Deferred[Any]:
        """Leave the negotiation."""
        return self._answer(self.dialogue.decline(line, quotation))

    def reject(self, line: Line, reason: str = "") -> Deferred[Any]:
        """The reject signal."""
        return self._answer(self.dialogue.reject(line, reason))

    def later(self, line: Line) -> Deferred[Any]:
        """Neither taken nor rejected."""
        return self._answer(self.dialogue.later(line))

    def status(self) -> Deferred[Any]:
        """A ``Status`` message, or :class:`Refused`."""
        return self._answer(self.dialogue.status())

    def report(self, *, everything: bool = False) -> Deferred[Any]:
        """Bring the counters' reports; fires with None when there are none."""
        re = self.dialogue.report(self._clock.micros(), everything=everything)
        if re is None:
            done: Deferred[Any] = Deferred()
            done.callback(None)
            return done
        return self._answer(re)

    def read(self, notices: list[str]) -> None:
        """The user saw these messages."""
        self.dialogue.read(notices, self._clock.micros())
        self._flush()

    def carry(self, card: str, data: bytes) -> None:
        """Take part of a SIM card's packet to the server; what it answers comes as events."""
        self.dialogue.carry(card, data)
        self._flush()

    def finish(self, agreement: Agreement, progress: Progress | None = None) -> Deferred[Agreement]:
        """Take an agreement through its remaining steps: confirm, order, fetch, install, receipt.

        Fires with the agreement when it is done or refused; fails with :class:`LinkLost`, :class:`StepRefused` or
        ``DeliveryPaused``, after which it goes on where it stopped when this is called again, on this link or another.
        """
        follower: Deferred[Agreement] = Deferred()
        followers = self._following.setdefault(agreement.id, [])
        followers.append(follower)
        if len(followers) == 1:

            def over(result: Any) -> None:
                for waiting in self._following.pop(agreement.id):
                    waiting.callback(result)

            self._finish(agreement, progress).addBoth(over)
        return follower

    def resume(self) -> list[Deferred[Agreement]]:
        """Go on with every agreement that an earlier link left unfinished."""
        return [self.finish(agreement) for agreement in self.state.open_agreements()]

    def settled(self) -> Deferred[None]:
        """Fires once nothing that was sent waits for its answer."""
        done: Deferred[None] = Deferred()
        self._settled.append(done)
        self._check_settled()
        return done

    def close(self, reason: str = "") -> Deferred[str]:
        """Say good-bye and end the link; fires when it is down."""
        if not self._over and self._transport is not None:
            self.dialogue.bye(reason)
            self._flush()
            self._transport.loseConnection()
        down: Deferred[str] = Deferred()

        def tell(why: str) -> str:
            down.callback(why)
            return why

        self.closed.addCallback(tell)
        return down

    def abort(self) -> None:
        """Break the link without a word."""
        if self._transport is not None:
            self._transport.abortConnection()

    # What the protocol tells.

    def connected(self, transport: Any, binding: Binding, data: bytes) -> None:
        """The connection stands; see :meth:`terminal_sim.dialogue.Dialogue.connected`."""
        self._transport = transport
        self.dialogue.connected(binding, data)

    def received(self, payload: bytes) -> None:
        """A frame's payload came."""
        if self._over or self._forgets(payload):
            return
        for event in self.dialogue.receive(payload, self._clock.micros()):
            self._happened(event)
        self._flush()
        self._check_settled()

    def _forgets(self, payload: bytes) -> bool:
        if self._faults is None:
            return False
        try:
            envelope = decode(payload)
        except EnvelopeError:
            return False
        if envelope.re is None or not self._faults.forget(envelope.type):
            return False
        self.dialogue.waiting.pop(envelope.re, None)
        waiting = self._waiting.pop(envelope.re, None)
        if waiting is not None:
            waiting.errback(LinkLost(f"{envelope.type} was forgotten on purpose"))
        self._check_settled()
        return True

    def _happened(self, event: Event) -> None:
        if isinstance(event, Answer):
            waiting = self._waiting.pop(event.re, None)
            if waiting is not None:
                waiting.callback(event.value)
        elif isinstance(event, MenuShown) and not self.ready.called:
            self.ready.callback(self)
        elif isinstance(event, Closed):
            self._flush()
            self.ended(event.reason)
            if self._transport is not None:
                self._transport.loseConnection()
        self._on_event(event)

    def ended(self, reason: str) -> None:
        """Nothing will come any more: whoever waits is told so."""
        if self._over:
            return
        self._over = reason or "the link ended"
        lost = LinkLost(self._over)
        waiting, self._waiting = self._waiting, {}
        for deferred in waiting.values():
            deferred.errback(lost)
        settled, self._settled = self._settled, []
        for done in settled:
            done.errback(lost)
        if not self.ready.called:
            self.ready.errback(lost)

    def not_reached(self, reason: str) -> None:
        """No connection came about."""
        self._over = f"cannot connect: {reason}"
        self.ready.errback(NotReached(self._over))
        self.lost(reason)

    def lost(self, reason: str) -> None:
        """The connection is down."""
        self.ended(reason)
        if not self.closed.called:
            self.closed.callback(self._over)

    # Sending and waiting.

    def _flush(self) -> None:
        payloads = self.dialogue.take()
        if self._transport is None or not payloads:
            return
        if self._faults is None:
            self._transport.write(b"".join(frame(payload) for payload in payloads))
            return
        for payload in payloads:
            self._transport.write(frame(payload))
            kind = decode(payload).type
            if self._faults.repeat(kind) and decode(payload).id in self.dialogue.waiting:
                self.dialogue.repeat(decode(payload).id)
            if self._faults.cut_after(kind):
                # The message itself still leaves; its answer finds nobody.
                self._transport.loseConnection()
                self.ended(f"the link was cut on purpose after {kind}")
                return
        for payload in self.dialogue.take():
            self._transport.write(frame(payload))

    def _answer(self, re: int) -> Deferred[Any]:
        def give_up(waiting: Deferred[Any]) -> None:
            self._waiting.pop(re, None)
            self.dialogue.waiting.pop(re, None)
            waiting.errback(LinkLost("no answer in time"))

        answer: Deferred[Any] = Deferred(give_up)
        if self._over:
            answer.errback(LinkLost(self._over))
            return answer
        self._waiting[re] = answer
        answer.addTimeout(ANSWER_TIMEOUT, self._reactor)
        self._flush()
        return answer

    def _check_settled(self) -> None:
        if self._settled and not self.dialogue.waiting:
            settled, self._settled = self._settled, []
            for done in settled:
                done.callback(None)

    @inlineCallbacks
    def _finish(self, agreement: Agreement, progress: Progress | None) -> Any:
        renewed = False
        while agreement.step not in ("done", "refused"):
            if agreement.step == "granted":
                now = self._clock.micros()
                if self.dialogue.server_time(now) < agreement.granted().expires:
                    yield self._receive(agreement, progress)
                elif not renewed:
                    renewed = True
                    delivery.order(self.state, agreement, now)
                else:
                    expired = delivery.DeliveryFailed("grant_expired", "the renewed grant has expired too")
                    self._failed(agreement, expired)
                continue
            re = self.dialogue.advance(agreement, self._clock.micros())
            if re is None:
                raise ValueError(f"agreement {agreement.id} is {agreement.step}: nothing to send")
            before = agreement.step
            answer = yield self._answer(re)
            if isinstance(answer, Refused) and agreement.step == before:
                raise StepRefused(answer)
        return agreement

    @inlineCallbacks
    def _receive(self, agreement: Agreement, progress: Progress | None) -> Any:
        for tries_left in reversed(range(DOWNLOAD_TRIES)):
            try:
                yield deferToThreadPool(
                    self._reactor, self._reactor.getThreadPool(), self.receiver.receive, agreement, progress
                )
            except delivery.DeliveryPaused:
                if not tries_left:
                    raise
                continue
            except delivery.DeliveryFailed as failure:
                self._failed(agreement, failure)
                return
            delivery.succeeded(self.state, agreement, self._clock.micros())
            return

    def _failed(self, agreement: Agreement, failure: delivery.DeliveryFailed) -> None:
        delivery.failed(self.state, agreement, failure, self._clock.micros())
        self.dialogue.menu.settle(agreement.confirmed.offer, "failed")
