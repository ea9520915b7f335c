"""The interconnect's HTTP server on Twisted: TLS 1.3 in which callers show a certificate, and limits on what they send.

Any certificate is let through the hand-shake, which proves that the caller has its key. Whose it is, is looked up by
its fingerprint for each request: a partner counts from the moment in which it is agreed on, and who is refused is told
why in words.
"""

from __future__ import annotations

from hashlib import sha256
from io import BytesIO
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.threads import deferToThread, deferToThreadPool
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site
from zope.interface import implementer

from operator_server.settings import RoamingSettings
from operator_server.visited.identity import Identity
from operator_server.visited.interconnect import Interconnect, Reply, refusal
from operator_server.visited.wire import MOST_BODY

log = Logger()

IDLE_SECONDS = 30
REQUEST_SECONDS = 20
"""How long a request may take to come, from its first line."""
CONNECTION_SECONDS = 600
THREADS = 4
MOST_WAITING = 200


@implementer(IOpenSSLServerConnectionCreator)
class PeerTls:
    """Our certificate, TLS 1.3 only, callers asked for theirs."""

    def __init__(self, identity: Identity) -> None:
        self._context = context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_min_proto_version(SSL.TLS1_3_VERSION)
        context.use_certificate_file(str(identity.file))
        context.use_privatekey_file(str(identity.file))
        context.check_privatekey()
        context.set_verify(SSL.VERIFY_PEER, lambda *_: True)
        # A session that is resumed would carry an identity from before.
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.set_options(SSL.OP_NO_TICKET)

    def serverConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        """A server's side of a new connection."""
        return SSL.Connection(self._context, None)


class PeerRequest(Request):
    """A request whose body is bounded in size and time; of one that is too large nothing is read."""

    _late: Any = None

    def gotLength(self, length: int | None) -> None:
        """The head is there."""
        self.content = BytesIO()
        if length is not None and length > MOST_BODY:
            self._too_large()
            return
        self._late = self.channel.callLater(REQUEST_SECONDS, self.channel.forceAbortClient)

    def handleContentChunk(self, data: bytes) -> None:
        """A part of the body."""
        assert self.content is not None
        if self.content.tell() + len(data) > MOST_BODY:
            self._too_large()
        else:
            self.content.write(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """All of it is there."""
        self._stop()
        super().requestReceived(command, path, version)

    def connectionLost(self, reason: Failure) -> None:
        """The caller went."""
        self._stop()
        super().connectionLost(reason)

    def _stop(self) -> None:
        if self._late is not None and self._late.active():
            self._late.cancel()

    def _too_large(self) -> None:
        """Say so at once, and hang up."""
        self._stop()
        body = refusal("too_large", f"a body has at most {MOST_BODY} bytes").body
        head = "HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Type: application/json\r\n"
        channel: Any = self.channel
        channel.transport.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        channel.loseConnection()


class PeerSite(Site):
    """The calls as a site of HTTP/1.1, without an access log."""

    noisy = False

    def acceptableProtocols(self) -> list[bytes]:
        """What is spoken; the limits on requests are those of this protocol."""
        return [b"http/1.1"]

    def log(self, request: Any) -> None:
        """What is worth a line is logged where it happens."""


class PeerFactory(TLSMemoryBIOFactory):
    """Connections over TLS: at most ``most`` at a time, each for a bounded time."""

    def __init__(self, tls: Any, site: Any, most: int, reactor: Any) -> None:
        super().__init__(tls, False, site)
        self._most, self._reactor = most, reactor
        self._ends: dict[Any, Any] = {}

    def buildProtocol(self, addr: Any) -> Any:
        """A new connection; ``None`` closes it."""
        if len(self._ends) >= self._most:
            log.warn("{most} connections are open; {address} is turned away", most=self._most, address=str(addr))
            return None
        return super().buildProtocol(addr)

    def registerProtocol(self, p: Any) -> None:
        """It stands."""
        super().registerProtocol(p)
        self._ends[p] = self._reactor.callLater(CONNECTION_SECONDS, p.abortConnection)

    def unregisterProtocol(self, p: Any) -> None:
        """It is gone."""
        super().unregisterProtocol(p)
        end = self._ends.pop(p, None)
        if end is not None and end.active():
            end.cancel()


class Listener:
    """The interconnect at a port, with threads of its own for what blocks."""

    def __init__(self, interconnect: Interconnect, identity: Identity, settings: RoamingSettings, reactor: Any) -> None:
        self._settings, self._reactor = settings, reactor
        self._pool = ThreadPool(0, THREADS, "roaming")
        site = PeerSite(
            _Calls(interconnect, reactor, self._pool), PeerRequest, timeout=IDLE_SECONDS, reactor=reactor,
            parsePOSTFormSubmission=False,
        )  # fmt: skip
        self._factory = PeerFactory(PeerTls(identity), site, settings.max_connections, reactor)
        self._port: Any = None

    def start(self) -> int:
        """Listen; the port. Raises ``OSError`` that names the address."""
        host, port = self._settings.host, self._settings.port
        try:
            self._port = self._reactor.listenTCP(port, self._factory, interface=host)
        except CannotListenError as error:
            raise OSError(f"cannot listen on {host} port {port}: {error.socketError}") from None
        self._pool.start()
        return int(self._port.getHost().port)

    def stop(self) -> Deferred[None]:
        """Close the port, let the calls at hand end."""

        def closed(_: Any) -> Deferred[None]:
            return deferToThread(self._pool.stop)

        return maybeDeferred(self._port.stopListening).addCallback(closed)


class _Calls(Resource):
    isLeaf = True

    def __init__(self, interconnect: Interconnect, reactor: Any, pool: ThreadPool) -> None:
        super().__init__()
        self._interconnect, self._reactor, self._pool = interconnect, reactor, pool
        self._waiting = 0

    def render(self, request: Any) -> Any:
        if request.method != b"POST":
            return _told(request, refusal("bad_method", "POST is needed", 405))
        if self._waiting >= MOST_WAITING:
            return _told(request, refusal("busy", "too much waits; try again in a moment", 503))
        gone: list[bool] = []
        request.notifyFinish().addErrback(lambda _: gone.append(True))
        self._waiting += 1
        path, body = request.path.decode("ascii", "replace"), request.content.getvalue()
        work: Deferred[Reply] = deferToThreadPool(
            self._reactor, self._pool, self._interconnect.answer, _fingerprint(request), path, body
        )

        def failed(failure: Failure) -> Reply:
            log.failure("a partner's call failed", failure)
            return refusal("failed", "it could not be done; try again", 500)

        def answer(reply: Reply) -> None:
            self._waiting -= 1
            if not gone:
                request.write(_told(request, reply))
                request.finish()

        work.addErrback(failed).addCallback(answer)
        return NOT_DONE_YET


def _told(request: Any, reply: Reply) -> bytes:
    request.setResponseCode(reply.status)
    request.setHeader(b"content-type", b"application/json")
    request.setHeader(b"cache-control", b"no-store")
    request.setHeader(b"content-length", str(len(reply.body)).encode())
    return reply.body


def _fingerprint(request: Any) -> str | None:
    certificate = request.channel.transport.getPeerCertificate()
    if certificate is None:
        return None
    return sha256(certificate.to_cryptography().public_bytes(Encoding.DER)).hexdigest()
