"""How often somebody may try to log on, counted for all web processes together.

Each key has one instant at which none of its tries counts any more; a try moves it on by one interval, and is refused
where that would lie too far ahead. One statement does both, so that two processes never let the same try pass twice. A
process that sees too many tries itself refuses them without asking the database.
"""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta
from hashlib import sha256

from sqlalchemy import BigInteger, Connection, Engine, delete, func, type_coerce
from sqlalchemy.dialects import postgresql, sqlite

from operator_server.store.rows import table
from operator_server.store.store import transact
from operator_server.store.web import LogonPace
from operator_server.web.guard import Pace, Unacceptable
from operator_server.web.problems import Problem

BURST = timedelta(seconds=60)
"""Whoever was silent so long may ask for all tries of it at once."""
CLEANED_EVERY = 50
_PACE = table(LogonPace)


class LogonPaces:
    """How often an address, and how often a name, may be tried."""

    def __init__(self, engine: Engine, per_minute: int) -> None:
        self._engine = engine
        self._limits = {"address": per_minute, "name": max(1, per_minute // 3) if per_minute else 0}
        self._own = {kind: Pace(limit, burst_seconds=BURST.total_seconds()) for kind, limit in self._limits.items()}
        self._takes = itertools.count(1)

    def take(self, address: str, name: str, now: datetime) -> None:
        """Count a try. Blocks on the database. Raises :class:`Problem` 429."""
        keys = {"address": address, "name": name.lower()[:64]}
        tried = [(kind, key) for kind, key in keys.items() if key and self._limits[kind]]
        try:
            for kind, key in tried:
                self._own[kind].take(key)
        except Unacceptable:
            raise _too_many() from None
        clean = next(self._takes) % CLEANED_EVERY == 0

        def count(connection: Connection) -> bool:
            if clean:
                connection.execute(delete(_PACE).where(_PACE.c.free_at < now))
            return all(_taken(connection, kind, key, self._limits[kind], now) for kind, key in tried)

        if tried and not transact(self._engine, count):
            raise _too_many()


def _taken(connection: Connection, kind: str, key: str, per_minute: int, now: datetime) -> bool:
    """Whether a try may pass; then it is counted."""
    digest = sha256(f"{kind} {key}".encode()).hexdigest()[:32]
    interval = timedelta(minutes=1) / per_minute
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    step = int(interval / timedelta(microseconds=1))
    query = insert(_PACE).values(key=digest, free_at=now + interval)
    greater = func.greatest if connection.dialect.name == "postgresql" else func.max
    free_at = greater(type_coerce(_PACE.c.free_at, BigInteger) + step, type_coerce(query.excluded.free_at, BigInteger))
    counted = query.on_conflict_do_update(
        index_elements=[_PACE.c.key], set_={"free_at": free_at}, where=_PACE.c.free_at <= now + BURST - interval
    ).returning(_PACE.c.key)
    return connection.execute(counted).first() is not None


def _too_many() -> Problem:
    return Problem(429, "too many tries; wait a minute", headers={"Retry-After": "60"})
