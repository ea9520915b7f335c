"""Billing cycles: from a day of the month to the same day of the next, in an account's own time zone.

A cycle day that a month does not have (29th to 31st) is that month's last day; the month after goes back to the day
itself. A cycle is named by the month of its last local day: with day 1 ``2026-10`` is October, with day 15 it is from
15 September up to and including 14 October. So each month names one cycle, and one cycle begins where another ends.
"""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, date, datetime, tzinfo

from charging.periods import Period, PeriodError, begin_of, period

FIRST_DAY, LAST_DAY = 1, 31


def cycle(name: str, day: int, zone: tzinfo) -> Period:
    """The cycle called ``name``; ``start`` is inclusive, ``end`` exclusive. Raises :class:`PeriodError`."""
    if not FIRST_DAY <= day <= LAST_DAY:
        raise PeriodError(f"cycle day {day}: a day from 1 to 31 is needed")
    month = period(name, UTC).start.date()
    if day == 1:
        return period(name, zone)
    return Period(name, _boundary(_month(month, -1), day, zone), _boundary(month, day, zone))


def cycle_of(instant: datetime, day: int, zone: tzinfo) -> Period:
    """The cycle in which ``instant`` (aware) lies."""
    if instant.tzinfo is None:
        raise ValueError(f"{instant!r} has no time zone; instants are aware UTC")
    month = instant.astimezone(zone).date().replace(day=1)
    for later in (0, 1, -1):
        found = cycle(_name(_month(month, later)), day, zone)
        if found.start <= instant < found.end:
            return found
    raise AssertionError(f"{instant!r} lies in no cycle of day {day}")


def last_end(instant: datetime, day: int, zone: tzinfo) -> datetime:
    """The end of the last cycle that is over at ``instant``, which is the begin of the one that holds it."""
    return cycle_of(instant, day, zone).start


def _boundary(month: date, day: int, zone: tzinfo) -> datetime:
    return begin_of(month.replace(day=min(day, monthrange(month.year, month.month)[1])), zone)


def _month(first: date, later: int) -> date:
    months = first.year * 12 + first.month - 1 + later
    return date(months // 12, months % 12 + 1, 1)


def _name(first: date) -> str:
    return f"{first.year:04d}-{first.month:02d}"
