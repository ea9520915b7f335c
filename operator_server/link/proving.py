"""The link's side of the prover: asks it, starts it again when it ends, and does without it meanwhile."""

from __future__ import annotations

import os
import socket
import sys
from collections import deque
from typing import Any

import msgspec
from twisted.internet.interfaces import IReadWriteDescriptor
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from operator_server.link.gathering import Done
from operator_server.link.prover import Answer, Ask, cut, framed
from operator_server.link.visitors import Proof, Visitors
from signalling.clock import Clock

log = Logger()

AGAIN_SECONDS = 1.0
"""How long a prover that ended is left alone."""

_MOST_BYTES = 256 * 1024
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Answer]).decode


class ProvingVisitors:
    """Asks a prover process; ``otherwise`` looks up while there is none that is ready."""

    def __init__(self, url: str, clock: Clock, reactor: Any, otherwise: Visitors) -> None:
        self._url = url
        self._clock = clock
        self._reactor = reactor
        self._otherwise = otherwise
        self._prover: _Prover | None = None
        self._stopped = False

    def start(self) -> None:
        """Start the prover."""
        if not self._stopped:
            self._prover = _Prover(self._reactor, self._ended)
            self._prover.send(self._url.encode())

    def stop(self) -> None:
        """Let the prover end; what is asked from now on goes the other way."""
        self._stopped = True
        if self._prover is not None:
            self._prover.close()

    def read(self, terminal: str, proof: Proof | None, done: Done) -> None:
        """See :class:`operator_server.link.visitors.Visitors`. The prover checks the proof as well."""
        prover = self._prover
        if prover is None or not prover.ready:
            self._otherwise.read(terminal, proof, done)
        else:
            prover.waiting.append((terminal, proof, done))
            prover.send(_encode(Ask(terminal, self._clock.micros(), proof)))

    def _ended(self, prover: _Prover, reason: Failure) -> None:
        self._prover = None
        if not self._stopped:
            log.warn(
                "the prover ended ({reason}); logons are checked without it until it is started again",
                reason=reason.getErrorMessage(),
            )
            self._reactor.callLater(AGAIN_SECONDS, self.start)
        for terminal, proof, done in prover.waiting:
            self._otherwise.read(terminal, proof, done)


@implementer(IReadWriteDescriptor)
class _Prover(ProcessProtocol):
    """The process and the socket to it. What the socket takes is sent at once, which saves a turn of the reactor."""

    def __init__(self, reactor: Any, ended: Any) -> None:
        self.waiting: deque[tuple[str, Proof | None, Done]] = deque()
        self.ready = False
        self._reactor = reactor
        self._ended = ended
        self._received = bytearray()
        self._unsent = bytearray()
        self._socket, other = socket.socketpair()
        self._socket.setblocking(False)
        command = [sys.executable, "-m", "operator_server.link.prover"]
        with other:
            fds = {0: other.fileno(), 1: other.fileno(), 2: 2}
            reactor.spawnProcess(self, sys.executable, command, env=os.environ, childFDs=fds)
        reactor.addReader(self)

    def send(self, payload: bytes) -> None:
        """Send one frame."""
        data = framed(payload)
        if self._unsent:
            self._unsent += data
            return
        sent = self._try(data)
        if sent < len(data):
            self._unsent += data[sent:]
            self._reactor.addWriter(self)

    def _try(self, data: bytes | bytearray) -> int:
        try:
            return self._socket.send(data)
        except OSError:
            return 0  # It is full, or gone; the latter is told by the end of the process.

    def close(self) -> None:
        """Let the process end."""
        self._reactor.removeReader(self)
        self._reactor.removeWriter(self)
        self._socket.close()

    def doRead(self) -> None:
        """See :class:`twisted.internet.interfaces.IReadDescriptor`."""
        try:
            data = self._socket.recv(_MOST_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._reactor.removeReader(self)
            return
        self._received += data
        for frame in cut(self._received):
            self.ready = True
            for answer in _decode(frame):
                self._tell(answer)

    def _tell(self, answer: Answer) -> None:
        terminal, _, done = self.waiting.popleft()
        try:
            done(answer)
        except Exception:  # noqa: BLE001 - it is that terminal's, and the others must still hear of theirs
            log.failure("the logon of {terminal} failed", terminal=terminal)

    def doWrite(self) -> None:
        """See :class:`twisted.internet.interfaces.IWriteDescriptor`."""
        del self._unsent[: self._try(self._unsent)]
        if not self._unsent:
            self._reactor.removeWriter(self)

    def fileno(self) -> int:
        """Of the socket; -1 when it is closed."""
        return self._socket.fileno()

    def connectionLost(self, reason: Failure) -> None:
        """The reactor lets go of the socket; the end of the process follows."""
        self._reactor.removeReader(self)
        self._reactor.removeWriter(self)

    def logPrefix(self) -> str:
        """The name in the reactor's own messages."""
        return "prover"

    def processEnded(self, reason: Failure) -> None:
        """See :class:`twisted.internet.interfaces.IProcessProtocol`."""
        if self._socket.fileno() >= 0:
            self.close()
        self._ended(self, reason)
