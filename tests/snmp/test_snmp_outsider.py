"""What an operator meets with devices that are not as they were said to be: the text that stands with each device."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from counting_samples import AGREED
from snmp_devices import ACCESS, COMMUNITY, USER, Babbling, datagrams, device_tree
from snmp_operator import PollingHouse
from sqlalchemy import update

from operator_server.snmp.credentials import Community, User
from operator_server.snmp.manager import Manager
from operator_server.store.devices import Device
from operator_server.store.rows import table
from terminal_sim.snmp_agent import Agent

ENGINES = (bytes.fromhex("80001f88040a"), bytes.fromhex("80001f88040b"))


@pytest.fixture
def house(tmp_path: Path) -> PollingHouse:
    made = PollingHouse(tmp_path, timeout=0.5)
    made.credential("v2", COMMUNITY)
    made.credential("v3", USER)
    return made


def told_of(house: PollingHouse, credential: str, listen: Callable[[], Awaitable[int]]) -> str:
    """What stands with a device after its first poll."""

    async def use(manager: Manager) -> None:
        house.device("gw-1", await listen(), credential)
        await house.until(lambda: house.shown("gw-1").failures == 1)

    house.polling(use)
    assert house.shown("gw-1").state == "failing"
    return str(house.shown("gw-1").last_error)


@pytest.mark.parametrize(
    ("credential", "told"),
    [
        (Community("guessed"), "credential wrong is the device's community"),
        (User("stranger", "auth-pass-1234", "priv-pass-1234"), "knows no user as in credential wrong"),
        (User("reader", "another-1234", "priv-pass-1234"), "refuses the authentication key of credential wrong"),
        (User("reader", "auth-pass-1234", "another-1234"), "privacy key of credential wrong"),
    ],
    ids=["community", "user", "authentication", "privacy"],
)
def test_a_credential_that_does_not_open_it(house: PollingHouse, credential: Community | User, told: str) -> None:
    house.credential("wrong", credential)
    agent = Agent(device_tree(), ACCESS)
    text = told_of(house, "wrong", lambda: agent.listen("127.0.0.1", 0))
    assert told in text
    assert not [secret for secret in ("guessed", "another-1234", "pass-1234") if secret in text]


@pytest.mark.parametrize("answer", [b"\x30\x82\xff\xff\x02\x01", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_an_answer_that_is_no_message(house: PollingHouse, answer: bytes) -> None:
    assert "answers with what is no SNMP message" in told_of(house, "v2", lambda: datagrams(Babbling(answer)))


def test_where_another_engine_answers_the_device_is_read_again_after_one_failure(house: PollingHouse) -> None:
    """An agent that lost its persistent file has another engine id, and so has a device in the place of another."""

    async def use(manager: Manager) -> None:
        first = Agent(device_tree(), ACCESS, ENGINES[0])
        port = await first.listen("127.0.0.1", 0)
        house.device("gw-1", port, "v3")
        await house.until(lambda: bool(house.menus))
        first.close()
        second = Agent(device_tree(), ACCESS, ENGINES[1])
        await second.listen("127.0.0.1", port)
        due = update(table(Device)).values(next_poll_at=AGREED, trigger="logon")
        house.write(lambda c: c.execute(due))
        await house.until(lambda: house.shown("gw-1").failures == 1)
        house.write(lambda c: c.execute(due))
        await house.until(lambda: len(house.menus) == 2)
        second.close()

    house.polling(use)
    assert house.shown("gw-1").last_error == ""
