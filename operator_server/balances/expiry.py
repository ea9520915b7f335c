"""What ends by itself: reservations, buckets and prepaid credit."""

from __future__ import annotations

from collections.abc import Mapping, Sized
from datetime import datetime
from functools import partial
from typing import Protocol

from sqlalchemy import Connection, Engine

from charging.ledger.book import expire_reservations
from operator_server.balances.buckets import expire_buckets
from operator_server.balances.money import expire_credits
from operator_server.balances.usage import expire_usage
from operator_server.store.store import transact
from signalling.clock import to_micros


class Ending(Protocol):
    """Ends what is over of one kind; what that was."""

    def __call__(self, connection: Connection, now: datetime) -> Sized: ...


def _expire_reservations(connection: Connection, now: datetime) -> list[str]:
    return expire_reservations(connection, to_micros(now))


ENDINGS: Mapping[str, Ending] = {
    "usage reservations": expire_usage,
    "reservations": _expire_reservations,
    "buckets": expire_buckets,
    "credits": expire_credits,
}
"""In the order in which one frees the other. Each locks the accounts that it is about before it touches them."""


def expire_balances(engine: Engine, now: datetime) -> dict[str, int]:
    """End what is over, a transaction for each kind; how many of each ended."""
    return {what: len(transact(engine, partial(over, now=now))) for what, over in ENDINGS.items()}
