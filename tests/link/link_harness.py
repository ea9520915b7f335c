"""A link server without a network: a store that answers at once, transports in memory, terminals that sign."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock as ReactorClock
from twisted.python.failure import Failure

from operator_server.desk import Desks, Visitor
from operator_server.link.protocol import LinkFactory, LinkProtocol
from operator_server.link.server import LinkServer
from operator_server.offering.menus import LogonContext, Menu
from operator_server.settings import InterrogationSettings, LinkSettings, OperatorSettings, Settings
from operator_server.store.engine import open_engine, sqlite_url, writing
from operator_server.store.parties import Account, Binding, Subscriber, Terminal, TerminalKey
from operator_server.store.rows import add
from operator_server.store.schema import metadata
from operator_server.store.writer import one_by_one
from signalling.clock import SettableClock
from signalling.configuration import SECTIONS, Configuration, SectionName
from signalling.envelope import Envelope, decode, encode
from signalling.framing import FrameReader, frame
from signalling.messages import (
    Challenge,
    ConfigurationReport,
    Inquiry,
    Logon,
    Message,
    ModeTerms,
    OfferEntry,
    SectionPart,
    SectionRequest,
    Signed,
    decode_from_server,
)
from signalling.proof import logon_statement, public_bytes

START = datetime(2026, 10, 1, 9, 0, tzinfo=UTC)
SERVER_ID = "tollgate.test"
PART_BYTES = 48 * 1024

PHONE = Configuration(
    hardware={"model": "handset-3", "memory_mib": "4096"},
    firmware={"radio": "3.1"},
    base_software={"browser": "7.2"},
    catalogue_items={},
)


def settings(**overrides: Any) -> Settings:
    """Settings for a test: ``link`` and ``interrogation`` take keys of their sections."""
    return Settings(
        operator=OperatorSettings(
            server_id=SERVER_ID, name="Test", address=["Street 1"], country="DE", time_zone="Europe/Berlin"
        ),
        link=LinkSettings(**{"port": 0, "tls": False, **overrides.get("link", {})}),
        interrogation=InterrogationSettings(**overrides.get("interrogation", {})),
    )


def enroll(connection: Connection, terminal: str, key: Ed25519PrivateKey, now: datetime = START) -> None:
    """Make a terminal known, with an account and subscriber of its own."""
    since = now - timedelta(days=1)
    who = f"user-{terminal}"
    add(
        connection,
        Account(id=who, name=who, country="DE", currency="EUR", credit_limit=0, created_at=since, language="de"),
        Subscriber(id=who, account_id=who, groups=["staff"], created_at=since),
        Terminal(id=terminal, enrolled_at=since),
        TerminalKey(id=f"key-{terminal}", terminal_id=terminal, public_key=public_bytes(key), valid_from=since),
        Binding(id=f"binding-{terminal}", subscriber_id=who, terminal_id=terminal, valid_from=since),
    )


class DirectStore:
    """The store's interface, each operation done and committed at once. ``held``: operations wait for ``let_go``."""

    def __init__(self, path: Path) -> None:
        self.engine = open_engine(sqlite_url(path / "test.sqlite"))
        metadata.create_all(self.engine)
        self.held: list[Callable[[], None]] | None = None
        self.reads = self.writes = 0

    def read(self, operation: Callable[[Connection], Any]) -> Deferred[Any]:
        return self.read_grouped(one_by_one, operation)

    def write(self, operation: Callable[[Connection], Any]) -> Deferred[Any]:
        return self.write_grouped(one_by_one, operation)

    def read_grouped(self, batch: Any, payload: Any) -> Deferred[Any]:
        self.reads += 1
        return self._do(batch, payload)

    def write_grouped(self, batch: Any, payload: Any) -> Deferred[Any]:
        self.writes += 1
        if self.held is None:
            return self._do(batch, payload)
        done: Deferred[Any] = Deferred()
        self.held.append(lambda: self._do(batch, payload).chainDeferred(done))
        return done

    def let_go(self) -> None:
        held, self.held = self.held, None
        for work in held or []:
            work()

    def _do(self, batch: Any, payload: Any) -> Deferred[Any]:
        try:
            with writing(self.engine).begin() as connection:
                result = batch(connection, [payload])[0]
        except Exception as error:  # noqa: BLE001 - as the store does: to the caller
            result = error
        return fail(Failure(result)) if isinstance(result, BaseException) else succeed(result)

    def rows(self, sql: str) -> list[Any]:
        with self.engine.connect() as connection:
            return list(connection.exec_driver_sql(sql))


