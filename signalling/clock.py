"""Time as this house keeps it: aware UTC for people and rules, integer microseconds on the wire and in the store.

No rule reads a clock. Whoever stands outside the rules holds a :class:`Clock` and passes the instant in.
"""

from __future__ import annotations

import mmap
import struct
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_micros(instant: datetime) -> int:
    """Microseconds since 1970-01-01T00:00Z. Raises ``ValueError`` for a naive datetime."""
    if instant.tzinfo is None:
        raise ValueError(f"{instant!r} has no time zone; instants are aware UTC")
    return (instant - _EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """The aware UTC datetime of microseconds since the epoch."""
    return _EPOCH + timedelta(microseconds=micros)


class Clock(Protocol):
    """Tells the business time. Time-outs of sockets use the reactor's own clock instead."""

    def now(self) -> datetime:
        """The present instant, aware UTC."""

    def micros(self) -> int:
        """The present instant in microseconds since the epoch."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def micros(self) -> int:
        return time.time_ns() // 1000


class SettableClock:
    """A clock that stands still until it is set; for tests and for one process of a simulation."""

    def __init__(self, start: datetime) -> None:
        self._micros = to_micros(start)

    def now(self) -> datetime:
        return from_micros(self._micros)

    def micros(self) -> int:
        return self._micros

    def set(self, instant: datetime) -> None:
        """Move to ``instant``, forwards or backwards."""
        self._micros = to_micros(instant)

    def advance(self, step: timedelta) -> None:
        """Move forwards by ``step``."""
        self._micros += step // _MICROSECOND


class SharedClock:
    """A settable clock in a file of eight bytes, so that several processes live in the same simulated time."""

    _INSTANT = struct.Struct("<q")

    def __init__(self, path: Path, start: datetime | None = None) -> None:
        """Open the clock at ``path``; with ``start`` create it or set it first."""
        if start is not None:
            path.write_bytes(self._INSTANT.pack(to_micros(start)))
        with path.open("r+b") as file:
            self._view = mmap.mmap(file.fileno(), self._INSTANT.size)

    def now(self) -> datetime:
        return from_micros(self.micros())

    def micros(self) -> int:
        value: int = self._INSTANT.unpack_from(self._view)[0]
        return value

    def set(self, instant: datetime) -> None:
        """Move every process that shares the file to ``instant``."""
        self._INSTANT.pack_into(self._view, 0, to_micros(instant))

    def advance(self, step: timedelta) -> None:
        """Move forwards by ``step``."""
        self._INSTANT.pack_into(self._view, 0, self.micros() + step // _MICROSECOND)
