"""What the overview tells: read from the database by index or by what is of today, never by all there ever was."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, and_, func, select

from operator_server.store.accounting import Charge
from operator_server.store.configurations import Interrogation
from operator_server.store.dealings import Agreement
from operator_server.store.parties import Event, Terminal, TerminalSession
from operator_server.store.rows import table
from signalling.clock import to_micros

WORTH_KEEPING = 0.02
"""Seconds that counting takes from which on it is not done for each look."""

LATE = 5_000
"""Places of the feed to look back over: events get theirs in the order in which they are found."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """Terminals: enrolled and not revoked, on line now, and how many never answered an inquiry."""

    active: int
    online: int
    never_asked: int


@dataclass(frozen=True, slots=True)
class Tally:
    """What happened today: logons, menus with offers in them, and what became of offers."""

    logons: int
    interrogations: int
    shown: int
    selected: int
    agreed: int
    delivered: int
    rejected: int
    failed: int


@dataclass(frozen=True, slots=True)
class Charged:
    """What was charged by agreements of one mode in one currency; ``net`` in micros."""

    mode: str
    currency: str
    count: int
    net: int


def day_begins(now: datetime, zone: str) -> datetime:
    """When the day of ``now`` began in the zone."""
    local = now.astimezone(ZoneInfo(zone))
    return local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0).astimezone(now.tzinfo)


def fleet(connection: Connection, now: datetime) -> Fleet:
    """Who is there."""
    terminal, session = table(Terminal), table(TerminalSession)
    active = connection.execute(
        select(func.count()).select_from(terminal).where(terminal.c.status == "active")
    ).scalar_one()
    seen = connection.execute(
        select(func.count().filter(session.c.lease_until > now), func.count(session.c.interrogated_at))
    ).one()
    return Fleet(active, seen[0], max(0, active - seen[1]))


class Kept:
    """The fleet as it was counted last: kept for twenty times as long as counting took, for all who look."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._lock = threading.Lock()
        self._clock = clock
        self._until = 0.0
        self._fleet: Fleet | None = None

    def look(self, count: Callable[[], Fleet]) -> Fleet:
        """The fleet, counted anew where it was kept long enough."""
        with self._lock:
            begun = self._clock()
            if self._fleet is None or begun >= self._until:
                self._fleet = count()
                took = self._clock() - begun
                self._until = begun + took * 20 if took > WORTH_KEEPING else 0.0
            return self._fleet


class Today:
    """Counts the events of the day as the feed grows: each is looked at once by this process, then kept as a count."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._day: datetime | None = None
        self._place = 0
        self._counts: Counter[str] = Counter()

    def tally(self, connection: Connection, day: datetime) -> Tally:
        """The counts of the day that began at ``day``, up to now."""
        event = table(Event)
        with self._lock:
            if self._day != day:
                self._day, self._counts = day, Counter()
                self._place = _place_before(connection, day)
            counts, last = _counted(connection, day, event.c.place > self._place)
            self._counts += counts
            self._place = max(self._place, last)
            total = self._counts.copy()
        # Those that have no place yet are counted again until they do.
        total += _counted(connection, day, event.c.place.is_(None))[0]
        return Tally(
            logons=total["logon"], interrogations=total["interrogated"], shown=total["shown"],
            selected=total["quoted"], agreed=total["agreed"], delivered=total["delivered"],
            rejected=total["rejected"], failed=total["delivery_failed"],
        )  # fmt: skip


def _place_before(connection: Connection, day: datetime) -> int:
    """A place of the feed before which nothing is of the day. Ids grow with time: its first event is found by key."""
    event = table(Event)
    begin = f"{to_micros(day) // 1000:012x}"
    first = connection.execute(
        select(event.c.place)
        .where(event.c.id >= f"{begin[:8]}-{begin[8:]}", event.c.place.is_not(None))
        .order_by(event.c.id)
        .limit(1)
    ).scalar()
    if first is None:
        first = connection.execute(select(func.max(event.c.place))).scalar() or 0
    return max(0, int(first) - LATE)


def _counted(connection: Connection, day: datetime, which: object) -> tuple[Counter[str], int]:
    """Events by kind; an inquiry counts as a logon, and as a menu shown, where it was one. And the last place."""
    event, asked = table(Event), table(Interrogation)
    # PostgreSQL takes two equal expressions with parameters for different ones.
    shown = asked.c.shown != ""
    rows = connection.execute(
        select(
            event.c.kind, asked.c.trigger, shown.label("shown"), func.count().label("times"),
            func.max(event.c.place).label("last"),
        )
        # The event of an inquiry has its id.
        .outerjoin(asked, and_(asked.c.id == event.c.id, event.c.kind == "interrogated"))
        .where(which, event.c.at >= day)  # type: ignore[arg-type]  # a condition
        .group_by(event.c.kind, asked.c.trigger, shown)
    ).all()  # fmt: skip
    counts: Counter[str] = Counter()
    for row in rows:
        counts[row.kind] += row.times
        if row.trigger == "logon":
            counts["logon"] += row.times
        if row.shown:
            counts["shown"] += row.times
    return counts, max((row.last or 0 for row in rows), default=0)


def charged(connection: Connection, since: datetime) -> list[Charged]:
    """What was charged since an instant, by the mode of the agreement and currency, the most first."""
    charge, agreement = table(Charge), table(Agreement)
    # Grouped by the bare column, SQLite walks all charges in the index of agreements; the day's own index is shorter.
    of = charge.c.agreement_id.concat("")
    sums = (
        select(
            of.label("agreement_id"),
            charge.c.currency,
            func.count().label("count"),
            func.sum(charge.c.net).label("net"),
        )
        .where(charge.c.recorded_at >= since)
        .group_by(of, charge.c.currency)
        .subquery()
    )
    rows = connection.execute(
        select(agreement.c.mode_kind, sums.c.currency, func.sum(sums.c.count), func.sum(sums.c.net))
        .select_from(sums.outerjoin(agreement, agreement.c.id == sums.c.agreement_id))
        .group_by(agreement.c.mode_kind, sums.c.currency)
    )
    found = [Charged(mode or "other", currency, int(count), int(net)) for mode, currency, count, net in rows]
    return sorted(found, key=lambda each: (each.currency, -each.net, each.mode))
