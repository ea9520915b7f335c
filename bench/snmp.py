"""Polling devices, each figure beside pysnmp alone in the same run, and what polling leaves of the link.

The devices are one light responder in a process of its own, under thousands of loopback addresses.
"""

from __future__ import annotations

import asyncio
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import uvloop
from pysnmp.hlapi.v3arch.asyncio import (
    CommunityData,
    ContextData,
    ObjectIdentity,
    ObjectType,
    SnmpEngine,
    UdpTransportTarget,
    bulk_cmd,
    get_cmd,
)
from pysnmp.proto.rfc1905 import EndOfMibView
from sqlalchemy import insert

from bench.link_servers import prepare
from bench.logon import Load, Server
from bench.measure import percentile, show
from bench.report import Target
from bench.snmp_responder import ROWS
from charging.tariffs import TariffBook
from operator_server.counting.grants import UsageGrants
from operator_server.counting.tariffs import TariffVersions
from operator_server.delivery.vault import KeyVault
from operator_server.keys import load_or_create_keys
from operator_server.offering.menus import Menu
from operator_server.roles.run import give_way
from operator_server.settings import OperatorSettings, Settings, StoreSettings
from operator_server.snmp import objects
from operator_server.snmp.credentials import Community, store_credential
from operator_server.snmp.manager import Manager
from operator_server.snmp.metering import DeviceMetering
from operator_server.snmp.polling import Counter, read_counters
from operator_server.snmp.records import DueDevice
from operator_server.snmp.session import REPETITIONS, Scope, Timing
from operator_server.snmp.walk import Budget, Limits, walk
from operator_server.snmp.window import Window
from operator_server.store import migrate
from operator_server.store.devices import Device
from operator_server.store.engine import sqlite_url
from operator_server.store.parties import Account, Binding, Subscriber, Terminal, TerminalSession
from operator_server.store.store import Store, transact
from signalling.clock import SystemClock

COMMUNITY = "bench"
IN_FLIGHT = 50
SECONDS = 1.5
ROUNDS = 5
DEVICES = 5_000
DEAD = DEVICES // 5
EVERY = 60
WATCHED = 25.0
ON_TIME = 2.0
LINKS = 200

TARGETS = {
    f"software table of {ROWS} rows": Target("ratio", "<=", 1.2),
    "polls of ten variables": Target("ratio", ">=", 0.8),
    f"{DEVICES} devices, a fifth dead: polled within {ON_TIME:g} s of their time": Target("value", ">=", 0.99),
    "link p99 while the poller runs flat out": Target("ratio", "<=", 2.0),
}
COUNTERS = [
    Counter.read({"counter": name, "oid": objects.oid_text((*objects.COUNTERS[column][0], index))})
    for name, column, index in (("in", "ifHCInOctets", 1), ("out", "ifHCOutOctets", 1), ("two", "ifHCInOctets", 2))
]
"""With what tells resets and speed these are ten variables."""


@contextmanager
def responder() -> Iterator[int]:
    """The port of a responder."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.snmp_responder"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.stdin.close()
        process.wait(10)


class Bare:
    """pysnmp's own high-level calls, without MIB look-ups."""

    def __init__(self, target: UdpTransportTarget) -> None:
        self._engine = SnmpEngine()
        self._target = target
        self._auth = CommunityData(COMMUNITY)

    async def table(self) -> int:
        """Walk the software table; its rows."""
        column, rows = (*objects.HR_SW_INSTALLED_ENTRY, 2), 0
        oid = column
        while True:
            *_, found = await bulk_cmd(
                self._engine, self._auth, self._target, ContextData(), 0, REPETITIONS,
                ObjectType(ObjectIdentity(oid)), lookupMib=False,
            )  # fmt: skip
            inside = [tuple(name) for name, value in found if not isinstance(value, EndOfMibView)]
            inside = [name for name in inside if name[: len(column)] == column]
            rows += len(inside)
            if len(inside) < REPETITIONS:
                return rows
            oid = inside[-1]

    async def poll(self) -> None:
        """Ask for ten variables."""
        names = [(*objects.SYSTEM, number, 0) for number in range(1, 11)]
        await get_cmd(
            self._engine, self._auth, self._target, ContextData(),
            *(ObjectType(ObjectIdentity(name)) for name in names), lookupMib=False,
        )  # fmt: skip

    def close(self) -> None:
        self._engine.close_dispatcher()


