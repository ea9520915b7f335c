"""Packets to and from cards: sealed with a counter that is in the store first, opened once, proofs of receipt.

What was sent and is not acknowledged goes out again: the same bytes, so that the card takes it once, after each of
:data:`SEND_AGAIN`; then it has failed. Once the card has taken a later packet its counter forbids the same bytes: a
text for the user is then sealed anew with a new counter, all else is of no use any more, for the dialogue has gone on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Connection, and_, delete, func, or_, select, update

from operator_server.cards.registry import keys_of
from operator_server.delivery.vault import KeyVault
from operator_server.store.cards import Card, CardPacketRow, CardPartRow, card_row
from operator_server.store.feed import record
from operator_server.store.rows import add, table
from signalling.card import dialogue as d
from signalling.card import secured, sms
from signalling.card.dialogue import TAR
from signalling.clock import to_micros
from signalling.ids import new_id

FROM_CARD = secured.Security(receipt=0)
"""What is asked of a card's packets: as much as of ours, but no proof of receipt, since they are answered."""

ANSWERED_BY_CARD = (d.Inquire, d.SendSections)
ANSWERS: dict[type[d.CardMessage], str] = {d.MyCode: d.Inquire.__name__, d.MySections: d.SendSections.__name__}
"""Which packets an answer of the card acknowledges."""

SEND_AGAIN = (timedelta(minutes=2), timedelta(minutes=15), timedelta(hours=2))
"""How long an acknowledgement is waited for after the first, second and third sending."""

LAST_WAIT = timedelta(hours=12)
"""The same after the last one; then the packet has failed."""

PARTS_KEPT = timedelta(hours=1)
MOST_PARTS = 128
"""Parts of messages that are not whole, of one card."""

_STATES = {secured.Status.OK: "received"}


class Opened(NamedTuple):
    """What a card said, and the counter that it came with."""

    message: d.FromCard
    counter: int


def queue(connection: Connection, vault: KeyVault, terminal: str, message: d.CardMessage, now: datetime) -> str:
    """Seal a message for a card and keep it to be sent; the packet's id. The card's counter rises with it."""
    row = _raised(connection, terminal)
    receipt = not isinstance(message, ANSWERED_BY_CARD)
    # Where the card answers anyway its proof of receipt is wanted on an error alone.
    security = secured.Security(receipt=1 if receipt else 2)
    packet = secured.seal_command(d.encode_message(message), keys_of(vault, row).packets, TAR, row.sent, security)
    sent = CardPacketRow(
        id=new_id(to_micros(now)),
        terminal_id=terminal,
        kind=type(message).__name__,
        counter=row.sent,
        packet=packet,
        receipt=receipt,
        route=row.route,
        created_at=now,
        due_at=now,
    )
    add(connection, sent)
    return sent.id


def open_packet(connection: Connection, vault: KeyVault, card: Any, packet: bytes, now: datetime) -> Opened:
    """What the card says, once: its counter is in the store with what follows from it.

    Raises :class:`signalling.card.tlv.CardError` for what is no packet of this card, or came before.
    """
    header = secured.read_command_header(packet)
    if header.tar != TAR:
        raise secured.PacketRefused(secured.Status.TAR_UNKNOWN, f"TAR {header.tar.hex()} is not the applet's")
    opened = secured.open_command(packet, keys_of(vault, card).packets, card.heard, FROM_CARD)
    message = d.decode_from_card(opened.data)
    cards = table(Card)
    taken = connection.execute(
        update(cards)
        .where(cards.c.terminal_id == card.terminal_id, cards.c.heard < opened.counter)
        .values(heard=opened.counter, heard_at=now)
    )
    if taken.rowcount != 1:
        raise secured.PacketRefused(secured.Status.COUNTER_LOW, f"counter {opened.counter} was taken meanwhile")
    answered = ANSWERS.get(type(message))
    if answered is not None:
        _note(connection, card.terminal_id, "received", now, table(CardPacketRow).c.kind == answered)
    return Opened(message, opened.counter)


