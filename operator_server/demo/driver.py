"""The demo's course: two months of logons, use, misbehaviour and bill runs, in steps of a simulated clock.

The clock moves only between steps, when nothing is under way, so that what happened in which month is beyond doubt
for the server, for the terminals and for whoever checks their journals.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, func, select
from twisted.internet.defer import Deferred, DeferredSemaphore, gatherResults, inlineCallbacks
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from operator_server.billing.bill_run import run_bills
from operator_server.delivery.publishing import withdraw
from operator_server.demo import gateway
from operator_server.demo.gateway import Gateway
from operator_server.demo.gateway_journal import Agreed
from operator_server.demo.process import ServerProcess
from operator_server.demo.reckoning.journals import Run
from operator_server.demo.roamer import Roamer
from operator_server.demo.sim_phones import DemoPhone, SimPhones
from operator_server.demo.timeline import Step, timeline
from operator_server.demo.world import World
from operator_server.devices.page_user import PageError
from operator_server.interrogation.schedule import next_occurrence
from operator_server.offering.loading import load
from operator_server.store.configurations import InterrogationOrder
from operator_server.store.rows import add, table
from operator_server.store.store import transact
from signalling.clock import to_micros
from signalling.ids import new_id
from terminal_sim.client import LinkLost
from terminal_sim.delivery import DeliveryPaused
from terminal_sim.roaming import RoamingError
from terminal_sim.simulated import SimulatedTerminal

Steps = Generator[Deferred[Any], Any, None]

PARALLEL = 24
"""Sessions at a time."""

SESSION_SHARE = 0.06
"""Part of the fleet that logs on at each step of sessions; at the first two steps it is half the fleet."""

KILL_SHARE = 0.4
"""The same at a step in which the server is killed."""

STAYING = 0.06
"""Part of the fleet that stays connected over each of the times at which the server asks."""

ORDERED = 3
"""Terminals that are asked by hand at a time."""

_RETRY_SECONDS = 0.2
_RETRIES = 300
_ASKED_SECONDS = 5.0
_PLAN_SECONDS = 0.2
_LOOK_SECONDS = 0.05
_STILL_SECONDS = 0.8
"""Real seconds without a further inquiry after which no more is waited for."""
_TAKE_OVER_SECONDS = 1.3
"""The server looks for changed releases once a second."""

ATTACHED_AT = 1
"""The step at which the gateway is made known to the server that runs: half the fleet has been there."""

AGREED_AT = 15
"""The last step at which the link is waited for; it is there some steps earlier, unless a kill came between."""

FETCHING_EVERY = 4
"""Steps of sessions from one fetch of the gateway's user to the next."""

PHONES_AT = (4, 18, 38, 58)
"""The steps of sessions, by number, at which the users of the SIM phones look at their offers."""

_VISIT_SECONDS = 20.0
_VISIT_SECONDS_KILLED = 3.0
_VISITS = 40

_LETTER_SECONDS = 8.0
_READING_SECONDS = 5.0


class DemoFailed(RuntimeError):
    """The course could not go on; the text says where."""


@dataclass
class Course:
    """What happened, beside what the terminals count themselves.

    ``sections_in_kills``: sections sent by terminals whose link a kill broke: the server may not have kept them.
    ``agreed``: what the gateway's user took on the page.
    """

    runs: list[Run] = field(default_factory=list)
    sessions: int = 0
    retries: int = 0
    sections_in_kills: int = 0
    kills_under_load: int = 0
    agreed: Agreed | None = None


