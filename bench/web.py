"""The HTTP API beside bare FastAPI, the overview over much data, the event feed, and the link while the API is busy.

Reads: the same connections ask the API and the bare routes of :mod:`bench.web_servers` in turns; both answers have the
same shape and size. Overview: each page over again, with data that lies as an operator's does. Feed: listeners on
connections of their own; the delay is from the commit of an event to its arrival. Link: :mod:`bench.logon`'s terminals
at a quarter of their peak, alone and while eight connections ask the API of the same database as fast as they can,
all of them on the same cores: link server, web server, both loads. The web server gives way to the link, as the role
does, and so does what asks it, which would be on other machines. The same once more with link and web in one process,
as ``tollgate serve --single`` runs them, where nothing gives way.
"""

from __future__ import annotations

import contextlib
import itertools
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from bench.link_servers import prepare as prepare_links
from bench.logon import Load
from bench.logon import Server as LinkServer
from bench.measure import percentile, result, show
from bench.report import Target
from bench.web_servers import INVOICES, bench_operator, number_of, prepare
from operator_server.roles.run import give_way
from operator_server.store.feed import record, sequence
from operator_server.store.store import transact

CONNECTIONS = 8
SECONDS = 2.0
ROUNDS = 3
LISTENERS = 200
EVENTS = 100
OVERVIEWS = 200
TERMINALS, CHARGES, HAPPENED = 100_000, 1_000_000, 200_000
QUICK = 20

ONE, FIFTY = "API reads of one invoice", "API reads of 50 invoices"
OVERVIEW, FEED = "overview page, p99", "event feed, p99 to 200 listeners"
LINK = "logon to offers, p99 while the API is hammered"
TARGETS = {
    ONE: Target("ratio", ">=", 0.3),
    FIFTY: Target("ratio", ">=", 0.3),
    OVERVIEW: Target("value", "<=", 200.0),
    LINK: Target("ratio", "<=", 2.0),
}


class WebServer:
    """A process of :mod:`bench.web_servers`."""

    def __init__(self, folder: Path, token: str, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.web_servers", str(folder), *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        self.port, *others = map(int, self._process.stdout.readline().split())
        self.link_port = others[0] if others else 0
        self.token = token

    def request(self, path: str, *, accept: str = "application/json") -> bytes:
        """The bytes of a GET."""
        return request_of(self.port, self.token, path, accept)

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)


def request_of(port: int, token: str, path: str, accept: str = "application/json") -> bytes:
    """The bytes of a GET."""
    return (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\nAccept: {accept}\r\n\r\n"
    ).encode()


class Asking:
    """Connections that are kept, each with one request at a time."""

    def __init__(self, port: int, connections: int) -> None:
        self._selector = selectors.DefaultSelector()
        for _ in range(connections):
            connection = socket.create_connection(("127.0.0.1", port))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._selector.register(connection, selectors.EVENT_READ)
        self.latencies: list[float] = []

    def run(self, requests: Iterator[bytes], until: Callable[[], bool]) -> float:
        """Answers a second. Raises ``RuntimeError`` where one is not a 200."""
        asked: dict[Any, float] = {}
        self.latencies = []
        begin = time.perf_counter()
        over = False
        for key in self._selector.get_map().values():
            key.fileobj.sendall(next(requests))  # type: ignore[union-attr]  # a socket
            asked[key.fileobj] = time.perf_counter()
        while asked:
            over = over or until()
            for key, _ in self._selector.select(1.0):
                connection: Any = key.fileobj
                _read_answer(connection)
                now = time.perf_counter()
                self.latencies.append(now - asked.pop(connection))
                if not over:
                    connection.sendall(next(requests))
                    asked[connection] = now
        return len(self.latencies) / (time.perf_counter() - begin)

    def close(self) -> None:
        """Drop the connections."""
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]  # a socket
        self._selector.close()


