"""What a period costs."""

from __future__ import annotations

from charging.subscriptions.calendar import Span
from signalling.money import minor_unit


def period_price(amount: int, period: Span, currency: str) -> int:
    """Micros net of a period whose whole costs ``amount``: its share of days, to what can be paid, halves up."""
    if period.days == period.whole:
        return amount
    unit = minor_unit(currency) * period.whole
    return (amount * period.days * 2 + unit) // (2 * unit) * minor_unit(currency)
