"""The snmp role: devices are polled, their traps heard, their counters counted."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Generator
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from operator_server.context import Operator
from operator_server.counting.grants import UsageGrants
from operator_server.counting.tariffs import TariffVersions
from operator_server.devices.invitations import offer_menu
from operator_server.interrogation.runner import Calendar
from operator_server.interrogation.schedule import offset
from operator_server.offering.refresh import REFRESH_SECONDS, FreshOffers
from operator_server.snmp.credentials import Credential, CredentialError, open_credential
from operator_server.snmp.manager import Manager, in_loop
from operator_server.snmp.metering import DeviceMetering
from operator_server.snmp.records import bring_forward
from operator_server.snmp.traps import Sender, TrapPace, TrapReceiver, by_address
from operator_server.store.devices import Device, DeviceCredential
from operator_server.store.rows import table
from operator_server.store.store import Store
from operator_server.timers import Timers
from signalling.clock import from_micros, to_micros

log = Logger()

PLAN_SECONDS = 1.0
DEVICES_SECONDS = 5.0
BUSY = timedelta(seconds=1)


class SnmpRole:
    """Composes the manager of polls with offers, counting, traps and the links for devices' users.

    It needs the asyncio reactor.
    """

    def __init__(self, operator: Operator, reactor: Any) -> None:
        settings, clock = operator.settings, operator.clock
        self._operator = operator
        self._clock = clock
        self._offers = FreshOffers(operator)
        self._store = Store(settings.database_url(), reactor)
        tariffs = TariffVersions(lambda: self._offers.live.tariffs)
        grants = UsageGrants(tariffs, operator.keys.signing, settings)
        metering = DeviceMetering(tariffs, grants, operator.keys.signing, settings.operator.zone)
        self.manager = Manager(
            settings, self._store, clock, self._offers.live, metering, lambda: operator.vault,
            node=f"snmp-{socket.gethostname()}-{os.getpid()}", on_menu=self.on_device_menu,
        )  # fmt: skip
        # The role link keeps the calendar's due times.
        self._calendar = Calendar(settings, self._store, clock, keeps=False)
        self._pace = TrapPace(settings.snmp.trap_pause * 1_000_000)
        self._receiver: TrapReceiver | None = None
        self._known: tuple[Any, ...] = ()
        self._senders: dict[str, list[str]] = {}
        self._timers = Timers(reactor, log, "the snmp role")
        self._refreshing = False

    @inlineCallbacks
    def start(self) -> Generator[Deferred[Any], Any, str]:
        """Begin; fires with what is told of it."""
        yield self._calendar.load()
        if (looked := self._look_at_plans()) is not None:
            yield looked
        yield in_loop(self.manager.start())
        yield self._learn_devices()
        self._timers.every(REFRESH_SECONDS, self._refresh)
        self._timers.every(PLAN_SECONDS, self._look_at_plans)
        self._timers.every(DEVICES_SECONDS, self._learn_devices)
        snmp = self._operator.settings.snmp
        return f"traps on {snmp.trap_host}:{snmp.trap_port}" if snmp.trap_port else "traps off"

    @inlineCallbacks
    def stop(self) -> Generator[Deferred[Any], Any, None]:
        """End after the work at hand."""
        self._timers.stop()
        if self._receiver is not None:
            self._receiver.close()
        yield in_loop(self.manager.stop())
        yield deferToThread(self._store.close)

    def _refresh(self) -> Deferred[None] | None:
        if self._refreshing:
            return None
        self._refreshing = True

        def refreshed(result: Any) -> Any:
            self._refreshing = False
            return result

        return deferToThread(self._offers.take_over_changes).addBoth(refreshed)

    # After an interrogation: the device's user may be sent a link.

    def on_device_menu(self, terminal: str) -> None:
        """A device was interrogated and its menu is recorded: its user may be sent a link."""
        now, operator, offers = self._clock.now(), self._operator, self._offers.live
        done = self._store.write(lambda connection: offer_menu(connection, operator, terminal, now, offers))
        done.addErrback(lambda failure: log.failure("no link was sent for {terminal}", failure, terminal=terminal))

    # Calendar plans: each device at its own offset after the plan's instant.

    def _look_at_plans(self) -> Deferred[None] | None:
        return None if self._calendar.due() is None else self._run_plans()

    def _run_plans(self) -> Deferred[None]:
        now, spread = self._clock.now(), self._operator.settings.interrogation.jitter

        def enter(connection: Connection) -> None:
            terminals = connection.execute(select(table(Device).c.terminal_id)).scalars().all()
            wishes = {each: from_micros(to_micros(now) + offset(each, spread)) for each in terminals}
            bring_forward(connection, wishes, "calendar", now)

        return self._store.write(enter)

    # Traps.

    @inlineCallbacks
    def _learn_devices(self) -> Generator[Deferred[Any], Any, None]:
        """Which devices there are and what opens them; the receiver is made anew when credentials change."""
        snmp = self._operator.settings.snmp
        if not snmp.trap_port:
            return
        hosts, sealed = yield self._store.read(_devices_and_credentials)
        names = {host for _, host in hosts}
        resolved = yield in_loop(_resolved(names))
        self._senders = by_address((Sender(terminal, host) for terminal, host in hosts), resolved)
        if sealed == self._known and self._receiver is not None:
            return
        self._known = sealed
        if self._receiver is not None:
            self._receiver.close()
            self._receiver = None
        credentials: dict[str, Credential] = {}
        for name, data in sealed:
            try:
                credentials[name] = open_credential(self._operator.vault, name, data)
            except CredentialError as error:
                log.error("traps: {error}", error=str(error))
        receiver = TrapReceiver(
            snmp.trap_host, snmp.trap_port, credentials, self._trap, lambda address: address in self._senders
        )
        yield in_loop(receiver.listening())
        self._receiver = receiver

    def _trap(self, sender: str, name: str) -> None:
        now = self._clock.now()
        wishes: dict[str, datetime] = {}
        for terminal in self._senders.get(sender, ()):
            at = self._pace.wish(terminal, to_micros(now))
            if at is not None:
                # A device that says it begins to run is still busy with that.
                wishes[terminal] = from_micros(at) + BUSY
        if not wishes:
            return
        log.info("{name} from {sender}: {count} device(s) will be asked", name=name, sender=sender, count=len(wishes))
        done = self._store.write(lambda connection: bring_forward(connection, wishes, "logon", now))
        done.addErrback(lambda failure: log.failure("a trap brought no poll forward", failure))


def _devices_and_credentials(connection: Connection) -> tuple[list[tuple[str, str]], tuple[tuple[str, bytes], ...]]:
    device, credential = table(Device), table(DeviceCredential)
    hosts = connection.execute(select(device.c.terminal_id, device.c.host).where(device.c.state != "paused")).all()
    sealed = connection.execute(select(credential.c.name, credential.c.sealed).order_by(credential.c.name)).all()
    return [(row[0], row[1]) for row in hosts], tuple((row[0], bytes(row[1])) for row in sealed)


async def _resolved(names: set[str]) -> dict[str, str]:
    """Name to address, of those that have one."""
    loop = asyncio.get_running_loop()
    found: dict[str, str] = {}
    for name in sorted(names):
        if not any(letter.isalpha() for letter in name) or ":" in name:
            continue
        try:
            found[name] = str((await loop.getaddrinfo(name, 0, type=socket.SOCK_DGRAM))[0][4][0])
        except OSError:
            continue
    return found
