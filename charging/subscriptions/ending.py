"""When a cancellation takes effect.

A subscription ends where a period ends: the first such end that lies no earlier than the notice after the cancellation
and no earlier than the end of the minimum term. What is cancelled on the first day of a period ends with that period,
which has begun. In a trial nothing binds yet: it ends with the trial at the latest.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from charging.subscriptions.calendar import Plan, span


@dataclass(frozen=True, slots=True)
class Ending:
    """The first local day on which the agreement no longer runs, and what put it there: notice or minimum."""

    day: date
    because: str


def minimum_until(plan: Plan, periods: int) -> date:
    """The first day on which the minimum term is over; a first period that is not whole counts as one."""
    return span(plan, periods).start


def cancelled(plan: Plan, *, today: date, notice_days: int, minimum_periods: int) -> Ending:
    """When a cancellation that comes ``today`` takes effect."""
    notice = today + timedelta(days=notice_days)
    minimum = minimum_until(plan, minimum_periods)
    earliest = max(notice, minimum, today + timedelta(days=1))
    number = max(minimum_periods - 1, 0)
    # Periods are at least a day, so no search is longer than the days it covers; whole years are skipped first.
    while span(plan, number).end < earliest:
        number += 1
    return Ending(span(plan, number).end, "minimum" if minimum > notice else "notice")
