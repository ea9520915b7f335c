"""Billing periods: calendar months in the operator's time zone, as ``2026-10``.

A period begins at the first instant of its first local day and ends where the next one begins; so it is an hour
shorter or longer where the clocks change. The ends are the cut-over instants at which terminals note their counters.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import NamedTuple

_NAME = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])")


class PeriodError(ValueError):
    """A name that is no period; the text says what one looks like."""


class Period(NamedTuple):
    """A billing period; ``start`` is inclusive, ``end`` exclusive, both aware UTC."""

    name: str
    start: datetime
    end: datetime


def period(name: str, zone: tzinfo) -> Period:
    """The period called ``name``. Raises :class:`PeriodError`."""
    match = _NAME.fullmatch(name)
    year = int(match[1]) if match else 0
    if match is None or not 1970 <= year < 9999:
        raise PeriodError(f"{name!r} is not a billing period; write year and month, such as 2026-10")
    first = date(year, int(match[2]), 1)
    return Period(name, begin_of(first, zone), begin_of(_next_month(first), zone))


def period_of(instant: datetime, zone: tzinfo) -> str:
    """The name of the period in which ``instant`` (aware) lies."""
    if instant.tzinfo is None:
        raise ValueError(f"{instant!r} has no time zone; instants are aware UTC")
    local = instant.astimezone(zone)
    return f"{local.year:04d}-{local.month:02d}"


def cut_overs(after: datetime, until: datetime, zone: tzinfo) -> list[datetime]:
    """The ends of periods that lie after ``after`` and not after ``until``, ascending."""
    ends = []
    end = period(period_of(after, zone), zone).end
    while end <= until:
        ends.append(end)
        end = period(period_of(end, zone), zone).end
    return ends


def days(start: datetime, end: datetime, zone: tzinfo) -> tuple[date, date]:
    """First and last local day, both inclusive, of the instants from ``start`` up to but not including ``end``."""
    return start.astimezone(zone).date(), (end - timedelta(microseconds=1)).astimezone(zone).date()


def begin_of(day: date, zone: tzinfo) -> datetime:
    """The first instant of a local day, UTC."""
    # A midnight that the clocks skip is read with the offset before the change (PEP 495), which is the change itself;
    # of one that comes twice this is the first.
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


def _next_month(first: date) -> date:
    return (first + timedelta(days=31)).replace(day=1)
