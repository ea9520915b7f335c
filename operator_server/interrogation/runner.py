"""Looks at what is due, every ``interrogation.poll`` seconds of real time against the business clock.

Three things may be due: a calendar plan (each connected terminal at its own offset after it), a terminal's interval,
and orders that a person gave. Due times are stored, so that a server that was down knows what it missed.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Protocol

from sqlalchemy import Connection, select
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from operator_server.interrogation.interrogator import AskedLink, Interrogator
from operator_server.interrogation.records import mark_orders, open_orders, store_plans
from operator_server.interrogation.schedule import Agenda, offset
from operator_server.settings import Settings
from operator_server.store.configurations import InterrogationPlan
from operator_server.store.rows import table
from operator_server.store.store import Store
from signalling.clock import Clock, to_micros

log = Logger()

PATIENCE = 4
"""Looks at an order before its terminal counts as not connected: leases may lag behind a clock that jumps."""

MOST_AT_ONCE = 500
"""Inquiries begun in one look; the rest follows in the next."""


class Links(Protocol):
    """The links of this process with a terminal logged on."""

    def __iter__(self) -> Iterator[AskedLink]:
        """All of them."""

    def get(self, terminal: str) -> AskedLink | None:
        """The terminal's link here."""


class Calendar:
    """The operator's calendar plans; their due times are stored, so that a server that was down knows what it missed.

    ``keeps``: whether this one stores them. Of the roles that share a store one does, or the last would decide what
    was missed.
    """

    def __init__(self, settings: Settings, store: Store, clock: Clock, *, keeps: bool) -> None:
        self._spread = settings.interrogation.jitter
        self._agenda = Agenda(settings.interrogation.calendar, settings.operator.zone)
        self._store = store
        self._clock = clock
        self._keeps = keeps
        self._missed: list[str] = []

    def load(self) -> Deferred[None]:
        """Take in the stored due times; what was missed and is to run is due now."""
        return self._store.read(_stored_plans).addCallback(self._start)

    def _start(self, stored: dict[str, datetime]) -> Deferred[None] | None:
        self._missed = self._agenda.start(stored, self._clock.now())
        return self._keep({})

    def _keep(self, ran: dict[str, datetime]) -> Deferred[None] | None:
        if not self._keeps:
            return None
        plans, next_due, spread = self._agenda.plans, dict(self._agenda.next_due), self._spread
        return self._store.write(lambda connection: store_plans(connection, plans, next_due, ran, spread))

    def due(self) -> datetime | None:
        """The latest instant at which a plan has become due since this was asked last; absent where none has."""
        now = self._clock.now()
        due = dict(self._agenda.due(now))
        due.update(dict.fromkeys(self._missed, now))
        self._missed = []
        if not due:
            return None
        kept = self._keep(due)
        if kept is not None:
            kept.addErrback(lambda failure: log.failure("plans were not stored", failure))
        return max(due.values())


class Runner:
    """The triggers that are no logon, for the links of one process."""

    def __init__(
        self, settings: Settings, store: Store, clock: Clock, registry: Links, interrogator: Interrogator
    ) -> None:
        self._spread = settings.interrogation.jitter
        self._calendar = Calendar(settings, store, clock, keeps=True)
        self._store = store
        self._clock = clock
        self._registry = registry
        self._interrogator = interrogator
        self._running: list[tuple[int, str, str]] = []
        self._orders: dict[str, int] = {}
        self._asking: set[str] = set()
        self._looking = False

    def load(self) -> Deferred[None]:
        """See :meth:`Calendar.load`."""
        return self._calendar.load()

    def poll(self) -> None:
        """Begin what is due."""
        now = self._clock.now()
        due = self._calendar.due()
        if due is not None:
            self._enter(to_micros(due))
        self._begin_due(to_micros(now))
        if not self._looking:
            self._looking = True
            looked = self._store.read(lambda connection: open_orders(connection, now))
            looked.addCallback(self._follow)
            looked.addErrback(lambda failure: log.failure("orders were not read", failure))
            looked.addBoth(self._looked)

    def _looked(self, _: object) -> None:
        self._looking = False

    def _enter(self, instant: int) -> None:
        """Each terminal that is connected now is to be asked at its own offset after the plan's instant."""
        for link in self._registry:
            self._running.append((instant + offset(link.terminal, self._spread), link.terminal, link.session))
        self._running.sort(reverse=True)

    def _begin_due(self, now: int) -> None:
        left = MOST_AT_ONCE
        while self._running and self._running[-1][0] <= now and left:
            _, terminal, session = self._running.pop()
            link = self._registry.get(terminal)
            # A terminal that logged on since was interrogated by that.
            if link is not None and link.session == session and self._interrogator.begin(link, "calendar"):
                link.flush()
                left -= 1
        for link in self._registry:
            if not left:
                break
            if link.due is not None and link.due <= now and self._interrogator.begin(link, "interval"):
                link.flush()
                left -= 1

    def _follow(self, orders: list[tuple[str, str, bool]]) -> Deferred[None] | None:
        absent: list[str] = []
        seen: dict[str, int] = {}
        asking: set[str] = set()
        for order, terminal, leased in orders:
            link = self._registry.get(terminal)
            if order in self._asking:
                asking.add(order)
            elif link is not None:
                if self._interrogator.begin(link, "manual", order=order):
                    asking.add(order)
                    link.flush()
            elif not leased:
                seen[order] = self._orders.get(order, 0) + 1
                if seen[order] >= PATIENCE:
                    absent.append(order)
        self._orders, self._asking = seen, asking
        if not absent:
            return None
        return self._store.write(lambda connection: mark_orders(connection, absent, "not_connected"))


def _stored_plans(connection: Connection) -> dict[str, datetime]:
    plan = table(InterrogationPlan)
    return dict(connection.execute(select(plan.c.name, plan.c.next_due_at)).all())
