"""Devices that snmpsim plays from recordings: kinds that nobody here owns, odd ones among them."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from snmp_peers import free_port, process, until

from operator_server.snmp.credentials import Community
from operator_server.snmp.mapping import Mapped
from operator_server.snmp.polling import Counter, Polled, interrogate, read_counters
from operator_server.snmp.session import Scope, SnmpFault, Target, Timing
from operator_server.snmp.walk import Limits
from operator_server.snmp.window import Window
from signalling.clock import SystemClock

pytestmark = pytest.mark.peer

RECORDINGS = Path(__file__).parent / "recordings"
MANY = 100_000
COUNTER = Counter.read({"counter": "mib", "oid": "1.3.6.1.2.1.31.1.1.1.6.2", "unit_octets": 2**20})
T = TypeVar("T")


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Where the recordings answer, each under the community of its name."""
    responder = shutil.which("snmpsim-command-responder", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if responder is None:
        pytest.skip("snmpsim is not installed (pip install snmpsim pysmi)")
    folder = tmp_path_factory.mktemp("snmpsim")
    data = folder / "data"
    shutil.copytree(RECORDINGS, data)
    rows = "".join(f"1.3.6.1.2.1.25.6.3.1.2.{row}|4|package-{row}_1.{row}_all\n" for row in range(1, MANY + 1))
    (data / "huge.snmprec").write_text("1.3.6.1.2.1.1.1.0|4|Huge\n" + rows)
    (data / "slow.snmprec").write_text(
        "1.3.6.1.2.1.1.1.0|4|Slow\n"
        + "".join(f"1.3.6.1.2.1.25.6.3.1.2.{row}|4:delay|value=p{row}_1_all,wait=40\n" for row in range(1, 200))
    )
    found, log = free_port(), folder / "log"
    command = [
        responder, f"--data-dir={data}", f"--cache-dir={folder / 'cache'}", f"--agent-udpv4-endpoint=127.0.0.1:{found}",
        *(["--process-user=root", "--process-group=root"] if os.getuid() == 0 else []),
    ]  # fmt: skip
    with process(command, log, cwd=folder):
        until(lambda: "Listening at" in log.read_text(errors="replace"), log, 60)
        yield found


def polled(port: int, recording: str, use: Callable[[Scope, Target], Awaitable[T]]) -> T:
    async def run() -> T:
        scope = Scope("recordings", Community(recording), Window(16), Timing(10, 2))
        try:
            return await use(scope, await scope.target("127.0.0.1", port))
        finally:
            scope.close()

    return asyncio.run(run())


async def configuration(scope: Scope, target: Target) -> Mapped:
    return await interrogate(scope, target, Limits(rows=1_000, seconds=8), {}, patient=True)


async def counters(scope: Scope, target: Target) -> Polled:
    return await read_counters(scope, target, [COUNTER], SystemClock())


def test_a_gateway_gives_model_and_firmware_and_nothing_of_its_own(port: int) -> None:
    found = polled(port, "gateway", configuration).configuration
    assert found.hardware["model"] == "GW-20"
    assert found.hardware["manufacturer"] == "Nordwerk"
    assert found.hardware["memory_mib"] == "256"
    assert found.firmware == {"system": "Nordwerk GW-20 broadband gateway, firmware 7.3.1", "modem": "4.12"}
    assert not [each for each in ("SN-88217", "gw-kiel-17", "noc@example.net") if each in str(found)]
    [(_, reading)] = polled(port, "gateway", counters).readings.values()
    assert (reading.raw, reading.uptime, reading.speed) == (2**64 - 616, 9_920_011, 10**9)


def test_wrong_types_leave_what_is_sound(port: int) -> None:
    mapped = polled(port, "wrong-types", configuration)
    assert mapped.configuration.base_software["busybox"] == "1.36.1-9"
    assert mapped.configuration.hardware == {}
    assert polled(port, "wrong-types", counters).notes == [
        "counter mib: the device has no number under 1.3.6.1.2.1.31.1.1.1.6.2"
    ]
    assert len(mapped.configuration.code()) == 32


def test_a_device_without_tables_has_a_configuration(port: int) -> None:
    mapped = polled(port, "bare", configuration)
    assert (mapped.configuration.firmware, mapped.notes) == ({"system": "Switch"}, [])


def test_a_hundred_thousand_rows_are_cut_short_and_told(port: int) -> None:
    mapped = polled(port, "huge", configuration)
    assert len(mapped.configuration.base_software) == 1_000
    assert "hrSWInstalled: cut short at 1000 rows" in mapped.notes


def test_slow_answers_end_with_the_time_that_is_allowed(port: int) -> None:
    async def brief(scope: Scope, target: Target) -> Mapped:
        return await interrogate(scope, target, Limits(seconds=1.5), {}, patient=True)

    start = time.monotonic()
    mapped = polled(port, "slow", brief)
    assert time.monotonic() - start < 10
    assert any("1.5 s" in note for note in mapped.notes)


def test_a_community_without_a_recording_is_silence(port: int) -> None:
    async def brief(_: Scope, target: Target) -> str:
        scope = Scope("recordings", Community("nobody"), Window(16), Timing(0.5, 0))
        with pytest.raises(SnmpFault) as caught:
            await scope.get(await scope.target(*target.address), [(1, 3, 6, 1, 2, 1, 1, 1, 0)])
        scope.close()
        return caught.value.kind

    assert polled(port, "bare", brief) == "silent"
