"""When to ask: calendar plans and intervals, as arithmetic on instants.

A calendar plan runs at a local time of day in the operator's zone. A time that the clocks skip in spring is taken by
the offset before the change, so 02:30 runs at 03:30 summer time; a time that comes twice in autumn runs at its first.
A day of the month that a short month lacks is its last day. Each terminal of a fleet is asked at an offset of its own,
the same each time, so that they do not all answer in one second.
"""

from __future__ import annotations

import calendar
import hashlib
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from operator_server.settings import CalendarPlan

_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
SECOND = 1_000_000


def offset(terminal: str, spread: int) -> int:
    """The terminal's own offset in microseconds, at least 0 and below ``spread`` seconds."""
    if spread <= 0:
        return 0
    value = int.from_bytes(hashlib.blake2b(terminal.encode(), digest_size=8).digest(), "big")
    return value % (spread * SECOND)


def next_interval(terminal: str, now: int, interval: int, spread: int) -> int | None:
    """When a terminal that was asked at ``now`` (microseconds) is due again; ``None`` without an interval (0)."""
    if interval <= 0:
        return None
    return now + interval * SECOND + offset(terminal, spread)


def next_occurrence(plan: CalendarPlan, after: datetime, zone: ZoneInfo) -> datetime:
    """The first instant strictly after ``after`` at which the plan runs, in UTC."""
    at = time(int(plan.at[:2]), int(plan.at[3:]))
    day = after.astimezone(zone).date() - timedelta(days=1)
    while True:
        if _runs_on(plan.every, day):
            instant = datetime.combine(day, at, zone).astimezone(UTC)
            if instant > after:
                return instant
        day += timedelta(days=1)


def _runs_on(every: str, day: date) -> bool:
    if every == "day":
        return True
    if every in _WEEKDAYS:
        return day.weekday() == _WEEKDAYS.index(every)
    wanted = int(every.removeprefix("month-day-"))
    return day.day == min(wanted, calendar.monthrange(day.year, day.month)[1])


class Agenda:
    """The calendar plans of a running server: which are due, and when next."""

    def __init__(self, plans: list[CalendarPlan], zone: ZoneInfo) -> None:
        self._zone = zone
        self.plans = {plan.name: plan for plan in plans}
        self.next_due: dict[str, datetime] = {}

    def start(self, stored: dict[str, datetime], now: datetime) -> list[str]:
        """Begin from the stored due times; the plans that were missed while no server ran and are to run now."""
        missed: list[str] = []
        for name, plan in self.plans.items():
            due = stored.get(name)
            if due is not None and due <= now:
                if plan.missed == "run":
                    missed.append(name)
                due = None
            self.next_due[name] = due if due is not None else next_occurrence(plan, now, self._zone)
        return missed

    def due(self, now: datetime) -> list[tuple[str, datetime]]:
        """The plans that are due at ``now``, each with its instant; several occurrences since the last look are one."""
        due: list[tuple[str, datetime]] = []
        for name, instant in self.next_due.items():
            if instant <= now:
                due.append((name, instant))
                self.next_due[name] = next_occurrence(self.plans[name], now, self._zone)
        return due
