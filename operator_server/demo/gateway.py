"""The demo's SNMP device and its user: a gateway whose octets are counted, agreed on by a link and a page.

The gateway is Debian's ``snmpd`` on this machine where that is installed, run by the user that runs the demo, with a
configuration of its own on a port of the loopback; elsewhere it is our own agent. Its counter is that of the loopback
interface, over which everything in the demo goes, and more: the user fetches some data between sessions. Our agent's
counter runs with the simulated clock.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from email import message_from_bytes
from email.policy import default as email_policy
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select

from operator_server.demo.gateway_journal import MODE, OFFER, UNIT, UNIT_OCTETS, Agreed, Sample
from operator_server.demo.world import GATEWAY_USER, World
from operator_server.devices.page_user import PageUser, link_in, over_http
from operator_server.roles.run import end_with_parent
from operator_server.snmp.credentials import User, store_credential
from operator_server.snmp.registry import NewDevice, add_device, parse_counter
from operator_server.store.devices import DeviceSample
from operator_server.store.rows import table
from operator_server.store.store import transact

GATEWAY = "gw-demo"
CREDENTIAL = "demo"
LIMIT = "40.00"

FETCHED = 48 * UNIT_OCTETS
"""What the user fetches at a time where the octets are real."""

_START_SECONDS = 10.0

SNMPD_CONF = """\
agentaddress udp:127.0.0.1:{port}
createUser {user} SHA-256 "{auth}" AES "{priv}"
# The machine runs by its own clock and the operator by a simulated one: when the machine began to run is not shown.
view shown included .1
view shown excluded .1.3.6.1.2.1.25.1.1
rouser {user} priv -V shown
"""


class Gateway:
    """A running agent. ``kind``: snmpd or simulated; ``fetched``: when the user fetched how many octets."""

    def __init__(self, kind: str, port: int, user: User, interface: int) -> None:
        self.kind = kind
        self.fetched: list[tuple[datetime, int]] = []
        self._port, self._user, self._interface = port, user, interface

    def attach(self, world: World) -> None:
        """Make it known to the operator, whose server takes it up while it runs."""
        now, operator = world.clock.now(), world.operator
        new = NewDevice(
            GATEWAY,
            "127.0.0.1",
            CREDENTIAL,
            GATEWAY_USER.subscriber,
            self._port,
            [parse_counter(f"{UNIT}=ifHCInOctets.{self._interface}/{UNIT_OCTETS}")],
            contact="gateway@hafenkontor.example",
            label="Gateway of the harbour office",
        )

        def attach(connection: Connection) -> None:
            store_credential(connection, operator.vault, CREDENTIAL, self._user, now)
            add_device(connection, new, now)

        transact(operator.engine, attach)

    def fetch(self, at: datetime) -> None:
        """The user fetches some data; with our own agent the counter runs by itself."""
        if self.kind == "snmpd":
            _over_loopback(FETCHED)
            self.fetched.append((at, FETCHED))


def agree(world: World) -> Agreed | None:
    """What the user does who got a link: opens it and takes the offer; ``None`` while no message is there.

    Raises :class:`operator_server.devices.page_user.PageError` and ``OSError``.
    """
    outbox = world.operator.settings.store.data / "outbox"
    messages = sorted(outbox.glob("*.eml"))
    if not messages:
        return None
    letter = message_from_bytes(messages[-1].read_bytes(), policy=email_policy)
    context = ssl.create_default_context(cafile=str(world.operator.keys.authority))
    at = world.clock.now()
    user = PageUser(over_http(world.operator.settings.page_url(), context))
    menu = user.open(link_in(letter.get_content()))
    done = user.take(menu, OFFER, MODE, LIMIT)
    return Agreed(done.path.rpartition("/")[2], at)


def samples(connection: Connection) -> list[Sample]:
    """The gateway's raw readings in their order."""
    row = table(DeviceSample)
    found = connection.execute(select(row.c.at, row.c.raw).where(row.c.terminal_id == GATEWAY).order_by(row.c.at))
    return [Sample(each.at, int(each.raw)) for each in found]


@contextmanager
def running(world: World, *, simulated: bool = False) -> Iterator[Gateway]:
    """A gateway for as long as the block lasts; ``simulated``: our own agent even where there is another."""
    user = User("demo", secrets.token_hex(12), secrets.token_hex(12))
    folder = world.folder / "gateway"
    folder.mkdir(mode=0o700)
    port = _free_port()
    process = None if simulated else _snmpd(folder, port, user)
    kind, interface = "snmpd", _loopback()
    if process is None:
        kind, interface = "simulated", 1
        process = _agent(world, folder, port, user)
    try:
        yield Gateway(kind, port, user, interface)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _snmpd(folder: Path, port: int, user: User) -> subprocess.Popen[bytes] | None:
    """Debian's agent, once it answers; ``None`` where it is not installed or does not begin."""
    program = shutil.which("snmpd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if program is None:
        return None
    settings = folder / "snmpd.conf"
    _keep(settings, SNMPD_CONF.format(port=port, user=user.user, auth=user.auth_key, priv=user.priv_key))
    environment = os.environ | {
        "MIBS": "", "SNMPCONFPATH": str(folder), "SNMP_PERSISTENT_DIR": str(folder / "persistent"),
    }  # fmt: skip
    command = [program, "-f", "-C", "-c", str(settings), "-Lo", "-I", "-smux"]
    return _begun(command, folder / "snmpd.log", "NET-SNMP version", environment)


def _agent(world: World, folder: Path, port: int, user: User) -> subprocess.Popen[bytes]:
    secret = folder / "passphrases"
    _keep(secret, f"{user.auth_key}\n{user.priv_key}\n")
    profile = world.config / "terminals" / "home-gateway.toml"
    command = [sys.executable, "-c", "from terminal_sim.cli import main; main()", "snmp-agent"]
    command += [f"--port={port}", f"--user={user.user}", f"--secret-file={secret}", "--interface=eth0:100:600:200"]
    command += [f"--clock=file:{world.folder / 'clock'}", *([f"--profile={profile}"] if profile.is_file() else [])]
    process = _begun(command, folder / "agent.log", "answering SNMP", dict(os.environ))
    if process is None:
        raise OSError(f"the SNMP agent does not start; its log is {folder / 'agent.log'}")
    return process


def _begun(command: Sequence[str], log: Path, sign: str, environment: dict[str, str]) -> subprocess.Popen[bytes] | None:
    """A process whose log says that it works."""
    demo = os.getpid()
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            preexec_fn=lambda: end_with_parent(demo),
        )  # fmt: skip
    end = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < end:
        if sign in log.read_text(encoding="utf-8", errors="replace"):
            return process
        time.sleep(0.02)
    process.kill()
    process.wait()
    return None


def _keep(path: Path, secret: str) -> None:
    path.touch(mode=0o600)
    path.write_text(secret, encoding="utf-8")


def _loopback() -> int:
    """The number of the loopback interface, which SNMP calls it by as well."""
    return next((index for index, name in socket.if_nameindex() if name.startswith("lo")), 1)


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _over_loopback(octets: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        reader = threading.Thread(target=_take, args=(server,))
        reader.start()
        block: Any = bytes(1 << 20)
        with socket.create_connection(server.getsockname()) as link:
            for _ in range(octets // len(block)):
                link.sendall(block)
        reader.join()


def _take(server: socket.socket) -> None:
    link, _ = server.accept()
    buffer = bytearray(1 << 20)
    with link:
        while link.recv_into(buffer):
            pass
