"""Plays sound into a call, a frame at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.task import LoopingCall

from signalling.tones.voice import frames

AT_ONCE = 50
"""Frames of a turn where nobody listens in real time."""


class Player:
    """``seconds`` between frames, 0 for as fast as they go; ``send`` takes place and frame.

    ``over`` is called at the end.
    """

    def __init__(
        self, reactor: Any, sound: bytes, seconds: float, send: Callable[[int, bytes], None], over: Callable[[], None]
    ) -> None:
        self._frames, self._seconds, self._send, self._over = frames(sound), seconds, send, over
        self._place = 0
        self._loop = LoopingCall.withCount(self._play)
        self._loop.clock = reactor

    def start(self) -> None:
        """Begin."""
        self._loop.start(self._seconds or 0.0)

    def stop(self) -> None:
        """Nobody listens any more."""
        if self._loop.running:
            self._loop.stop()

    def _play(self, due: int) -> None:
        for _ in range(due if self._seconds else AT_ONCE):
            if self._place == len(self._frames):
                self.stop()
                self._over()
                return
            self._send(self._place, self._frames[self._place])
            self._place += 1
