"""Why a terminal's user is shown each offer or not, from what is stored of both."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from offers.memory import OfferMemory
from offers.why import Why, why
from operator_server.delivery.publishing import valid_releases
from operator_server.desk import Visitor
from operator_server.negotiation.book import last_code, open_agreements, rejections_of
from operator_server.negotiation.menu import learn, menu_of, takes_packages
from operator_server.offering.live import LiveOffers, read_configuration
from operator_server.store.parties import Account, Binding, Subscriber, Terminal
from operator_server.store.rows import table


class NothingOffered(LookupError):
    """A terminal that is offered nothing at all; the text says why and what mends it."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Who is offered what on which configuration, and why not the rest; ``offers`` in the order of the catalogue."""

    subscriber: str
    code: bytes
    offers: list[Why]


def explain_terminal(connection: Connection, offers: LiveOffers, terminal: str, now: datetime) -> Explanation:
    """Each offer of the catalogue with what keeps it from the terminal's menu now. Raises :class:`NothingOffered`."""
    row = _user(connection, terminal)
    if row is None:
        raise NothingOffered(f"terminal {terminal} is not enrolled")
    if row.status != "active":
        raise NothingOffered(f"terminal {terminal} is {row.status}: its logons are refused")
    if row.subscriber is None:
        raise NothingOffered(f"terminal {terminal} is bound to no subscriber; bind it to one")
    code = last_code(connection, terminal)
    if code is None:
        raise NothingOffered(f"terminal {terminal} has not answered an interrogation yet; interrogate it")
    packages = takes_packages(connection, terminal)
    visitor = Visitor(
        terminal, row.subscriber, row.account_id, frozenset(row.groups), row.language, b"", packages, row.currency
    )
    learn(connection, offers, visitor)
    rejections = rejections_of(connection, row.subscriber)
    if packages:
        menu = {each.offer.id for each in offers.open_offers(code, visitor, rejections, now)}
    else:
        menu = {each.offer.id for each in menu_of(connection, offers, visitor, now)}
    memory = OfferMemory(offers.memory.catalogue, valid_releases(connection, now))
    agreed = []
    if not packages:
        products = sorted({offer.product for offer in memory.catalogue})
        agreed = [each.product for each in open_agreements(connection, terminal, products)]
    return Explanation(
        row.subscriber, code,
        why(
            memory, read_configuration(connection, code), menu, rejections=rejections, groups=row.groups, now=now,
            closed=lambda mode: offers.closed(mode, row.currency, now), takes_packages=packages, agreed=agreed,
        ),
    )  # fmt: skip


def _user(connection: Connection, terminal: str) -> Any:
    terminals, binding = table(Terminal), table(Binding)
    subscriber, account = table(Subscriber), table(Account)
    return connection.execute(
        select(
            terminals.c.status, subscriber.c.id.label("subscriber"), subscriber.c.account_id, subscriber.c.groups,
            account.c.language, account.c.currency,
        )
        .outerjoin(binding, (binding.c.terminal_id == terminals.c.id) & binding.c.valid_to.is_(None))
        .outerjoin(subscriber, subscriber.c.id == binding.c.subscriber_id)
        .outerjoin(account, account.c.id == subscriber.c.account_id)
        .where(terminals.c.id == terminal)
    ).first()  # fmt: skip