async def _rate(work: Callable[[], Awaitable[Any]], seconds: float) -> float:
    """Pieces of work a second, so many at a time."""
    end, done = time.perf_counter() + seconds, 0

    async def worker() -> None:
        nonlocal done
        while time.perf_counter() < end:
            await work()
            done += 1

    start = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))
    return done / (time.perf_counter() - start)


async def _seconds(work: Callable[[], Awaitable[Any]]) -> float:
    start = time.perf_counter()
    await work()
    return time.perf_counter() - start


async def _requests(port: int) -> dict[str, tuple[float, float]]:
    """Ours and bare pysnmp's: seconds for the table, polls a second."""
    scope = Scope("bench", Community(COMMUNITY), Window(IN_FLIGHT), Timing(2, 1))
    target = await scope.target("127.0.0.1", port)
    bare = Bare(await UdpTransportTarget.create(("127.0.0.1", port), timeout=2, retries=1))
    clock = SystemClock()

    async def table() -> None:
        walked = await walk(
            lambda oids: scope.bulk(target, oids), objects.HR_SW_INSTALLED_ENTRY, (2,), Budget.begin(Limits()), "table"
        )
        assert len(walked.rows) == ROWS

    async def poll() -> None:
        assert len((await read_counters(scope, target, COUNTERS, clock)).readings) == len(COUNTERS)

    figures: dict[str, list[tuple[float, float]]] = {"table": [], "polls": []}
    await table()
    assert await bare.table() == ROWS
    for _ in range(ROUNDS):
        figures["table"].append((await _seconds(table), await _seconds(bare.table)))
        figures["polls"].append((await _rate(poll, SECONDS), await _rate(bare.poll, SECONDS)))
    scope.close()
    bare.close()
    return {
        name: (statistics.median(ours for ours, _ in seen), statistics.median(theirs for _, theirs in seen))
        for name, seen in figures.items()
    }


class _Offering:
    def knows(self, code: bytes) -> bool:
        return True

    def learn(self, code: bytes, configuration: Any) -> None:
        """Every code is known, so none is learnt."""

    def menu(self, code: bytes, visitor: Any, context: Any) -> Menu:
        return Menu((), "")


class _Watched(Manager):
    """Notes how late each poll of a living device was done."""

    late: list[float]

    async def _poll(self, due: DueDevice) -> None:
        await super()._poll(due)
        if due.terminal.startswith("live"):
            self.late.append((self._clock.now() - due.due_at).total_seconds())


class _Reactor:
    def __init__(self) -> None:
        self.callFromThread = asyncio.get_running_loop().call_soon_threadsafe


def _fill(folder: Path, settings: Settings, vault: KeyVault, port: int, dead_port: int) -> None:
    """The devices, their times spread over the interval."""
    migrate.upgrade(settings.database_url())
    store = _open(settings)
    now = SystemClock().now() + timedelta(seconds=3)
    terminals, bindings, sessions, devices = [], [], [], []
    for number in range(DEVICES):
        dead = number % 5 == 0
        name = f"{'dead' if dead else 'live'}-{number:05}"
        terminals.append({"id": name, "enrolled_at": now})
        bindings.append({"id": f"b-{number}", "subscriber_id": "A", "terminal_id": name, "valid_from": now})
        sessions.append({"terminal_id": name, "next_due_at": now + timedelta(days=1)})
        devices.append(
            {
                "terminal_id": name, "host": f"127.1.{number // 250}.{number % 250 + 1}",
                "port": dead_port if dead else port, "credential": "bench", "poll_seconds": EVERY,
                "counters": [{"counter": c.counter, "oid": objects.oid_text(c.oid)} for c in COUNTERS],
                "next_poll_at": now + timedelta(seconds=EVERY * number / DEVICES),
            }
        )  # fmt: skip
    for row in devices:
        row |= {"kind": "snmp", "contact": "", "language": "en", "last_error": "", "failures": 0, "state": "active",
                "trigger": "interval", "notes": []}  # fmt: skip

    def write(connection: Any) -> None:
        account = {
            "id": "A",
            "name": "Bench",
            "address": [],
            "country": "DE",
            "currency": "EUR",
            "credit_limit": 0,
            "created_at": now,
        }
        connection.execute(insert(Account), [account])
        connection.execute(insert(Subscriber), [{"id": "A", "account_id": "A", "groups": [], "created_at": now}])
        store_credential(connection, vault, "bench", Community(COMMUNITY), now)
        for model, rows in ((Terminal, terminals), (Binding, bindings), (TerminalSession, sessions), (Device, devices)):
            connection.execute(insert(model), rows)

    transact(store, write)
    store.dispose()


