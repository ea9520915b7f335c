"""Ageing: how long debts have been due, in the buckets that finance knows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import date


@dataclass(slots=True)
class Ageing:
    """Micros by age. ``credits``: what stands to the customers' credit, negative; the sum is the receivable balance."""

    not_due: int = 0
    days_1_30: int = 0
    days_31_60: int = 0
    days_61_90: int = 0
    over_90: int = 0
    credits: int = 0

    @property
    def total(self) -> int:
        """What is owed in all, less what stands to the customers' credit."""
        return sum(getattr(self, each.name) for each in fields(self))

    def add(self, left: int, days_overdue: int) -> None:
        """Put what is left of an item into its bucket."""
        name = "credits" if left < 0 else bucket(days_overdue)
        setattr(self, name, getattr(self, name) + left)


def bucket(days_overdue: int) -> str:
    """The bucket of a debt that has been due for so many days; on its due day it is not overdue yet."""
    if days_overdue <= 0:
        return "not_due"
    if days_overdue <= 30:
        return "days_1_30"
    if days_overdue <= 60:
        return "days_31_60"
    return "days_61_90" if days_overdue <= 90 else "over_90"


def age(items: Iterable[tuple[int, date]], on: date) -> Ageing:
    """The ageing of items, each what is left of it and its due day, as of the end of the day ``on``."""
    ageing = Ageing()
    for left, due in items:
        ageing.add(left, (on - due).days)
    return ageing
