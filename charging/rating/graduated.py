"""Graduated tiers: each unit costs what its own tier says."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from fractions import Fraction

from charging.rating.model import Step
from charging.rating.tiers import Tier, Tiered


class Graduated(Tiered):
    """The first 100 at one price, the next 900 at another: the price of a unit never changes afterwards."""

    __slots__ = ("_lines",)

    def __init__(self, tiers: Sequence[Tier], unit_size: int = 1) -> None:
        super().__init__(tiers, unit_size)
        lines: list[tuple[int, int]] = []
        reached = 0
        for tier in self.tiers:
            # Within a tier the total is a straight line: offset + amount x units.
            offset = reached + tier.fee * unit_size - tier.amount * tier.start
            lines.append((offset, tier.amount))
            if tier.end is not None:
                reached = offset + tier.amount * tier.end
        self._lines = lines

    def total(self, units: int) -> int:
        if not units:
            return 0
        offset, amount = self._lines[bisect_left(self._bounds, units)]
        return offset + amount * units

    def steps(self, start: int, end: int) -> list[Step]:
        steps = []
        for tier in self.tiers:
            low, high = max(start, tier.start), end if tier.end is None else min(end, tier.end)
            if low >= high:
                continue
            if tier.fee and start <= tier.start:
                steps.append(Step(f"{tier}: fee", 0, Fraction(tier.fee)))
            cost = Fraction(tier.amount * (high - low), self.scale)
            steps.append(Step(f"{tier}: {high - low} x {self.price_text(tier)}", high - low, cost))
        return steps
