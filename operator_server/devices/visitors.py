"""Who negotiates for a device, and what is open to this person on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from sqlalchemy import Connection, Table, select

from offers.versions import compare
from operator_server.desk import Visitor
from operator_server.negotiation import book
from operator_server.offering.live import LiveOffers, OpenOffer, read_configuration
from operator_server.store.cards import Card
from operator_server.store.devices import Device
from operator_server.store.parties import Account, Binding, Subscriber, Terminal, TerminalKey, TerminalSession
from operator_server.store.rows import table
from signalling.configuration import Configuration


class NotServed(LookupError):
    """A terminal for which nobody can negotiate on a page; the text says why."""


def visitor_of(connection: Connection, terminal_id: str, now: datetime) -> Visitor:
    """The subscriber that the device is bound to. Raises :class:`NotServed`."""
    return keyless_visitor(connection, table(Device), terminal_id, now, "a device that is polled")


def keyless_visitor(connection: Connection, kind: Table, terminal_id: str, now: datetime, what: str) -> Visitor:
    """The subscriber of a terminal without a key of ours, which the table ``kind`` lists as ``what``.

    Raises :class:`NotServed`.
    """
    terminal, binding = table(Terminal), table(Binding)
    subscriber, account = table(Subscriber), table(Account)
    row = connection.execute(
        select(
            terminal.c.status,
            binding.c.subscriber_id,
            subscriber.c.status.label("subscriber_status"),
            subscriber.c.account_id,
            subscriber.c.groups,
            kind.c.language.label("own_language"),
            account.c.language,
            account.c.currency,
        )
        .select_from(kind)
        .join(terminal, terminal.c.id == kind.c.terminal_id)
        .outerjoin(
            binding,
            (binding.c.terminal_id == terminal.c.id)
            & (binding.c.valid_from <= now)
            & (binding.c.valid_to.is_(None) | (binding.c.valid_to > now)),
        )
        .outerjoin(subscriber, subscriber.c.id == binding.c.subscriber_id)
        .outerjoin(account, account.c.id == subscriber.c.account_id)
        .where(kind.c.terminal_id == terminal_id)
        .order_by(binding.c.valid_from.desc())
        .limit(1)
    ).first()
    if row is None:
        raise NotServed(f"terminal {terminal_id} is not {what}")
    if row.status != "active":
        raise NotServed(f"terminal {terminal_id} is {row.status}")
    if row.subscriber_id is None or row.subscriber_status != "active":
        raise NotServed(f"terminal {terminal_id} is bound to no active subscriber")
    return Visitor(
        terminal=terminal_id,
        subscriber=row.subscriber_id,
        account=row.account_id,
        groups=frozenset(row.groups),
        language=row.own_language or row.language,
        public_key=b"",
        takes_packages=False,
        currency=row.currency,
    )


def takes_packages(connection: Connection, terminal_id: str) -> bool:
    """Whether anything can be installed on the terminal: it is no device or card, or has a key of its own beside."""
    device, card, key = table(Device), table(Card), table(TerminalKey)
    kinds = (select(kind.c.terminal_id).where(kind.c.terminal_id == terminal_id) for kind in (device, card))
    if all(connection.execute(kind).first() is None for kind in kinds):
        return True
    held = select(key.c.id).where(key.c.terminal_id == terminal_id, key.c.valid_to.is_(None))
    return connection.execute(held).first() is not None


def menu_of(connection: Connection, offers: LiveOffers, visitor: Visitor, now: datetime) -> list[OpenOffer]:
    """The offers that stand in the device's menu now, in order; empty before its first interrogation.

    What the configuration of a device cannot tell, that a service is there already, its agreements do.
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
    """See to it that the offers know the code that the device answered last."""
    code = book.last_code(connection, visitor.terminal)
    if code is not None and not offers.knows(code):
        offers.learn(code, read_configuration(connection, code))


def device_configurations(connection: Connection) -> Iterator[tuple[bytes, Configuration]]:
    """The configurations that devices answered last, for offers that are for devices alone."""
    device, session = table(Device), table(TerminalSession)
    codes = connection.execute(
        select(session.c.code)
        .distinct()
        .join(device, device.c.terminal_id == session.c.terminal_id)
        .where(session.c.code.is_not(None))
    ).scalars()
    for code in codes.all():
        yield code, read_configuration(connection, code)


def _present(connection: Connection, visitor: Visitor, product: str, release: str) -> bool:
    there: Sequence[str] = book.installed_releases(connection, visitor.terminal, product)
    return any((compare(release, each) or 0) <= 0 for each in there) or bool(
        book.open_agreements(connection, visitor.terminal, [product])
    )
