"""What a process does again and again by its reactor's clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger


class Timers:
    """The timers of one part of a process, called ``name`` in its ``log``.

    What fails is logged, and done again when its time comes next. What takes long, and gives a Deferred, is not begun
    a second time meanwhile.
    """

    def __init__(self, reactor: Any, log: Logger, name: str) -> None:
        self._reactor, self._log, self._name = reactor, log, name
        self._loops: list[tuple[LoopingCall, Deferred[LoopingCall]]] = []

    def every(self, seconds: float, work: Callable[[], Any], *, now: bool = False) -> None:
        """Do ``work`` every so often; with ``now`` at once, too."""

        def run() -> Deferred[Any]:
            return maybeDeferred(work).addErrback(
                lambda failure: self._log.failure("{name} failed; it goes on", failure, name=self._name)
            )

        loop = LoopingCall(run)
        loop.clock = self._reactor
        self._loops.append((loop, loop.start(seconds, now=now)))

    def stop(self) -> Deferred[Any]:
        """Begin nothing more; fires when the work at hand has ended."""
        for loop, _ in self._loops:
            loop.stop()
        ended = [ended for _, ended in self._loops]
        self._loops.clear()
        return DeferredList(ended)
