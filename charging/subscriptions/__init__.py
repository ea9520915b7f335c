"""Agreements that run in periods: when each begins and ends, what it costs, and when a cancellation takes effect."""

from charging.subscriptions.calendar import UNITS, Plan, Span, Unit, day_of, midnight, plan_of, span
from charging.subscriptions.ending import Ending, cancelled, minimum_until
from charging.subscriptions.price import period_price

__all__ = [
    "UNITS",
    "Ending",
    "Plan",
    "Span",
    "Unit",
    "cancelled",
    "day_of",
    "midnight",
    "minimum_until",
    "period_price",
    "plan_of",
    "span",
]
