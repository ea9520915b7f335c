"""Tones between agreement and card: sent as packets, charged when the card says that it kept them.

What is agreed on is reserved. The card's word that the tone lies in a slot charges it; its word that it does not ends
the agreement and frees the money.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select, update

from charging.ledger.book import apply
from charging.ledger.operations import Release
from operator_server.cards import channel
from operator_server.delivery.desk import Deliveries
from operator_server.delivery.vault import KeyVault
from operator_server.desk import Refused, Visitor
from operator_server.negotiation import book
from operator_server.store.cards import CardPacketRow
from operator_server.store.dealings import Installation
from operator_server.store.feed import record
from operator_server.store.rows import add, table
from operator_server.store.tones import ToneDelivery
from operator_server.tones.registry import find_tone, tune_of
from signalling.card import dialogue as d
from signalling.clock import to_micros
from signalling.messages import Agreed
from signalling.tones.messages import Form, pack

SAMPLE_NOTES = 12
_LOST = ("failed", "refused")


def sample_of(row: Any) -> d.PlaySample:
    """The beginning of a tone."""
    return d.PlaySample(pack(tune_of(row).sample(SAMPLE_NOTES)))


def send_tone(
    connection: Connection, vault: KeyVault, agreement: Any, now: datetime, form: Form = "smart"
) -> ToneDelivery | None:
    """Send the tone that was agreed on to its card, once; ``None`` where the agreement is on no tone."""
    row = find_tone(connection, agreement.product)
    if row is None:
        return None
    known = _delivery(connection, agreement.id)
    if known is not None:
        return ToneDelivery(**known._mapping)
    packet = _queue(connection, vault, agreement, row, now, form)
    delivery = ToneDelivery(
        agreement_id=agreement.id, terminal_id=agreement.terminal_id, tone_id=row.id, packet_id=packet, sent_at=now
    )
    add(connection, delivery)
    record(
        connection, now, "tone_sent", terminal=agreement.terminal_id, subscriber=agreement.subscriber_id,
        account=agreement.account_id, reference=agreement.id, product=row.id,
    )  # fmt: skip
    return delivery


def send_again(connection: Connection, vault: KeyVault, terminal: str, now: datetime, *, all_: bool = False) -> int:
    """Send once more what a card was sent and has not answered, where the packet was lost; ``all_``: in any case."""
    delivery, packets = table(ToneDelivery), table(CardPacketRow)
    rows = connection.execute(
        select(delivery, packets.c.state.label("packet_state"))
        .join(packets, packets.c.id == delivery.c.packet_id)
        .where(delivery.c.terminal_id == terminal, delivery.c.state == "sent")
    ).all()
    count = 0
    for each in rows:
        if not all_ and each.packet_state not in _LOST:
            continue
        agreement = book.agreement_row(connection, each.agreement_id)
        packet = _queue(connection, vault, agreement, find_tone(connection, each.tone_id), now, "smart")
        connection.execute(
            update(delivery).where(delivery.c.agreement_id == each.agreement_id).values(packet_id=packet, sent_at=now)
        )
        count += 1
    return count


def _queue(connection: Connection, vault: KeyVault, agreement: Any, row: Any, now: datetime, form: Form) -> str:
    message = d.KeepTone(agreement.id, row.id, agreement.release, row.title, pack(tune_of(row), form))
    return channel.queue(connection, vault, agreement.terminal_id, message, now)


def kept(connection: Connection, deliveries: Deliveries, visitor: Visitor, message: d.ToneKept, now: datetime) -> None:
    """The card has the tone in a slot: deliver and charge it, once. Raises :class:`Refused`."""
    row = _own(connection, visitor, message.delivery)
    if row.state == "kept":
        return
    if row.state != "sent":
        raise Refused("receipt_conflict", f"the delivery of agreement {row.agreement_id} is {row.state}")
    agreement = book.agreement_row(connection, row.agreement_id)
    assert agreement is not None
    deliveries.activate(connection, visitor, Agreed(agreement.id, agreement.digest), now)
    if message.replaced and message.replaced != row.tone_id:
        installations = table(Installation)
        connection.execute(
            update(installations)
            .where(
                installations.c.terminal_id == visitor.terminal,
                installations.c.product == message.replaced,
                installations.c.removed_at.is_(None),
            )
            .values(removed_at=now)
        )
    _close(connection, row, "kept", "", now)


def not_kept(connection: Connection, visitor: Visitor, message: d.ToneNotKept, now: datetime) -> None:
    """The card did not keep it: the agreement ends, and what was reserved is free again. Raises :class:`Refused`."""
    row = _own(connection, visitor, message.delivery)
    if row.state == "not_kept":
        return
    if row.state != "sent":
        raise Refused("receipt_conflict", f"the delivery of agreement {row.agreement_id} is {row.state}")
    agreement = book.agreement_row(connection, row.agreement_id)
    assert agreement is not None
    if agreement.state == "agreed":
        book.set_agreement_state(connection, agreement.id, "failed")
        if agreement.reservation_id is not None:
            free = Release(source="tone", op_id=agreement.id, reservation_id=agreement.reservation_id)
            # One that has expired meanwhile is declined by the ledger, and that is as good.
            apply(connection, [free], to_micros(now))
    _close(connection, row, "not_kept", message.reason, now)


def deliveries_of(connection: Connection, terminal: str = "", most: int = 50) -> Sequence[Any]:
    """The newest deliveries with the state of the packet that took each: the delivery report."""
    delivery, packets = table(ToneDelivery), table(CardPacketRow)
    query = (
        select(delivery, packets.c.state.label("packet"), packets.c.reason.label("packet_reason"))
        .join(packets, packets.c.id == delivery.c.packet_id)
        .order_by(delivery.c.sent_at.desc())
        .limit(most)
    )
    return connection.execute(query.where(delivery.c.terminal_id == terminal) if terminal else query).all()


def _delivery(connection: Connection, agreement: str) -> Any:
    delivery = table(ToneDelivery)
    return connection.execute(select(delivery).where(delivery.c.agreement_id == agreement)).first()


def _own(connection: Connection, visitor: Visitor, agreement: str) -> Any:
    row = _delivery(connection, agreement)
    if row is None or row.terminal_id != visitor.terminal:
        raise Refused("unknown_delivery", f"no tone was sent to this card for agreement {agreement}")
    return row


def _close(connection: Connection, row: Any, state: str, reason: str, now: datetime) -> None:
    delivery = table(ToneDelivery)
    connection.execute(
        update(delivery)
        .where(delivery.c.agreement_id == row.agreement_id)
        .values(state=state, reason=reason, done_at=now)
    )
    record(
        connection, now, f"tone_{state}", terminal=row.terminal_id, reference=row.agreement_id, product=row.tone_id,
        reason=reason,
    )  # fmt: skip
