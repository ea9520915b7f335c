"""Who uses a card, and who it answered with last."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, select

from operator_server.desk import Visitor
from operator_server.devices.visitors import NotServed
from operator_server.store.cards import Card
from operator_server.store.parties import Account, Binding, Subscriber, Terminal
from operator_server.store.rows import table


def card_visitor(connection: Connection, terminal_id: str, now: datetime) -> Visitor:
    """The subscriber that the card is bound to. Raises :class:`operator_server.devices.visitors.NotServed`."""
    card, terminal, binding = table(Card), table(Terminal), table(Binding)
    subscriber, account = table(Subscriber), table(Account)
    row = connection.execute(
        select(
            terminal.c.status,
            binding.c.subscriber_id,
            subscriber.c.status.label("subscriber_status"),
            subscriber.c.account_id,
            subscriber.c.groups,
            card.c.language,
            account.c.currency,
        )
        .select_from(card)
        .join(terminal, terminal.c.id == card.c.terminal_id)
        .outerjoin(
            binding,
            (binding.c.terminal_id == terminal.c.id)
            & (binding.c.valid_from <= now)
            & (binding.c.valid_to.is_(None) | (binding.c.valid_to > now)),
        )
        .outerjoin(subscriber, subscriber.c.id == binding.c.subscriber_id)
        .outerjoin(account, account.c.id == subscriber.c.account_id)
        .where(card.c.terminal_id == terminal_id)
        .order_by(binding.c.valid_from.desc())
        .limit(1)
    ).first()
    if row is None:
        raise NotServed(f"terminal {terminal_id} is not a card")
    if row.status != "active":
        raise NotServed(f"terminal {terminal_id} is {row.status}")
    if row.subscriber_id is None or row.subscriber_status != "active":
        raise NotServed(f"terminal {terminal_id} is bound to no active subscriber")
    return Visitor(
        terminal=terminal_id,
        subscriber=row.subscriber_id,
        account=row.account_id,
        groups=frozenset(row.groups),
        language=row.language,
        public_key=b"",
        takes_packages=False,
        currency=row.currency,
    )
