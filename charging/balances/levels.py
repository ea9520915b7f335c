"""Thresholds: from what was asked for to the level below which they are crossed, and the bounds within which none is.

A threshold is crossed when what is left falls below its level. It is told once, and again only after what is left has
risen to the level in between.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

Sense = Literal["below", "above"]

LEAST, MOST = -(2**63), 2**63 - 1

PERCENT = 100
"""Parts of a percent in which percentages are kept."""


def level_of(sense: Sense, value: int, full: int, *, percent: bool) -> int:
    """What is left where the threshold lies. ``value`` in units or micros, or in hundredths of a percent of ``full``.

    ``below`` is a threshold of what is left, ``above`` one of what is used of ``full``.
    """
    amount = full * value // (100 * PERCENT) if percent else value
    return amount if sense == "below" else full - amount


def bounds(levels: Iterable[tuple[int, bool]]) -> tuple[int | None, int | None]:
    """The lowest that may be left and what must not be reached, from each threshold's level and whether it is crossed.

    ``(None, None)`` where there is no threshold.
    """
    both = list(levels)
    if not both:
        return None, None
    low = max((level for level, crossed in both if not crossed), default=LEAST)
    high = min((level for level, crossed in both if crossed), default=MOST)
    return low, high