class Driver:
    """Walks a fleet through the steps; ``tell`` hears each step before it begins, with its number from 1."""

    def __init__(
        self,
        world: World,
        server: ServerProcess,
        fleet: Sequence[SimulatedTerminal],
        device: Gateway,
        phones: SimPhones,
        roamer: Roamer,
        seed: int,
        kills: int,
        reactor: Any,
        tell: Callable[[Step, int, int], None],
    ) -> None:
        self.course = Course()
        self._device, self._phones, self._roamer = device, phones, roamer
        self._world, self._server, self._fleet, self._reactor, self._tell = world, server, fleet, reactor, tell
        self._chance = random.Random(f"{seed} course")
        self._steps = timeline(world.operator.settings.operator.zone, seed)
        self._products = load(world.operator.settings).catalogue.products
        self._staying: list[SimulatedTerminal] = []
        self._asked_before: dict[int, int] = {}
        self._ordered: list[SimulatedTerminal] = []
        self._days: set[Any] = set()
        loaded = [number for number, step in enumerate(self._steps) if step.work == "sessions"]
        rounds, rest = divmod(kills, len(loaded))
        self._visits = {loaded[number] for number in PHONES_AT}
        self._kills = Counter(dict.fromkeys(loaded, rounds)) + Counter(self._chance.sample(loaded, rest))
        self._running = 0

    @inlineCallbacks
    def run(self) -> Steps:
        """From the first step to the last. Raises :class:`DemoFailed`."""
        yield self._server.start()
        for number, step in enumerate(self._steps):
            self._tell(step, number + 1, len(self._steps))
            passed = self._plan_passes(step)
            self._asked_before = {id(each): each.counts.interrogations.total() for each in self._staying}
            self._world.clock.set(step.at)
            self._sign_repository(step)
            if passed:
                yield deferLater(self._reactor, _PLAN_SECONDS)
            if number == ATTACHED_AT:
                self._device.attach(self._world)
                self._phones.add()
            work = getattr(self, f"_{step.work}")
            yield work(number, step)
            if number >= ATTACHED_AT and self.course.agreed is None:
                yield self._agree(_LETTER_SECONDS if number == AGREED_AT else 0.0)
            for terminal in self._staying:
                yield terminal.quiet()
        yield self._leave(0, self._steps[-1])

    def _plan_passes(self, step: Step) -> bool:
        """Whether a plan of the operator's calendar is due on the way to this step: the server is to notice it now, and
        not when terminals have logged on that were not there at its time."""
        settings, now = self._world.operator.settings, self._world.clock.now()
        zone = settings.operator.zone
        return any(next_occurrence(plan, now, zone) <= step.at for plan in settings.interrogation.calendar)

    def _sign_repository(self, step: Step) -> None:
        """What the worker does every few seconds, in which weeks go by here."""
        if step.at.date() not in self._days:
            self._days.add(step.at.date())
            self._world.operator.repository.refresh_timestamp(step.at)

    # Sessions.

    @inlineCallbacks
    def _sessions(self, number: int, step: Step) -> Steps:
        kills = self._kills[number]
        share = 0.5 if number < 2 else KILL_SHARE if kills else SESSION_SHARE
        phones = self._phones.phones if number in self._visits else []
        connected = {*map(id, self._staying), *(id(each.carrier) for each in phones)}
        chosen = [each for each in self._fleet if self._chance.random() < share and id(each) not in connected]
        before = {id(each): (each.counts.links_lost, each.counts.sections_sent.total()) for each in self._fleet}
        killing = self._kill(kills)
        places = DeferredSemaphore(PARALLEL)
        looks = [self._look(each, kills) for each in phones]
        yield _all([*(places.run(self._session, terminal) for terminal in chosen), *looks])
        yield killing
        if self.course.agreed is not None and number % FETCHING_EVERY == 0:
            yield deferToThread(self._device.fetch, step.at)
        yield self._connect_again()
        if kills:
            for each in self._fleet:
                lost, sent = before[id(each)]
                if each.counts.links_lost > lost:
                    self.course.sections_in_kills += each.counts.sections_sent.total() - sent

    @inlineCallbacks
    def _session(self, terminal: SimulatedTerminal) -> Steps:
        terminal.live(self._world.clock.micros())
        self._running += 1
        yield self._insist(terminal, terminal.session)
        self._running -= 1
        self.course.sessions += 1

    @inlineCallbacks
    def _insist(self, terminal: SimulatedTerminal, attempt: Callable[[], Deferred[Any]]) -> Steps:
        """Until it works: the server may be gone for a while."""
        for _ in range(_RETRIES):
            try:
                yield attempt()
                return
            except (LinkLost, DeliveryPaused) as trouble:
                last = trouble
                self.course.retries += 1
                yield deferLater(self._reactor, _RETRY_SECONDS)
                yield self._server.tried()
        raise DemoFailed(f"{terminal.terminal} gives up: {last}")

    @inlineCallbacks
    def _kill(self, times: int) -> Steps:
        for _ in range(times):
            yield deferLater(self._reactor, self._chance.uniform(0.01, 0.15))
            self.course.kills_under_load += self._running > 0
            self._server.kill()
            yield self._server.start()

    # SIM phones.

    @inlineCallbacks
    def _look(self, each: DemoPhone, kills: int) -> Steps:
        """A user looks at his offers, again where a kill took the server from under his fingers."""
        each.visits += 1
        carrier, seconds = each.carrier, self._reactor.seconds
        for _ in range(_VISITS):
            if carrier is not None and not _connected(carrier):
                yield self._stay_on(carrier)
            if not each.on:
                each.phone.power_on()
                each.on = True
            done = each.phone.visit()
            end = seconds() + (_VISIT_SECONDS_KILLED if kills else _VISIT_SECONDS)
            while not done.called and seconds() < end and (carrier is None or _connected(carrier)):
                yield deferLater(self._reactor, _LOOK_SECONDS)
            if done.called:
                break
        else:
            raise DemoFailed(f"the user of {each.terminal} gives up: he gets no answer")
        if carrier is not None and carrier not in self._staying:
            yield carrier.leave()

    # Terminals that stay connected.

    @inlineCallbacks
    def _stay(self, number: int, step: Step) -> Steps:
        count = max(4, round(len(self._fleet) * STAYING))
        self._staying = self._chance.sample(self._fleet, min(count, len(self._fleet)))
        yield _all(self._stay_on(terminal) for terminal in self._staying)

    @inlineCallbacks
    def _stay_on(self, terminal: SimulatedTerminal) -> Steps:
        terminal.live(self._world.clock.micros())
        yield self._insist(terminal, terminal.stay)
        self.course.sessions += 1

    @inlineCallbacks
    def _connect_again(self) -> Steps:
        """Those whose links a kill broke."""
        gone = [each for each in self._staying if not _connected(each)]
        yield _all(self._stay_on(terminal) for terminal in gone)

    @inlineCallbacks
    def _asked(self, number: int, step: Step) -> Steps:
        """The server asks by calendar or interval. Who was asked by hand is due later."""
        yield self._connect_again()
        for terminal in self._staying:
            terminal.live(self._world.clock.micros())
        due = [each for each in self._staying if each not in self._ordered]
        self._ordered = []

        def asked() -> int:
            return sum(each.counts.interrogations.total() > self._asked_before[id(each)] for each in due)

        yield self._until(lambda: asked() == len(due), asked)

    @inlineCallbacks
    def _order(self, number: int, step: Step) -> Steps:
        """A person asks some that are connected and one that is not."""
        yield self._connect_again()
        self._ordered = self._staying[:ORDERED]
        absent = [each.terminal for each in self._fleet if each not in self._staying][:1]
        engine, now = self._world.operator.engine, self._world.clock.now()

        def order(connection: Connection) -> None:
            for terminal in (*(each.terminal for each in self._ordered), *absent):
                add(
                    connection,
                    InterrogationOrder(id=new_id(to_micros(now)), terminal_id=terminal, ordered_at=now),
                )

        def waiting() -> int:
            orders = table(InterrogationOrder)
            with engine.connect() as connection:
                return connection.execute(select(func.count()).where(orders.c.state == "open")).scalar_one()

        transact(engine, order)
        yield self._until(lambda: not waiting(), waiting)

    @inlineCallbacks
    def _leave(self, number: int, step: Step) -> Steps:
        staying, self._staying = self._staying, []
        yield _all(terminal.leave() for terminal in staying)

    @inlineCallbacks
    def _until(self, condition: Callable[[], bool], count: Callable[[], int]) -> Steps:
        """Until it holds, or ``count`` has not changed for a while."""
        seconds = self._reactor.seconds
        end, last, still_since = seconds() + _ASKED_SECONDS, count(), seconds()
        while not condition() and seconds() < end and seconds() - still_since < _STILL_SECONDS:
            yield deferLater(self._reactor, 0.03)
            if count() != last:
                last, still_since = count(), seconds()

    # The roamer.

    @inlineCallbacks
    def _roam(self, number: int, step: Step) -> Steps:
        """The user travels: the terminal logs on at home before, and its mobile registers in the network there."""
        yield self._session(self._roamer.terminal)
        try:
            yield deferToThread(self._roamer.visit)
        except RoamingError as trouble:
            raise DemoFailed(str(trouble)) from None

    # The gateway and its user.

    @inlineCallbacks
    def _agree(self, seconds: float) -> Steps:
        """The user follows the link that was sent, once it is there; who was interrupted tries again later."""
        end = self._reactor.seconds() + seconds
        while True:
            try:
                self.course.agreed = yield deferToThread(gateway.agree, self._world)
            except (PageError, OSError) as trouble:
                if not self.course.kills_under_load:
                    raise DemoFailed(f"the gateway's user gives up: {trouble}") from None
                return
            if self.course.agreed is not None or self._reactor.seconds() > end:
                return
            yield deferLater(self._reactor, _LOOK_SECONDS)

    @inlineCallbacks
    def _month_end(self, number: int, step: Step) -> Steps:
        """The month ends, and the gateway's counter is read."""
        end = self._reactor.seconds() + _READING_SECONDS
        while not self._read_at(step) and self._reactor.seconds() < end:
            yield deferLater(self._reactor, _LOOK_SECONDS)

    def _read_at(self, step: Step) -> bool:
        with self._world.operator.engine.connect() as connection:
            return any(each.at == step.at for each in gateway.samples(connection))

    # The operator.

    @inlineCallbacks
    def _publish(self, number: int, step: Step) -> Steps:
        if step.about[0] in self._products:
            yield deferToThread(self._world.publish, *step.about)
            yield deferLater(self._reactor, _TAKE_OVER_SECONDS)

    @inlineCallbacks
    def _revoke(self, number: int, step: Step) -> Steps:
        product, version = step.about
        if product in self._products:
            reason = "It was made from a damaged source"
            transact(
                self._world.operator.engine, lambda connection: withdraw(connection, product, version, reason, step.at)
            )
            yield deferLater(self._reactor, _TAKE_OVER_SECONDS)

    @inlineCallbacks
    def _bill(self, number: int, step: Step) -> Steps:
        operator, name = self._world.operator, step.about[0]
        report = yield deferToThread(run_bills, operator.engine, operator.settings, name, now=step.at)
        self.course.runs.append(Run(name, to_micros(report.until), to_micros(step.at)))


def _connected(terminal: SimulatedTerminal) -> bool:
    return terminal.client is not None and not terminal.client.closed.called


def _all(waiting: Iterable[Deferred[Any]]) -> Deferred[list[Any]]:
    return gatherResults(list(waiting), consumeErrors=True)
