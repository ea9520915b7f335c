"""The periods of a subscription, in whole local days.

A subscription that begins on the 31st has its next periods begin on the 31st, or on the last day of a month that has
none: each is counted from the first day, so that one short month does not move those after it. With ``pro_rata`` the
first period is what is left of the calendar's day, week (from Monday), month or year, and those after it are whole.
"""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Literal, get_args

from signalling.messages import ModeTerms

Unit = Literal["day", "week", "month", "year"]
UNITS: tuple[Unit, ...] = get_args(Unit)


@dataclass(frozen=True, slots=True)
class Plan:
    """How periods follow one another from the local day ``first`` on."""

    unit: Unit
    first: date
    pro_rata: bool = False


@dataclass(frozen=True, slots=True)
class Span:
    """A period: local days from ``start`` up to but not including ``end``. ``whole``: days that a whole one has."""

    start: date
    end: date
    whole: int

    @property
    def days(self) -> int:
        """The days in it."""
        return (self.end - self.start).days


def plan_of(terms: ModeTerms, first: date) -> Plan:
    """The plan that a subscription's terms make. Raises ``ValueError`` for terms without a period."""
    for unit in UNITS:
        if unit == terms.period:
            return Plan(unit, first, terms.pro_rata)
    raise ValueError(f"mode {terms.mode!r}: period {terms.period!r} is not one of {', '.join(UNITS)}")


def span(plan: Plan, number: int) -> Span:
    """The period of this number, from 0."""
    start, end = _begin(plan, number), _begin(plan, number + 1)
    if not plan.pro_rata or number:
        return Span(start, end, (end - start).days)
    return Span(start, end, (end - _calendar_begin(plan.unit, plan.first)).days)


def day_of(instant: datetime, zone: tzinfo) -> date:
    """The local day of an aware instant."""
    return instant.astimezone(zone).date()


def midnight(day: date, zone: tzinfo) -> datetime:
    """The first instant of a local day, aware UTC. Of a midnight that comes twice it is the first."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


def _begin(plan: Plan, number: int) -> date:
    if number == 0:
        return plan.first
    return _later(plan.unit, _calendar_begin(plan.unit, plan.first) if plan.pro_rata else plan.first, number)


def _calendar_begin(unit: Unit, day: date) -> date:
    match unit:
        case "day":
            return day
        case "week":
            return day - timedelta(days=day.weekday())
        case "month":
            return day.replace(day=1)
        case "year":
            return day.replace(month=1, day=1)


def _later(unit: Unit, day: date, count: int) -> date:
    if unit == "day":
        return day + timedelta(days=count)
    if unit == "week":
        return day + timedelta(weeks=count)
    months = day.month - 1 + (count if unit == "month" else 12 * count)
    year, month = day.year + months // 12, months % 12 + 1
    return date(year, month, min(day.day, monthrange(year, month)[1]))
