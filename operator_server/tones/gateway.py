"""Brings packets to cards through the nodes that serve their phones, by short message or in a USSD session.

The register is asked when a packet leaves, so that it follows a phone that moves. A phone that holds a connection gets
no second one: what is for it goes over the one that stands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol

from sqlalchemy import Connection, update

from operator_server.cards import channel
from operator_server.store.cards import CardPacketRow
from operator_server.store.feed import record
from operator_server.store.rows import table
from operator_server.tones.locations import location_of

ROUTE = "node"
ATTEMPTS = 6
TRY_AGAIN = timedelta(seconds=30)
How = Literal["sms", "ussd"]
Carried = Literal["delivered", "busy", "absent", "failed"]


class ServingNode(Protocol):
    """A node that serves phones. ``set_up``: a connection has to be set up first; else one stands."""

    def carry(self, number: str, data: bytes, how: How, *, set_up: bool) -> Carried:
        """Bring user data to a phone, as it is, and report."""


class Gateway:
    """``reports``: told number, counter and outcome of each packet, as the short message centre is."""

    def __init__(
        self,
        nodes: Mapping[str, ServingNode],
        how: How = "sms",
        reports: Callable[[str, int, Carried], None] = lambda number, counter, outcome: None,
    ) -> None:
        self._nodes = nodes
        self._how: How = how
        self._reports = reports

    def send_due(self, connection: Connection, now: datetime, most: int = 50) -> int:
        """Send what is due; how many packets were delivered. What was not is tried again, and fails in the end."""
        delivered = 0
        for row in channel.waiting(connection, ROUTE, now, most):
            outcome = self._send(connection, row)
            self._reports(row.msisdn, row.counter, outcome)
            if outcome == "delivered":
                channel.mark_sent(connection, [row.id], now)
                delivered += 1
            else:
                _put_off(connection, row, outcome, now)
        return delivered

    def _send(self, connection: Connection, row: Any) -> Carried:
        place = location_of(connection, row.msisdn)
        node = self._nodes.get(place.node) if place is not None else None
        if place is None or node is None:
            return "absent"
        set_up = not place.busy
        for part in channel.parts(row.packet, row.counter):
            outcome = node.carry(row.msisdn, part.encode(), self._how, set_up=set_up)
            if outcome != "delivered":
                return outcome
            # The parts that follow go over the connection of the first.
            set_up = False
        return "delivered"


def _put_off(connection: Connection, row: Any, outcome: Carried, now: datetime) -> None:
    packets = table(CardPacketRow)
    again = row.attempts + 1 < ATTEMPTS
    values: dict[str, Any] = {"attempts": row.attempts + 1, "reason": f"the serving node reports: {outcome}"}
    values |= {"due_at": now + TRY_AGAIN} if again else {"state": "failed", "done_at": now}
    connection.execute(update(packets).where(packets.c.id == row.id).values(**values))
    if not again:
        record(connection, now, "card_packet_failed", terminal=row.terminal_id, counter=row.counter, reason=outcome)
