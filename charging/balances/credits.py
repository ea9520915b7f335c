"""Money paid ahead that is valid for a while: which credit is spent first, and what is left of each.

A charge does not say which credit it spends; that follows from the balance when credits are settled, which happens
whenever one is added, expires, or is taken from. Between two settlements the credits are the same, so that what was
spent can be told from the balance alone: it came from the credit that expires first, and of those that expire
together or never from the oldest. A refund between two settlements puts back what was spent.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Credit:
    """``remaining`` micros that can be spent until ``valid_until``, or for good."""

    id: str
    remaining: int
    valid_until: datetime | None
    made_at: datetime


def _spending_order(credit: Credit) -> tuple[bool, datetime, datetime, str]:
    """First what expires first, then the oldest."""
    never = credit.valid_until is None
    return (never, credit.valid_until or credit.made_at, credit.made_at, credit.id)


def settle(credits: Iterable[Credit], balance: int) -> tuple[list[Credit], int]:
    """The credits with what is left of each, and what of ``balance`` none of them accounts for.

    ``balance``: the micros paid ahead that are there now; below zero counts as zero.
    """
    ordered = sorted(credits, key=_spending_order)
    spent = sum(credit.remaining for credit in ordered) - max(0, balance)
    if spent <= 0:
        return ordered, -spent
    settled = []
    for credit in ordered:
        taken = min(spent, credit.remaining)
        spent -= taken
        settled.append(replace(credit, remaining=credit.remaining - taken))
    return settled, 0
