"""The home register: which node serves a number now, and whether its phone holds a connection."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select, update

from operator_server.store.rows import add, table
from operator_server.store.tones import PhoneLocation


def update_location(connection: Connection, msisdn: str, node: str, now: datetime) -> str:
    """A phone registered at a node; the node that served it before, empty for none. It comes without a connection."""
    before = location_of(connection, msisdn)
    locations = table(PhoneLocation)
    if before is None:
        add(connection, PhoneLocation(msisdn=msisdn, node=node, updated_at=now))
        return ""
    connection.execute(
        update(locations).where(locations.c.msisdn == msisdn).values(node=node, busy=False, updated_at=now)
    )
    return str(before.node)


def set_busy(connection: Connection, msisdn: str, busy: bool, now: datetime) -> None:
    """A phone holds a connection, or holds it no longer. Raises ``LookupError`` where nobody serves it."""
    locations = table(PhoneLocation)
    values = {"busy": busy, "updated_at": now}
    if not connection.execute(update(locations).where(locations.c.msisdn == msisdn).values(**values)).rowcount:
        raise LookupError(f"{msisdn} is registered at no node")


def location_of(connection: Connection, msisdn: str) -> Any:
    """The row of a number; ``None`` where nobody serves it."""
    locations = table(PhoneLocation)
    return connection.execute(select(locations).where(locations.c.msisdn == msisdn)).first()


def all_locations(connection: Connection, most: int = 1000) -> Sequence[Any]:
    """Where phones are, by number."""
    locations = table(PhoneLocation)
    return connection.execute(select(locations).order_by(locations.c.msisdn).limit(most)).all()
