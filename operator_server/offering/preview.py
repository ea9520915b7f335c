"""Whom an offer would reach, before it is published: by what terminals are made of, by model, and who rejected it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, String, cast, func, or_, select

from offers.audience import Fit, fit
from offers.catalogue import Offer
from offers.modes import permitted
from operator_server.delivery.publishing import valid_releases
from operator_server.offering.population import Population
from operator_server.store.dealings import Rejection
from operator_server.store.parties import Binding, Subscriber, TerminalSession
from operator_server.store.rows import table


@dataclass(frozen=True, slots=True)
class Audience:
    """``terminals``: of those interrogated so far, ``matching`` fit the offer; ``models`` counts these by model.

    ``reached``: of the matching, those whose user may be shown it by group; ``rejected``: subscribers who rejected the
    offer, of whom ``hidden`` would still not see it now. ``release``: what would be delivered, empty where none is
    published.
    """

    terminals: int
    matching: int
    reached: int
    models: dict[str, int]
    rejected: int
    release: str
    hidden: int = 0


def preview(connection: Connection, offer: Offer, now: datetime, population: Population | None = None) -> Audience:
    """Count whom ``offer`` would reach now, by the last answers of terminals.

    ``population``: what is known of them already.
    """
    found = fit(offer, valid_releases(connection, now), (population or Population()).read(connection))
    bound = offer.include or offer.exclude or any(mode.groups for mode in offer.modes)
    rejection = table(Rejection)
    standing = rejection.c.undone_at.is_(None)
    ended = or_(rejection.c.until_at.is_(None), rejection.c.until_at > now)
    rejected, hidden = connection.execute(
        select(
            func.count(rejection.c.subscriber_id.distinct()),
            func.count(rejection.c.subscriber_id.distinct()).filter(ended),
        ).where(rejection.c.offer_id == offer.id, standing)
    ).one()
    return Audience(
        found.terminals, found.matching, _in_groups(connection, offer, found) if bound else found.matching,
        found.models, int(rejected), found.release or "", int(hidden),
    )  # fmt: skip


def _in_groups(connection: Connection, offer: Offer, found: Fit) -> int:
    """Of the terminals that the offer fits, those whose user's groups let it be shown; by code and set of groups."""
    session, binding, subscriber = table(TerminalSession), table(Binding), table(Subscriber)
    groups = cast(subscriber.c.groups, String)
    rows = connection.execute(
        select(session.c.code, groups, func.count())
        .join(binding, (binding.c.terminal_id == session.c.terminal_id) & binding.c.valid_to.is_(None))
        .join(subscriber, subscriber.c.id == binding.c.subscriber_id)
        .where(session.c.code.is_not(None))
        .group_by(session.c.code, groups)
    )
    may = {}
    reached = 0
    for code, text, count in rows:
        if text not in may:
            may[text] = _may(offer, text if isinstance(text, list) else json.loads(text))
        reached += count if bytes(code) in found.codes and may[text] else 0
    return reached


def _may(offer: Offer, groups: list[str]) -> bool:
    return (
        not (offer.include and offer.include.isdisjoint(groups))
        and offer.exclude.isdisjoint(groups)
        and bool(permitted(offer.modes, groups))
    )
