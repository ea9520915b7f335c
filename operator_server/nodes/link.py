"""The connection of one node: what it says goes to the home register, what is for it or its calls goes out."""

from __future__ import annotations

from typing import Any
from typing import Protocol as Interface

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from operator_server.nodes.player import Player
from operator_server.settings import NodesSettings
from signalling.framing import FrameError, FrameReader, frame
from signalling.tones import nodes as n

log = Logger()

ATTACH_SECONDS = 10.0
CARRY_SECONDS = 40.0


class Home(Interface):
    """The home register as a node's connection sees it. What takes a while gives a Deferred."""

    reactor: Any
    settings: NodesSettings

    def opened(self, link: NodeLink) -> None:
        """Somebody connected."""

    def gone(self, link: NodeLink) -> None:
        """A connection ended."""

    def attach(self, link: NodeLink, message: n.Attach) -> None:
        """A node says who it is."""

    def located(self, link: NodeLink, message: n.Located) -> Deferred[Any]:
        """A phone registered there."""

    def held(self, message: n.Held) -> Deferred[Any]:
        """A phone holds a connection, or none any more."""

    def from_phone(self, link: NodeLink, message: n.FromPhone) -> Deferred[Any]:
        """A short message of a phone."""

    def ussd(self, link: NodeLink, message: n.Ussd) -> Deferred[Any]:
        """A step of a session that a phone began."""

    def call(self, link: NodeLink, message: n.Call) -> Deferred[Any]:
        """A phone calls."""


class NodeLink(Protocol):
    """The connection of one node. ``name`` is empty until it is attached."""

    transport: Any

    def __init__(self, home: Home) -> None:
        self.name = ""
        self.calls: dict[int, Player] = {}
        self._home = home
        self._reader = FrameReader()
        self._ref = 0
        self._carried: dict[int, tuple[Deferred[n.Carried], Any]] = {}
        self._late: Any = None

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)
        self.transport.setTcpKeepAlive(True)
        self._home.opened(self)
        self._late = self._home.reactor.callLater(ATTACH_SECONDS, self.transport.abortConnection)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._home.gone(self)
        if self._late is not None and self._late.active():
            self._late.cancel()
        for player in list(self.calls.values()):
            player.stop()
        self.calls.clear()
        waiting, self._carried = self._carried, {}
        for done, late in waiting.values():
            if late.active():
                late.cancel()
            done.callback(n.Carried(0, "failed", reason="the connection to the node broke"))

    def dataReceived(self, data: bytes) -> None:
        try:
            for payload in self._reader.feed(data):
                self._received(n.decode_from_node(payload))
        except (FrameError, n.NodeError) as fault:
            log.warn("node {node} is cut off: {why}", node=self.name or "unknown", why=str(fault))
            self.transport.abortConnection()

    def _received(self, message: n.FromNode) -> None:
        if not self.name:
            if not isinstance(message, n.Attach):
                raise n.NodeError("a node says who it is before all else")
            self._late.cancel()
            self._home.attach(self, message)
            return
        done: Deferred[Any] | None = None
        match message:
            case n.Located():
                done = self._home.located(self, message)
            case n.Held():
                done = self._home.held(message)
            case n.FromPhone():
                done = self._home.from_phone(self, message)
            case n.Ussd():
                done = self._home.ussd(self, message)
            case n.Call():
                done = self._home.call(self, message)
            case n.Hangup(call=call):
                player = self.calls.pop(call, None)
                if player is not None:
                    player.stop()
            case n.Carried(ref=ref):
                waiting = self._carried.pop(ref, None)
                if waiting is not None:
                    if waiting[1].active():
                        waiting[1].cancel()
                    waiting[0].callback(message)
            case n.Attach():
                raise n.NodeError("a node says once who it is")
        if done is not None:
            done.addErrback(lambda failure: log.failure("a node's message was not carried out", failure))

    def send(self, message: n.NodeMessage) -> None:
        """A message to the node."""
        self.transport.write(frame(n.encode_node(message)))

    def carry(self, message: n.Carry) -> Deferred[n.Carried]:
        """Have the node bring something to a phone; fires with its report."""
        self._ref += 1
        ref = self._ref
        done: Deferred[n.Carried] = Deferred()

        def late() -> None:
            waiting = self._carried.pop(ref, None)
            if waiting is not None:
                waiting[0].callback(n.Carried(ref, "failed", reason="the node does not answer"))

        self._carried[ref] = done, self._home.reactor.callLater(CARRY_SECONDS, late)
        self.send(n.Carry(ref, message.number, message.how, message.data, message.dcs))
        return done

    def play(self, call: int, sound: bytes) -> None:
        """Answer a call and play into it; at the end it is hung up as it should be."""

        def over() -> None:
            if self.calls.pop(call, None) is not None:
                self.send(n.Hangup(call))

        self.send(n.Answered(call))
        player = Player(
            self._home.reactor, sound, self._home.settings.voice_frame_ms / 1000,
            lambda place, part: self.send(n.Voice(call, place, part)), over,
        )  # fmt: skip
        self.calls[call] = player
        player.start()
