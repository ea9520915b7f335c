"""Interrogations in progress: brings exchanges, inventory, store and offers together for the links of one process.

The outcome is durable before the offers go out. A terminal that does not answer is asked again, then recorded as
silent; nothing waits for it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import Any, Protocol

from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.logger import Logger
from twisted.python.failure import Failure

from operator_server.desk import Visitor
from operator_server.interrogation.exchange import Exchange, ExchangeFault, Step, changed_sections
from operator_server.interrogation.exchange import check_section as check
from operator_server.interrogation.inventory import DAY, Inventory, NewCodes
from operator_server.interrogation.learning import Learning, maybe_in_thread
from operator_server.interrogation.offering import Offering
from operator_server.interrogation.pages import OffersPage, in_pages, without
from operator_server.interrogation.records import (
    NewSection,
    Outcome,
    load_inventory,
    load_sections,
    new_codes_since,
    record_batch,
    record_sections,
)
from operator_server.interrogation.schedule import next_interval
from operator_server.link.gathering import Gathering
from operator_server.link.machine import Heard, LinkMachine
from operator_server.link.visitors import Stranger, Visitors
from operator_server.offering.menus import LogonContext, Menu
from operator_server.settings import Settings
from operator_server.store.store import Store
from signalling.clock import Clock
from signalling.configuration import SECTIONS
from signalling.ids import new_id
from signalling.messages import ConfigurationReport, Error, SectionPart, Trigger

log = Logger()

RECORDING_PACE = 0.008
"""Seconds between commits of outcomes under load: a commit writes whole pages, which outcomes that share it share."""

FETCH_TIMES = 4
"""Sections may take this many answer time-outs altogether."""


class AskedLink(Protocol):
    """A link as interrogation sees it."""

    machine: LinkMachine
    visitor: Visitor
    terminal: str
    session: str
    interview: Interview | None
    due: int | None

    def flush(self) -> None:
        """Send what the machine has queued."""


class Interview:
    """An exchange with what the shell keeps for it. Deadlines in the reactor's seconds.

    ``rejected``: offers whose rejection was noted on the link meanwhile; the context may be older than that.
    """

    __slots__ = ("context", "deadline", "exchange", "last_deadline", "link", "order", "rejected")

    def __init__(self, link: AskedLink, exchange: Exchange, context: LogonContext | None, order: str | None) -> None:
        self.link = link
        self.exchange = exchange
        self.context = context
        self.order = order
        self.deadline = 0.0
        self.last_deadline = 0.0
        self.rejected: set[str] | None = None


Work = Generator[Deferred[Any], Any, None]
AfterInterrogation = Callable[[Any, Visitor, Trigger, bytes], None]


class Interrogator:
    """All interrogations of one link process."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        clock: Clock,
        offering: Offering,
        visitors: Visitors,
        *,
        reactor: Any,
        node: str,
        lease_micros: int,
        after: AfterInterrogation,
    ) -> None:
        self.inventory = Inventory()
        self._interval = settings.interrogation.interval
        self._spread = settings.interrogation.jitter
        self._retries = settings.interrogation.retries
        self._timeout = settings.link.answer_timeout
        self._store = store
        self._clock = clock
        self._offering = offering
        self._visitors = visitors
        self._reactor = reactor
        self._node = node
        self._lease = lease_micros
        self._after = after
        self._new_codes = NewCodes(settings.link.new_codes_per_day)
        self._recording = Gathering(
            lambda outcomes: store.write_grouped(record_batch, outcomes),
            reactor,
            pace=RECORDING_PACE,
        )
        self._open: dict[Interview, None] = {}
        self._learning = Learning(store, offering, reactor)

    def load(self) -> Deferred[None]:
        """Take in what the store knows."""
        return self._store.read(load_inventory).addCallback(lambda found: self.inventory.load(*found))

    def begin(
        self, link: AskedLink, trigger: Trigger, context: LogonContext | None = None, order: str | None = None
    ) -> bool:
        """Inquire, unless an interrogation of this link is under way. The caller flushes the link."""
        if link.interview is not None:
            return False
        exchange = Exchange(link.machine.begin(), trigger)
        interview = link.interview = Interview(link, exchange, context, order)
        interview.deadline = self._reactor.seconds() + self._timeout
        self._open[interview] = None
        link.machine.send(exchange.inquire(), exchange.number)
        return True

    def heard(self, link: AskedLink, heard: Heard) -> None:
        """A configuration, a section's part, or an error in answer to an inquiry."""
        interview, message = link.interview, heard.message
        if interview is None or interview.exchange.number != heard.exchange:
            reason = f"{message.TYPE}: this interrogation is over"
            if isinstance(message, SectionPart):
                link.machine.close(Error("late", reason, closing=True), heard.exchange, heard.id)
            else:
                link.machine.send(Error("late", reason), heard.exchange, heard.id)
            return
        exchange = interview.exchange
        try:
            if isinstance(message, ConfigurationReport):
                if exchange.configuration(message, self.inventory.codes.get(message.code)):
                    self._answered(interview, message)
            elif isinstance(message, SectionPart):
                if exchange.part(message):
                    self._check_sections(interview)
                else:
                    interview.deadline = min(self._reactor.seconds() + self._timeout, interview.last_deadline)
            else:
                self._settle(interview, "refused", f"the terminal answers {message.code}: {message.reason}"[:400])
        except ExchangeFault as fault:
            self._refuse(interview, fault.code, str(fault), closing=True, re=heard.id)

    def rejected(self, link: AskedLink, offer: str) -> None:
        """A rejection was noted on the link; a menu that was made before and is still to be sent must not hold it."""
        if link.interview is not None:
            link.interview.rejected = (link.interview.rejected or set()) | {offer}

    def left(self, link: AskedLink) -> None:
        """The link is gone."""
        interview = link.interview
        if interview is not None and interview in self._open:
            self._settle(interview, "no_answer", "the link ended")

    def sweep(self) -> None:
        """Ask again, or give up, where the time is over."""
        now = self._reactor.seconds()
        for interview in [i for i in self._open if i.deadline <= now]:
            if interview.deadline > now:
                continue  # The one before gave way to it just now.
            exchange, link = interview.exchange, interview.link
            if exchange.step is Step.ASKED and exchange.attempts <= self._retries:
                interview.deadline = now + self._timeout
                link.machine.send(exchange.inquire(), exchange.number)
                link.flush()
            elif exchange.step is Step.ASKED:
                self._settle(interview, "no_answer", f"{exchange.attempts} inquiries without an answer")
            elif exchange.step is Step.FETCHING:
                self._settle(interview, "no_answer", "the sections did not arrive in time")

    # A known code: the way of nearly all.

    def _answered(self, interview: Interview, report: ConfigurationReport) -> None:
        if report.code not in self.inventory.codes or not self._offering.knows(report.code):
            self._watched(interview, self._meet_unknown(interview))
        elif interview.context is None:
            self._read_context(interview)
        else:
            self._offer(interview)

    def _read_context(self, interview: Interview) -> None:
        terminal = interview.link.visitor.terminal
        self._visitors.read(terminal, None, lambda result: self._context_read(result, interview))

    def _context_read(self, context: LogonContext | Stranger | Failure, interview: Interview) -> None:
        link = interview.link
        if interview not in self._open:
            return
        if isinstance(context, Failure):
            self._not_recorded(context, interview)
            return
        if isinstance(context, Stranger):
            self._refuse(interview, "logon_refused", "this terminal is no longer logged on", closing=True)
            log.info("{terminal}: sent away: {cause}", terminal=link.visitor.terminal, cause=context.cause)
            return
        interview.context = context
        link.visitor = context.visitor
        self._offer(interview)

    def _offer(self, interview: Interview) -> None:
        context, report = interview.context, interview.exchange.report
        assert context is not None
        assert report is not None
        code = report.code
        menu = self._offering.menu(code, context.visitor, context)
        outcome = self._outcome(interview, "answered")
        outcome.code = code
        outcome.previous_code = previous = context.previous_code
        outcome.shown = menu.shown
        if code != previous or code not in self.inventory.codes:
            after = tuple(report.sections[name] for name in SECTIONS)
            if code != previous:
                before = None if previous is None else self.inventory.codes.get(previous)
                outcome.changed = changed_sections(before, after)
            if code not in self.inventory.codes:
                outcome.configuration = after
        del self._open[interview]
        self._recording.put(outcome, lambda result: self._recorded(result, interview, menu, outcome))

    def _outcome(self, interview: Interview, result: str) -> Outcome:
        link, now = interview.link, self._clock.micros()
        visitor = link.visitor
        link.due = next_interval(visitor.terminal, now, self._interval, self._spread)
        return Outcome(
            new_id(now),
            visitor.terminal,
            visitor.subscriber,
            interview.exchange.trigger,
            now,
            result,
            self._node,
            link.session,
            now + self._lease,
            link.due,
            sections_fetched=len(interview.exchange.fetched),
            order=interview.order,
        )

    def _recorded(self, result: Any, interview: Interview, menu: Menu, outcome: Outcome) -> None:
        if isinstance(result, Failure):
            self._not_recorded(result, interview)
            return
        link, exchange = interview.link, interview.exchange
        report = exchange.report
        assert report is not None
        if outcome.configuration is not None:
            self.inventory.learn(report.code, report.sections)
        exchange.settle()
        if link.interview is not interview:
            return
        link.interview = None
        send, number = link.machine.send, exchange.number
        pages = list(in_pages(without(menu.entries, interview.rejected) if interview.rejected else menu.entries))
        for page, entries in enumerate(pages, 1):
            send(OffersPage(outcome.id, page, len(pages), entries), number)
        self._after(link, link.visitor, exchange.trigger, report.code)
        link.flush()

    def _not_recorded(self, failure: Failure, interview: Interview) -> None:
        log.failure(
            "an interrogation of {terminal} was not recorded", failure, terminal=interview.link.visitor.terminal
        )
        self._forget(interview)
        interview.link.machine.close(Error("internal", "the answer could not be recorded; log on again", closing=True))
        interview.link.flush()

    # An unknown code.

    def _watched(self, interview: Interview, work: Deferred[None]) -> None:
        work.addErrback(lambda failure: self._not_recorded(failure, interview))

    @inlineCallbacks
    def _meet_unknown(self, interview: Interview) -> Work:
        report, terminal = interview.exchange.report, interview.link.visitor.terminal
        assert report is not None
        interview.context = None  # It is read again: by the time the sections are here it may be out of date.
        if report.code not in self.inventory.codes:
            now = self._clock.micros()
            if not self._new_codes.knows(terminal):
                instants = yield self._store.read(lambda connection: new_codes_since(connection, terminal, now - DAY))
                if not self._new_codes.knows(terminal):
                    self._new_codes.recall(terminal, instants)
            if interview not in self._open:
                return
            if not self._new_codes.bring(terminal, now):
                reason = "this terminal brought too many new configuration codes today"
                self._refuse(interview, "too_many_codes", reason, closing=False)
                return
            missing = [report.sections[name] for name in self.inventory.missing(report.sections)]
            if missing:
                # Another link process may have stored them.
                found = yield self._store.read(lambda connection: list(load_sections(connection, missing)))
                self.inventory.sections.update(found)
        self._fetch(interview)

    def _fetch(self, interview: Interview) -> None:
        exchange, report = interview.exchange, interview.exchange.report
        if interview not in self._open or report is None:
            self._wake(self.inventory.release(interview))
            return
        if not self.inventory.missing(report.sections):
            self._wake(self.inventory.release(interview))
            self._watched(interview, self._complete(interview))
            return
        names = self.inventory.claim(interview, report.sections)
        if not names:
            return
        now = self._reactor.seconds()
        interview.deadline = now + self._timeout
        interview.last_deadline = now + FETCH_TIMES * self._timeout
        interview.link.machine.send(exchange.request(names), exchange.number)
        interview.link.flush()

    def _wake(self, ready: Iterable[Any]) -> None:
        for interview in ready:
            self._fetch(interview)

    @inlineCallbacks
    def _check_sections(self, interview: Interview) -> Work:
        exchange, report = interview.exchange, interview.exchange.report
        assert report is not None
        try:
            for name in exchange.wanted:
                data = exchange.fetched[name]
                yield maybe_in_thread(self._reactor, len(data), check, name, report.sections[name], data)
            now, terminal = self._clock.micros(), interview.link.visitor.terminal
            sections: list[NewSection] = [
                (report.sections[name], name, exchange.fetched[name], terminal, now) for name in exchange.wanted
            ]
            yield self._store.write(lambda connection: record_sections(connection, sections))
        except ExchangeFault as fault:
            self._refuse(interview, fault.code, str(fault), closing=True)
            return
        except Exception:  # noqa: BLE001 - whatever the store met, this terminal's answer is lost and it is told so
            self._not_recorded(Failure(), interview)
            return
        self.inventory.sections.update(report.sections[name] for name in exchange.wanted)
        self._wake(self.inventory.release(interview))
        self._fetch(interview)

    @inlineCallbacks
    def _complete(self, interview: Interview) -> Work:
        report = interview.exchange.report
        assert report is not None
        if not self._offering.knows(report.code):
            yield self._learning.learn(report)
        if interview in self._open:
            self._read_context(interview)

    # The end without offers.

    def _refuse(self, interview: Interview, code: str, reason: str, *, closing: bool, re: int | None = None) -> None:
        machine, exchange = interview.link.machine, interview.exchange
        error = Error(code, reason[:4000], closing)
        if interview.link.interview is interview:
            if closing:
                machine.close(error, exchange.number, re)
            else:
                machine.send(error, exchange.number, re)
        self._settle(interview, "refused", reason[:400])
        interview.link.flush()

    def _settle(self, interview: Interview, result: str, reason: str) -> None:
        if interview not in self._open:
            return
        outcome = self._outcome(interview, result)
        outcome.reason = reason
        if interview.exchange.report is not None:
            outcome.code = interview.exchange.report.code
        self._forget(interview)
        self._recording.put(outcome, _logged)

    def _forget(self, interview: Interview) -> None:
        self._open.pop(interview, None)
        interview.exchange.settle()
        if interview.link.interview is interview:
            interview.link.interview = None
        self._wake(self.inventory.release(interview))


def _logged(result: Any) -> None:
    if isinstance(result, Failure):
        log.failure("an interrogation was not recorded", result)
