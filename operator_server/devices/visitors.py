"""Who negotiates for a device."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import Connection, Table, select

from operator_server.desk import Visitor
from operator_server.offering.live import read_configuration
from operator_server.store.devices import Device
from operator_server.store.parties import Account, Binding, Subscriber, Terminal, TerminalSession
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
