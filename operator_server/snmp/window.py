"""A window of outstanding requests from which those that nobody answers drop out."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Window:
    """At most ``size`` requests that are being worked on at a time.

    A request that has waited ``patience`` seconds gives its place to the next, for it takes no work any more: a
    thousand dead devices cost a thousand short waits and stop nobody. ``silent``: how many may wait so beside the
    window; when there are more, they keep their places.
    """

    def __init__(self, size: int, patience: float = 0.2, silent: int = 4000) -> None:
        self._free = size
        self._patience = patience
        self._silent_left = silent
        self._waiting: deque[asyncio.Future[None]] = deque()

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """A place in the window, for as long as the request is being worked on."""
        loop = asyncio.get_running_loop()
        if self._free > 0:
            self._free -= 1
        else:
            turn: asyncio.Future[None] = loop.create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._leave()
                raise
        held = [True]

        def step_aside() -> None:
            if self._silent_left > 0:
                self._silent_left -= 1
                held[0] = False
                self._leave()

        timer = loop.call_later(self._patience, step_aside)
        try:
            yield
        finally:
            timer.cancel()
            if held[0]:
                self._leave()
            else:
                self._silent_left += 1

    def _leave(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
