"""What a bill comes to beside its charges: a promised least spend, and a least amount that is worth a bill."""

from __future__ import annotations

from datetime import datetime, tzinfo

from charging.billing.proration import prorated
from charging.periods import Period


def true_up(
    promised: int, spent: int, cycle: Period, begins: datetime, ends: datetime | None, zone: tzinfo | None = None
) -> int:
    """Micros that are missing to the spend that was promised for a cycle, never below zero.

    A commitment that holds for a part of the cycle only promises that part of the amount (local days of ``zone``).
    """
    due = prorated(promised, cycle, begins, ends or cycle.end, zone)
    return max(0, due - spent)


def carried_forward(payable: int, least: int, *, final: bool) -> bool:
    """Whether a bill of ``payable`` micros is left to the next one, being below ``least``; a final bill never is."""
    return not final and abs(payable) < least
