"""Telling a device's user of offers: a message with a one-time link, when there is something new to say."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, func, select

from operator_server.context import Operator
from operator_server.desk import Visitor
from operator_server.devices.links import make_link
from operator_server.devices.visitors import NotServed, visitor_of
from operator_server.mail import is_address
from operator_server.negotiation import book
from operator_server.negotiation.menu import menu_of
from operator_server.offering.live import LiveOffers, OpenOffer, read_supply
from operator_server.offering.loading import load
from operator_server.store.devices import Device
from operator_server.store.feed import record
from operator_server.store.invitations import Invitation, OutgoingMessage
from operator_server.store.parties import Account
from operator_server.store.rows import add, add_many, table
from signalling.clock import to_micros
from signalling.ids import new_id

AGAIN_AFTER = timedelta(minutes=5)
"""Between two messages that the user himself asks for."""

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


def offer_menu(
    connection: Connection, operator: Operator, terminal_id: str, now: datetime, offers: LiveOffers | None = None
) -> str | None:
    """After an interrogation of a device: write its user when the menu holds an offer that he was not told of yet.

    Returns the message's id, ``None`` where there is nothing to say, nobody to say it to, or the last message is
    younger than ``invitations.pause``; what is new then is told by the message after the pause. The message is a row
    of this transaction; the worker role sends it. ``offers``: those in force, where the caller has them.
    """
    try:
        visitor = visitor_of(connection, terminal_id, now)
    except NotServed:
        return None
    open_now = menu_of(connection, offers or _offers(connection, operator, now), visitor, now)
    known = _told(connection, visitor)
    new = [each for each in open_now if each.offer.id not in known]
    if not new or _last_message(connection, visitor) > now - timedelta(seconds=operator.settings.invitations.pause):
        return None
    message = _queue(connection, operator, visitor, new, now)
    if message is not None:
        add_many(
            connection,
            (
                Invitation(
                    terminal_id=visitor.terminal,
                    subscriber_id=visitor.subscriber,
                    offer_id=each.offer.id,
                    message_id=message,
                    invited_at=now,
                )
                for each in new
            ),
        )
    return message


class NotInvited(Exception):
    """Nobody can be sent a link; the text says why and what to do."""


def invite(connection: Connection, operator: Operator, terminal_id: str, now: datetime) -> str:
    """Send the user of a device a link now, whatever was sent before; the message's id. Raises :class:`NotInvited`."""
    try:
        visitor = visitor_of(connection, terminal_id, now)
    except NotServed as nobody:
        raise NotInvited(f"{nobody}; see `tollgate device show {terminal_id}`") from None
    if book.last_code(connection, terminal_id) is None:
        raise NotInvited(
            f"device {terminal_id}: was never interrogated, so nobody knows what fits it; `tollgate device poll` does"
        )
    menu = menu_of(connection, _offers(connection, operator, now), visitor, now)
    if not menu:
        raise NotInvited(f"device {terminal_id}: its menu is empty; `tollgate offer why {terminal_id}` says why")
    message = _queue(connection, operator, visitor, menu, now)
    if message is None:
        raise NotInvited(
            f"device {terminal_id}: there is no mail address; "
            f"`tollgate device change {terminal_id} --contact ADDRESS` gives one"
        )
    return message


def send_again(connection: Connection, operator: Operator, link: Row[Any], now: datetime, offers: LiveOffers) -> bool:
    """A new link in place of one that is used up or too old, to the address that the operator has; at most one each
    :data:`AGAIN_AFTER`. ``False`` where the device has another user now, or nobody can be written to."""
    try:
        visitor = visitor_of(connection, link.terminal_id, now)
    except NotServed:
        return False
    if visitor.subscriber != link.subscriber_id:
        return False
    if _last_message(connection, visitor) > now - AGAIN_AFTER:
        return True
    return _queue(connection, operator, visitor, menu_of(connection, offers, visitor, now), now) is not None


def _queue(
    connection: Connection, operator: Operator, visitor: Visitor, offers: Sequence[OpenOffer], now: datetime
) -> str | None:
    recipient = _recipient(connection, visitor)
    if recipient is None:
        return None
    validity = timedelta(seconds=operator.settings.invitations.link_validity)
    token, secret = make_link(connection, visitor.terminal, visitor.subscriber, now, validity)
    message = new_id(to_micros(now))
    add(
        connection,
        OutgoingMessage(
            id=message,
            terminal_id=visitor.terminal,
            subscriber_id=visitor.subscriber,
            token_id=token,
            recipient=recipient,
            language=visitor.language,
            titles=[each.offer.title(visitor.language) for each in offers],
            sealed_token=operator.vault.seal(secret, sealed_name(token)),
            created_at=now,
            due_at=now,
        ),
    )
    record(
        connection, now, "link_queued", terminal=visitor.terminal, subscriber=visitor.subscriber,
        account=visitor.account, reference=message, offers=[each.offer.id for each in offers],
    )  # fmt: skip
    return message


def sealed_name(token: str) -> str:
    """Under which name the vault seals a link's token while its message waits."""
    return f"web-token/{token}"


def _recipient(connection: Connection, visitor: Visitor) -> str | None:
    device, account = table(Device), table(Account)
    contact = connection.execute(select(device.c.contact).where(device.c.terminal_id == visitor.terminal)).scalar()
    address = contact or connection.execute(select(account.c.email).where(account.c.id == visitor.account)).scalar()
    return address if address and is_address(address) else None


def _told(connection: Connection, visitor: Visitor) -> set[str]:
    told = table(Invitation)
    rows = connection.execute(
        select(told.c.offer_id).where(
            told.c.terminal_id == visitor.terminal, told.c.subscriber_id == visitor.subscriber
        )
    )
    return set(rows.scalars())


def _last_message(connection: Connection, visitor: Visitor) -> datetime:
    message = table(OutgoingMessage)
    last: datetime | None = connection.execute(
        select(func.max(message.c.created_at)).where(
            message.c.terminal_id == visitor.terminal, message.c.subscriber_id == visitor.subscriber
        )
    ).scalar()
    return last or _LONG_AGO


def _offers(connection: Connection, operator: Operator, now: datetime) -> LiveOffers:
    return LiveOffers(load(operator.settings), read_supply(connection, now), operator.clock)