def _read_answer(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            raise RuntimeError("the server closed a connection within an answer")
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"the server answered {head.splitlines()[0]!r}: {body[:300]!r}")
    length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
    while len(body) < length:
        body += connection.recv(65536)
    return body


def _for(seconds: float) -> Callable[[], bool]:
    end = time.perf_counter() + seconds
    return lambda: time.perf_counter() >= end


def reads(server: WebServer, seconds: float = SECONDS) -> list[dict[str, Any]]:
    """Reads a second of the API and of the bare routes, in turns."""
    numbers = itertools.cycle(number_of(each * 7919 % INVOICES) for each in range(INVOICES))
    paths: dict[str, Iterator[str]] = {
        "one": (f"/api/v1/invoices/{number}" for number in numbers),
        "bare one": (f"/bare/invoices/{number}" for number in numbers),
        "page": itertools.repeat("/api/v1/invoices?limit=50"),
        "bare page": itertools.repeat("/bare/invoices?limit=50"),
    }
    asking = Asking(server.port, CONNECTIONS)
    seen: dict[str, list[float]] = {name: [] for name in paths}
    for again in range(ROUNDS + 1):
        for name, each in paths.items():
            rate = asking.run(map(server.request, each), _for(seconds if again else 0.5))
            if again:
                seen[name].append(rate)
    asking.close()
    rows = []
    for title, real, bare in ((ONE, "one", "bare one"), (FIFTY, "page", "bare page")):
        ratio = statistics.median(a / b for a, b in zip(seen[real], seen[bare], strict=True))
        row = result(title, statistics.median(seen[real]), "1/s", statistics.median(seen[bare]))
        rows.append(row | {"ratio": round(ratio, 3)})
    return rows


def overview(server: WebServer) -> list[dict[str, Any]]:
    """The overview again and again, one at a time."""
    asking = Asking(server.port, 1)
    left = iter(range(OVERVIEWS))
    asking.run(itertools.repeat(server.request("/console", accept="text/html")), lambda: next(left, None) is None)
    asking.close()
    times = sorted(asking.latencies)
    return [result(OVERVIEW, percentile(times, 99) * 1000, "ms"), result("overview page", _median_ms(times), "ms")]


def _median_ms(seconds: list[float]) -> float:
    return statistics.median(seconds) * 1000


def feed(server: WebServer, folder: Path) -> list[dict[str, Any]]:
    """Events to many listeners: all of them get all; the delay is from before the commit to the arrival."""
    selector = selectors.DefaultSelector()
    heard: dict[Any, bytes] = {}
    for _ in range(LISTENERS):
        connection = socket.create_connection(("127.0.0.1", server.port))
        connection.sendall(server.request("/api/v1/events/stream", accept="text/event-stream"))
        heard[connection] = b""
        selector.register(connection, selectors.EVENT_READ)
    while not all(b"retry:" in data for data in heard.values()):
        for key, _ in selector.select(1.0):
            heard[key.fileobj] += key.fileobj.recv(65536)  # type: ignore[union-attr]  # a socket
    heard = dict.fromkeys(heard, b"")
    written: dict[str, float] = {}
    thread = threading.Thread(target=_write_events, args=(folder, written))
    thread.start()
    delays: list[float] = []
    counts = dict.fromkeys(heard, 0)
    end = time.perf_counter() + 60
    while len(delays) < LISTENERS * EVENTS and time.perf_counter() < end:
        for key, _ in selector.select(0.1):
            listener: Any = key.fileobj
            *whole, heard[listener] = (heard[listener] + listener.recv(1 << 20)).split(b"\n\n")
            now = time.perf_counter()
            for each in whole:
                reference = each.partition(b'"reference":"')[2].partition(b'"')[0].decode()
                if reference in written:
                    delays.append(now - written[reference])
                    counts[listener] += 1
    thread.join()
    for connection in heard:
        connection.close()
    if set(counts.values()) != {EVENTS}:
        raise RuntimeError(f"listeners got {min(counts.values())} to {max(counts.values())} of {EVENTS} events")
    return [
        result(FEED, percentile(delays, 99) * 1000, "ms"),
        result("event feed, median to 200 listeners", _median_ms(delays), "ms"),
    ]


