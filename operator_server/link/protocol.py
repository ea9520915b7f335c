"""The thin shell around the link machine: Twisted's bytes in, the machine's bytes out, limits of what may wait.

Links are many and mostly idle: a link is one object with slots and has no timer of its own, see
:mod:`operator_server.link.wheel`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.interfaces import IProtocol, IPullProducer, IPushProducer
from twisted.internet.protocol import ServerFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from operator_server.link.machine import Event, LinkMachine, State

if TYPE_CHECKING:
    from operator_server.desk import Visitor
    from operator_server.interrogation.interrogator import Interview
    from operator_server.link.tls import LinkTls

MAX_WAITING = 512 * 1024
"""Bytes that may wait for a peer that does not read; beyond, the link is aborted."""


class LinkOwner(Protocol):
    """The server of links as a link sees it; what it does about events it says by :func:`on`."""

    rate: int
    burst: int
    tls: LinkTls | None
    seconds: Callable[[], float]

    def admits(self, address: str) -> bool:
        """Whether one more link, from this address, is within the limits."""

    def connected(self, link: LinkProtocol) -> None:
        """A new link."""

    def disconnected(self, link: LinkProtocol) -> None:
        """A link is gone."""

    def closing(self, link: LinkProtocol) -> None:
        """A link has said its last word."""


@implementer(IProtocol)
class LinkProtocol:
    """One link. ``visitor`` is set while a terminal is logged on."""

    __slots__ = (
        "_plain", "_stalled", "_watched", "address", "closing", "due", "heard_at", "interview", "machine", "opened_at",
        "pinged", "server", "session", "slot", "terminal", "transport", "visitor",
    )  # fmt: skip

    transport: Any
    visitor: Visitor
    interview: Interview | None

    def __init__(self, server: LinkOwner, address: str) -> None:
        self.server = server
        self.address = address
        self.machine = LinkMachine(server.rate, server.burst)
        self.terminal = ""
        self.session = ""
        self.interview = None
        self.due: int | None = None
        self.slot = -1
        self.pinged = self.closing = False
        self.opened_at = self.heard_at = 0.0
        self._stalled = -1
        self._watched = False

    def makeConnection(self, transport: Any) -> None:
        """The connection stands; the server has the first word."""
        self.transport = transport
        self._plain = None if self.server.tls is not None else getattr(transport, "socket", None)
        transport.setTcpNoDelay(True)
        self.server.connected(self)
        self.flush()

    def dataReceived(self, data: bytes) -> None:
        """Bytes of the terminal."""
        server = self.server
        self.heard_at = now = server.seconds()
        self.pinged = False
        if self._plain is None and not self._watched:
            # Not before the hand-shake is over: until then TLS holds writes back because it waits for reads.
            self._watched = True
            self.transport.registerProducer(_PushedBack(self), True)
        for event in self.machine.receive(data, now):
            _HAPPENED[type(event)](server, self, event)
        self.flush()

    def connectionLost(self, reason: Failure) -> None:
        """The connection is gone."""
        self.machine.state = State.CLOSED
        self.server.disconnected(self)

    def flush(self) -> None:
        """Send what the machine has queued; let the connection go when the machine has closed."""
        data = self.machine.output()
        if data and not self.closing:
            self._send(data)
        if self.machine.state is State.CLOSED and not self.closing:
            self.closing = True
            self.server.closing(self)
            if self._watched:
                # TLS does not say good-bye while somebody is registered who might still write.
                self.transport.unregisterProducer()
            self.transport.loseConnection()

    def _send(self, data: bytes) -> None:
        if self._stalled >= 0:
            self._stalled += len(data)
            if self._stalled > MAX_WAITING:
                self.transport.abortConnection()
                return
            self.transport.write(data)
        elif self._plain is None:
            self.transport.write(data)
        else:
            # Sending at once saves a turn of the reactor; what the socket does not take goes the usual way.
            try:
                sent = self._plain.send(data)
            except OSError:
                sent = 0
            if sent < len(data):
                self._stall(data[sent:])

    def _stall(self, rest: bytes) -> None:
        self._stalled = len(rest)
        self.transport.pauseProducing()
        self.transport.write(rest)
        self.transport.registerProducer(_Drained(self), False)

    def stalled(self) -> None:
        """The peer does not read: neither do we."""
        if self._stalled < 0:
            self._stalled = 0
            self.transport.pauseProducing()

    def drained(self) -> None:
        """All that waited is sent."""
        self._stalled = -1
        self.transport.resumeProducing()


@implementer(IPullProducer)
class _Drained:
    """Asked for more when the transport's buffer is empty; never has any."""

    __slots__ = ("_asked", "_link")

    def __init__(self, link: LinkProtocol) -> None:
        self._link = link
        self._asked = False

    def resumeProducing(self) -> None:
        if not self._asked:
            self._asked = True  # The first call comes with the registration.
            return
        self._link.transport.unregisterProducer()
        self._link.drained()

    def stopProducing(self) -> None:
        pass


@implementer(IPushProducer)
class _PushedBack:
    """Told by a TLS transport when its peer does not keep up."""

    __slots__ = ("_link",)

    def __init__(self, link: LinkProtocol) -> None:
        self._link = link

    def pauseProducing(self) -> None:
        self._link.stalled()

    def resumeProducing(self) -> None:
        self._link.drained()

    def stopProducing(self) -> None:
        pass


class LinkFactory(ServerFactory):
    """Makes links within the limits."""

    noisy = False

    def __init__(self, server: LinkOwner) -> None:
        self._server = server

    def buildProtocol(self, addr: Any) -> Any:
        """A link, or none when there are too many; then the connection is closed without a word."""
        host = getattr(addr, "host", "")
        return LinkProtocol(self._server, host) if self._server.admits(host) else None


_HAPPENED: dict[type[Event], Any] = {}


def on(event: type[Event], handler: Any) -> None:
    """``handler(server, link, event)`` is what is done about events of this kind."""
    _HAPPENED[event] = handler
