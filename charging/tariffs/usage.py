"""What the rest of the house asks of a tariff version: what a usage costs, and how far a budget goes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from charging.rating import Rated, RatingError, RatingState, Step
from charging.rating.modifiers import Commitment
from charging.rating.rate import MAX_TIMED_SECONDS
from charging.tariffs.version import TariffVersion
from signalling.money import MAX_MICROS

MAX_UNITS = 2**63 - 1
"""The largest number of units that is looked at; stands for "without limit"."""


def rate_usage(
    version: TariffVersion,
    quantity: int,
    state: RatingState,
    *,
    at: datetime | None = None,
    destination: str | None = None,
    steps: list[Step] | None = None,
) -> Rated:
    """What ``quantity`` further units cost, and the state in which the next ones are rated.

    ``at`` is the aware instant of the usage's beginning, needed where the version is ``timed``. Appends to
    ``steps``, if given, how the cost comes about. Raises :class:`RatingError` for what the tariff cannot rate.
    """
    rated = version.rate_for(destination).rate(quantity, state, at, steps)
    if abs(rated.cost_micros) > MAX_MICROS:
        raise RatingError(f"{quantity} units cost more than a ledger amount can be")
    return rated


def units_affordable(
    version: TariffVersion,
    state: RatingState,
    budget_micros: int,
    *,
    at: datetime | None = None,
    destination: str | None = None,
    limit: int = MAX_UNITS,
) -> int:
    """The largest number of further units, at most ``limit``, of which any part costs at most the budget.

    0 for a negative budget. Exact: that many are within the budget, one more is not (or ``limit`` is reached, as
    with units that cost nothing). "Any part" matters for volume tiers, whose total falls where a cheaper tier
    begins. Where time bands split a session, no more than the rest of 366 days are looked at.
    """
    rate = version.rate_for(destination)
    if version.timed and version.unit == "second":
        limit = min(limit, MAX_TIMED_SECONDS - state.quantity)

    def within(units: int) -> bool:
        return rate.rate(units, state, at, highest=True).cost_micros <= budget_micros

    if limit <= 0 or budget_micros < 0:
        return 0
    low, high = 0, 1
    while high < limit and within(high):
        low, high = high, high * 2
    if high >= limit:
        if within(limit):
            return limit
        high = limit
    while high - low > 1:
        middle = (low + high) // 2
        if within(middle):
            low = middle
        else:
            high = middle
    return low


def charged_in_period(version: TariffVersion, state: RatingState) -> int:
    """Micros charged in the period so far, after amount off and spending cap."""
    due = state.due
    for modifier in version.period_modifiers:
        due = modifier.apply(due)
    return due


def period_shortfall(version: TariffVersion, charged_micros: int, share: Callable[[int], int] | None = None) -> int:
    """Micros that the version's commitment still asks for when a period closes in which so much was charged.

    ``share``: what is asked of an amount, where the period closes early.
    """
    if version.commitment is None:
        return 0
    asked = version.commitment if share is None else Commitment(share(version.commitment.amount))
    return asked.missing(charged_micros)
