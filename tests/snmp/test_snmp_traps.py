"""Traps and informs: they bring a poll forward, at a limited rate, and prove nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pysnmp.entity import config
from pysnmp.hlapi.v3arch.asyncio import (
    CommunityData,
    ContextData,
    NotificationType,
    ObjectIdentity,
    SnmpEngine,
    UdpTransportTarget,
    UsmUserData,
    send_notification,
)
from pysnmp.proto.rfc1902 import OctetString
from snmp_devices import COMMUNITY, USER

from operator_server.snmp.traps import Sender, TrapPace, TrapReceiver, by_address

# pysnmp calls pysmi, which the recordings of devices need, by its old names.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:pysnmp")

COLD_START = "1.3.6.1.6.3.1.1.5.1"
LINK_DOWN = "1.3.6.1.6.3.1.1.5.3"
Heard = list[tuple[str, str]]


def v2c(community: str = COMMUNITY.community) -> CommunityData:
    return CommunityData(community)


def v3(auth_key: str = USER.auth_key) -> UsmUserData:
    return UsmUserData(
        USER.user, auth_key, USER.priv_key,
        authProtocol=config.USM_AUTH_HMAC192_SHA256, privProtocol=config.USM_PRIV_CFB128_AES,
    )  # fmt: skip


def heard(auth: Any, kind: str, name: str = COLD_START, known: tuple[str, ...] = ("127.0.0.1",)) -> tuple[Heard, Any]:
    """What the receiver hears of a notification, and what its sender learns."""

    async def run() -> tuple[Heard, Any]:
        events: Heard = []
        receiver = TrapReceiver(
            "127.0.0.1",
            0,
            {"v2": COMMUNITY, "v3": USER},
            lambda sender, trap: events.append((sender, trap)),
            lambda address: address in known,
        )
        port = await receiver.listening()
        engine = SnmpEngine(OctetString(hexValue="80001f8804746573742d73656e646572"))
        target = await UdpTransportTarget.create(("127.0.0.1", port), timeout=1, retries=0)
        error, *_ = await send_notification(
            engine, auth, target, ContextData(), kind, NotificationType(ObjectIdentity(name)), lookupMib=False
        )
        await asyncio.sleep(0.3)
        engine.close_dispatcher()
        receiver.close()
        return events, error

    return asyncio.run(asyncio.wait_for(run(), 20))


@pytest.mark.parametrize("kind", ["trap", "inform"])
@pytest.mark.parametrize("auth", [v2c, v3])
def test_a_start_is_heard_and_an_inform_is_answered(auth: Any, kind: str) -> None:
    events, error = heard(auth(), kind)
    assert events == [("127.0.0.1", "coldStart")]
    assert error is None


def test_a_trap_under_an_unknown_community_is_not_heard() -> None:
    assert heard(v2c("guessed"), "trap")[0] == []


def test_a_trap_of_version_3_proves_itself_and_comes_from_a_known_address() -> None:
    assert heard(v3("another-key-1"), "trap")[0] == []
    assert heard(v3(), "trap", known=())[0] == []


def test_a_trap_that_says_nothing_of_a_start_brings_nothing_about() -> None:
    assert heard(v2c(), "trap", LINK_DOWN)[0] == []


def test_however_many_traps_come_a_device_is_polled_once_in_a_pause() -> None:
    pace = TrapPace(60_000_000)
    assert pace.wish("gw-1", 1_000) == 1_000
    assert pace.wish("gw-1", 2_000) == 60_001_000
    assert [pace.wish("gw-1", instant) for instant in range(3_000, 50_000_000, 1_000_000)] == [None] * 50
    assert pace.wish("gw-2", 2_000) == 2_000


def test_devices_are_found_by_their_address_or_the_address_of_their_name() -> None:
    senders = [
        Sender("a", "192.0.2.1"),
        Sender("b", "gw.example"),
        Sender("c", "gone.example"),
        Sender("d", "192.0.2.1"),
    ]
    assert by_address(senders, {"gw.example": "192.0.2.9"}) == {"192.0.2.1": ["a", "d"], "192.0.2.9": ["b"]}
