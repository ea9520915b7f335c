"""The schedule of polls, and what becomes of each: durable first, then the menu.

Every look takes the devices whose time has come, those that answered last time first, and keeps them from other
processes for a while. A device that fails is tried again after 30 seconds, then after twice that, up to an hour; it
takes no place in the window while it is silent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Connection
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from charging.tariffs import TariffError
from operator_server.counting.metering import NotCharged
from operator_server.delivery.vault import VaultError
from operator_server.devices.visitors import NotServed
from operator_server.interrogation.exchange import changed_sections
from operator_server.interrogation.inventory import DAY, Inventory, NewCodes
from operator_server.interrogation.offering import Offering
from operator_server.interrogation.records import NewSection, Outcome, load_inventory, new_codes_since
from operator_server.interrogation.schedule import next_interval, offset
from operator_server.offering.menus import LogonContext
from operator_server.settings import Settings
from operator_server.snmp.credentials import CredentialError, open_credential
from operator_server.snmp.mapping import Mapped
from operator_server.snmp.metering import DeviceMetering, next_cut_over
from operator_server.snmp.polling import Counter, CounterFault, Polled, interrogate, read_counters, read_hint
from operator_server.snmp.records import (
    DueDevice,
    activated,
    claim,
    device_context,
    due_devices,
    hold_leases,
    ordered_devices,
    record_answer,
    record_failure,
)
from operator_server.snmp.session import Scope, SnmpFault, Target, Timing
from operator_server.snmp.walk import Limits
from operator_server.snmp.window import Window
from operator_server.store.store import Store
from signalling.clock import Clock, from_micros, to_micros
from signalling.configuration import SECTIONS, configuration_code, section_digest
from signalling.ids import new_id

log = Logger()

LOOK_SECONDS = 0.25
CLAIM = timedelta(minutes=5)
"""How long a device that is being polled is kept from other processes."""

LEASE = timedelta(minutes=5)
PATIENT_AFTER = 2
"""Failures in a row after which a table that a device is silent on is left out."""

HINT_POLLS = 6
HINT_AGE = timedelta(days=3)
"""For how many interrogations in a row, and how long, a device's own word that nothing changed is taken for it."""

T = TypeVar("T")
OnMenu = Callable[[str], None]


