"""Delivery reports: what serving nodes and short message centres say became of each message to a card."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select, update

from operator_server.store.cards import Card, CardPacketRow
from operator_server.store.rows import add, table
from operator_server.store.tones import DeliveryReport
from signalling.clock import to_micros
from signalling.ids import new_id
from signalling.tones.nodes import Carried

CENTRE = "centre"
SUBMITTED = "submitted"
"""A centre has the message and has not said yet what became of it; then ``reason`` is what it calls the message."""


def note_report(
    connection: Connection, terminal: str, packet: str, node: str, way: str, report: Carried, now: datetime
) -> None:
    """What a node reports of a message of this packet."""
    add(
        connection,
        DeliveryReport(
            id=new_id(to_micros(now)), at=now, terminal_id=terminal, packet_id=packet, node=node, way=way,
            outcome=report.outcome, steps=",".join(report.steps), channel=report.channel, reason=report.reason,
        ),
    )  # fmt: skip


def note_submitted(connection: Connection, terminal: str, packet: str, name: str, now: datetime) -> None:
    """A centre took a message over, and calls it so."""
    add(
        connection,
        DeliveryReport(
            id=new_id(to_micros(now)), at=now, terminal_id=terminal, packet_id=packet, node=CENTRE, way="sms",
            outcome=SUBMITTED, reason=name[:200],
        ),
    )  # fmt: skip


def note_receipt(connection: Connection, name: str, arrived: bool, now: datetime) -> int:
    """A centre says what became of the message that it called so; how many reports that closes."""
    report = table(DeliveryReport)
    closed = connection.execute(
        update(report)
        .where(report.c.node == CENTRE, report.c.outcome == SUBMITTED, report.c.reason == name[:200])
        .values(outcome="delivered" if arrived else "failed", at=now, reason="")
    )
    return closed.rowcount


def reports_of(connection: Connection, terminal: str = "", most: int = 50) -> Sequence[Any]:
    """The newest reports, with the kind and state of the packet that each is of."""
    report, packets, card = table(DeliveryReport), table(CardPacketRow), table(Card)
    query = (
        select(report, packets.c.kind, packets.c.state.label("packet"), card.c.msisdn)
        .join(card, card.c.terminal_id == report.c.terminal_id)
        .outerjoin(packets, packets.c.id == report.c.packet_id)
        .order_by(report.c.at.desc(), report.c.id.desc())
        .limit(most)
    )
    return connection.execute(query.where(report.c.terminal_id == terminal) if terminal else query).all()
