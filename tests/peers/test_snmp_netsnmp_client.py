"""net-snmp's own tools read our agent and our MIB without complaint."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from snmp_peers import AUTH, PRIV, USER, V3, free_port, net_snmp, process, program, snmp, until

pytestmark = pytest.mark.peer

ROOT = Path(__file__).parents[2]
PROFILE = ROOT / "configs" / "terminals" / "home-gateway.toml"


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[str]:
    """Where our agent answers."""
    port, log = free_port(), tmp_path / "agent.log"
    (tmp_path / "secrets").write_text(f"{AUTH}\n{PRIV}\n")
    command = [
        sys.executable, "-c", "from terminal_sim.cli import main; main()", "snmp-agent", "--profile", str(PROFILE),
        "--port", str(port), "--interface", "eth0:100:125000:40000", "--user", USER,
        "--secret-file", str(tmp_path / "secrets"),
    ]  # fmt: skip
    with process(command, log, cwd=ROOT):
        until(lambda: "answering SNMP" in log.read_text(errors="replace"), log)
        yield f"127.0.0.1:{port}"


def test_a_walk_goes_through_everything_in_order_and_ends(agent: str, tmp_path: Path) -> None:
    lines = snmp(tmp_path, "snmpwalk", *V3, "-On", agent, "1.3.6.1").splitlines()
    oids = [tuple(map(int, line.split(" ")[0].lstrip(".").split("."))) for line in lines if line.startswith(".")]
    assert len(oids) > 40
    assert oids == sorted(oids)
    bulk = snmp(tmp_path, "snmpbulkwalk", *V3, "-On", agent, "1.3.6.1.2.1.25.6.3.1.2")
    assert re.findall('STRING: "([^"]+)"', bulk) == ["busybox 1.36.1"]


def test_octets_run_at_the_rate_that_was_set(agent: str, tmp_path: Path) -> None:
    def octets() -> int:
        line = snmp(tmp_path, "snmpget", *V3, "-Oqv", agent, "1.3.6.1.2.1.31.1.1.1.6.1")
        return int(line)

    first = octets()
    until(lambda: octets() > first + 125_000, tmp_path / "agent.log", 15)


def test_our_mib_is_loaded_without_complaint(tmp_path: Path) -> None:
    # Debian ships no standard MIBs; base_mibs holds of them what ours imports.
    (tmp_path / "cert_indexes").mkdir()
    base, ours = Path(__file__).parent / "base_mibs", ROOT / "docs" / "mib"
    done = subprocess.run(
        [
            program("snmptranslate"), "-M", f"{base}:{ours}", "-m", "TOLLGATE-MIB", "-Pew", "-On",
            "TOLLGATE-MIB::tgItemProduct", "TOLLGATE-MIB::tgCounterValue", "TOLLGATE-MIB::tgConfigurationCode.0",
        ],
        env=net_snmp(tmp_path) | {"MIBS": "TOLLGATE-MIB"}, capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout.split() == [
        ".1.3.6.1.4.1.32473.7707.1.2.1.1.2",
        ".1.3.6.1.4.1.32473.7707.1.3.1.1.4",
        ".1.3.6.1.4.1.32473.7707.1.1.1.0",
    ]
