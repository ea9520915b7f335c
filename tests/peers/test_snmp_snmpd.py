"""Debian's snmpd as a terminal: interrogated by SNMPv2c and v3, its packages the software, its octets counted."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from snmp_peers import COMMUNITY, TRAP_PAUSE, V2, V3, Operator, snmp, snmpd

from operator_server.offering.live import read_configuration
from operator_server.store.engine import open_engine, sqlite_url
from signalling.configuration import Configuration

pytestmark = [pytest.mark.peer, pytest.mark.slow]


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with snmpd(tmp_path_factory.mktemp("agent")) as port:
        yield port


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    operator = Operator(tmp_path_factory.mktemp("operator"))
    with operator.serving():
        yield operator


@pytest.fixture(scope="module")
def notified(tmp_path_factory: pytest.TempPathFactory, port: int) -> Iterator[Operator]:
    """An operator with one device, so that a notification from this machine is that device's."""
    operator = Operator(tmp_path_factory.mktemp("notified"))
    operator.add("gw-1", port, "v3")
    with operator.serving():
        yield operator


def configuration(operator: Operator, terminal: str) -> Configuration:
    code = bytes.fromhex(operator.shown(terminal)["code"])
    with open_engine(sqlite_url(operator.folder / "var" / "tollgate.sqlite")).connect() as connection:
        return read_configuration(connection, code)


def test_its_package_list_becomes_the_terminals_software(operator: Operator, port: int, tmp_path: Path) -> None:
    operator.add("gw-2", port, "v2")
    operator.add("gw-3", port, "v3", "--counter", "mib=ifHCInOctets.1")
    answered = "SELECT DISTINCT terminal_id FROM interrogation WHERE outcome = 'answered'"
    operator.until(lambda: {("gw-2",), ("gw-3",)} <= set(operator.query(answered)))
    # One machine asked in two ways is one configuration.
    assert operator.shown("gw-2")["code"] == operator.shown("gw-3")["code"]
    found = configuration(operator, "gw-3")
    assert found.hardware["object_id"].startswith("1.3.6.1.4.1.8072.3.2.")
    assert int(found.hardware["memory_mib"]) > 0
    walked = snmp(tmp_path, "snmpbulkwalk", *V2, "-On", f"127.0.0.1:{port}", "1.3.6.1.2.1.25.6.3.1.2")
    names = set(re.findall(r'STRING: "([^"]+)"', walked))
    assert len(names) > 50
    assert {name.rsplit("_", 2)[0] for name in names if name.count("_") >= 2} == found.base_software.keys()
    if shutil.which("dpkg-query"):
        version = subprocess.run(
            ["dpkg-query", "-W", "-f", "${Version}", "snmpd"], capture_output=True, text=True, check=True
        ).stdout
        assert found.base_software["snmpd"] == version
    [reading] = operator.shown("gw-3")["readings"]
    assert (reading["counter"], reading["resets"], reading["gaps"]) == ("mib", 0, 0)
    assert operator.shown("gw-3")["last_error"] == ""


def test_a_wrong_community_user_and_key_are_errors_on_their_devices(operator: Operator, port: int) -> None:
    operator.run("device", "credential", "add", "guess", stdin="guessed-community\n")
    operator.run(
        "device", "credential", "add", "stranger", "--user", "stranger", stdin="long-enough-1\nlong-enough-2\n"
    )
    operator.run("device", "credential", "add", "badkey", "--user", "tollgate", stdin="not-its-key-1\nnot-its-key-2\n")
    for credential in ("v3", "guess", "stranger", "badkey"):
        operator.add(f"gw-{credential}", port, credential)
    polled = "SELECT 1 FROM device WHERE terminal_id = 'gw-v3' AND last_polled_at IS NOT NULL"
    operator.until(lambda: operator.query(polled))
    operator.until(lambda: len(operator.query("SELECT 1 FROM device WHERE last_error <> ''")) == 3)
    assert operator.shown("gw-v3")["last_error"] == ""
    assert "is the device's community" in operator.shown("gw-guess")["last_error"]
    assert "knows no user as in credential stranger" in operator.shown("gw-stranger")["last_error"]
    assert "refuses the authentication key of credential badkey" in operator.shown("gw-badkey")["last_error"]
    told = operator.log.read_text() + str(operator.query("SELECT * FROM event"))
    assert not [secret for secret in ("guessed-community", "not-its-key", COMMUNITY) if secret in told]


@pytest.mark.parametrize(
    ("program", "access", "trap"),
    [
        ("snmptrap", V2, "1.3.6.1.6.3.1.1.5.1"),
        ("snmpinform", V2, "1.3.6.1.6.3.1.1.5.4"),
        ("snmptrap", [*V3, "-e", "0x80001f8880e9630000d61ff449"], "1.3.6.1.6.3.1.1.5.2"),
        ("snmpinform", V3, "1.3.6.1.6.3.1.1.5.1"),
    ],
    ids=["trap-v2c", "inform-v2c", "trap-v3", "inform-v3"],
)
def test_a_notification_is_a_logon(
    notified: Operator, port: int, tmp_path: Path, program: str, access: list[str], trap: str
) -> None:
    def asked() -> list[tuple[str, str]]:
        return notified.query("SELECT trigger, outcome FROM interrogation ORDER BY id")

    before = notified.until(asked)
    time.sleep(TRAP_PAUSE)
    # An inform that nobody answers makes snmpinform fail.
    snmp(tmp_path, program, *access, "-t", "3", f"127.0.0.1:{notified.traps}", "", trap)
    notified.until(lambda: len(asked()) > len(before))
    assert asked() == [*before, ("logon", "answered")]
