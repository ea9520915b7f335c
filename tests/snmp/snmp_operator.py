"""An operator with devices in a fresh database, and a manager that polls them in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from counting_samples import SETTINGS, SIGNING, add_customer, tariff
from sqlalchemy import Connection, select
from sqlmodel import SQLModel

from charging.tariffs import Tariff, TariffBook
from operator_server.counting.grants import UsageGrants
from operator_server.counting.tariffs import TariffVersions
from operator_server.delivery.vault import KeyVault
from operator_server.desk import Visitor
from operator_server.offering.menus import LogonContext, Menu
from operator_server.settings import Settings
from operator_server.snmp.credentials import Credential, store_credential
from operator_server.snmp.manager import Manager
from operator_server.snmp.metering import DeviceMetering
from operator_server.snmp.registry import NewDevice, add_device, parse_counter
from operator_server.store import migrate
from operator_server.store.devices import Device
from operator_server.store.engine import open_engine, sqlite_url
from operator_server.store.rows import table
from operator_server.store.store import Store, transact
from signalling.clock import SystemClock
from signalling.configuration import Configuration

T = TypeVar("T")


class Offering:
    """Knows what it learned; every menu shows one offer."""

    def __init__(self) -> None:
        self.known: dict[bytes, Configuration] = {}

    def knows(self, code: bytes) -> bool:
        return code in self.known

    def learn(self, code: bytes, configuration: Configuration) -> None:
        self.known[code] = configuration

    def menu(self, code: bytes, visitor: Visitor, context: LogonContext) -> Menu:
        return Menu((), f"voice@1 for {visitor.subscriber}")


class _Reactor:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.callFromThread = loop.call_soon_threadsafe


class PollingHouse:
    """The database and what stands in it."""

    def __init__(self, folder: Path, **snmp: Any) -> None:
        self.url = sqlite_url(folder / "devices.sqlite")
        migrate.upgrade(self.url)
        self.engine = open_engine(self.url)
        self.clock = SystemClock()
        self.vault = KeyVault(folder / "kek.bin")
        values = {"timeout": 0.3, "retries": 0, "backoff": 5} | snmp
        self.settings: Settings = SETTINGS.model_copy(update={"snmp": SETTINGS.snmp.model_copy(update=values)})
        self.menus: list[str] = []
        self.offering = Offering()
        self.version = tariff()
        self.write(add_customer)

    def write(self, operation: Callable[[Connection], T]) -> T:
        return transact(self.engine, operation)

    def credential(self, name: str, credential: Credential) -> None:
        self.write(lambda c: store_credential(c, self.vault, name, credential, self.clock.now()))

    def device(self, terminal: str, port: int, credential: str, *counters: str, **facts: Any) -> None:
        new = NewDevice(
            terminal, facts.pop("host", "127.0.0.1"), credential, "acc-1", port, [parse_counter(c) for c in counters],
            **facts,
        )  # fmt: skip
        self.write(lambda c: add_device(c, new, self.clock.now() - timedelta(seconds=1)))

    def rows(self, model: type[SQLModel]) -> list[Any]:
        with self.engine.connect() as connection:
            return list(connection.execute(select(table(model))))

    def shown(self, terminal: str) -> Any:
        """The device's row."""
        with self.engine.connect() as connection:
            return connection.execute(select(table(Device)).where(table(Device).c.terminal_id == terminal)).one()

    def polling(self, use: Callable[[Manager], Awaitable[T]]) -> T:
        """What ``use`` makes of a manager that works."""

        async def run() -> T:
            store = Store(self.url, _Reactor(asyncio.get_running_loop()))
            book = TariffBook([Tariff("games", {}, (self.version,))])
            tariffs = TariffVersions(lambda: book)
            grants = UsageGrants(tariffs, SIGNING, self.settings)
            metering = DeviceMetering(tariffs, grants, SIGNING, self.settings.operator.zone)
            manager = Manager(
                self.settings, store, self.clock, self.offering, metering, lambda: self.vault,
                node="snmp-test", on_menu=self.menus.append,
            )  # fmt: skip
            await manager.start()
            try:
                return await use(manager)
            finally:
                await manager.stop()
                store.close()

        return asyncio.run(asyncio.wait_for(run(), 60))

    async def until(self, seen: Callable[[], bool], seconds: float = 10.0) -> None:
        """Wait for something to have happened. Raises ``TimeoutError``."""
        async with asyncio.timeout(seconds):
            while not seen():
                await asyncio.sleep(0.02)
