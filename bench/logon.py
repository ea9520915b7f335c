"""Full logon dialogues a second of one link process, beside the same frames with one signature check behind them.

A dialogue: challenge, proof over the live nonce, welcome and inquiry, configuration code, outcome durable, offers. On
held links the terminal logs off and on again over the same link; otherwise each dialogue has a connection of its own.
The terminals are one epoll loop in this process, without a framework, so that they are not the limit.
"""

from __future__ import annotations

import itertools
import select
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
import psutil
from OpenSSL import SSL

from bench.link_servers import CONFIGURATION, SERVER_ID, prepare, terminal_key, terminal_name
from bench.measure import fdatasyncs_per_second, percentile, show
from bench.report import Target
from operator_server.link.visitors import read_visitors
from operator_server.store.engine import open_engine, sqlite_url
from signalling.clock import SystemClock
from signalling.envelope import encode
from signalling.framing import frame
from signalling.messages import ConfigurationReport, Logoff, Logon, SectionPart
from signalling.proof import logon_statement

FLEET = 2000
ROUNDS = 3
SECONDS = 3.0
WARM_UP = 1.0

TARGETS = {
    "logon dialogues, 200 held links": Target("ratio", ">=", 0.80),
    "logon dialogues, 2000 held links": Target("ratio", ">=", 0.75),
    "logon dialogues, reconnecting": Target("ratio", ">=", 0.75),
    "logon to offers, p99 at a quarter of the peak": Target("ratio", "<=", 3.0),
}

_LENGTH = struct.Struct(">I")
_LINGER = struct.pack("ii", 1, 0)
_NO_NONCE = b"?" * 32


class Server:
    """A server process of :mod:`bench.link_servers`."""

    def __init__(self, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.link_servers", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.port = int(self._line())

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the server under measurement ended; its error is above")
        return line

    def memory(self) -> int:
        """Its resident bytes."""
        assert self._process.stdin is not None
        self._process.stdin.write("memory\n")
        self._process.stdin.flush()
        return int(self._line())

    def cpu_seconds(self) -> float:
        """Processor time that it has used."""
        times = psutil.Process(self._process.pid).cpu_times()
        return times.user + times.system

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)


class Device:
    """One terminal of the load."""

    __slots__ = ("at", "key", "name", "number", "prefix", "rest", "sent", "sock", "suffix", "turn")

    def __init__(self, number: int) -> None:
        self.number = number
        self.name = terminal_name(number)
        self.key = terminal_key(number)
        statement = logon_statement(_NO_NONCE, self.name, SERVER_ID, "none", b"")
        self.prefix, self.suffix = statement.split(_NO_NONCE, 1)
        self.sock: Any = None
        self.turn = 0
        self.rest = b""
        self.sent = 0
        self.at = 0.0


_REPORT = ConfigurationReport(CONFIGURATION.code(), dict(CONFIGURATION.digests()))