class Manager:
    """Polls the devices of an operator; one or several processes may run one each."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        clock: Clock,
        offering: Offering,
        metering: DeviceMetering,
        open_sealed: Callable[[], Any],
        *,
        node: str,
        on_menu: OnMenu,
    ) -> None:
        snmp = settings.snmp
        self._settings = settings
        self._store = store
        self._clock = clock
        self._offering = offering
        self._metering = metering
        self._vault = open_sealed
        self._node = node
        self._on_menu = on_menu
        self._timing = Timing(snmp.timeout, snmp.retries)
        self._limits = Limits(snmp.max_rows, snmp.max_bytes, snmp.max_seconds)
        self._window = Window(snmp.window)
        self._scopes: dict[tuple[str, bytes], Scope] = {}
        self._polls: dict[str, asyncio.Task[None]] = {}
        self._inventory = Inventory()
        self._new_codes = NewCodes(settings.link.new_codes_per_day)
        self._leased_until: datetime | None = None
        self._looking: asyncio.Task[None] | None = None
        self.polled = 0

    async def start(self) -> None:
        """Take in what the store knows and begin."""
        self._inventory.load(*await self._read(load_inventory))
        self._looking = asyncio.create_task(self._look_for_ever())

    async def stop(self) -> None:
        """End; polls that are under way are given up and are due again soon."""
        tasks = [*self._polls.values(), *([self._looking] if self._looking else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for scope in self._scopes.values():
            scope.close()
        self._scopes.clear()

    def _read(self, operation: Callable[[Connection], T]) -> asyncio.Future[T]:
        return _future(self._store.read(operation))

    def _write(self, operation: Callable[[Connection], T]) -> asyncio.Future[T]:
        return _future(self._store.write(operation))

    # The schedule.

    async def _look_for_ever(self) -> None:
        while True:
            try:
                more = await self.look()
            except asyncio.CancelledError:
                raise
            except Exception:  # noqa: BLE001 - the store may be away for a while; the schedule goes on
                log.failure("devices that are due were not found")
                more = False
            await asyncio.sleep(0 if more else LOOK_SECONDS)

    async def look(self) -> bool:
        """Begin the polls that are due; whether there may be more at once."""
        now = self._clock.now()
        await self._hold_leases(now)
        room = min(500, self._settings.snmp.most_polls - len(self._polls))
        if room <= 0:
            return False
        found = await self._read(lambda connection: _waiting(connection, now, room))
        begun: dict[str, DueDevice] = {}
        for due in found:
            if due.terminal not in self._polls:
                begun.setdefault(due.terminal, due)
        if not begun:
            return False
        await self._write(lambda connection: claim(connection, list(begun), now + CLAIM))
        for due in begun.values():
            task = asyncio.create_task(self._poll(due))
            self._polls[due.terminal] = task
            task.add_done_callback(partial(self._ended, due.terminal))
        return len(found) >= room

    def _ended(self, terminal: str, task: asyncio.Task[None]) -> None:
        self.polled += 1
        del self._polls[terminal]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a poll of {terminal} was not recorded: {error}", terminal=terminal, error=repr(error))

    async def _hold_leases(self, now: datetime) -> None:
        if self._leased_until is None or now + LEASE / 2 > self._leased_until:
            self._leased_until = now + LEASE
            until, node = self._leased_until, self._node
            await self._write(lambda connection: hold_leases(connection, node, until))

    # One poll.

    async def _poll(self, due: DueDevice) -> None:
        now = self._clock.now()
        whole = due.trigger != "interval" or due.interrogation_due is None or due.interrogation_due <= now
        try:
            counters = [Counter.read(raw) for raw in due.counters]
            scope = self._scope(due)
            target = await scope.target(due.host, due.port)
            polled = await self._ask(due, scope, target, counters, whole=whole)
        except (SnmpFault, CounterFault, CredentialError, VaultError) as fault:
            await self._failed(due, now, whole, str(fault))
            return
        try:
            context = await self._read(lambda connection: device_context(connection, due.terminal, now))
        except NotServed as nobody:
            await self._failed(due, now, whole, f"{nobody}; `tollgate terminal bind` gives it one")
            return
        poll = new_id(self._clock.micros())
        outcome = await self._answered(due, now, poll, polled, context, whole=whole)
        if polled.readings:
            await self._count(context, poll, polled)
        if outcome is not None and outcome.result == "answered":
            self._on_menu(due.terminal)

    def _scope(self, due: DueDevice) -> Scope:
        key = (due.credential, due.sealed)
        scope = self._scopes.get(key)
        if scope is None:
            for other in [other for other in self._scopes if other[0] == due.credential]:
                self._scopes.pop(other).close()
            credential = open_credential(self._vault(), due.credential, due.sealed)
            scope = self._scopes[key] = Scope(due.credential, credential, self._window, self._timing)
        return scope

    async def _ask(
        self, due: DueDevice, scope: Scope, target: Target, counters: list[Counter], *, whole: bool
    ) -> Polled:
        try:
            polled = await read_counters(scope, target, counters, self._clock) if counters else Polled({})
            if whole:
                known = await self._read(lambda connection: activated(connection, due.terminal))
                polled.hint = await read_hint(scope, target, known)
                if self._vouched_for(due, polled.hint):
                    return polled
                patient = due.failures >= PATIENT_AFTER
                polled.mapped = await interrogate(scope, target, self._limits, known, patient=patient)
                polled.notes += polled.mapped.notes
        except SnmpFault as fault:
            if fault.kind in ("silent", "address", "engine", "time", "credential"):
                scope.forget(due.host, due.port)
            raise
        return polled

    def _vouched_for(self, due: DueDevice, hint: bytes) -> bool:
        """Whether the device's own word is enough that it is what it was when all of it was read.

        It is no more than a hint, so it is believed for a while; who asks by hand gets the whole.
        """
        return (
            bool(hint)
            and hint == due.hint
            and due.trigger != "manual"
            and due.walked_at is not None
            and self._clock.now() - due.walked_at < HINT_AGE
            and due.unwalked < HINT_POLLS
            and due.code is not None
            and due.code in self._inventory.codes
            and self._offering.knows(due.code)
        )

    async def _answered(
        self, due: DueDevice, began: datetime, poll: str, polled: Polled, context: LogonContext, *, whole: bool
    ) -> Outcome | None:
        now = self._clock.now()
        outcome: Outcome | None = None
        sections: list[NewSection] = []
        if whole:
            outcome = self._outcome(due, poll, "answered", context)
            if polled.mapped is not None:
                sections = await self._describe(outcome, polled.mapped, context)
            else:
                outcome.code = outcome.previous_code = due.code
                outcome.shown = self._offering.menu(outcome.code or b"", context.visitor, context).shown
        next_due = outcome.next_due if outcome is not None else None
        next_poll = self._next_poll(due, began, now, None if next_due is None else from_micros(next_due))
        await self._write(lambda connection: record_answer(connection, due, now, next_poll, outcome, sections, polled))
        if outcome is not None and outcome.configuration is not None and outcome.code is not None:
            self._inventory.learn(outcome.code, dict(zip(SECTIONS, outcome.configuration, strict=True)))
        return outcome

    def _next_poll(self, due: DueDevice, began: datetime, now: datetime, next_due: datetime | None) -> datetime | None:
        """When the counters are due, at the latest at the end of the billing period, or the next interrogation if that
        is sooner; polls keep their rhythm."""
        next_due = next_due or due.interrogation_due
        if not due.counters:
            return next_due
        # A period that ends while a device is polled is still to be closed.
        cut_over = next_cut_over(began, self._settings.operator.zone)
        step = timedelta(seconds=due.poll_seconds)
        next_poll = due.due_at + step
        if next_poll <= now or due.trigger != "interval" or next_poll > now + step:
            next_poll = now + step
        next_poll = min(next_poll, cut_over)
        return next_poll if next_due is None else min(next_poll, max(next_due, now))

    async def _describe(self, outcome: Outcome, mapped: Mapped, context: LogonContext) -> list[NewSection]:
        """Put code, changes and menu into the outcome; the sections that were never seen."""
        now, terminal = outcome.at, outcome.terminal
        canonical = mapped.configuration.canonical()
        digests = {name: section_digest(name, data) for name, data in canonical.items()}
        code = configuration_code(digests)
        after = tuple(digests[name] for name in SECTIONS)
        if code not in self._inventory.codes:
            if not self._new_codes.knows(terminal):
                brought = await self._read(lambda connection: new_codes_since(connection, terminal, now - DAY))
                self._new_codes.recall(terminal, brought)
            if not self._new_codes.bring(terminal, now):
                outcome.result = "refused"
                outcome.reason = "this device brought too many new configuration codes today"
                return []
            outcome.configuration = after
        if not self._offering.knows(code):
            self._offering.learn(code, mapped.configuration)
        outcome.code, outcome.previous_code = code, context.previous_code
        if code != context.previous_code:
            before = None if context.previous_code is None else self._inventory.codes.get(context.previous_code)
            outcome.changed = changed_sections(before, after)
        outcome.shown = self._offering.menu(code, context.visitor, context).shown
        missing = self._inventory.missing(digests)
        outcome.sections_fetched = len(missing)
        return [(digests[name], name, canonical[name], terminal, now) for name in missing]

    def _outcome(self, due: DueDevice, poll: str, result: str, context: LogonContext | None) -> Outcome:
        now, settings = self._clock.micros(), self._settings.interrogation
        return Outcome(
            poll,
            due.terminal,
            context.visitor.subscriber if context else "",
            due.trigger,
            now,
            result,
            self._node,
            "",
            now + LEASE // timedelta(microseconds=1),
            next_interval(due.terminal, now, settings.interval, settings.jitter),
            order=due.order,
        )

    async def _count(self, context: LogonContext, poll: str, polled: Polled) -> None:
        visitor, now = context.visitor, self._clock.now()
        try:
            outcomes = await self._write(
                lambda connection: self._metering.take(connection, visitor, poll, polled.readings, now)
            )
        except (NotCharged, TariffError) as error:
            log.error(
                "{terminal}: what was read is not charged yet: {error}", terminal=visitor.terminal, error=str(error)
            )
            return
        for each in outcomes:
            if each.status in ("refused", "conflict"):
                log.error(
                    "{terminal}: {counter}: {reason}",
                    terminal=visitor.terminal,
                    counter=each.counter,
                    reason=each.reason,
                )

    async def _failed(self, due: DueDevice, began: datetime, whole: bool, reason: str) -> None:
        now, snmp = self._clock.now(), self._settings.snmp
        wait = min(snmp.backoff_most, snmp.backoff * 2 ** min(due.failures, 20))
        spread = timedelta(microseconds=offset(due.terminal, max(1, wait // 8)))
        next_poll = now + timedelta(seconds=wait) + spread
        if due.counters:
            next_poll = min(next_poll, next_cut_over(began, self._settings.operator.zone))
        outcome: Outcome | None = None
        if whole:
            context = await self._read(lambda connection: _context_if_any(connection, due.terminal, now))
            outcome = self._outcome(due, new_id(self._clock.micros()), "no_answer", context)
            outcome.reason = reason[:400]
            outcome.next_due = None if due.interrogation_due is None else to_micros(due.interrogation_due)
        await self._write(lambda connection: record_failure(connection, due, now, next_poll, outcome, reason[:1000]))


def _waiting(connection: Connection, now: datetime, most: int) -> list[DueDevice]:
    return [*ordered_devices(connection, most), *due_devices(connection, now, most)]


def _context_if_any(connection: Connection, terminal: str, now: datetime) -> LogonContext | None:
    try:
        return device_context(connection, terminal, now)
    except NotServed:
        return None


def _future(deferred: Deferred[T]) -> asyncio.Future[T]:
    return deferred.asFuture(asyncio.get_running_loop())


def in_loop(coroutine: Coroutine[Any, Any, T]) -> Deferred[T]:
    """A coroutine of asyncio for those who wait for Deferreds."""
    return Deferred.fromFuture(asyncio.ensure_future(coroutine))
