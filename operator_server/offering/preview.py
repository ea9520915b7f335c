"""Whom an offer would reach, before it is published: by what terminals are made of, by model, and who rejected it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select

from offers.catalogue import Offer
from offers.index import OfferIndex
from offers.modes import permitted
from operator_server.delivery.publishing import valid_releases
from operator_server.offering.live import read_configurations
from operator_server.offering.loading import Loaded
from operator_server.store.dealings import Rejection
from operator_server.store.parties import Binding, Subscriber, TerminalSession
from operator_server.store.rows import table


@dataclass(frozen=True, slots=True)
class Audience:
    """``terminals``: of those interrogated so far, ``matching`` fit the offer; ``models`` counts these by model.

    ``reached``: of the matching, those whose user may be shown it by group; ``rejected``: subscribers who rejected the
    product and may have it hidden. ``release``: what would be delivered, empty where none is published.
    """

    terminals: int
    matching: int
    reached: int
    models: dict[str, int]
    rejected: int
    release: str


def preview(connection: Connection, loaded: Loaded, offer: Offer, now: datetime) -> Audience:
    """Count whom ``offer`` of the catalogue would reach now, by the last answers of terminals."""
    index = OfferIndex(loaded.catalogue, valid_releases(connection, now))
    session = table(TerminalSession)
    counts = {
        bytes(code): count
        for code, count in connection.execute(
            select(session.c.code, func.count()).where(session.c.code.is_not(None)).group_by(session.c.code)
        )
    }
    models: Counter[str] = Counter()
    fitting: set[bytes] = set()
    for code, configuration in read_configurations(connection):
        if code in counts and any(ref.offer.id == offer.id for ref in index.refs(configuration)):
            fitting.add(code)
            models[configuration.hardware.get("model", "")] += counts[code]
    matching = sum(models.values())
    bound = offer.include or offer.exclude or any(mode.groups for mode in offer.modes)
    rejection = table(Rejection)
    rejected = connection.execute(
        select(func.count(rejection.c.subscriber_id.distinct())).where(
            rejection.c.offer_id == offer.id, rejection.c.undone_at.is_(None)
        )
    ).scalar_one()
    return Audience(
        sum(counts.values()), matching, _in_groups(connection, offer, fitting) if bound else matching,
        dict(models.most_common()), int(rejected), index.current[offer.id].release or "",
    )  # fmt: skip


def _in_groups(connection: Connection, offer: Offer, fitting: set[bytes]) -> int:
    session, binding, subscriber = table(TerminalSession), table(Binding), table(Subscriber)
    rows = connection.execute(
        select(session.c.code, subscriber.c.groups)
        .join(binding, (binding.c.terminal_id == session.c.terminal_id) & binding.c.valid_to.is_(None))
        .join(subscriber, subscriber.c.id == binding.c.subscriber_id)
        .where(session.c.code.is_not(None))
    )
    return sum(1 for code, groups in rows if bytes(code) in fitting and _may(offer, groups))


def _may(offer: Offer, groups: list[str]) -> bool:
    return (
        not (offer.include and offer.include.isdisjoint(groups))
        and offer.exclude.isdisjoint(groups)
        and bool(permitted(offer.modes, groups))
    )