class Load:
    """Terminals that go through dialogues. ``reconnect``: a connection for each."""

    def __init__(self, port: int, links: int, *, reconnect: bool = False) -> None:
        self._port = port
        self._reconnect = reconnect
        self._epoll = select.epoll()
        self._devices: dict[int, Device] = {}
        self._idle: list[Device] = []
        self.latencies: list[float] = []
        self.done = 0
        self._paced = False
        for number in range(links):
            self._connect(Device(number))

    def _connect(self, device: Device) -> None:
        device.sock = sock = socket.create_connection(("127.0.0.1", self._port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
        sock.setblocking(False)
        device.turn, device.rest, device.sent = 0, b"", 0
        self._devices[sock.fileno()] = device
        self._epoll.register(sock.fileno(), select.EPOLLIN)

    def close(self) -> None:
        """Drop all connections."""
        for device in self._devices.values():
            device.sock.close()
        self._epoll.close()

    def run(self, seconds: float, rate: float | None = None) -> float:
        """Dialogues a second; with ``rate`` begun at that pace, else each as soon as the one before has ended."""
        self._paced = rate is not None
        self.done, self.latencies = 0, []
        idle, self._idle = self._idle, []
        start = now = time.perf_counter()
        if rate is None:
            for device in idle:
                self._begin(device)
        else:
            self._idle = idle
        begun, end = 0, start + seconds
        while now < end:
            if rate is not None:
                while self._idle and begun < (now - start) * rate:
                    self._begin(self._idle.pop(0))
                    begun += 1
            for fd, _ in self._epoll.poll(0.0005 if rate is not None else 0.2):
                self._readable(self._devices[fd])
            now = time.perf_counter()
        return self.done / (now - start)

    def _send(self, device: Device, message: Any, exchange: int = 0, re: int | None = None) -> None:
        device.sent += 1
        device.sock.send(frame(encode(message, id=device.sent, exchange=exchange, re=re)))

    def _begin(self, device: Device) -> None:
        if self._reconnect:
            self._connect(device)
        else:
            self._send(device, _LOGOFF)

    def _readable(self, device: Device) -> None:
        data = device.sock.recv(65536)
        if not data:
            raise RuntimeError(f"the server closed the link of {device.name} in turn {device.turn}")
        if device.rest:
            data = device.rest + data
        frames = []
        offset = 0
        while len(data) - offset >= 4:
            end = offset + 4 + _LENGTH.unpack_from(data, offset)[0]
            if end > len(data):
                break
            frames.append(data[offset + 4 : end])
            offset = end
        device.rest = data[offset:]
        for payload in frames:
            self._frame(device, payload)

    def _frame(self, device: Device, payload: bytes) -> None:
        turn = device.turn
        if turn == 0:
            nonce = payload[payload.index(b"nonce\xc4\x20") + 7 :][:32]
            signature = device.key.sign(device.prefix + nonce + device.suffix)
            device.at = time.perf_counter()
            self._send(device, Logon(device.name, "none", signature))
        elif turn == 2:
            number = msgspec.msgpack.decode(payload)["exchange"]
            self._send(device, _REPORT, number)
        elif turn == 3:
            if b"section_request" in payload:
                self._send_sections(device, payload)
                return
            if b"offers" not in payload:
                raise RuntimeError(f"{device.name} got {msgspec.msgpack.decode(payload)} in place of offers")
            self.latencies.append(time.perf_counter() - device.at)
            self.done += 1
            device.turn = 0
            self._ended(device)
            return
        device.turn = turn + 1

    def _send_sections(self, device: Device, payload: bytes) -> None:
        request = msgspec.msgpack.decode(payload)
        for name, data in CONFIGURATION.canonical().items():
            if name in request["body"]["sections"]:
                self._send(device, SectionPart(name, 1, 1, data), request["exchange"], request["id"])

    def _ended(self, device: Device) -> None:
        if self._reconnect:
            fd = device.sock.fileno()
            self._epoll.unregister(fd)
            del self._devices[fd]
            device.sock.close()
        if self._paced:
            self._idle.append(device)
        else:
            self._begin(device)


_LOGOFF = Logoff()


def _compared(
    real: Server, ceiling: Server, links: int, *, reconnect: bool = False
) -> tuple[float, float, float, float, float]:
    """Medians: rate of the real server and of the ceiling, ratio; the p99 of both at a quarter of the real rate."""
    loads = [Load(server.port, links, reconnect=reconnect) for server in (real, ceiling)]
    for load in loads:
        load.run(WARM_UP)
    rates: list[list[float]] = [[], []]
    for _ in range(ROUNDS):
        for load, seen in zip(loads, rates, strict=True):
            seen.append(load.run(SECONDS))
    peak = statistics.median(rates[0])
    ratio = statistics.median(a / b for a, b in zip(*rates, strict=True))
    tails: list[list[float]] = [[], []]
    if links == 200 and not reconnect:
        for load in loads:
            load.run(0.5, rate=peak / 4)
        for _ in range(ROUNDS):
            for load, seen in zip(loads, tails, strict=True):
                load.run(SECONDS, rate=peak / 4)
                seen.append(percentile(load.latencies, 99) * 1000)
    for load in loads:
        load.close()
    real_tail, ceiling_tail = (statistics.median(seen) if seen else 0.0 for seen in tails)
    return peak, statistics.median(rates[1]), ratio, real_tail, ceiling_tail


def _handshakes(folder: Path) -> float:
    """TLS hand-shakes that the server does in a second of its processor time, each on a connection of its own."""
    server = Server("real", str(folder), "tls")
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)

    def shake(count: int) -> float:
        before = server.cpu_seconds()
        for _ in range(count):
            with socket.create_connection(("127.0.0.1", server.port)) as connection:
                tls = SSL.Connection(context, connection)
                tls.set_connect_state()
                tls.do_handshake()
                tls.recv(4096)
        return count / (server.cpu_seconds() - before)

    try:
        shake(50)
        return statistics.median(shake(500) for _ in range(ROUNDS))
    finally:
        server.close()


def _reads(folder: Path, together: int) -> float:
    """Terminals a second whose logon is looked up in the database, so many with one operation."""
    engine = open_engine(sqlite_url(folder / "bench.sqlite"))
    now = SystemClock().micros()
    rates = []
    with engine.connect() as connection:
        for _ in range(ROUNDS):
            numbers = itertools.cycle(range(FLEET))
            start, count = time.perf_counter(), 0
            while time.perf_counter() - start < 0.5:
                read_visitors(connection, [terminal_name(next(numbers)) for _ in range(together)], now)
                count += together
            rates.append(count / (time.perf_counter() - start))
    engine.dispose()
    return statistics.median(rates)


def run() -> list[dict[str, Any]]:
    """The figures."""
    rows: list[dict[str, Any]] = []

    def row(name: str, value: float, unit: str, ceiling: float | None, ratio: float | None) -> None:
        rows.append({"name": name, "value": value, "unit": unit, "ceiling": ceiling, "ratio": ratio})

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        prepare(folder, FLEET)
        real, ceiling = Server("real", str(folder)), Server("ceiling")
        try:
            peak, top, ratio, tail, top_tail = _compared(real, ceiling, 200)
            row("logon dialogues, 200 held links", peak, "1/s", top, ratio)
            row("logon to offers, p99 at a quarter of the peak", tail, "ms", top_tail, tail / top_tail)
            peak, top, ratio, _, _ = _compared(real, ceiling, FLEET)
            row("logon dialogues, 2000 held links", peak, "1/s", top, ratio)
            peak, top, ratio, _, _ = _compared(real, ceiling, 200, reconnect=True)
            row("logon dialogues, reconnecting", peak, "1/s", top, ratio)
        finally:
            real.close()
            ceiling.close()
        for together in (1, 50):
            row(f"database read at logon, {together} together", _reads(folder, together), "1/s", None, None)
        row("TLS hand-shakes a second of the server's processor", _handshakes(folder), "1/s", None, None)
        row("fdatasync of the disk", fdatasyncs_per_second(folder), "1/s", None, None)
    return rows


if __name__ == "__main__":
    show(run())
