"""What goes to cards through the nodes that serve their phones: what is due, where to, and what came of it.

The register is asked when a packet leaves, so that it follows a phone that moves. What a node reports of each message
is kept (:class:`operator_server.store.tones.DeliveryReport`); what was not taken is tried again, and fails in the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Connection, select, update

from operator_server.cards import channel
from operator_server.nodes.locations import location_of
from operator_server.store.cards import CardPacketRow, card_row, update_card
from operator_server.store.feed import record
from operator_server.store.rows import table
from operator_server.tones.reports import note_report
from operator_server.tones.shop import wish_of
from signalling.card import sms, ussd
from signalling.tones.nodes import TAKES_NOTHING_SO, Carried, Carry, How

ROUTE = "node"
ATTEMPTS = 6
TRY_AGAIN = timedelta(seconds=30)


class Due(NamedTuple):
    """A packet that is to go. ``node``: who serves the phone now, empty where nobody does; ``how``: by which way."""

    packet: str
    terminal: str
    number: str
    counter: int
    data: bytes
    node: str
    how: How


def due(connection: Connection, now: datetime, most: int = 50) -> list[Due]:
    """The packets that are due, in their order, and where they go (the query to the home register)."""
    found = []
    for row in channel.waiting(connection, ROUTE, now, most):
        place = location_of(connection, row.msisdn)
        found.append(
            Due(
                row.id, row.terminal_id, row.msisdn, row.counter, row.packet, place.node if place else "",
                _way(connection, row),
            )
        )  # fmt: skip
    return found


def _way(connection: Connection, row: Any) -> How:
    """The way that is wished for, else the one that the card speaks itself."""
    return "ussd" if (wish_of(connection, row.terminal_id).way or row.carrier) == "ussd" else "sms"


def by_the_other_way(sent: Due, reports: Sequence[Carried]) -> Due | None:
    """The same packet by the other way, where the phone takes nothing by this one."""
    if reports[-1].outcome != "failed" or reports[-1].reason != TAKES_NOTHING_SO:
        return None
    return sent._replace(how="sms" if sent.how == "ussd" else "ussd")


def messages(sent: Due, sender: str, now: datetime) -> list[Carry]:
    """The packet as short messages or as USSD strings; the references are to be filled in."""
    found = []
    for part in channel.parts(sent.data, sent.counter):
        if sent.how == "ussd":
            found.append(Carry(0, sent.number, "ussd", part.encode(), ussd.FOR_CARD))
        else:
            deliver = sms.Deliver(sender, part, now, sms.PID_SIM_DOWNLOAD, sms.DCS_CARD)
            found.append(Carry(0, sent.number, "sms", deliver.encode()))
    return found


def note(connection: Connection, sent: Due, reports: Sequence[Carried], now: datetime) -> None:
    """Keep what the node reported of a packet's messages."""
    for each in reports:
        note_report(connection, sent.terminal, sent.packet, sent.node, sent.how, each, now)


def settle(connection: Connection, sent: Due, reports: Sequence[Carried], now: datetime) -> bool:
    """Keep what the node reported of a packet's messages, the last of which tells what became of it; if delivered."""
    note(connection, sent, reports, now)
    last = reports[-1]
    if last.outcome == "delivered":
        channel.mark_sent(connection, [sent.packet], now)
        return True
    _put_off(connection, sent, last, now)
    return False


def _put_off(connection: Connection, sent: Due, last: Carried, now: datetime) -> None:
    packets = table(CardPacketRow)
    this = packets.c.id == sent.packet
    attempts = (connection.execute(select(packets.c.attempts).where(this)).scalar() or 0) + 1
    reason = f"the serving node reports: {last.outcome}" + (f", {last.reason}" if last.reason else "")
    values: dict[str, Any] = {"attempts": attempts, "reason": reason[:250]}
    again = attempts < ATTEMPTS
    values |= {"due_at": now + TRY_AGAIN} if again else {"state": "failed", "done_at": now}
    connection.execute(update(packets).where(this, packets.c.state == "waiting").values(**values))
    if not again:
        record(connection, now, "card_packet_failed", terminal=sent.terminal, counter=sent.counter, reason=last.outcome)


def in_reach(connection: Connection, number: str, now: datetime) -> None:
    """The phone of this number is with a node of ours: what waits for its card goes there, and goes now."""
    card = card_row(connection, msisdn=number)
    if card is None:
        return
    update_card(connection, card.terminal_id, route=ROUTE)
    packets = table(CardPacketRow)
    connection.execute(
        update(packets)
        .where(packets.c.terminal_id == card.terminal_id, packets.c.state == "waiting")
        .values(route=ROUTE, due_at=now)
    )
