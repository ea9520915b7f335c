"""Cards over the terminal link: a terminal that is logged on carries packets between a card and the desk for cards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from operator_server.cards import channel
from operator_server.cards.desk import CardDesk
from operator_server.desk import Handler, Visitor
from operator_server.store.cards import card_row
from operator_server.store.store import Store
from signalling.card.sms import decode_user_data
from signalling.card.tlv import CardError
from signalling.clock import Clock
from signalling.messages import CardData, Message

log = Logger()

LOOK_AGAIN = timedelta(seconds=20)
"""When a packet is looked at again whose carrier is not on line here; a card that speaks gets it at once."""

Send = Callable[[str, Message], bool]


class CardLink:
    """Brings what carriers hand in to the desk, and takes out what waits for cards whose carriers are on line here."""

    def __init__(self, desk: CardDesk, store: Store, clock: Clock) -> None:
        self._desk = desk
        self._store = store
        self._clock = clock

    def handlers(self) -> dict[type[Message], Handler]:
        """The messages that are answered here."""
        return {CardData: self._carried}

    def _carried(self, carrier: Visitor, message: CardData) -> Deferred[Sequence[Message]]:
        try:
            part = decode_user_data(message.data, has_header=True)
        except CardError as no:
            return self._ignored(message, no)

        def take(connection: Connection) -> Sequence[Message]:
            now = self._clock.now()
            card = card_row(connection, iccid=message.card)
            if card is None:
                raise CardError("there is no such card")
            content = channel.whole(connection, f"{carrier.terminal}/{message.card}", part, now)
            if content is None:
                return ()
            self._desk.take(connection, card, content, now, route="link", carrier=carrier.terminal)
            waiting = channel.waiting_for(connection, card.terminal_id)
            channel.mark_sent(connection, [row.id for row in waiting], now)
            return _messages(waiting, card.iccid)

        def failed(failure: Failure) -> Sequence[Message]:
            failure.trap(CardError)
            log.info("a packet of card {card} is ignored: {why}", card=message.card, why=failure.getErrorMessage())
            return ()

        answered: Deferred[Sequence[Message]] = self._store.write(take)
        return answered.addErrback(failed)

    def _ignored(self, message: CardData, why: CardError) -> Deferred[Sequence[Message]]:
        log.info("a packet of card {card} is ignored: {why}", card=message.card, why=str(why))
        return succeed(())

    def turn(self, send: Send) -> Deferred[Any]:
        """Queue what is due, and send what waits; ``send`` gives a message to a terminal that is on line here."""
        now = self._clock.now()

        def due(connection: Connection) -> Sequence[Any]:
            self._desk.turn(connection, now)
            return channel.waiting(connection, "link", now)

        def sent(rows: Sequence[Any]) -> Deferred[Any] | None:
            gone = [row.id for row in rows if all(send(row.carrier, part) for part in _messages([row], row.iccid))]
            left = [row.id for row in rows if row.id not in gone]

            def note(connection: Connection) -> None:
                channel.mark_sent(connection, gone, now)
                channel.put_off(connection, left, now + LOOK_AGAIN)

            return self._store.write(note) if rows else None

        return self._store.write(due).addCallback(sent)


def _messages(rows: Sequence[Any], iccid: str) -> list[Message]:
    return [CardData(iccid, part.encode()) for row in rows for part in channel.parts(row.packet, row.counter)]
