"""The servers that :mod:`bench.logon` and :mod:`bench.idle_links` measure, each run as a process of its own.

``real`` is the link server on SQLite with offers in memory. ``ceiling`` sends the same frames in the same turns over
the same reactor and sockets, with nothing behind them but one Ed25519 verification a dialogue.

A server prints its port on a line, then reads commands: ``memory`` is answered with its resident bytes.
"""

from __future__ import annotations

import hashlib
import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import psutil
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from twisted.logger import formatEvent, globalLogBeginner

from operator_server.offering.menus import Menu
from signalling.clock import SystemClock
from signalling.configuration import Configuration
from signalling.envelope import encode
from signalling.framing import FrameReader, frame
from signalling.messages import Challenge, Inquiry, ModeTerms, OfferEntry, Offers, Welcome
from signalling.proof import public_bytes

SERVER_ID = "tollgate.bench"
NODE = "bench"
OFFERS = 3

CONFIGURATION = Configuration(
    hardware={"model": "handset-3", "memory_mib": "4096"},
    firmware={"radio": "3.1"},
    base_software={f"package-{number}": "1.0" for number in range(50)},
)


def terminal_name(number: int) -> str:
    """The id of a terminal of the fleet."""
    return f"terminal-{number:05d}"


def terminal_key(number: int) -> Ed25519PrivateKey:
    """Its key, the same in every process."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(f"bench {number}".encode()).digest())


def entries() -> list[OfferEntry]:
    """The offers of each menu."""
    mode = ModeTerms("once", "one_off", "Once", "1.99 EUR", "EUR", 1_990_000, "S", 1900)
    return [
        OfferEntry(
            f"offer-{i}", f"offer-{i}@0123456789ab", f"product-{i}", "1.0", "software", f"Offer {i}", "Text " * 8, 4096,
            [mode],
        )
        for i in range(OFFERS)
    ]  # fmt: skip


class MemoryOffering:
    """An offer memory that holds one menu."""

    def __init__(self) -> None:
        self._codes: set[bytes] = set()
        self._menu = Menu(
            [msgspec.Raw(msgspec.msgpack.encode(entry)) for entry in entries()],
            " ".join(entry.version for entry in entries()),
        )

    def knows(self, code: bytes) -> bool:
        return code in self._codes

    def learn(self, code: bytes, configuration: Configuration) -> None:
        self._codes.add(code)

    def menu(self, code: bytes, visitor: Any, context: Any) -> Menu:
        return self._menu


def prepare(folder: Path, terminals: int) -> None:
    """A database in ``folder`` with a fleet enrolled, each terminal with a subscriber and account of its own."""
    from operator_server.store.engine import open_engine, sqlite_url, writing
    from operator_server.store.parties import Account, Binding, Subscriber, Terminal, TerminalKey
    from operator_server.store.rows import add_many
    from operator_server.store.schema import metadata

    engine = open_engine(sqlite_url(folder / "bench.sqlite"))
    metadata.create_all(engine)
    since = SystemClock().now() - timedelta(days=1)
    names = [terminal_name(number) for number in range(terminals)]
    with writing(engine).begin() as connection:
        add_many(
            connection,
            [
                Account(id=name, name=name, country="DE", currency="EUR", credit_limit=0, created_at=since)
                for name in names
            ],
        )
        add_many(connection, [Subscriber(id=name, account_id=name, created_at=since) for name in names])
        add_many(connection, [Terminal(id=name, enrolled_at=since) for name in names])
        add_many(
            connection,
            [
                TerminalKey(
                    id=f"k-{name}", terminal_id=name, public_key=public_bytes(terminal_key(number)), valid_from=since
                )
                for number, name in enumerate(names)
            ],
        )
        add_many(
            connection,
            [Binding(id=f"b-{name}", subscriber_id=name, terminal_id=name, valid_from=since) for name in names],
        )
    engine.dispose()


def bench_settings(*, tls: bool) -> Any:
    """Settings whose limits do not bind."""
    from operator_server.settings import InterrogationSettings, LinkSettings, OperatorSettings, Settings

    return Settings(
        operator=OperatorSettings(server_id=SERVER_ID, name="Bench", address=["Street 1"], country="DE"),
        link=LinkSettings(
            port=0, tls=tls, messages_per_second=1_000_000, message_burst=1_000_000, max_links_per_address=20_000,
            handshake_timeout=600, idle_timeout=3600, new_codes_per_day=1_000_000,
        ),
        interrogation=InterrogationSettings(interval=0),
    )  # fmt: skip


def tls_files(folder: Path) -> Any:
    """The operator's keys of the bench, made at the first call."""
    from operator_server.keys import load_or_create_keys

    return load_or_create_keys(folder / "keys", SERVER_ID, ["localhost"], SystemClock().now())