def _open(settings: Settings) -> Any:
    from operator_server.store.engine import open_engine

    return open_engine(settings.database_url())


async def _schedule(folder: Path, port: int) -> tuple[float, float]:
    """Share of the polls of living devices that were done on time, and the p99 of how late they were."""
    settings = Settings(
        operator=OperatorSettings(server_id="bench", name="Bench", address=["x"], country="DE"),
        store=StoreSettings(data=folder, url=sqlite_url(folder / "devices.sqlite")),
    )
    vault, clock = KeyVault(folder / "kek.bin"), SystemClock()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("", 0))
        _fill(folder, settings, vault, port, silent.getsockname()[1])
        keys = load_or_create_keys(folder / "keys", "bench", ["localhost"], clock.now())
        tariffs = TariffVersions(lambda: TariffBook([]))
        grants = UsageGrants(tariffs, keys.signing, settings)
        store = Store(settings.database_url(), _Reactor())
        manager = _Watched(
            settings, store, clock, _Offering(), DeviceMetering(tariffs, grants, keys.signing, settings.operator.zone),
            lambda: vault, node="bench", on_menu=lambda terminal: None,
        )  # fmt: skip
        manager.late = []
        await manager.start()
        await asyncio.sleep(3 + WATCHED)
        await manager.stop()
        await asyncio.get_running_loop().run_in_executor(None, store.close)
    wanted = (DEVICES - DEAD) * (WATCHED - ON_TIME) / EVERY
    on_time = sum(1 for late in manager.late if late <= ON_TIME)
    return min(1.0, on_time / max(wanted, len(manager.late))), percentile(manager.late, 99)


async def _flat_out(port: int) -> None:
    scope = Scope("bench", Community(COMMUNITY), Window(IN_FLIGHT), Timing(2, 1))
    target = await scope.target("127.0.0.1", port)
    print("polling", flush=True)
    await _rate(lambda: read_counters(scope, target, COUNTERS, SystemClock()), 600)


@contextmanager
def _poller(port: int) -> Iterator[None]:
    """A poller that runs flat out in a process of its own."""
    process = subprocess.Popen([sys.executable, "-m", "bench.snmp", str(port)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


def _link_tail(port: int) -> tuple[float, float]:
    """Milliseconds from logon to offers, p99 at a quarter of the peak: beside the poller, and alone."""
    with tempfile.TemporaryDirectory() as temporary:
        prepare(Path(temporary), LINKS)
        server = Server("real", temporary)
        try:
            load = Load(server.port, LINKS)
            load.run(1.0)
            quarter = load.run(2.0) / 4
            beside, alone = [], []
            for _ in range(3):
                load.run(2.0, rate=quarter)
                alone.append(percentile(load.latencies, 99) * 1000)
                with _poller(port):
                    load.run(2.0, rate=quarter)
                    beside.append(percentile(load.latencies, 99) * 1000)
            load.close()
        finally:
            server.close()
    return statistics.median(beside), statistics.median(alone)


def run() -> list[dict[str, Any]]:
    """The figures."""
    rows: list[dict[str, Any]] = []

    def row(name: str, value: float, unit: str, ceiling: float | None = None) -> None:
        ratio = None if not ceiling else value / ceiling
        rows.append({"name": name, "value": value, "unit": unit, "ceiling": ceiling, "ratio": ratio})

    with responder() as port:
        figures = uvloop.run(_requests(port))
        row(f"software table of {ROWS} rows", figures["table"][0] * 1000, "ms", figures["table"][1] * 1000)
        row("polls of ten variables", figures["polls"][0], "1/s", figures["polls"][1])
        with tempfile.TemporaryDirectory() as temporary:
            share, late = uvloop.run(_schedule(Path(temporary), port))
        row(f"{DEVICES} devices, a fifth dead: polled within {ON_TIME:g} s of their time", share, "share")
        row(f"{DEVICES} devices, a fifth dead: p99 of the delay", late, "s")
        row("link p99 while the poller runs flat out", *_unit(_link_tail(port)))
    return rows


def _unit(tails: tuple[float, float]) -> tuple[float, str, float]:
    return tails[0], "ms", tails[1]


if __name__ == "__main__":
    if len(sys.argv) > 1:
        give_way()
        uvloop.run(_flat_out(int(sys.argv[1])))
    else:
        show(run())