def _note(connection: Connection, terminal: str, state: str, now: datetime, *which: Any, reason: str = "") -> int:
    """Note what became of packets on their way to a card; of how many."""
    packets = table(CardPacketRow)
    noted = connection.execute(
        update(packets)
        .where(packets.c.terminal_id == terminal, packets.c.state.in_(("waiting", "sent")), *which)
        .values(state=state, reason=reason, done_at=now)
    )
    return noted.rowcount


def note_receipt(connection: Connection, vault: KeyVault, card: Any, packet: bytes, now: datetime) -> str:
    """Note a proof of receipt; what became of the packet that it speaks of: received, refused, or empty for none.

    Raises :class:`signalling.card.tlv.CardError`.
    """
    proof = secured.open_response(packet, keys_of(vault, card).packets)
    packets = table(CardPacketRow)
    this = packets.c.counter == proof.counter
    state = _STATES.get(secured.Status(proof.status), "refused") if proof.status <= 0x0A else "refused"
    reason = "" if state == "received" else f"the card answers {proof.status:02X}"
    if proof.status == secured.Status.COUNTER_LOW:
        times = select(packets.c.attempts).where(packets.c.terminal_id == card.terminal_id, this)
        if (connection.execute(times).scalar() or 0) > 1:
            state, reason = "received", "the card had it already when it came again"
    if not _note(connection, card.terminal_id, state, now, this, reason=reason):
        return ""
    record(connection, now, f"card_packet_{state}", terminal=card.terminal_id, counter=proof.counter)
    return state


def waiting(connection: Connection, route: str, now: datetime, most: int = 100) -> Sequence[Any]:
    """Packets that are due on a route, oldest first; with the card's number, ICCID and carrier."""
    packets, card = table(CardPacketRow), table(Card)
    rows = connection.execute(
        select(packets, card.c.msisdn, card.c.iccid, card.c.carrier)
        .join(card, card.c.terminal_id == packets.c.terminal_id)
        .where(packets.c.state == "waiting", packets.c.route == route, packets.c.due_at <= now)
        .order_by(packets.c.id)
        .limit(most)
    ).all()
    # Ids of one instant have no order, and a card refuses a counter that is lower than one that it has heard.
    return sorted(rows, key=lambda row: row.counter)


def waiting_for(connection: Connection, terminal: str) -> Sequence[Any]:
    """Packets that wait for one card, oldest first."""
    packets = table(CardPacketRow)
    return connection.execute(
        select(packets)
        .where(packets.c.terminal_id == terminal, packets.c.state == "waiting")
        .order_by(packets.c.counter)
    ).all()


def mark_sent(connection: Connection, packets: Sequence[str], now: datetime) -> None:
    """These are on their way."""
    row = table(CardPacketRow)
    connection.execute(
        update(row)
        .where(row.c.id.in_(packets), row.c.state == "waiting")
        .values(state="sent", sent_at=now, attempts=row.c.attempts + 1, reason="")
    )


def parts(packet: bytes, counter: int) -> list[sms.UserData]:
    """The packet as user data of one or several messages; the counter is their reference."""
    return sms.split((sms.Element(sms.COMMAND_PACKET, b""),), packet, counter & 0xFF)


def supersede(connection: Connection, terminal: str, kind: type[d.CardMessage], now: datetime) -> None:
    """A packet of this kind that still waits, or was never answered, gives way to one that is queued now."""
    packets = table(CardPacketRow)
    _note(connection, terminal, "failed", now, packets.c.kind == kind.__name__, reason="another took its place")


def put_off(connection: Connection, packets: Sequence[str], until: datetime) -> None:
    """These cannot go out now; others should not wait behind them."""
    row = table(CardPacketRow)
    connection.execute(update(row).where(row.c.id.in_(packets), row.c.state == "waiting").values(due_at=until))


