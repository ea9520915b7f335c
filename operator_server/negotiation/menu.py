"""What is open on a terminal now: of the offers that fit it, those that it has not got yet."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, select

from offers.versions import compare
from operator_server.desk import Visitor
from operator_server.negotiation import book
from operator_server.offering.live import LiveOffers, OpenOffer, read_configuration
from operator_server.store.cards import Card
from operator_server.store.devices import Device
from operator_server.store.parties import TerminalKey
from operator_server.store.rows import table


def takes_packages(connection: Connection, terminal_id: str) -> bool:
    """Whether anything can be installed on the terminal: it is no device or card, or has a key of its own beside."""
    device, card, key = table(Device), table(Card), table(TerminalKey)
    kinds = (select(kind.c.terminal_id).where(kind.c.terminal_id == terminal_id) for kind in (device, card))
    if all(connection.execute(kind).first() is None for kind in kinds):
        return True
    held = select(key.c.id).where(key.c.terminal_id == terminal_id, key.c.valid_to.is_(None))
    return connection.execute(held).first() is not None


def menu_of(connection: Connection, offers: LiveOffers, visitor: Visitor, now: datetime) -> list[OpenOffer]:
    """The offers that stand in the menu of a device or card now, in order; empty before its first interrogation.

    What its configuration cannot tell, that a service is there already, its agreements do.
    """
    learn(connection, offers, visitor)
    code = book.last_code(connection, visitor.terminal)
    rejections = book.rejections_of(connection, visitor.subscriber)
    return [
        each
        for each in offers.open_offers(code, visitor, rejections, now)
        if not _present(connection, visitor, each.offer.product, each.release)
    ]


def learn(connection: Connection, offers: LiveOffers, visitor: Visitor) -> None:
    """See to it that the offers know the code that the terminal answered last."""
    code = book.last_code(connection, visitor.terminal)
    if code is not None and not offers.knows(code):
        offers.learn(code, read_configuration(connection, code))


def _present(connection: Connection, visitor: Visitor, product: str, release: str) -> bool:
    there: Sequence[str] = book.installed_releases(connection, visitor.terminal, product)
    return any((compare(release, each) or 0) <= 0 for each in there) or bool(
        book.open_agreements(connection, visitor.terminal, [product])
    )
