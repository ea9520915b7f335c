"""Counters at the end of a billing period: read at the cut-over, charged in the month in which they counted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from counting_samples import AGREED, add_installation
from snmp_devices import ACCESS, COMMUNITY, GATEWAY
from snmp_operator import PollingHouse
from sqlalchemy import update

from operator_server.snmp.manager import Manager
from operator_server.snmp.metering import CLOSES, closed, next_cut_over
from operator_server.store.accounting import Charge
from operator_server.store.dealings import Installation
from operator_server.store.devices import DeviceSample
from operator_server.store.rows import table
from signalling.clock import SettableClock
from terminal_sim.snmp_agent import Agent, Device, Interface, Tree

BERLIN = ZoneInfo("Europe/Berlin")
NOVEMBER = datetime(2026, 10, 31, 23, 0, tzinfo=UTC)
"""The month begins an hour before it does in Greenwich."""


def test_the_first_reading_close_behind_the_end_closes_the_period() -> None:
    before, second = NOVEMBER - timedelta(minutes=5), timedelta(seconds=1)
    assert closed(before, NOVEMBER, BERLIN) == NOVEMBER
    assert closed(before, NOVEMBER + CLOSES, BERLIN) == NOVEMBER
    assert closed(before, NOVEMBER + CLOSES + second, BERLIN) is None
    assert closed(NOVEMBER, NOVEMBER + second, BERLIN) is None
    assert closed(before, NOVEMBER - second, BERLIN) is None


def test_the_cut_over_is_the_end_of_the_month_in_the_operators_zone() -> None:
    assert next_cut_over(NOVEMBER - timedelta(seconds=1), BERLIN) == NOVEMBER
    assert next_cut_over(NOVEMBER, BERLIN) == datetime(2026, 11, 30, 23, 0, tzinfo=UTC)


class Months:
    """A gateway polled by a simulated clock, from before the end of September on."""

    def __init__(self, folder: Path) -> None:
        self.house = PollingHouse(folder)
        self.house.credential("v2", COMMUNITY)
        self.house.clock = self.clock = SettableClock(NOVEMBER - timedelta(hours=2))
        self.gateway = Device(GATEWAY, [Interface("eth0")], clock=lambda: self.clock.micros() / 1e6)

    def polled_at(self, *instants: datetime, octets: int) -> None:
        """Let the clock stand at these instants, in which the gateway counts, and wait for a reading at each."""
        house = self.house

        async def use(manager: Manager) -> None:
            agent = Agent(Tree(self.gateway.objects()), ACCESS)
            port = await agent.listen("127.0.0.1", 0)
            house.device("T-1", port, "v2", "uses=ifHCInOctets.1/1000", poll_seconds=3_600)
            house.write(lambda c: add_installation(c, house.version, state="installed"))
            house.write(lambda c: c.execute(update(table(Installation)).values(installed_at=AGREED)))
            await house.until(lambda: self._read(1))
            for count, instant in enumerate(instants, 2):
                self.gateway.interfaces[0].octets_in += octets
                self.clock.set(instant)
                await house.until(lambda count=count: self._read(count))  # type: ignore[misc]  # bound to this turn
            agent.close()

        house.polling(use)

    def _read(self, count: int) -> bool:
        return len(self.house.rows(DeviceSample)) == count and self.house.shown("T-1").next_poll_at > self.clock.now()

    def charged(self) -> dict[str, int]:
        """Units by month."""
        found: dict[str, int] = {}
        for row in self.house.rows(Charge):
            found[row.period] = found.get(row.period, 0) + row.quantity
        return found


@pytest.fixture
def months(tmp_path: Path) -> Months:
    return Months(tmp_path)


def test_a_counter_is_read_at_the_end_of_the_month_and_its_use_stays_in_that_month(months: Months) -> None:
    start = NOVEMBER - timedelta(hours=2)
    months.polled_at(start + timedelta(minutes=70), NOVEMBER, NOVEMBER + timedelta(hours=1), octets=7_000)
    # The third poll is due ten minutes after the month's end; it came at the end itself.
    assert [row.at for row in months.house.rows(DeviceSample)][2] == NOVEMBER
    assert months.charged() == {"2026-10": 14, "2026-11": 7}


def test_a_reading_that_comes_too_late_for_the_month_belongs_to_the_next(months: Months) -> None:
    months.polled_at(NOVEMBER + timedelta(minutes=30), octets=7_000)
    assert months.charged() == {"2026-11": 7}


def test_a_device_that_fails_is_tried_again_at_the_end_of_the_month(tmp_path: Path) -> None:
    house = PollingHouse(tmp_path, backoff=3_000)
    house.credential("v2", COMMUNITY)
    house.clock = SettableClock(NOVEMBER - timedelta(minutes=10))
    house.device("gw-1", 9, "v2", "mib=ifHCInOctets.1")
    house.device("gw-2", 9, "v2")

    async def use(manager: Manager) -> None:
        await house.until(lambda: house.shown("gw-1").failures == house.shown("gw-2").failures == 1)

    house.polling(use)
    assert house.shown("gw-1").next_poll_at == NOVEMBER
    assert house.shown("gw-2").next_poll_at > NOVEMBER
