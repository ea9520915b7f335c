"""Reminder levels: which one a debt has reached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, slots=True)
class Level:
    """A step of dunning: ``days`` after the due day for the first, after the step before for the others.

    ``fee``: micros charged with the letter, once a letter.
    """

    days: int
    fee: int = 0


def next_level(levels: Sequence[Level], reached: int, due: date, reminded: date | None, today: date) -> int | None:
    """The level, from 1 on, that a debt reaches today; ``None`` while it stays at ``reached`` (0: never reminded).

    One level at a time and a day, however long nobody ran the reminders: each letter leaves its days to pay.
    """
    if reached >= len(levels) or reminded == today:
        return None
    since = due if reached == 0 or reminded is None else reminded
    return reached + 1 if (today - since).days >= levels[reached].days else None
