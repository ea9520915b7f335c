"""A device's own word that nothing changed: it saves reading the tables, for a while, and is never more than a hint."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest
from pysnmp.proto.rfc1902 import OctetString, TimeTicks
from snmp_devices import ACCESS, COMMUNITY, GATEWAY
from snmp_operator import PollingHouse
from sqlalchemy import update

from operator_server.snmp.manager import HINT_AGE, HINT_POLLS, Manager
from operator_server.snmp.objects import SYS_DESCR, TG_CONFIGURATION_CODE, TG_LAST_CHANGE
from operator_server.store.configurations import Interrogation, InterrogationOrder
from operator_server.store.devices import Device
from operator_server.store.rows import add, table
from signalling.configuration import Configuration
from terminal_sim.snmp_agent import Agent, Tree
from terminal_sim.snmp_agent import Device as Gateway

INSTALLED = (1, 3, 6, 1, 2, 1, 25, 6, 3, 1, 2)
NEWER = Configuration(GATEWAY.hardware, GATEWAY.firmware, GATEWAY.base_software | {"added": "1"})


class Counting(Tree):
    """Knows how often its list of software was read."""

    walks = 0

    def following(self, name: tuple[int, ...]) -> tuple[object, object]:
        self.walks += name == INSTALLED
        return super().following(name)


class Hints:
    """A gateway that is interrogated again and again."""

    def __init__(self, folder: Path) -> None:
        self.house = PollingHouse(folder)
        self.house.credential("v2", COMMUNITY)
        self.tree = Counting(Gateway(GATEWAY).objects())

    def during(self, use: Callable[[], Awaitable[None]]) -> None:
        """``use`` while the gateway is polled; it has been interrogated once."""

        async def run(manager: Manager) -> None:
            agent = Agent(self.tree, ACCESS)
            self.house.device("gw-1", await agent.listen("127.0.0.1", 0), "v2")
            await self.house.until(lambda: len(self.house.menus) == 1)
            await use()
            agent.close()

        self.house.polling(run)

    async def ask(self, **device: object) -> None:
        """One more interrogation, as a trap brings it about."""
        count, now = len(self.house.menus), self.house.clock.now()
        wish = update(table(Device)).values(next_poll_at=now, trigger="logon", **device)
        self.house.write(lambda c: c.execute(wish))
        await self.house.until(lambda: len(self.house.menus) > count)


@pytest.fixture
def hints(tmp_path: Path) -> Hints:
    return Hints(tmp_path)


def test_what_the_device_says_is_unchanged_is_not_read_again(hints: Hints) -> None:
    async def use() -> None:
        await hints.ask()
        await hints.ask()

    hints.during(use)
    first, second, third = hints.house.rows(Interrogation)
    assert hints.tree.walks == 1
    assert first.code == second.code == third.code
    assert [row.outcome for row in (second, third)] == ["answered", "answered"]
    assert (second.changed, second.shown) == ("", "voice@1 for acc-1")
    assert hints.house.shown("gw-1").unwalked == 2


@pytest.mark.parametrize("said", [TG_CONFIGURATION_CODE, TG_LAST_CHANGE, SYS_DESCR])
def test_what_the_device_says_has_changed_is_read(hints: Hints, said: tuple[int, ...]) -> None:
    values = {
        TG_CONFIGURATION_CODE: OctetString(b"c" * 32),
        TG_LAST_CHANGE: TimeTicks(77),
        SYS_DESCR: OctetString("another"),
    }

    async def use() -> None:
        hints.tree.put(hints.tree.objects | {said: values[said]})
        await hints.ask()

    hints.during(use)
    assert hints.tree.walks == 2


def test_a_device_that_lies_is_found_out_after_some_polls(hints: Hints) -> None:
    """It shows another list of software under the code of the first."""

    async def use() -> None:
        same = {oid: hints.tree.objects[oid] for oid in (TG_CONFIGURATION_CODE, TG_LAST_CHANGE)}
        hints.tree.put(Gateway(NEWER).objects() | same)
        for _ in range(HINT_POLLS + 1):
            await hints.ask()

    hints.during(use)
    assert hints.tree.walks == 2
    assert [bool(row.changed) for row in hints.house.rows(Interrogation)] == [True, *[False] * HINT_POLLS, True]


def test_old_words_are_not_believed(hints: Hints) -> None:
    async def use() -> None:
        await hints.ask(walked_at=hints.house.clock.now() - HINT_AGE - timedelta(minutes=1))

    hints.during(use)
    assert hints.tree.walks == 2


def test_who_asks_by_hand_gets_the_whole(hints: Hints) -> None:
    async def use() -> None:
        now = hints.house.clock.now()
        hints.house.write(lambda c: add(c, InterrogationOrder(id="order-1", terminal_id="gw-1", ordered_at=now)))
        await hints.house.until(lambda: hints.house.rows(InterrogationOrder)[0].state != "open")

    hints.during(use)
    assert hints.tree.walks == 2


def test_a_device_that_computes_no_code_is_always_read(hints: Hints) -> None:
    del hints.tree.objects[TG_CONFIGURATION_CODE]
    hints.tree.put(hints.tree.objects)
    hints.during(hints.ask)
    assert hints.tree.walks == 2
