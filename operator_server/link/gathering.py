"""Gathers what many links want of the store at the same time into one operation.

Below a certain load nobody waits: each request is handed over as it comes, and the store does together what has come
while it was busy. Under load one operation is under way at a time, what comes meanwhile waits for the next, and
operations begin no closer together than a pace, so that many links share one hand-over between threads and one
transaction, which cost more than what a link does in them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

Done = Callable[[Any], None]
"""Gets the result of one request, or the :class:`twisted.python.failure.Failure` it ended with."""


BUSY = 2000
"""Requests a second from which sharing is worth a wait."""

WINDOW = 0.05
"""Seconds over which they are counted."""


class Gathering:
    """``submit`` takes a list of at most ``most`` requests to the store; its Deferred fires with as many results.

    ``pace``: seconds from the beginning of an operation to the next, by the reactor's clock, while more than
    ``BUSY`` requests a second come.

    When an operation fails, each of its requests is tried alone, so that one that cannot be done fails alone.
    """

    def __init__(
        self, submit: Callable[[list[Any]], Deferred[list[Any]]], reactor: Any, *, pace: float, most: int = 512
    ) -> None:
        self._most = most
        self._reactor = reactor
        self._pace = pace
        self._next_at = 0.0
        self._window_end = 0.0
        self._arrivals = 0
        self._busy = False
        self._submit = submit
        self._waiting: list[tuple[Any, Done]] = []
        self._under_way = False

    def put(self, request: Any, done: Done) -> None:
        """Have the request done, with others or alone."""
        now = self._reactor.seconds()
        self._arrivals += 1
        if now >= self._window_end:
            self._busy = self._arrivals > BUSY * (now - self._window_end + WINDOW)
            self._window_end, self._arrivals = now + WINDOW, 0
        if not self._busy and not self._waiting:
            self._alone(request, done)
            return
        self._waiting.append((request, done))
        if not self._under_way:
            self._next()

    def _alone(self, request: Any, done: Done) -> None:
        self._submit([request]).addCallbacks(lambda results: done(results[0]), done)

    def _next(self) -> None:
        self._under_way = bool(self._waiting)
        if not self._under_way:
            return
        wait = self._next_at - self._reactor.seconds()
        if wait > 0 and len(self._waiting) < self._most:
            self._reactor.callLater(wait, self._begin)
        else:
            self._begin()

    def _begin(self) -> None:
        self._next_at = self._reactor.seconds() + self._pace
        group, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
        requests = [request for request, _ in group]
        self._submit(requests).addCallbacks(self._finish, self._fail, (group,), errbackArgs=(group,))

    def _finish(self, results: list[Any], group: list[tuple[Any, Done]]) -> None:
        # The next operation leaves before the answers are worked on, so that both threads have something to do.
        self._next()
        for (_, done), result in zip(group, results, strict=True):
            done(result)

    def _fail(self, failure: Failure, group: list[tuple[Any, Done]]) -> None:
        self._next()
        if len(group) == 1:
            group[0][1](failure)
            return
        for request, done in group:
            self._alone(request, done)
