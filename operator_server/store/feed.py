"""The feed: one row for each thing that happens, written in the transaction of its cause.

A row gets its place in the feed afterwards, from one sequencer, so that readers see a single order in which nothing
appears behind what they have read.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, func, select, update

from operator_server.store.parties import Event
from operator_server.store.rows import add, table
from signalling.clock import to_micros
from signalling.ids import new_id


def record(
    connection: Connection,
    now: datetime,
    kind: str,
    *,
    terminal: str | None = None,
    subscriber: str | None = None,
    account: str | None = None,
    reference: str = "",
    **data: Any,
) -> None:
    """Write that ``kind`` happened; ``data`` must be JSON and must hold no secret."""
    add(
        connection,
        Event(
            id=new_id(to_micros(now)),
            at=now,
            kind=kind,
            terminal_id=terminal,
            subscriber_id=subscriber,
            account_id=account,
            reference=reference,
            data=data,
        ),
    )


def sequence(connection: Connection, most: int = 5000) -> int:
    """Give places to at most ``most`` events that have none; returns how many got one. One caller at a time."""
    event = table(Event)
    last = connection.execute(select(func.max(event.c.place))).scalar() or 0
    waiting = select(event.c.id).where(event.c.place.is_(None)).order_by(event.c.id).limit(most)
    ids = connection.execute(waiting).scalars().all()
    if ids:
        connection.execute(
            update(event).where(event.c.id == bindparam("event")).values(place=bindparam("at_place")),
            [{"event": waiting_id, "at_place": last + offset} for offset, waiting_id in enumerate(ids, 1)],
        )
    return len(ids)


def after(connection: Connection, place: int, most: int = 1000) -> Sequence[Event]:
    """The events that follow ``place`` in the feed."""
    event = table(Event)
    rows = connection.execute(select(event).where(event.c.place > place).order_by(event.c.place).limit(most))
    return [Event(**row._mapping) for row in rows]
