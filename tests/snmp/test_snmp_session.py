"""Asking real sockets: values come plain, and whatever fails is told with what to mend."""

from __future__ import annotations

import os

import pytest
from pysnmp.proto import rfc1902
from snmp_devices import (
    ACCESS,
    COMMUNITY,
    GATEWAY,
    USER,
    Babbling,
    Looping,
    Slow,
    datagrams,
    device_tree,
    names,
    with_agent,
    with_port,
)

from operator_server.snmp.credentials import Community, Credential, User
from operator_server.snmp.mapping import Mapped
from operator_server.snmp.polling import Counter, interrogate, read_counters
from operator_server.snmp.session import Scope, SnmpFault, Target, Timing, Value
from operator_server.snmp.walk import Limits
from signalling.clock import SystemClock
from terminal_sim.snmp_agent import Agent, Device, Tree

SYS_DESCR, ABSENT = names(["1.3.6.1.2.1.1.1.0", "1.3.6.1.99.1"])


async def described(scope: Scope, target: Target) -> list[Value]:
    return await scope.get(target, [SYS_DESCR, ABSENT])


async def configuration(scope: Scope, target: Target) -> Mapped:
    return await interrogate(scope, target, Limits(rows=500, seconds=5), {}, patient=False)


async def fault(scope: Scope, target: Target) -> SnmpFault:
    with pytest.raises(SnmpFault) as caught:
        await scope.get(target, [SYS_DESCR])
    return caught.value


@pytest.mark.parametrize("credential", [COMMUNITY, USER])
def test_values_come_without_types_and_what_is_absent_as_none(credential: Credential) -> None:
    value, absent = with_agent(described, credential=credential)
    assert value == b"GW-10, Tollgate terminal simulator"
    assert absent is None


def test_a_device_of_ours_gives_its_configuration_back() -> None:
    mapped = with_agent(configuration, credential=USER)
    got = mapped.configuration
    assert got.base_software == GATEWAY.base_software
    assert got.catalogue_items == GATEWAY.catalogue_items
    assert got.firmware["modem"] == "4.2"
    assert (got.hardware["model"], got.hardware["memory_mib"]) == ("GW-10", "512")
    assert "SN-000001" not in str(got)
    assert mapped.notes == []


def test_counters_are_read_with_what_tells_resets() -> None:
    device = Device(GATEWAY, began=0.0, clock=lambda: 60.0)
    device.interfaces[0].octets_in = 2**40
    counter = Counter.read({"counter": "mib", "oid": "1.3.6.1.2.1.31.1.1.1.6.1", "unit_octets": 2**20})

    async def read(scope: Scope, target: Target) -> object:
        return (await read_counters(scope, target, [counter], SystemClock())).readings

    [(_, reading)] = with_agent(read, Tree(device.objects())).values()  # type: ignore[attr-defined]  # a mapping by device
    assert (reading.raw, reading.uptime, reading.speed, reading.discontinuity) == (2**40, 6_000, 1_000_000_000, 0)


def test_a_number_that_is_none_is_told() -> None:
    counter = Counter.read({"counter": "mib", "oid": "1.3.6.1.2.1.1.1.0"})

    async def read(scope: Scope, target: Target) -> list[str]:
        return (await read_counters(scope, target, [counter], SystemClock())).notes

    assert with_agent(read) == ["counter mib: the device has no number under 1.3.6.1.2.1.1.1.0"]


def test_a_wrong_community_is_silence_and_says_what_to_look_at() -> None:
    told = with_agent(fault, credential=Community("wrong"), timing=Timing(0.3, 0))
    assert told.kind == "silent"
    assert "credential readers is the device's community" in str(told)
    assert "wrong'" not in str(told)


def test_an_unknown_user_and_a_wrong_key_are_told_apart() -> None:
    unknown = with_agent(fault, credential=User("nobody", "auth-pass-1234", "priv-pass-1234"))
    wrong = with_agent(fault, credential=User("reader", "auth-pass-0000", "priv-pass-1234"))
    assert (unknown.kind, wrong.kind) == ("credential", "credential")
    assert "knows no user" in str(unknown)
    assert "authentication key" in str(wrong)
    assert "auth-pass" not in str(wrong)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x30\x82\xff\xff\x02\x01\x01"])
def test_what_is_no_snmp_message_is_told(answer: bytes) -> None:
    async def babble() -> int:
        return await datagrams(Babbling(answer))

    told = with_port(babble, fault)
    assert told.kind == "malformed"
    assert "no SNMP message" in str(told)


def test_random_answers_end_nothing() -> None:
    async def noise() -> int:
        return await datagrams(Babbling(b"\x30\x40" + os.urandom(64)))

    assert with_port(noise, fault).kind in ("malformed", "silent")


def test_a_loop_in_a_table_is_noticed_and_the_rest_is_read() -> None:
    mapped = with_agent(configuration, Looping(device_tree().objects))
    assert any("does not ascend" in note for note in mapped.notes)
    assert mapped.configuration.base_software == GATEWAY.base_software
    assert mapped.configuration.catalogue_items == {"chess": "1.0"}


def test_wrong_types_are_left_out_and_told() -> None:
    objects = dict(device_tree().objects)
    objects[(1, 3, 6, 1, 2, 1, 25, 6, 3, 1, 2, 1)] = rfc1902.Integer32(5)
    objects[(1, 3, 6, 1, 2, 1, 25, 2, 2, 0)] = rfc1902.OctetString(b"much")
    mapped = with_agent(configuration, Tree(objects))
    assert len(mapped.configuration.base_software) == len(GATEWAY.base_software) - 1
    assert "memory_mib" not in mapped.configuration.hardware
    assert any("left out" in note for note in mapped.notes)


def test_missing_tables_are_empty() -> None:
    only_system = {oid: value for oid, value in device_tree().objects.items() if oid[:7] == (1, 3, 6, 1, 2, 1, 1)}
    mapped = with_agent(configuration, Tree(only_system))
    assert mapped.configuration.base_software == {}
    assert mapped.configuration.hardware["object_id"]


def test_a_hundred_thousand_rows_are_cut_short() -> None:
    class Endless(Tree):
        def following(self, name: tuple[int, ...]) -> tuple[object, object]:
            installed = (1, 3, 6, 1, 2, 1, 25, 6, 3, 1, 2)
            row = name[11] if name[:11] == installed and len(name) == 12 else 0
            if name[:11] != installed or row >= 100_000:
                return super().following(name)
            return rfc1902.ObjectName((*installed, row + 1)), rfc1902.OctetString(f"p{row}_1_all".encode())

    mapped = with_agent(configuration, Endless(device_tree().objects))
    assert len(mapped.configuration.base_software) == 500
    assert "hrSWInstalled: cut short at 500 rows" in mapped.notes


def test_slow_answers_are_waited_for_no_longer_than_allowed() -> None:
    async def listen() -> int:
        agent = Agent(device_tree(), ACCESS)
        return await datagrams(Slow(await agent.listen("127.0.0.1", 0), 0.25))

    async def brief(scope: Scope, target: Target) -> Mapped:
        return await interrogate(scope, target, Limits(seconds=0.5), {}, patient=True)

    mapped = with_port(listen, brief, timing=Timing(2, 0))
    assert any("0.5 s" in note for note in mapped.notes)
    assert mapped.configuration.hardware["object_id"]


def test_a_host_that_has_no_address_is_told() -> None:
    async def lookup(scope: Scope, _: Target) -> str:
        with pytest.raises(SnmpFault, match="no address") as caught:
            await scope.target("no-such-host.invalid", 161)
        return caught.value.kind

    assert with_agent(lookup) == "address"
