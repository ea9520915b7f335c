"""When things happen in the demo: two months of the operator's calendar as a list of steps."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

Work = Literal["sessions", "stay", "asked", "order", "leave", "publish", "revoke", "bill", "month_end", "roam"]

MONTHS = ("2026-09", "2026-10")
FIRST_DAY = date(2026, 9, 1)
LAST_DAY = date(2026, 11, 3)
HOURS = (9, 18, 13)
"""Hours at which a part of the fleet logs on, day by day."""


class Step(NamedTuple):
    """One instant and what happens at it; ``about``: a product and version, or a month."""

    at: datetime
    work: Work
    about: tuple[str, str] = ("", "")


def timeline(zone: ZoneInfo, seed: int) -> list[Step]:
    """The steps in order; the same for the same seed."""
    chance = random.Random(f"{seed} timeline")

    def at(day: date, hour: int, minute: int = 0) -> datetime:
        return datetime.combine(day, time(hour, minute), zone).astimezone(UTC)

    steps = [Step(at(day, HOURS[day.toordinal() % len(HOURS)], chance.randrange(60)), "sessions") for day in _days()]
    # A weekly and a monthly plan of the operator run at night; a day after it an interval is over.
    for evening, nights in ((date(2026, 9, 8), 2), (date(2026, 9, 30), 2), (date(2026, 10, 31), 1)):
        steps.append(Step(at(evening, 20, 30), "stay"))
        for night in range(1, nights + 1):
            day = evening + timedelta(days=night)
            steps.append(Step(at(day, 3, 15 * night), "asked"))
            if night < nights:
                steps.append(Step(at(day, 12), "order"))
        steps.append(Step(at(evening + timedelta(days=nights), 4), "leave"))
    # One user is in another network for a day of each month.
    steps += [Step(at(day, 11), "roam") for day in (date(2026, 9, 20), date(2026, 10, 20))]
    # The gateway's counter is read when a month ends.
    steps += [Step(at(day, 0), "month_end") for day in (date(2026, 10, 1), date(2026, 11, 1))]
    steps += [
        Step(at(date(2026, 9, 16), 13), "publish", ("chess", "1.1.0")),
        Step(at(date(2026, 10, 4), 6), "bill", (MONTHS[0], "")),
        Step(at(date(2026, 10, 8), 13), "publish", ("secure-mail", "2.1.0")),
        Step(at(date(2026, 10, 14), 20), "revoke", ("phrasebook", "1.0.0")),
        Step(at(date(2026, 10, 14), 21), "publish", ("phrasebook", "1.0.1")),
        Step(at(date(2026, 11, 4), 6), "bill", (MONTHS[1], "")),
    ]
    return sorted(steps)


def _days() -> Iterator[date]:
    day = FIRST_DAY
    while day <= LAST_DAY:
        yield day
        day += timedelta(days=1)
