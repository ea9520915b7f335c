"""A node's line to the home register, built again while there is none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import Certificate, optionsForClientTLS, trustRootFromCertificates
from twisted.python.failure import Failure

from signalling.framing import FrameError, FrameReader, frame
from signalling.tones import nodes as n

AGAIN_SECONDS = 1.0
_END = "-----END CERTIFICATE-----"


class HomeLine:
    """The line of the node that greets so. ``refusal``: why the home register does not let it in, for good.

    ``there`` and ``gone`` are told when it is let in and when that ends or cannot be, ``heard`` what comes then.
    """

    def __init__(
        self,
        reactor: Any,
        greeting: n.Attach,
        log: Callable[[str], None],
        there: Callable[[], None],
        gone: Callable[[], None],
        heard: Callable[[n.FromHome], None],
    ) -> None:
        self.refusal = ""
        self.greeting, self.log, self.there, self.gone, self.heard = greeting, log, there, gone, heard
        self._reactor = reactor
        self._side: _HomeSide | None = None
        self._trouble = ""
        self._closed = False
        self._connect: Callable[[], Deferred[Any]] | None = None

    @property
    def attached(self) -> bool:
        """Whether the home register knows this node."""
        return self._side is not None

    def attach(self, address: str, ca_pem: str = "") -> None:
        """Keep a line to the home register at ``host:port``; over TLS where its authority is given."""
        host, _, port = address.rpartition(":")
        endpoint: Any = HostnameEndpoint(self._reactor, host, int(port))
        if ca_pem:
            pems = [part + _END for part in ca_pem.split(_END) if "BEGIN" in part]
            trusted: Any = trustRootFromCertificates  # of Twisted, without types
            trust = trusted([Certificate.loadPEM(pem.strip().encode()) for pem in pems])
            endpoint = wrapClientTLS(optionsForClientTLS(host, trust), endpoint)
        factory = Factory.forProtocol(lambda: _HomeSide(self))
        self._connect = lambda: cast("Deferred[Any]", endpoint.connect(factory))
        self._try()

    def say(self, message: n.NodeMessage) -> bool:
        """A message to the home register; false where there is no line to it."""
        if self._side is None:
            return False
        self._side.send(message)
        return True

    def close(self) -> None:
        """Let it go."""
        self._closed = True
        if self._side is not None:
            self._side.transport.abortConnection()

    def _try(self) -> None:
        if self._connect is not None and not self._closed:
            self._connect().addErrback(self._no_home)

    def _no_home(self, failure: Failure) -> None:
        self._tell(failure.getErrorMessage())
        self._again()

    def _tell(self, why: str) -> None:
        """Say why there is no home register: once, however often it is tried."""
        if why != self._trouble:
            self.log(f"no home register: {why}")
        self._trouble = why

    def _again(self) -> None:
        if not self._closed and not self.refusal:
            self._reactor.callLater(AGAIN_SECONDS, self._try)

    def opened(self, side: _HomeSide) -> None:
        """It let this node in."""
        self._side, self._trouble = side, ""
        self.log("attached to the home register")
        self.there()

    def lost(self, side: _HomeSide, why: str) -> None:
        """The line broke."""
        if self._side is side:
            self._side = None
        self._tell(why)
        self.gone()
        self._again()


class _HomeSide(Protocol):
    transport: Any

    def __init__(self, line: HomeLine) -> None:
        self._line = line
        self._reader = FrameReader()
        self._in = False

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)
        self.send(self._line.greeting)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._line.lost(self, reason.getErrorMessage())

    def dataReceived(self, data: bytes) -> None:
        try:
            for payload in self._reader.feed(data):
                self._received(n.decode_from_home(payload))
        except (FrameError, n.NodeError) as fault:
            self._line.log(f"the home register says nonsense: {fault}")
            self.transport.abortConnection()

    def _received(self, message: n.FromHome) -> None:
        if isinstance(message, n.Refused):
            self._line.refusal = message.reason
            self._line.log(f"the home register refuses: {message.reason}")
        elif isinstance(message, n.Attached) and not self._in:
            self._in = True
            self._line.opened(self)
        elif self._in:
            self._line.heard(message)

    def send(self, message: n.NodeMessage) -> None:
        """A message to the home register."""
        self.transport.write(frame(n.encode_node(message)))
