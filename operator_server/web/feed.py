"""The feed for listeners: one look at the database for all of them, server-sent events to each.

A listener that reads too slowly is let go; it comes back with Last-Event-ID and misses nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from functools import partial

import msgspec
from sqlalchemy import func, select
from starlette.requests import Request

from operator_server.store.feed import after
from operator_server.store.parties import Event
from operator_server.store.rows import table
from operator_server.web.calls import Web
from operator_server.web.gate import permit
from operator_server.web.problems import Problem

LOOK_SECONDS = 0.5
HEARTBEAT_SECONDS = 15.0
MOST_LISTENERS = 500
MOST_WAITING = 2_000
_AT_ONCE = 500


class Hub:
    """Follows the feed while anybody listens."""

    def __init__(self, web: Web) -> None:
        self._web = web
        self._queues: set[asyncio.Queue[Event | None]] = set()
        self._task: asyncio.Task[None] | None = None
        self.place = 0

    async def join(self) -> asyncio.Queue[Event | None]:
        """Listen from now on: what follows ``place``. Raises :class:`Problem` 503 where too many do."""
        if len(self._queues) >= MOST_LISTENERS:
            raise Problem(503, "too many listen already; poll /api/v1/events", headers={"Retry-After": "60"})
        queue: asyncio.Queue[Event | None] = asyncio.Queue(MOST_WAITING)
        if self._task is None or self._task.done():
            self.place = await self._web.run(self._last)
            self._task = asyncio.create_task(self._follow())
        self._queues.add(queue)
        return queue

    def leave(self, queue: asyncio.Queue[Event | None]) -> None:
        """Listen no more."""
        self._queues.discard(queue)
        if not self._queues and self._task is not None:
            self._task.cancel()
            self._task = None

    def _last(self) -> int:
        with self._web.operator.engine.connect() as connection:
            return int(connection.execute(select(func.max(table(Event).c.place))).scalar() or 0)

    def read(self, place: int) -> Sequence[Event]:
        """Events after ``place``. Blocks."""
        with self._web.operator.engine.connect() as connection:
            return after(connection, place, _AT_ONCE)

    async def _follow(self) -> None:
        while True:
            with contextlib.suppress(Problem):
                events = await self._web.run(lambda: self.read(self.place))
                for event in events:
                    self.place = event.place or self.place
                    for queue in list(self._queues):
                        self._give(queue, event)
                if len(events) == _AT_ONCE:
                    continue
            await asyncio.sleep(LOOK_SECONDS)

    def _give(self, queue: asyncio.Queue[Event | None], event: Event) -> None:
        try:
            queue.put_nowait(event)
        except asyncio.QueueFull:
            self._queues.discard(queue)
            queue.get_nowait()
            queue.put_nowait(None)


async def stream(web: Web, hub: Hub, request: Request, last: int | None, kinds: frozenset[str]) -> AsyncIterator[bytes]:
    """Server-sent events after the place ``last``, or from now on; a comment while nothing happens."""
    queue = await hub.join()
    try:
        place = hub.place if last is None else last
        yield b"retry: 3000\n\n"
        while place < hub.place:
            events = await web.run(partial(hub.read, place))
            for event in events:
                place = event.place or place
                if text := _text(event, kinds):
                    yield text
            if not events:
                break
        told = time.monotonic()
        while True:
            try:
                given = await asyncio.wait_for(queue.get(), HEARTBEAT_SECONDS)
            except TimeoutError:
                given = _SILENCE
            if given is None:
                return
            if given is not _SILENCE and (given.place or 0) > place:
                place = given.place or place
                if text := _text(given, kinds):
                    yield text
            if time.monotonic() - told >= HEARTBEAT_SECONDS:
                # Whoever was logged off hears no more.
                permit(await web.run(lambda: web.gate.find(request)), "events.read")
                yield b": still here\n\n"
                told = time.monotonic()
    except Problem:
        return
    finally:
        hub.leave(queue)


_SILENCE = Event(id="", kind="", at=datetime.min.replace(tzinfo=UTC))


def _text(event: Event, kinds: frozenset[str]) -> bytes:
    if kinds and event.kind not in kinds:
        return b""
    return f"id: {event.place}\nevent: {event.kind}\ndata: ".encode() + msgspec.json.encode(told(event)) + b"\n\n"


def told(event: Event) -> dict[str, object]:
    """An event as it is told."""
    return {
        "place": event.place, "id": event.id, "at": event.at.isoformat(), "kind": event.kind,
        "terminal": event.terminal_id, "subscriber": event.subscriber_id, "account": event.account_id,
        "reference": event.reference, "data": event.data,
    }  # fmt: skip
