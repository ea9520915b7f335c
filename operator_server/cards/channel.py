"""Packets to and from cards: sealed with a counter that is in the store first, opened once, proofs of receipt."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, select, update

from operator_server.cards.registry import keys_of
from operator_server.delivery.vault import KeyVault
from operator_server.store.cards import Card, CardPacketRow, card_row
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
_STATES = {secured.Status.OK: "received"}


class Opened(NamedTuple):
    """What a card said, and the counter that it came with."""

    message: d.FromCard
    counter: int


def queue(connection: Connection, vault: KeyVault, terminal: str, message: d.CardMessage, now: datetime) -> str:
    """Seal a message for a card and keep it to be sent; the packet's id. The card's counter rises with it."""
    card = table(Card)
    connection.execute(update(card).where(card.c.terminal_id == terminal).values(sent=card.c.sent + 1))
    row = card_row(connection, terminal_id=terminal)
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
    return Opened(message, opened.counter)


def note_receipt(connection: Connection, vault: KeyVault, card: Any, packet: bytes, now: datetime) -> str:
    """Note a proof of receipt; what became of the packet that it speaks of: received, refused, or empty for none.

    Raises :class:`signalling.card.tlv.CardError`.
    """
    proof = secured.open_response(packet, keys_of(vault, card).packets)
    packets = table(CardPacketRow)
    mine = packets.c.terminal_id == card.terminal_id
    state = _STATES.get(secured.Status(proof.status), "refused") if proof.status <= 0x0A else "refused"
    reason = "" if state == "received" else f"the card answers {proof.status:02X}"
    noted = connection.execute(
        update(packets)
        .where(mine, packets.c.counter == proof.counter, packets.c.state.in_(("waiting", "sent")))
        .values(state=state, reason=reason, done_at=now)
    )
    if not noted.rowcount:
        return ""
    record(connection, now, f"card_packet_{state}", terminal=card.terminal_id, counter=proof.counter)
    return state


def waiting(connection: Connection, route: str, now: datetime, most: int = 100) -> Sequence[Any]:
    """Packets that are due on a route, oldest first; with the card's number, ICCID and carrier."""
    packets, card = table(CardPacketRow), table(Card)
    return connection.execute(
        select(packets, card.c.msisdn, card.c.iccid, card.c.carrier)
        .join(card, card.c.terminal_id == packets.c.terminal_id)
        .where(packets.c.state == "waiting", packets.c.route == route, packets.c.due_at <= now)
        .order_by(packets.c.id)
        .limit(most)
    ).all()


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
