"""Tones between agreement and card: sent as packets, charged when the card says that it kept them.

What is agreed on is reserved. The card's word that the tone lies in a slot charges it; its word that it does not ends
the agreement and frees the money.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select, update

from charging.ledger.book import apply
from charging.ledger.operations import Release
from operator_server.cards import channel
from operator_server.cards.texts import text
from operator_server.delivery.desk import Deliveries
from operator_server.delivery.vault import KeyVault
from operator_server.desk import Refused, Visitor
from operator_server.negotiation import book
from operator_server.settings import NodesSettings
from operator_server.store.cards import Card, CardPacketRow
from operator_server.store.dealings import Installation
from operator_server.store.feed import record
from operator_server.store.rows import add, table
from operator_server.store.tones import ToneDelivery, ToneRow, ToneWish
from operator_server.tones.registry import find_tone, tune_of
from signalling.card import dialogue as d
from signalling.clock import to_micros
from signalling.messages import Agreed
from signalling.tones import ToneError
from signalling.tones.messages import pack
from signalling.tones.recognise import played, recorded

SAMPLE_NOTES = 12
_LOST = ("failed", "refused")


def sample_of(row: Any) -> d.PlaySample:
    """The beginning of a tone."""
    return d.PlaySample(pack(tune_of(row).sample(SAMPLE_NOTES)))


def wish_of(connection: Connection, terminal: str) -> ToneWish:
    """How tones are to come to a card; empty where nobody has wished for anything."""
    wish = table(ToneWish)
    row = connection.execute(select(wish).where(wish.c.terminal_id == terminal)).first()
    return ToneWish(terminal_id=terminal) if row is None else ToneWish(**row._mapping)


def set_wish(connection: Connection, terminal: str, *, form: str | None = None, way: str | None = None) -> None:
    """From now on tones come to the card in this form, and by this way; ``None`` leaves one as it is."""
    wish, before = table(ToneWish), wish_of(connection, terminal)
    values = {"form": before.form if form is None else form, "way": before.way if way is None else way}
    if not connection.execute(update(wish).where(wish.c.terminal_id == terminal).values(**values)).rowcount:
        add(connection, ToneWish(terminal_id=terminal, **values))


def note_form(connection: Connection, nodes: NodesSettings, visitor: Visitor, form: d.ToneForm) -> d.Tell:
    """The user wishes for a form."""
    if form == "audio" and not nodes.port:
        return d.Tell("refused", text("no_calls", visitor.language))
    set_wish(connection, visitor.terminal, form=form)
    return d.Tell("noted", text("form", visitor.language))


def _form_for(connection: Connection, nodes: NodesSettings, terminal: str, row: Any) -> d.ToneForm:
    """The form that is wished for; where a call cannot bring the tone it goes as a message."""
    form: d.ToneForm = wish_of(connection, terminal).form or nodes.tone_form  # type: ignore[assignment]  # one of them
    if form == "audio":
        try:
            recorded(tune_of(row))
        except ToneError:
            return "smart"
        return form if nodes.port else "smart"
    return form


def send_tone(
    connection: Connection, vault: KeyVault, nodes: NodesSettings, agreement: Any, now: datetime
) -> ToneDelivery | None:
    """Send the tone that was agreed on to its card, once; ``None`` where the agreement is on no tone.

    One that the user wants to record from a call is announced; see :func:`to_play`.
    """
    row = find_tone(connection, agreement.product)
    if row is None:
        return None
    known = _delivery(connection, agreement.id)
    if known is not None:
        return ToneDelivery(**known._mapping)
    form = _form_for(connection, nodes, agreement.terminal_id, row)
    delivery = ToneDelivery(
        agreement_id=agreement.id, terminal_id=agreement.terminal_id, tone_id=row.id, packet_id="", sent_at=now,
        form=form, code=_new_code(connection, agreement.terminal_id) if form == "audio" else "",
    )  # fmt: skip
    delivery.packet_id = _queue(connection, vault, nodes, agreement, row, delivery, now)
    add(connection, delivery)
    record(
        connection, now, "tone_sent", terminal=agreement.terminal_id, subscriber=agreement.subscriber_id,
        account=agreement.account_id, reference=agreement.id, product=row.id, form=form,
    )  # fmt: skip
    return delivery


def send_again(
    connection: Connection, vault: KeyVault, nodes: NodesSettings, terminal: str, now: datetime, *, all_: bool = False
) -> int:
    """Send once more what a card was sent and has not answered, where the packet was lost; ``all_``: in any case.

    One that is to be recorded is announced again, whatever became of the packet: its user may have put the call off.
    """
    delivery, packets = table(ToneDelivery), table(CardPacketRow)
    rows = connection.execute(
        select(delivery, packets.c.state.label("packet_state"))
        .join(packets, packets.c.id == delivery.c.packet_id)
        .where(delivery.c.terminal_id == terminal, delivery.c.state == "sent")
    ).all()
    count = 0
    for each in rows:
        put_off = each.form == "audio" and each.packet_state == "received"
        if not all_ and not put_off and each.packet_state not in _LOST:
            continue
        agreement = book.agreement_row(connection, each.agreement_id)
        packet = _queue(connection, vault, nodes, agreement, find_tone(connection, each.tone_id), each, now)
        connection.execute(
            update(delivery).where(delivery.c.agreement_id == each.agreement_id).values(packet_id=packet, sent_at=now)
        )
        count += 1
    return count


def _queue(
    connection: Connection,
    vault: KeyVault,
    nodes: NodesSettings,
    agreement: Any,
    row: Any,
    delivery: Any,
    now: datetime,
) -> str:
    tune = tune_of(row)
    message: d.CardMessage
    if delivery.form == "audio":
        heard = recorded(tune)
        message = d.HearTone(
            agreement.id, row.id, agreement.release, row.title, nodes.voice_number + delivery.code, tune.tempo,
            tune.loop, d.tone_check(pack(heard)),
        )  # fmt: skip
    else:
        message = d.KeepTone(agreement.id, row.id, agreement.release, row.title, pack(tune, delivery.form))
    return channel.queue(connection, vault, agreement.terminal_id, message, now)


def _new_code(connection: Connection, terminal: str) -> str:
    """Four digits that no other tone of this card is asked for by."""
    delivery = table(ToneDelivery)
    mine = delivery.c.terminal_id == terminal
    count = connection.execute(select(func.count()).select_from(delivery).where(mine)).scalar_one()
    return f"{(count + 1) % 10_000:04d}"


def to_play(connection: Connection, number: str, code: str) -> bytes | None:
    """The sound for who calls with this code: of a tone that this number's card is to record and has not yet."""
    delivery, tone, card = table(ToneDelivery), table(ToneRow), table(Card)
    row = connection.execute(
        select(tone)
        .join(delivery, delivery.c.tone_id == tone.c.id)
        .join(card, card.c.terminal_id == delivery.c.terminal_id)
        .where(card.c.msisdn == number, delivery.c.code == code, delivery.c.form == "audio", delivery.c.state == "sent")
        .order_by(delivery.c.sent_at.desc())
    ).first()
    return played(tune_of(row)) if row is not None else None


def kept(connection: Connection, deliveries: Deliveries, visitor: Visitor, message: d.ToneKept, now: datetime) -> None:
    """The card has the tone in a slot: deliver and charge it, once. Raises :class:`Refused`."""
    found = _sent(connection, visitor, message.delivery, "kept")
    if found is None:
        return
    row, agreement = found
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
    found = _sent(connection, visitor, message.delivery, "not_kept")
    if found is None:
        return
    row, agreement = found
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


def _sent(connection: Connection, visitor: Visitor, delivery: str, told: str) -> tuple[Any, Any] | None:
    """The delivery that the card tells of, and its agreement; ``None`` where it told the same before."""
    row = _delivery(connection, delivery)
    if row is None or row.terminal_id != visitor.terminal:
        raise Refused("unknown_delivery", f"no tone was sent to this card for agreement {delivery}")
    if row.state == told:
        return None
    if row.state != "sent":
        raise Refused("receipt_conflict", f"the delivery of agreement {row.agreement_id} is {row.state}")
    return row, book.agreement_row(connection, row.agreement_id)


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