class PlainOffering:
    """Offers the same few things to every code that it was taught."""

    def __init__(self, count: int = 2) -> None:
        self.learned: dict[bytes, Configuration] = {}
        self.entries = [msgspec.Raw(msgspec.msgpack.encode(offer(f"offer-{i}"))) for i in range(count)]
        self.asked: list[tuple[Visitor, LogonContext]] = []

    def knows(self, code: bytes) -> bool:
        return code in self.learned

    def learn(self, code: bytes, configuration: Configuration) -> None:
        self.learned[code] = configuration

    def menu(self, code: bytes, visitor: Visitor, context: LogonContext) -> Menu:
        self.asked.append((visitor, context))
        return Menu(self.entries, " ".join(f"offer-{i}@1" for i in range(len(self.entries))))


def offer(name: str, text: str = "A thing") -> OfferEntry:
    """An offer as it goes over the wire."""
    mode = ModeTerms("free", "free", "Free", "0", "EUR", 0, "S", 1900)
    return OfferEntry(name, f"{name}@1", name, "1.0", "software", name.title(), text, 1000, [mode])


class MemoryTransport:
    """A transport whose output lies in a list."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed = self.aborted = False
        self.paused = False
        self.protocol: LinkProtocol | None = None

    def setTcpNoDelay(self, enabled: bool) -> None:
        pass

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        self.producer = producer

    def unregisterProducer(self) -> None:
        pass

    def getHandle(self) -> None:
        return None

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.written.append(data)

    def pauseProducing(self) -> None:
        self.paused = True

    def resumeProducing(self) -> None:
        self.paused = False

    def loseConnection(self) -> None:
        if not self.closed:
            self.closed = True
            assert self.protocol is not None
            self.protocol.connectionLost(Failure(ConnectionError("done")))

    def abortConnection(self) -> None:
        self.aborted = True
        self.loseConnection()


class _Reactor(ReactorClock):
    """Time that the test moves; what belongs on a thread, or waits for some milliseconds, is done at once."""

    def callLater(self, when: float, what: Any, *args: Any, **kwargs: Any) -> Any:
        if 0 < when < 0.05:
            what(*args, **kwargs)
            return None
        return super().callLater(when, what, *args, **kwargs)

    def getThreadPool(self) -> _Reactor:
        return self

    def callInThreadWithCallback(self, done: Any, function: Any, *args: Any) -> None:
        try:
            result = function(*args)
        except Exception:  # noqa: BLE001 - as a thread pool does: to the caller
            done(False, Failure())
        else:
            done(True, result)

    def callFromThread(self, function: Any, *args: Any) -> None:
        function(*args)


class House:
    """A link server with everything around it in memory."""

    def __init__(
        self,
        path: Path,
        *,
        desks: Desks | None = None,
        offering: PlainOffering | None = None,
        start: datetime = START,
        key_changes: Sequence[Signed] = (),
        **overrides: Any,
    ) -> None:
        self.store = DirectStore(path)
        self.reactor = _Reactor()
        self.reactor.advance(1000.0)
        self.clock = SettableClock(start)
        self.offering = offering or PlainOffering()
        self.after: list[tuple[str, str]] = []
        self.server = LinkServer(
            settings(**overrides),
            self.store,  # type: ignore[arg-type]  # has the interface, answers at once
            self.clock,
            self.offering,
            desks or {},
            reactor=self.reactor,
            node="node-1",
            tls=None,
            after_interrogation=lambda server, visitor, trigger, code: self.after.append((visitor.terminal, trigger)),
            key_changes=key_changes,
        )
        self.factory = LinkFactory(self.server)
        self.server.start()

    def wait(self, seconds: float, step: float = 0.5) -> None:
        """Let real time pass; the business clock stands still."""
        self.reactor.pump([step] * int(seconds / step))

    def enroll(self, *terminals: str) -> dict[str, Ed25519PrivateKey]:
        keys = {terminal: Ed25519PrivateKey.generate() for terminal in terminals}
        with writing(self.store.engine).begin() as connection:
            for terminal, key in keys.items():
                enroll(connection, terminal, key)
        return keys

    def connect(self, address: str = "10.0.0.1") -> Peer | None:
        protocol = self.factory.buildProtocol(IPv4Address("TCP", address, 1))
        return None if protocol is None else Peer(protocol)

    def terminal(self, name: str, configuration: Configuration = PHONE) -> Peer:
        """An enrolled terminal with a link that is challenged."""
        (key,) = self.enroll(name).values()
        peer = self.connect()
        assert peer is not None
        peer.name, peer.key, peer.made_of = name, key, configuration
        return peer

    def again(self, peer: Peer) -> Peer:
        """Another link of the same terminal."""
        other = self.connect()
        assert other is not None
        other.name, other.key, other.made_of = peer.name, peer.key, peer.made_of
        return other


class Peer:
    """The far end of a link. ``seen`` keeps every message with its envelope, ``new()`` gives what is unread."""

    name: str
    key: Ed25519PrivateKey
    made_of: Configuration

    def __init__(self, protocol: LinkProtocol) -> None:
        self.link = protocol
        self.transport = MemoryTransport()
        self.transport.protocol = protocol
        self._reader = FrameReader()
        self._read = 0
        self.sent = 0
        self.seen: list[tuple[Envelope, Any]] = []
        protocol.makeConnection(self.transport)

    def new(self) -> list[Any]:
        written, self.transport.written = self.transport.written, []
        for payload in self._reader.feed(b"".join(written)):
            envelope = decode(payload)
            self.seen.append((envelope, decode_from_server(envelope)))
        messages = [message for _, message in self.seen[self._read :]]
        self._read = len(self.seen)
        return messages

    def last(self, kind: type[Message]) -> tuple[Envelope, Any]:
        self.new()
        return next(pair for pair in reversed(self.seen) if isinstance(pair[1], kind))

    def send(self, message: Message, exchange: int = 0, re: int | None = None) -> None:
        self.sent += 1
        self.raw(frame(encode(message, id=self.sent, exchange=exchange, re=re)))

    def raw(self, data: bytes) -> None:
        if not self.transport.closed:
            self.link.dataReceived(data)

    def proof(self, challenge: Challenge, **changes: Any) -> Logon:
        terminal = changes.pop("terminal", self.name)
        key = changes.pop("key", self.key)
        statement = logon_statement(challenge.nonce, terminal, challenge.server, "none", b"")
        return Logon(terminal, changes.pop("binding", "none"), key.sign(statement), **changes)

    def log_on(self) -> list[Any]:
        self.send(self.proof(self.last(Challenge)[1]))
        return self.new()

    def report(self, configuration: Configuration | None = None, exchange: int | None = None) -> list[Any]:
        """Answer the last inquiry with the code."""
        envelope, _ = self.last(Inquiry)
        made_of = configuration or self.made_of
        message = ConfigurationReport(made_of.code(), dict(made_of.digests()))
        self.send(message, envelope.exchange if exchange is None else exchange, envelope.id)
        return self.new()

    def send_sections(self, wanted: Sequence[SectionName] = SECTIONS) -> list[Any]:
        """Answer the last section request."""
        envelope, _ = self.last(SectionRequest)
        for part in parts_of(self.made_of, wanted):
            self.send(part, envelope.exchange, envelope.id)
        return self.new()

    def whole_logon(self) -> list[Any]:
        """Log on and answer whatever is asked; the messages after the last answer."""
        self.log_on()
        got = self.report()
        if got and isinstance(got[0], SectionRequest):
            got = self.send_sections(got[0].sections)
        return got


def parts_of(
    configuration: Configuration, wanted: Sequence[SectionName], size: int = PART_BYTES
) -> Iterator[SectionPart]:
    """The parts of the sections, in order."""
    for name, data in configuration.canonical().items():
        if name in wanted:
            pieces = [data[at : at + size] for at in range(0, len(data), size)]
            for number, piece in enumerate(pieces, 1):
                yield SectionPart(name, number, len(pieces), piece)
