"""Polling devices: interrogations recorded as any terminal's, failures told with what to mend, nobody held up."""

from __future__ import annotations

import socket
import time
from datetime import timedelta
from pathlib import Path

import pytest
from counting_samples import AGREED, add_installation
from snmp_devices import ACCESS, COMMUNITY, GATEWAY, USER, device_tree
from snmp_operator import PollingHouse
from sqlalchemy import update

from operator_server.delivery.vault import KeyVault
from operator_server.snmp.credentials import Community
from operator_server.snmp.manager import Manager
from operator_server.snmp.records import bring_forward
from operator_server.store.accounting import Charge, CounterReportRow
from operator_server.store.configurations import ConfigurationRow, Interrogation, InterrogationOrder, Section
from operator_server.store.dealings import Installation
from operator_server.store.devices import Device, DeviceCounterReading, DeviceCredential, DeviceSample
from operator_server.store.parties import Event, TerminalSession
from operator_server.store.rows import add, table
from terminal_sim.snmp_agent import Agent, Interface, Tree
from terminal_sim.snmp_agent import Device as GatewayDevice


@pytest.fixture
def house(tmp_path: Path) -> PollingHouse:
    made = PollingHouse(tmp_path)
    made.credential("v2", COMMUNITY)
    made.credential("v3", USER)
    return made


def test_a_device_is_interrogated_and_recorded_like_any_terminal(house: PollingHouse) -> None:
    async def use(manager: Manager) -> None:
        agent = Agent(device_tree(), ACCESS)
        port = await agent.listen("127.0.0.1", 0)
        house.device("gw-1", port, "v3", "mib=ifHCInOctets.1")
        house.device("gw-2", port, "v2")
        await house.until(lambda: len(house.menus) == 2)
        agent.close()

    house.polling(use)
    first, second = house.rows(Interrogation)
    assert {first.terminal_id, second.terminal_id} == {"gw-1", "gw-2"}
    assert (first.outcome, first.trigger, first.changed) == (
        "answered", "logon", "hardware,firmware,base_software,catalogue_items",
    )  # fmt: skip
    assert first.shown == "voice@1 for acc-1"
    # Two devices of one kind: one configuration, four sections, one class.
    assert first.code == second.code == house.rows(ConfigurationRow)[0].code
    assert len(house.rows(Section)) == 4
    assert len(house.offering.known) == 1
    assert [row.code for row in house.rows(TerminalSession)] == [first.code, first.code]
    assert {row.kind for row in house.rows(Event)} >= {"device_added", "interrogated"}
    [reading] = house.rows(DeviceCounterReading)
    assert (reading.counter, reading.last_raw) == ("mib", "0")


def test_an_order_of_a_person_is_followed(house: PollingHouse) -> None:
    async def use(manager: Manager) -> None:
        agent = Agent(device_tree(), ACCESS)
        house.device("gw-1", await agent.listen("127.0.0.1", 0), "v2")
        await house.until(lambda: bool(house.menus))
        now = house.clock.now()
        house.write(lambda c: add(c, InterrogationOrder(id="order-1", terminal_id="gw-1", ordered_at=now)))
        await house.until(lambda: house.rows(InterrogationOrder)[0].state != "open")
        agent.close()

    house.polling(use)
    [order] = house.rows(InterrogationOrder)
    assert order.state == "done"
    assert [row.trigger for row in house.rows(Interrogation)] == ["logon", "manual"]


def test_a_trap_brings_an_interrogation_forward(house: PollingHouse) -> None:
    async def use(manager: Manager) -> None:
        agent = Agent(device_tree(), ACCESS)
        house.device("gw-1", await agent.listen("127.0.0.1", 0), "v2")
        await house.until(lambda: bool(house.menus))
        now = house.clock.now()
        house.write(lambda c: bring_forward(c, {"gw-1": now}, "logon", now))
        await house.until(lambda: len(house.menus) == 2)
        agent.close()

    house.polling(use)
    assert [row.changed for row in house.rows(Interrogation)][1] == ""


def test_a_device_that_cannot_be_read_says_what_to_mend_and_is_tried_less_often(house: PollingHouse) -> None:
    house.credential("wrong", Community("not-its-community"))

    async def use(manager: Manager) -> None:
        agent = Agent(device_tree(), ACCESS)
        house.device("gw-1", await agent.listen("127.0.0.1", 0), "wrong")
        await house.until(lambda: house.shown("gw-1").failures == 1)
        agent.close()

    house.polling(use)
    row = house.shown("gw-1")
    assert row.state == "failing"
    assert "credential wrong is the device's community" in row.last_error
    assert "not-its-community" not in row.last_error
    assert 4 <= (row.next_poll_at - row.last_error_at).total_seconds() <= 7
    [outcome] = house.rows(Interrogation)
    assert (outcome.outcome, outcome.code) == ("no_answer", None)
    assert "not-its-community" not in str(house.rows(Event))


