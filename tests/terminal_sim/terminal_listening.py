"""The fake server on the loopback, over TLS or plain, in a reactor that runs beside the tests."""

from __future__ import annotations

import datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from terminal_fakes import FakeServer
from twisted.internet import reactor
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import Certificate, CertificateOptions, KeyPair, TLSVersion
from twisted.internet.threads import blockingCallFromThread
from zope.interface import implementer

from signalling.framing import FrameReader, frame
from signalling.proof import EXPORTER_LABEL


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


@implementer(IHandshakeListener)
class FakeProtocol(Protocol):
    """A link of the fake server over TLS, with the exporter as its binding; ``relay`` spoils it."""

    def __init__(self, server: FakeServer, relay: bool, tls: bool) -> None:
        self.server, self.relay, self.tls, self.reader = server, relay, tls, FrameReader()
        self.link: Any = None

    def begin(self, binding: bytes = b"") -> None:
        self.link = self.server.link(binding)
        self.send()

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)
        if not self.tls:
            self.begin()

    def handshakeCompleted(self) -> None:
        binding = self.transport.getHandle().export_keying_material(EXPORTER_LABEL, 32, None)
        self.begin(bytes(32) if self.relay else binding)

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
    def __init__(self, server: FakeServer, relay: bool = False, tls: bool = True) -> None:
        self.pem, options = certificate()
        factory = Factory.forProtocol(lambda: FakeProtocol(server, relay, tls))

        def listen() -> Any:
            if tls:
                return reactor.listenSSL(0, factory, options, interface="127.0.0.1")
            return reactor.listenTCP(0, factory, interface="127.0.0.1")

        self.port = blockingCallFromThread(reactor, listen)

    def close(self) -> None:
        blockingCallFromThread(reactor, self.port.stopListening)
