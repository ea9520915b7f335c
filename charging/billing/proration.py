"""Proration: what a part of a period costs, such that parts that make up the period cost exactly its price.

A part costs the price up to its end minus the price up to its begin, each rounded once. So parts that follow one
another sum to the price of the stretch they make up, wherever the cuts lie, and no micro is lost or added.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, tzinfo
from itertools import pairwise
from typing import NamedTuple

from charging.periods import Period
from signalling.clock import to_micros


class Part(NamedTuple):
    """A stretch of a period at one price: ``price`` micros for the whole period, ``amount`` micros for this part."""

    start: datetime
    end: datetime
    price: int
    amount: int


def prorated(price: int, whole: Period, start: datetime, end: datetime, zone: tzinfo | None = None) -> int:
    """Micros for ``start`` (inclusive) to ``end`` (exclusive) of ``whole``, which costs ``price`` micros.

    With ``zone`` local days are counted, a day belonging to whoever has it at its begin, so that a day on which the
    clocks change is a day; without, time. What lies outside the period costs nothing.
    """
    return _until(price, whole, end, zone) - _until(price, whole, max(start, whole.start), zone) if end > start else 0


def parts(whole: Period, changes: Sequence[tuple[datetime, int]], zone: tzinfo | None = None) -> list[Part]:
    """The parts of a period in which a price holds each, in order.

    ``changes``: instant and the price (micros for a whole period) that holds from it on, ascending; the last one at or
    before the period's begin holds at the begin. Before the first change nothing is due. A change back to zero ends it.
    """
    if any(later[0] < earlier[0] for earlier, later in pairwise(changes)):
        raise ValueError("changes of a price are to be in the order of their instants")
    found = []
    for at, (begins, price) in enumerate(changes):
        start = max(begins, whole.start)
        end = min(changes[at + 1][0], whole.end) if at + 1 < len(changes) else whole.end
        if start < end:
            found.append(Part(start, end, price, prorated(price, whole, start, end, zone)))
    return found


def _until(price: int, whole: Period, instant: datetime, zone: tzinfo | None) -> int:
    """The price from the period's begin to ``instant``, rounded half away from zero."""
    within = min(max(instant, whole.start), whole.end)
    passed, all_of_it = _length(whole.start, within, zone), _length(whole.start, whole.end, zone)
    rounded = (2 * abs(price) * passed + all_of_it) // (2 * all_of_it)
    return -rounded if price < 0 else rounded


def _length(start: datetime, end: datetime, zone: tzinfo | None) -> int:
    if zone is None:
        return to_micros(end) - to_micros(start)
    return (end.astimezone(zone).date() - start.astimezone(zone).date()).days