def test_a_device_that_answers_again_is_active_at_once(house: PollingHouse) -> None:
    async def use(manager: Manager) -> None:
        agent = Agent(device_tree(), ACCESS)
        house.device("gw-1", await agent.listen("127.0.0.1", 0), "v2")
        failed = update(table(Device)).values(failures=9, state="failing", last_error="it was silent")
        house.write(lambda c: c.execute(failed))
        await house.until(lambda: bool(house.menus))
        agent.close()

    house.polling(use)
    row = house.shown("gw-1")
    assert (row.state, row.failures, row.last_error) == ("active", 0, "")
    assert "device_answers" in {each.kind for each in house.rows(Event)}


def test_three_hundred_dead_devices_do_not_slow_the_others(tmp_path: Path) -> None:
    house = PollingHouse(tmp_path, timeout=2.0, window=8)
    house.credential("v2", COMMUNITY)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as dead:
        dead.bind(("127.0.0.1", 0))
        for number in range(300):
            house.device(f"dead-{number:03}", dead.getsockname()[1], "v2")

        async def use(manager: Manager) -> float:
            agent = Agent(device_tree(), ACCESS)
            port = await agent.listen("127.0.0.1", 0)
            await house.until(lambda: len(manager._polls) > 200)
            house.device("gw-1", port, "v2")
            start = time.monotonic()
            await house.until(lambda: bool(house.menus), 20)
            agent.close()
            return time.monotonic() - start

        # One after another in a window of eight they would take 75 s.
        assert house.polling(use) < 15


def test_a_credential_that_cannot_be_opened_is_told_with_the_device(house: PollingHouse, tmp_path: Path) -> None:
    house.device("gw-1", 9, "v2")
    other = KeyVault(tmp_path / "other.bin").seal(b"x", "y")
    house.write(lambda c: c.execute(update(table(DeviceCredential)).values(sealed=other)))

    async def use(manager: Manager) -> None:
        await house.until(lambda: house.shown("gw-1").failures == 1)

    house.polling(use)
    assert "restore the key file" in house.shown("gw-1").last_error


def test_a_paused_device_is_left_alone(house: PollingHouse) -> None:
    house.device("gw-1", 9, "v2")
    house.write(lambda c: c.execute(update(table(Device)).values(state="paused", next_poll_at=None)))

    async def use(manager: Manager) -> None:
        await manager.look()
        assert not manager._polls

    house.polling(use)
    assert house.rows(Interrogation) == []


def test_what_brings_a_poll_forward_makes_it_an_interrogation_and_never_delays_it(house: PollingHouse) -> None:
    house.device("soon", 9, "v2")
    house.device("late", 9, "v2")
    house.device("paused", 9, "v2")
    now = house.clock.now()
    device = table(Device)
    late = update(device).where(device.c.terminal_id == "late").values(next_poll_at=now + timedelta(days=1))
    house.write(lambda c: c.execute(late))
    house.write(lambda c: c.execute(update(device).values(trigger="interval")))
    paused = update(device).where(device.c.terminal_id == "paused").values(state="paused", next_poll_at=None)
    house.write(lambda c: c.execute(paused))
    before = house.shown("soon").next_poll_at
    at = now + timedelta(minutes=5)
    house.write(lambda c: bring_forward(c, dict.fromkeys(["soon", "late", "paused"], at), "calendar", now))
    assert (house.shown("soon").next_poll_at, house.shown("soon").trigger) == (before, "calendar")
    assert (house.shown("late").next_poll_at, house.shown("late").trigger) == (at, "calendar")
    assert house.shown("paused").next_poll_at is None


def test_use_on_a_device_is_charged_from_poll_to_poll(tmp_path: Path) -> None:
    house = PollingHouse(tmp_path)
    house.credential("v2", COMMUNITY)
    shown = GatewayDevice(GATEWAY, [Interface("eth0")])

    async def use(manager: Manager) -> None:
        agent = Agent(Tree(shown.objects()), ACCESS)
        house.device("T-1", await agent.listen("127.0.0.1", 0), "v2", "uses=ifHCInOctets.1/1000", poll_seconds=5)
        house.write(lambda c: add_installation(c, house.version, state="installed"))
        house.write(lambda c: c.execute(update(table(Installation)).values(installed_at=AGREED)))
        due = update(table(Device)).values(next_poll_at=AGREED)

        async def poll() -> None:
            count = len(house.rows(DeviceSample))
            house.write(lambda c: c.execute(due))
            await house.until(lambda: len(house.rows(DeviceSample)) > count)

        await house.until(lambda: len(house.rows(DeviceSample)) == 1)
        await poll()
        shown.interfaces[0].octets_in += 25_000
        await poll()
        shown.interfaces[0].octets_in = 3_000  # It was started anew.
        await poll()
        await house.until(lambda: sum(row.quantity for row in house.rows(Charge)) == 28)
        agent.close()

    house.polling(use)
    # Ten uses a month are included, five cents each after that.
    assert sum(row.net for row in house.rows(Charge)) == 18 * 50_000
    assert {row.status for row in house.rows(CounterReportRow)} == {"accepted"}
