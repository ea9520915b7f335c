"""Who uses a card, and who speaks through it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection

from operator_server.desk import Visitor
from operator_server.devices.visitors import keyless_visitor
from operator_server.store.cards import Card
from operator_server.store.rows import table


class Speaker(NamedTuple):
    """A card that says something: its row, its user, the counter of its packet.

    ``connection``: the transaction that the packet is taken in, and all that it leads to.
    """

    connection: Connection
    card: Any
    visitor: Visitor
    counter: int
    now: datetime


def card_visitor(connection: Connection, terminal_id: str, now: datetime) -> Visitor:
    """The subscriber that the card is bound to. Raises :class:`operator_server.devices.visitors.NotServed`."""
    return keyless_visitor(connection, table(Card), terminal_id, now, "a card")
