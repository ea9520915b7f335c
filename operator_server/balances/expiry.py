"""What ends by itself: reservations, buckets and prepaid credit."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from charging.ledger.book import expire_reservations
from operator_server.balances.buckets import expire_buckets
from operator_server.balances.money import expire_credits
from operator_server.balances.usage import expire_usage
from signalling.clock import to_micros


def expire_balances(connection: Connection, now: datetime) -> dict[str, int]:
    """End what is over, in the order in which one frees the other; how many of each ended."""
    return {
        "usage reservations": len(expire_usage(connection, now)),
        "reservations": len(expire_reservations(connection, to_micros(now))),
        "buckets": len(expire_buckets(connection, now)),
        "credits": len(expire_credits(connection, now)),
    }
