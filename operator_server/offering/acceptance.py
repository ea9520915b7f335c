"""How offers are taken: shown, selected, agreed, rejected."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, func, select

from operator_server.store.configurations import Interrogation
from operator_server.store.dealings import Agreement, QuoteRow, Rejection
from operator_server.store.rows import table
from signalling.clock import to_micros


@dataclass(frozen=True, slots=True)
class Acceptance:
    """``shown``: menus that held the offer; ``selected``: requests for it; ``agreed`` and ``rejected`` of them."""

    shown: int = 0
    selected: int = 0
    agreed: int = 0
    rejected: int = 0


def acceptance(connection: Connection, since: datetime) -> dict[str, Acceptance]:
    """Offer id to how it was taken since an instant, whichever version it was; offers without any of it are absent.

    What a user asked for and bargained about is selected once.
    """
    interrogation, quote = table(Interrogation), table(QuoteRow)
    agreement, rejection = table(Agreement), table(Rejection)
    first = _first_id(since)
    shown: Counter[str] = Counter()
    for menu, count in connection.execute(
        select(interrogation.c.shown, func.count())
        .where(interrogation.c.id >= first, interrogation.c.shown != "")
        .group_by(interrogation.c.shown)
    ):
        for version in menu.split():
            shown[version.rpartition("@")[0]] += count
    selected = _counted(connection, quote.c.offer_id, quote.c.id >= first, quote.c.in_place_of.is_(None))
    agreed = _counted(connection, agreement.c.offer_id, agreement.c.agreed_at >= since)
    rejected = _counted(connection, rejection.c.offer_id, rejection.c.rejected_at >= since)
    return {
        offer: Acceptance(shown[offer], selected[offer], agreed[offer], rejected[offer])
        for offer in shown.keys() | selected.keys() | agreed.keys() | rejected.keys()
    }


def _counted(connection: Connection, offer: Column[Any], *conditions: ColumnElement[bool]) -> Counter[str]:
    rows = connection.execute(select(offer, func.count()).where(*conditions).group_by(offer))
    return Counter({str(name): int(count) for name, count in rows})


def _first_id(since: datetime) -> str:
    """The least id that is made at an instant or later: ids begin with their millisecond (RFC 9562, section 5.7)."""
    millis = f"{max(0, to_micros(since)) // 1000:012x}"
    return f"{millis[:8]}-{millis[8:]}"
