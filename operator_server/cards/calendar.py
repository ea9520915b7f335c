"""Which cards the operator's calendar plans make due.

The role ``link`` keeps the plans and notes when each ran last; cards follow that, whichever process serves them.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, exists, func, select

from operator_server.interrogation.schedule import offset
from operator_server.store.cards import Card
from operator_server.store.configurations import Interrogation, InterrogationPlan
from operator_server.store.rows import table

HELD = timedelta(hours=1)
"""How long a plan makes cards due, after the last offset; one that was asked and is off answers when it is on."""


MOST = 200
"""Cards that are asked in one look; the rest follows in the next."""


def due_by_calendar(connection: Connection, free: Any, now: datetime) -> list[str]:
    """The cards that were neither asked nor answered since the last plan ran, each at its own offset after that.

    ``free``: which cards may be asked.
    """
    plan, card, asked = table(InterrogationPlan), table(Card), table(Interrogation)
    last, spread = connection.execute(select(func.max(plan.c.last_due_at), func.max(plan.c.jitter_seconds))).one()
    if last is None or now - last > HELD + timedelta(seconds=spread):
        return []
    since = exists().where(asked.c.terminal_id == card.c.terminal_id, asked.c.at >= last)
    found = connection.execute(
        select(card.c.terminal_id)
        .where(free, card.c.created_at < last, card.c.inquired_at.is_(None) | (card.c.inquired_at < last), ~since)
        .order_by(card.c.terminal_id)
    ).scalars()
    return [each for each in found if last + timedelta(microseconds=offset(each, spread)) <= now][:MOST]