def _write_events(folder: Path, written: dict[str, float]) -> None:
    operator = bench_operator(folder)

    def write(connection: Any, reference: str) -> None:
        record(connection, operator.clock.now(), "bench.event", reference=reference)
        sequence(connection)

    for number in range(EVENTS):
        reference = f"E-{number}"
        written[reference] = time.perf_counter()
        transact(operator.engine, partial(write, reference=reference))
        time.sleep(0.03)
    operator.engine.dispose()


def busy_link(server: WebServer, folder: Path) -> list[dict[str, Any]]:
    """The time from logon to offers alone, and while another process asks the API as fast as it can."""
    link = LinkServer("real", str(folder))
    try:
        alone, busy, rate = _delayed(link.port, server)
    finally:
        link.close()
    return [
        result(LINK, busy, "ms", alone),
        result("API reads meanwhile, on the same cores", rate, "1/s"),
    ]


def busy_single(folder: Path, token: str) -> list[dict[str, Any]]:
    """The same where one process does both."""
    server = WebServer(folder, token, "single")
    try:
        alone, busy, rate = _delayed(server.link_port, server)
    finally:
        server.close()
    return [
        result("logon to offers, p99 while the API is hammered, --single", busy, "ms", alone),
        result("API reads meanwhile, --single", rate, "1/s"),
    ]


def _delayed(port: int, server: WebServer) -> tuple[float, float, float]:
    """Medians: the p99 at a quarter of the peak in ms, alone and while the API is asked, and the API's rate."""
    load = Load(port, 200)
    try:
        load.run(1.0)
        peak = load.run(SECONDS)
        load.run(0.5, rate=peak / 4)
        alone, busy, rates = [], [], []
        for _ in range(ROUNDS):
            load.run(SECONDS, rate=peak / 4)
            alone.append(percentile(load.latencies, 99) * 1000)
            with _hammered(server) as told:
                load.run(SECONDS, rate=peak / 4)
            busy.append(percentile(load.latencies, 99) * 1000)
            rates.append(told[0])
    finally:
        load.close()
    return statistics.median(alone), statistics.median(busy), statistics.median(rates)


@contextlib.contextmanager
def _hammered(server: WebServer) -> Iterator[list[float]]:
    told: list[float] = []
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.web", str(server.port), server.token],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdout.readline()
    yield told
    process.stdin.close()
    told.append(float(process.stdout.readline()))
    process.wait(timeout=30)


def hammer(port: int, token: str) -> None:
    """Ask for invoices as fast as the answers come, until standard input ends; tell the rate."""
    give_way()
    over = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        over.set()

    threading.Thread(target=wait, daemon=True).start()
    asking = Asking(port, CONNECTIONS)
    print("ready", flush=True)
    paths = (f"/api/v1/invoices/{number_of(each * 7919 % INVOICES)}" for each in itertools.count())
    print(asking.run((request_of(port, token, path) for path in paths), over.is_set), flush=True)


def run(quick: bool = False) -> list[dict[str, Any]]:
    """The figures."""
    less = QUICK if quick else 1
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        token = prepare(folder, TERMINALS // less, CHARGES // less, HAPPENED // less)
        (folder / "bench.sqlite").symlink_to("tollgate.sqlite")
        prepare_links(folder, 200)
        server = WebServer(folder, token)
        try:
            found = [*reads(server), *overview(server), *feed(server, folder), *busy_link(server, folder)]
        finally:
            server.close()
        return [*found, *busy_single(folder, token)]


if __name__ == "__main__":
    if len(sys.argv) == 3:
        hammer(int(sys.argv[1]), sys.argv[2])
    else:
        show(run("--quick" in sys.argv))
