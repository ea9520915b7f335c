"""Tones on their way to a card, and what the network reports of each message to it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field
from sqlalchemy import Connection, select

from operator_server.store.cards import CardPacketRow, card_row
from operator_server.store.rows import table
from operator_server.store.tones import DeliveryReport, ToneDelivery
from operator_server.web.api.forms import Identifier
from operator_server.web.calls import Call
from operator_server.web.pages import Page, PageOf, page
from operator_server.web.problems import Problem
from operator_server.web.routes import Routes

routes = Routes("Terminals", "/api/v1")

READS = "terminals.read"


class ToneDeliveryView(BaseModel):
    """A tone that was agreed on, and what became of it."""

    agreement: str
    tone: str
    form: str = Field(description="smart (binary), rtttl (text) or audio (played in a call)")
    packet: str = Field(description="What became of the packet: waiting, sent, received, refused or failed")
    state: str = Field(description="sent, kept (it lies in a slot and is charged) or not_kept")
    reason: str
    sent_at: datetime
    done_at: datetime | None


class DeliveryReportView(BaseModel):
    """What a serving node, or a short message centre, reports of one message."""

    at: datetime
    packet: str
    node: str
    way: str = Field(description="sms or ussd")
    outcome: str = Field(description="delivered, busy, absent, failed; submitted while a centre has not said")
    steps: list[str] = Field(description="What the node did, in its order")
    channel: str
    reason: str


def _card(connection: Connection, terminal: str) -> None:
    if card_row(connection, terminal_id=terminal) is None:
        raise Problem(404, f"terminal {terminal}: is no card")


@routes.get("/terminals/{terminal}/tones", needs=READS)
def list_tone_deliveries(call: Call, terminal: Identifier, paging: PageOf) -> Page[ToneDeliveryView]:
    """Tones that were agreed on for this card, by agreement."""
    _card(call.connection, terminal)
    delivery, packets = table(ToneDelivery), table(CardPacketRow)
    query = (
        select(delivery, packets.c.state.label("packet"))
        .join(packets, packets.c.id == delivery.c.packet_id)
        .where(delivery.c.terminal_id == terminal)
    )

    def make(row: Any) -> ToneDeliveryView:
        return ToneDeliveryView(
            agreement=row.agreement_id, tone=row.tone_id, form=row.form, packet=row.packet, state=row.state,
            reason=row.reason, sent_at=row.sent_at, done_at=row.done_at,
        )  # fmt: skip

    return page(call, ToneDeliveryView, query, [delivery.c.agreement_id], paging, make)


@routes.get("/terminals/{terminal}/delivery-reports", needs=READS)
def list_delivery_reports(call: Call, terminal: Identifier, paging: PageOf) -> Page[DeliveryReportView]:
    """What was reported of messages to this card, newest first."""
    _card(call.connection, terminal)
    report = table(DeliveryReport)

    def make(row: Any) -> DeliveryReportView:
        return DeliveryReportView(
            at=row.at, packet=row.packet_id, node=row.node, way=row.way, outcome=row.outcome,
            steps=row.steps.split(",") if row.steps else [], channel=row.channel, reason=row.reason,
        )  # fmt: skip

    query = select(report).where(report.c.terminal_id == terminal)
    return page(call, DeliveryReportView, query, [report.c.id], paging, make, newest_first=True)