def _serve_real(folder: Path, tls: bool) -> None:
    from twisted.internet import reactor

    from operator_server.link.process import settle_process
    from operator_server.link.proving import ProvingVisitors
    from operator_server.link.server import LinkServer
    from operator_server.link.tls import LinkTls
    from operator_server.link.visitors import StoreVisitors
    from operator_server.store.engine import sqlite_url
    from operator_server.store.store import Store

    keys = tls_files(folder) if tls else None
    url, clock = sqlite_url(folder / "bench.sqlite"), SystemClock()
    store = Store(url, reactor)
    visitors = ProvingVisitors(url, clock, reactor, StoreVisitors(store, clock, reactor))
    server = LinkServer(
        bench_settings(tls=tls),
        store,
        clock,
        MemoryOffering(),
        {},
        reactor=reactor,
        node=NODE,
        tls=None if keys is None else LinkTls(keys.certificate, keys.private_key),
        visitors=visitors,
    )
    settle_process()
    visitors.start()
    server.listen().addCallbacks(_say, lambda failure: (failure.printTraceback(), os._exit(1)))
    _run(reactor)


def _serve_ceiling() -> None:
    from twisted.internet import reactor
    from twisted.internet.protocol import Factory, Protocol

    key = terminal_key(0)
    statement, public = b"x" * 150, public_bytes(key)
    signature = key.sign(statement)
    challenge = frame(encode(Challenge(1, SERVER_ID, bytes(32), 1), id=1))
    welcome = frame(encode(Welcome("s" * 36, 1, 300, 50), id=2)) + frame(encode(Inquiry("logon"), id=3, exchange=2))
    offers = frame(encode(Offers("m" * 36, 1, 1, entries()), id=4, exchange=2))
    turns = (welcome, offers, challenge)

    class Ceiling(Protocol):
        def connectionMade(self) -> None:
            self.transport.setTcpNoDelay(True)
            self.send = self.transport.socket.send
            self.reader = FrameReader()
            self.turn = 0
            self.send(challenge)

        def dataReceived(self, data: bytes) -> None:
            for _ in self.reader.feed(data):
                if self.turn == 0:
                    Ed25519PublicKey.from_public_bytes(public).verify(signature, statement)
                self.send(turns[self.turn])
                self.turn = (self.turn + 1) % 3

    port = reactor.listenTCP(0, Factory.forProtocol(Ceiling), backlog=1024, interface="127.0.0.1")
    _say(port.getHost().port)
    _run(reactor)


def _only_failures(event: dict[str, Any]) -> None:
    if event.get("log_failure") is not None:
        print(formatEvent(event), event["log_failure"].getTraceback(), file=sys.stderr)


def _say(port: int) -> None:
    print(port, flush=True)


def _run(reactor: Any) -> None:
    globalLogBeginner.beginLoggingTo([_only_failures], redirectStandardIO=False)

    def commands() -> None:
        for line in sys.stdin:
            if line.strip() == "memory":
                print(psutil.Process().memory_info().rss, flush=True)
        reactor.callFromThread(reactor.stop)

    reactor.callInThread(commands)
    reactor.run()


if __name__ == "__main__":
    if sys.argv[1] == "ceiling":
        _serve_ceiling()
    else:
        _serve_real(Path(sys.argv[2]), tls="tls" in sys.argv[3:])
