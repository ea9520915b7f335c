"""The terminal's link on Twisted: moves the bytes between a server and a :class:`terminal_sim.client.Client`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from OpenSSL.SSL import Connection
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import Certificate, TLSVersion, optionsForClientTLS, trustRootFromCertificates
from twisted.python.failure import Failure
from zope.interface import implementer

from signalling.clock import Clock
from signalling.framing import FrameError, FrameReader
from signalling.proof import EXPORTER_LABEL
from terminal_sim import delivery
from terminal_sim.client import ANSWER_TIMEOUT, Client, Faults
from terminal_sim.events import Event
from terminal_sim.state import State
from terminal_sim.trust import Trust

CONNECT_TIMEOUT = 15.0


@implementer(IHandshakeListener)
class LinkProtocol(Protocol):
    """Frames in and out of one TLS connection; everything else is the client's."""

    transport: Any

    def __init__(self, client: Client, tls: bool) -> None:
        self._client = client
        self._tls = tls
        self._reader = FrameReader()

    def connectionMade(self) -> None:
        # Without this the last flight of the hand-shake waits for a delayed acknowledgement.
        self.transport.setTcpNoDelay(True)
        if not self._tls:
            self._client.connected(self.transport, "none", b"")

    def handshakeCompleted(self) -> None:
        handle: Connection = self.transport.getHandle()
        self._client.connected(self.transport, "tls-exporter", handle.export_keying_material(EXPORTER_LABEL, 32, None))

    def dataReceived(self, data: bytes) -> None:
        try:
            payloads = self._reader.feed(data)
        except FrameError as error:
            self._client.ended(f"bad frame: {error}")
            self.transport.abortConnection()
            return
        for payload in payloads:
            self._client.received(payload)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._client.lost(reason.getErrorMessage())


def connect(
    state: State,
    clock: Clock,
    reactor: Any,
    *,
    receiver: delivery.SoftwareReceiver | None = None,
    on_event: Callable[[Event], None] = lambda event: None,
    faults: Faults | None = None,
    languages: tuple[str, ...] = ("en",),
    withhold_reports: bool = False,
) -> Deferred[Client]:
    """Connect and log on; fires with the client when its first menu is complete.

    Fails with :class:`NotReached` when nobody is there, with :class:`LinkLost` when the server is not the trusted one
    or refuses the proof.
    """
    client = Client(
        state,
        clock,
        reactor,
        receiver=receiver or delivery.SoftwareReceiver(state, clock),
        on_event=on_event,
        faults=faults,
        languages=languages,
        withhold_reports=withhold_reports,
    )
    endpoint = _make_endpoint(state.trust, reactor)
    attempt = endpoint.connect(Factory.forProtocol(lambda: LinkProtocol(client, state.trust.tls)))
    attempt.addErrback(lambda failure: client.not_reached(failure.getErrorMessage()))
    client.ready.addTimeout(CONNECT_TIMEOUT + ANSWER_TIMEOUT, reactor)

    def give_up(failure: Failure) -> Failure:
        client.abort()
        return failure

    return client.ready.addErrback(give_up)


def _make_endpoint(trust: Trust, reactor: Any) -> Any:
    """Where the server is; with TLS 1.3 and only the pinned certificates trusted."""
    plain: Any = HostnameEndpoint(reactor, trust.host, trust.port, timeout=CONNECT_TIMEOUT)
    if not trust.tls:
        return plain
    options = optionsForClientTLS(
        trust.host,
        trustRoot=trustRootFromCertificates(certificates(trust.ca_pem)),  # type: ignore[no-untyped-call]  # untyped in Twisted
        extraCertificateOptions={"raiseMinimumTo": TLSVersion.TLSv1_3},
    )
    return wrapClientTLS(options, plain)


def certificates(pem: str) -> list[Certificate]:
    """The certificates of a PEM text, one or several."""
    end = "-----END CERTIFICATE-----"
    return [Certificate.loadPEM((part + end).encode()) for part in pem.split(end) if "BEGIN CERTIFICATE" in part]