def send_again(connection: Connection, vault: KeyVault, now: datetime, most: int = 200) -> int:
    """Put packets that were sent and not acknowledged in time back on their way, or give them up; how many."""
    packets = table(CardPacketRow)
    rows = connection.execute(
        select(packets)
        .where(packets.c.state == "sent", or_(*_late(packets, now)))
        .order_by(packets.c.terminal_id, packets.c.counter)
        .limit(most)
    ).all()
    for row in rows:
        this = packets.c.id == row.id
        if row.attempts > len(SEND_AGAIN):
            _note(connection, row.terminal_id, "failed", now, this, reason="the card never acknowledged it")
            record(connection, now, "card_packet_failed", terminal=row.terminal_id, counter=row.counter)
        elif not _overtaken(connection, row):
            card = card_row(connection, terminal_id=row.terminal_id)
            connection.execute(update(packets).where(this).values(state="waiting", route=card.route, due_at=now))
        elif row.kind == d.Tell.__name__:
            _seal_again(connection, vault, row, now)
        else:
            _note(connection, row.terminal_id, "failed", now, this, reason="the card took a later one first")
    return len(rows)


def _late(packets: Any, now: datetime) -> Iterator[Any]:
    for sent, wait in enumerate(SEND_AGAIN, 1):
        yield and_(packets.c.attempts == sent, packets.c.sent_at <= now - wait)
    yield and_(packets.c.attempts > len(SEND_AGAIN), packets.c.sent_at <= now - LAST_WAIT)


def _overtaken(connection: Connection, row: Any) -> bool:
    packets = table(CardPacketRow)
    newest = select(func.max(packets.c.counter)).where(
        packets.c.terminal_id == row.terminal_id, packets.c.state == "received"
    )  # fmt: skip
    return int(connection.execute(newest).scalar() or 0) > int(row.counter)


def _seal_again(connection: Connection, vault: KeyVault, row: Any, now: datetime) -> None:
    """The same message with a new counter."""
    card, packets = _raised(connection, row.terminal_id), table(CardPacketRow)
    keys = keys_of(vault, card).packets
    opened = secured.open_command(row.packet, keys, row.counter - 1, FROM_CARD)
    packet = secured.seal_command(opened.data, keys, TAR, card.sent, opened.header.security)
    connection.execute(
        update(packets)
        .where(packets.c.id == row.id)
        .values(counter=card.sent, packet=packet, state="waiting", route=card.route, due_at=now)
    )


def _raised(connection: Connection, terminal: str) -> Any:
    """The card's row, with its counter risen for one more packet."""
    card = table(Card)
    connection.execute(update(card).where(card.c.terminal_id == terminal).values(sent=card.c.sent + 1))
    return card_row(connection, terminal_id=terminal)


def whole(connection: Connection, sender: str, content: sms.UserData, now: datetime) -> sms.UserData | None:
    """The message that this part completes; a part of one that is not whole yet is kept, also over a restart.

    ``sender``: way and card, which must be known, since others could fill the store.
    """
    part = content.part
    if part is None or part.total == 1:
        return content
    rows = table(CardPartRow)
    mine = rows.c.sender == sender
    same = (mine, rows.c.reference == part.reference, rows.c.total == part.total)
    connection.execute(delete(rows).where(mine, rows.c.at < now - PARTS_KEPT))
    kept = connection.execute(select(rows.c.content).where(*same).order_by(rows.c.number)).scalars().all()
    parts = sms.Reassembler()
    for each in kept:
        parts.add(sender, sms.decode_user_data(each, has_header=True))
    joined = parts.add(sender, content)
    if joined is not None:
        connection.execute(delete(rows).where(*same))
        return joined
    encoded = content.encode()
    if any(sms.decode_user_data(each, has_header=True).part == part and each != encoded for each in kept):
        # A reference comes again: what was kept is of another message.
        connection.execute(delete(rows).where(*same))
    number = connection.execute(select(func.count()).select_from(rows).where(mine)).scalar_one()
    if number >= MOST_PARTS:
        connection.execute(delete(rows).where(mine))
    connection.execute(delete(rows).where(*same, rows.c.number == part.number))
    add(
        connection,
        CardPartRow(
            sender=sender, reference=part.reference, total=part.total, number=part.number, content=encoded, at=now
        ),
    )
    return None


def packets_of(connection: Connection, terminal: str, most: int = 20) -> Sequence[Any]:
    """The newest packets to a card, for people."""
    packets = table(CardPacketRow)
    return connection.execute(
        select(packets).where(packets.c.terminal_id == terminal).order_by(packets.c.id.desc()).limit(most)
    ).all()
