"""A terminal whose user is a script: sessions, decisions, use, misbehaviour, and counts of what happened.

It is a real terminal (state, dialogue, link, downloads); only its user is a :class:`terminal_sim.user.ScriptedUser`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks, succeed

from signalling.clock import Clock
from signalling.messages import CounterNoted
from terminal_sim import counters
from terminal_sim.client import Client, LinkLost, NotReached, StepRefused
from terminal_sim.counters import UseRefused
from terminal_sim.delivery import DeliveryPaused, SoftwareReceiver
from terminal_sim.events import (
    Answer,
    CardDataArrived,
    Complaint,
    Event,
    Interrogated,
    MenuShown,
    NoticeArrived,
    Refused,
    SectionsSent,
)
from terminal_sim.link import connect
from terminal_sim.menu import Line
from terminal_sim.negotiation import Quotation
from terminal_sim.state import Agreement, State
from terminal_sim.user import BreakOnce, ScriptedFaults, ScriptedUser, SpoilOnce

TRIES = 6
"""Links a session may take when they break; the last one without faults."""


@dataclass
class Counts:
    """What happened at one terminal, or at all of them; ``by`` counts by name."""

    sessions: int = 0
    links: int = 0
    links_lost: int = 0
    offers_shown: int = 0
    rejected: int = 0
    postponed: int = 0
    declined: int = 0
    counter_proposals: int = 0
    agreements: int = 0
    installed: int = 0
    failed: int = 0
    resumed: int = 0
    bytes_received: int = 0
    uses: int = 0
    uses_refused: int = 0
    reports: int = 0
    reports_repeated: int = 0
    reports_known: int = 0
    answers_forgotten: int = 0
    links_cut: int = 0
    notices: int = 0
    complaints: int = 0
    interrogations: Counter[str] = field(default_factory=Counter)
    sections_sent: Counter[str] = field(default_factory=Counter)
    modes: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)

    def __iadd__(self, other: Counts) -> Counts:
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)
        return self


class SimulatedTerminal:
    """One terminal and its user. One session at a time; everything happens in the reactor's thread but downloads.

    ``user`` decides, ``faults`` misbehave (None: an honest terminal), ``state`` is its durable part, whose journal is
    the record of what happened here. ``on_card``: told what arrives for a SIM card that this terminal carries.
    """

    def __init__(
        self, state: State, user: ScriptedUser, clock: Clock, reactor: Any, *, faults: ScriptedFaults | None = None
    ) -> None:
        self.state = state
        self.user = user
        self.faults = faults
        self.counts = Counts()
        self.client: Client | None = None
        self.lived_until = max(state.latest, clock.micros())
        self._clock, self._reactor = clock, reactor
        self.on_card: Callable[[CardDataArrived], None] = lambda arrived: None
        self._receiver = SoftwareReceiver(state, clock)
        self._staying = False
        self._queue: Deferred[Any] = succeed(None)

    @property
    def terminal(self) -> str:
        """Its id."""
        return self.state.identity.terminal

    def live(self, until: int, days: float | None = None) -> int:
        """The user uses what is installed, from where it last ended to ``until`` (microseconds); uses that counted.

        With ``days`` as much as in so many days, however little time has passed.
        """
        start, end = self.lived_until, until
        if end <= start:
            return 0
        self.lived_until = end
        wanted = [
            (instant, item.installation, units)
            for item in self.state.active_items()
            if (terms := self.state.agreements[item.agreement].confirmed.terms).counter
            for instant, units in self.user.uses(start, end, terms, days)
        ]
        counted = 0
        for instant, installation, units in sorted(wanted):
            try:
                counters.use(self.state, installation, units, instant)
                counted += 1
            except UseRefused as refused:
                self.counts.uses_refused += 1
                self.counts.refusals[f"use:{refused.code}"] += 1
        self.counts.uses += counted
        return counted

    def session(self, *, honest: bool = False) -> Deferred[Counts]:
        """Connect, log on, be interrogated, decide on the menu, negotiate, receive, report, and leave.

        A link that breaks is made again, up to :data:`TRIES` times; what is still unfinished then waits for the next
        session. ``honest``: without faults this time. Fails with :class:`LinkLost` when
        that did not help, at once with :class:`NotReached` when nobody is there.
        """
        return self._session(honest, leave=True)

    def stay(self, *, honest: bool = False) -> Deferred[Counts]:
        """Like :meth:`session`, but stay connected afterwards: inquiries, counter inquiries and notices are answered,
        and the user decides on each new menu. :meth:`leave` ends it."""
        return self._session(honest, leave=False)

    @inlineCallbacks
    def quiet(self) -> Any:
        """Fires when a terminal that stays connected has decided on every menu so far and waits for no answer."""
        decided: Deferred[None] = Deferred()

        def tell(result: Any) -> Any:
            decided.callback(None)
            return result

        self._queue.addBoth(tell)
        yield decided
        if self.client is not None and not self.client.closed.called:
            try:
                yield self.client.settled()
            except LinkLost:
                self.counts.links_lost += 1

    @inlineCallbacks
    def leave(self) -> Any:
        """Say good-bye if connected."""
        self._staying = False
        client, self.client = self.client, None
        if client is not None:
            yield client.close()
            self._take_counts()

    @inlineCallbacks
    def _session(self, honest: bool, leave: bool) -> Any:
        yield self.leave()
        faults = None if honest else self.faults
        self.counts.sessions += 1
        if faults is not None:
            self._misbehave(faults)
        late = faults is not None and faults.chance.random() < faults.rates.report_late
        for tries_left in reversed(range(TRIES)):
            try:
                yield self._link(faults if tries_left else None, late)
            except (LinkLost, DeliveryPaused) as trouble:
                self.counts.links_lost += 1
                client, self.client = self.client, None
                if client is not None:
                    yield client.close()
                if not tries_left or isinstance(trouble, NotReached):
                    raise
                continue
            break
        self._take_counts()
        self._staying = not leave
        if leave:
            yield self.leave()
        return self.counts

    def _misbehave(self, faults: ScriptedFaults) -> None:
        if faults.chance.random() < faults.rates.break_download:
            self._receiver.fault = BreakOnce(faults.chance.randrange(1, 200_000))
        elif faults.rates.spoil_download and faults.chance.random() < faults.rates.spoil_download:
            self._receiver.fault = SpoilOnce()

    def _lose_counters(self, faults: ScriptedFaults) -> bool:
        """Lose values the server has acknowledged, so that it can be told afterwards what the invoice must say."""
        lost = False
        for counter in list(self.state.counters.values()):
            known = not counter.waiting and counter.value == counter.reported_value
            if known and faults.chance.random() < faults.rates.reset_counter:
                counters.reset(self.state, counter.installation, self._clock.micros())
                lost = True
        return lost

    @inlineCallbacks
    def _link(self, faults: ScriptedFaults | None, late: bool) -> Any:
        self.counts.links += 1
        client: Client = yield connect(
            self.state,
            self._clock,
            self._reactor,
            receiver=self._receiver,
            on_event=self._happened,
            faults=faults,
            languages=self.user.behaviour.languages,
            withhold_reports=late,
        )
        self.client = client
        unread = [message.noticed.notice for message in self.state.unread()]
        if unread:
            client.read(unread)
        for agreement in self.state.open_agreements():
            yield self._finish(client, agreement)
        yield self._decide(client)
        if not late:
            yield client.report()
            if faults is not None and self._lose_counters(faults):
                yield client.report()
        yield client.settled()

    @inlineCallbacks
    def _decide(self, client: Client) -> Any:
        """The user goes through the menu, and once more when a new one came meanwhile."""
        menu = None
        while menu is not client.dialogue.menu:
            menu = client.dialogue.menu
            for line in menu.lines:
                if menu is client.dialogue.menu and line.mark == "open" and not menu.missing(line):
                    yield self._decide_on(client, line)

    @inlineCallbacks
    def _decide_later(self, _: Any, client: Client) -> Any:
        """A new menu while the terminal stays connected; a link that ends in the middle is no matter."""
        try:
            yield self._decide(client)
        except (LinkLost, DeliveryPaused):
            self.counts.links_lost += 1

    @inlineCallbacks
    def _decide_on(self, client: Client, line: Line) -> Any:
        decision = self.user.decide(line.entry)
        if decision == "reject":
            answer = yield client.reject(line, "not wanted")
            self._count("rejected", answer)
        elif decision == "later":
            answer = yield client.later(line)
            self._count("postponed", answer)
        else:
            yield self._negotiate(client, line)

    @inlineCallbacks
    def _negotiate(self, client: Client, line: Line) -> Any:
        answer = yield client.request(line, self.user.mode(line.entry.modes).mode)
        if isinstance(answer, Quotation):
            proposal = self.user.counter(answer)
            if proposal is not None:
                self.counts.counter_proposals += 1
                first = answer
                answer = yield client.counter(line, first, *proposal)
        if not isinstance(answer, Quotation):
            self._count("", answer)
            return
        if self.user.declines():
            self._count("declined", (yield client.decline(line, answer)))
            return
        agreement = yield client.confirm(line, answer)
        if not isinstance(agreement, Agreement):
            self._count("", agreement)
            return
        yield self._finish(client, agreement)

    @inlineCallbacks
    def _finish(self, client: Client, agreement: Agreement) -> Any:
        try:
            yield client.finish(agreement)
        except StepRefused as no:
            self.counts.refusals[no.refused.code] += 1

    def _count(self, name: str, answer: Any) -> None:
        if isinstance(answer, Refused):
            self.counts.refusals[answer.code] += 1
        elif name:
            setattr(self.counts, name, getattr(self.counts, name) + 1)

    def _happened(self, event: Event) -> None:
        counts = self.counts
        if isinstance(event, CardDataArrived):
            self.on_card(event)
        elif isinstance(event, Interrogated):
            counts.interrogations[event.trigger] += 1
        elif isinstance(event, SectionsSent):
            counts.sections_sent.update(event.sections)
        elif isinstance(event, MenuShown):
            counts.offers_shown += len(event.menu.lines)
            if self.client is not None and self._staying:
                self._queue.addCallback(self._decide_later, self.client)
        elif isinstance(event, NoticeArrived):
            counts.notices += 1
            if self.client is not None:
                self.client.read([event.notice.notice])
        elif isinstance(event, Answer) and isinstance(event.value, CounterNoted):
            counts.reports_known += sum(outcome.status == "duplicate" for outcome in event.value.outcomes)
        elif isinstance(event, Complaint):
            counts.complaints += 1
            counts.refusals[f"error:{event.code}"] += 1

    def _take_counts(self) -> None:
        """Counts that follow from the state."""
        counts, agreements = self.counts, self.state.agreements.values()
        counts.modes = Counter(agreement.confirmed.terms.kind for agreement in agreements if agreement.digest)
        counts.agreements = counts.modes.total()
        counts.installed = sum(agreement.outcome == "installed" for agreement in agreements)
        counts.failed = sum(agreement.outcome == "failed" for agreement in agreements)
        counts.reports = sum(counter.sequence for counter in self.state.counters.values())
        counts.resumed, counts.bytes_received = self._receiver.count.resumed, self._receiver.count.received
        if self.faults is not None:
            counts.links_cut, counts.answers_forgotten = self.faults.cut, self.faults.forgotten
            counts.reports_repeated = self.faults.repeated
