"""The thin shell: real TLS on loopback, the channel binding, broken links, resumed work."""

from __future__ import annotations

import datetime
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from terminal_fakes import CONFIGURATION, FakeServer, entry, make_trust
from twisted.internet import reactor
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import Certificate, CertificateOptions, KeyPair, TLSVersion
from twisted.internet.threads import blockingCallFromThread

from signalling.clock import SettableClock, from_micros
from signalling.framing import FrameReader, frame
from signalling.proof import EXPORTER_LABEL
from terminal_sim import state as states
from terminal_sim.link import Client, LinkLost, connect
from terminal_sim.state import State
from terminal_sim.trust import Identity


@pytest.fixture(scope="session")
def running_reactor() -> Iterator[Any]:
    """The reactor in a thread of its own, unless another test module has it running."""
    if reactor.running:
        yield reactor
        return
    thread = threading.Thread(target=reactor.run, args=(False,), daemon=True)
    thread.start()
    yield reactor
    reactor.callFromThread(reactor.stop)
    thread.join(5)


def certificate(host: str = "localhost") -> tuple[str, Any]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM).decode()
    key_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    options = CertificateOptions(
        privateKey=KeyPair.load(key_pem, 1).original,
        certificate=Certificate.loadPEM(pem).original,
        raiseMinimumTo=TLSVersion.TLSv1_3,
    )
    return pem, options


class FakeProtocol(Protocol):
    """A link of the fake server over TLS, with the exporter as its binding; ``relay`` spoils it."""

    def __init__(self, server: FakeServer, relay: bool) -> None:
        self.server, self.relay, self.reader = server, relay, FrameReader()
        self.link: Any = None

    def begin(self) -> None:
        binding = self.transport.getHandle().export_keying_material(EXPORTER_LABEL, 32, None)
        self.link = self.server.link(bytes(32) if self.relay else binding)
        self.send()

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)
        reactor.callLater(0.05, self.begin)

    def send(self) -> None:
        for payload in self.link.take():
            self.transport.write(frame(payload))

    def dataReceived(self, data: bytes) -> None:
        for payload in self.reader.feed(data):
            try:
                self.link.receive(payload)
            except ValueError:
                self.transport.loseConnection()
                return
        self.send()


class Listening:
    def __init__(self, server: FakeServer, relay: bool = False) -> None:
        self.pem, options = certificate()
        factory = Factory.forProtocol(lambda: FakeProtocol(server, relay))
        self.port = blockingCallFromThread(
            reactor, lambda: reactor.listenSSL(0, factory, options, interface="127.0.0.1")
        )

    def close(self) -> None:
        blockingCallFromThread(reactor, self.port.stopListening)


def terminal(server: FakeServer, listening: Listening, folder: Path, **trust: Any) -> State:
    identity = Identity.new("T-1")
    server.terminals["T-1"] = identity.public_key
    bundle = make_trust(
        server, **{"port": listening.port.getHost().port, "tls": True, "ca_pem": listening.pem, **trust}
    )
    return states.in_memory(identity, bundle, CONFIGURATION, folder, server.now)


def go(state: State, server: FakeServer, **options: Any) -> Client:
    clock = SettableClock(from_micros(server.now))
    return blockingCallFromThread(reactor, lambda: connect(state, clock, reactor, **options))


def call(wish: Any, *arguments: Any, **options: Any) -> Any:
    return blockingCallFromThread(reactor, lambda: wish(*arguments, **options))


@pytest.fixture
def listening(server: FakeServer, running_reactor: Any) -> Iterator[Listening]:
    listening = Listening(server)
    yield listening
    listening.close()


def test_over_tls_the_whole_dialogue_runs(server: FakeServer, listening: Listening, tmp_path: Path) -> None:
    server.offers = [entry()]
    state = terminal(server, listening, tmp_path)
    client = go(state, server)
    line = client.dialogue.menu.line(1)
    quotation = call(client.request, line, "use")
    agreement = call(client.confirm, line, quotation)
    assert call(client.finish, agreement).step == "done"
    assert call(client.status).charges[0].currency == "EUR"
    call(client.close)
    assert server.receipts[agreement.id].outcome == "installed"


def test_a_proof_made_for_another_channel_does_not_hold(
    server: FakeServer, running_reactor: Any, tmp_path: Path
) -> None:
    listening = Listening(server, relay=True)
    with pytest.raises(LinkLost):
        go(terminal(server, listening, tmp_path), server)
    listening.close()


def test_a_server_with_another_certificate_is_not_spoken_to(
    server: FakeServer, listening: Listening, tmp_path: Path
) -> None:
    other, _ = certificate()
    with pytest.raises(LinkLost):
        go(terminal(server, listening, tmp_path, ca_pem=other), server)


def test_nobody_there_is_told(server: FakeServer, listening: Listening, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(LinkLost, match="cannot connect"):
        go(terminal(server, listening, tmp_path, port=port), server)


class CutOnce:
    def __init__(self, kind: str) -> None:
        self.left = [kind]

    def cut_after(self, sent: str) -> bool:
        return sent in self.left and not self.left.remove(sent)  # type: ignore[func-returns-value]  # remove, once

    def forget(self, received: str) -> bool:
        return received in self.left and not self.left.remove(received)  # type: ignore[func-returns-value]

    def repeat(self, sent: str) -> bool:
        return False


@pytest.mark.requirement("S11")
@pytest.mark.parametrize(
    "where", ["confirm", "delivery_request", "receipt", "agreed", "delivery_grant", "receipt_noted"]
)
def test_a_link_that_breaks_anywhere_is_gone_on_with_on_the_next(
    server: FakeServer, listening: Listening, tmp_path: Path, where: str
) -> None:
    server.offers = [entry()]
    state = terminal(server, listening, tmp_path)
    client = go(state, server, faults=CutOnce(where))
    line = client.dialogue.menu.line(1)
    quotation = call(client.request, line, "use")

    def take() -> Any:
        deferred = client.confirm(line, quotation)
        return deferred.addCallback(client.finish)

    with pytest.raises(LinkLost):
        call(take)
    call(client.close)
    client = go(state, server)
    for agreement in list(state.open_agreements()):
        call(client.finish, agreement)
    call(client.close)
    (agreement,) = state.agreements.values()
    assert (agreement.step, agreement.charge) == ("done", "charged")
    assert len(server.agreements) == len(server.receipts) == 1
