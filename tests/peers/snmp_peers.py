"""net-snmp's programs, and a server's role snmp as a process of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from operator_server.cli.main import app as tollgate

COMMUNITY, USER, AUTH, PRIV = "peer-tests-read", "tollgate", "peer-auth-phrase", "peer-priv-phrase"
V3 = ["-v3", "-l", "authPriv", "-u", USER, "-a", "SHA-256", "-A", AUTH, "-x", "AES", "-X", PRIV]
V2 = ["-v2c", "-c", COMMUNITY]
DOCUMENT = Path(__file__).parents[2] / "docs" / "snmp.md"
TRAP_PAUSE = 1
OPERATOR = """\
[operator]
server_id = "op.example"
name = "Operator"
address = ["Street 1"]
country = "DE"
tax_rates = {{ S = "19", R = "7", Z = "0" }}
[snmp]
timeout = 1.0
trap_port = {traps}
trap_pause = {pause}
[store]
data = "{data}"
"""


def program(name: str) -> str:
    """Where a program of net-snmp lies; a test that needs one skips without it."""
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if found is None:
        package = "snmpd" if name == "snmpd" else "snmp"
        pytest.skip(f"{name} is not installed (Debian: apt-get install {package})")
    return found


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def net_snmp(folder: Path) -> dict[str, str]:
    """The environment in which net-snmp keeps to ``folder`` and looks for no MIB."""
    return os.environ | {"MIBS": "", "SNMP_PERSISTENT_DIR": str(folder), "SNMPCONFPATH": str(folder)}


def snmp(folder: Path, name: str, *arguments: str) -> str:
    """What a program prints. Raises ``CalledProcessError``."""
    done = subprocess.run(
        [program(name), *arguments], env=net_snmp(folder), capture_output=True, text=True, timeout=30, check=True
    )
    return done.stdout


@contextmanager
def process(command: list[str], log: Path, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A program for as long as the block lasts."""
    with log.open("wb") as out:
        running = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, **options)
    try:
        yield running
    finally:
        running.terminate()
        try:
            running.wait(10)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait(10)


def until(seen: Callable[[], Any], log: Path, seconds: float = 30.0) -> Any:
    """The first true thing that ``seen`` gives."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := seen():
            return found
        time.sleep(0.1)
    raise AssertionError(f"it did not happen within {seconds:g} s:\n{log.read_text(errors='replace')[-3000:]}")


@contextmanager
def snmpd(folder: Path) -> Iterator[int]:
    """Debian's agent in the foreground on a port of its own, with the configuration that the document gives."""
    daemon, port = program("snmpd"), free_port()
    folder.mkdir(exist_ok=True)
    written = re.search(r"^```conf\n(agentaddress.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    assert written, f"{DOCUMENT} holds no snmpd.conf"
    (folder / "snmpd.conf").write_text(written[1].replace(":161", f":{port}"))
    log = folder / "snmpd.log"
    command = [daemon, "-f", "-C", "-c", str(folder / "snmpd.conf"), "-Lo", "-I", "-smux"]
    with process(command, log, env=net_snmp(folder / "persistent")):
        until(lambda: "NET-SNMP version" in log.read_text(errors="replace"), log)
        yield port


class Operator:
    """An operator with an account; its role snmp runs within :meth:`serving`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.traps = free_port()
        self.log = folder / "server.log"
        (folder / "operator.toml").write_text(OPERATOR.format(traps=self.traps, pause=TRAP_PAUSE, data=folder / "var"))
        for name in ("offers", "tariffs"):
            shutil.copytree(Path(__file__).parents[2] / "configs" / name, folder / name)
        self.run("account", "create", "A-1", "--name", "Somebody")
        self.run("device", "credential", "add", "v2", stdin=f"{COMMUNITY}\n")
        self.run("device", "credential", "add", "v3", "--user", USER, stdin=f"{AUTH}\n{PRIV}\n")

    def run(self, *arguments: str, stdin: str = "") -> str:
        """A command of ``tollgate``."""
        done = CliRunner().invoke(tollgate, [*arguments, "--config", str(self.folder)], input=stdin)
        assert done.exit_code == 0, done.output
        return done.stdout

    def add(self, terminal: str, port: int, credential: str, *more: str) -> None:
        self.run(
            "device", "add", terminal, "--host", "127.0.0.1", "--port", str(port), "--credential", credential,
            "--subscriber", "A-1", *more,
        )  # fmt: skip

    def shown(self, terminal: str) -> dict[str, Any]:
        shown: dict[str, Any] = json.loads(self.run("device", "show", terminal, "--json"))
        return shown

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with sqlite3.connect(self.folder / "var" / "tollgate.sqlite", timeout=20) as connection:
            return connection.execute(sql).fetchall()

    @contextmanager
    def serving(self) -> Iterator[None]:
        command = [sys.executable, "-m", "operator_server", "serve", "--role", "snmp", "--config", str(self.folder)]
        with process(command, self.log):
            until(lambda: "snmp: polling" in self.log.read_text(errors="replace"), self.log)
            yield

    def until(self, seen: Callable[[], Any], seconds: float = 30.0) -> Any:
        return until(seen, self.log, seconds)
