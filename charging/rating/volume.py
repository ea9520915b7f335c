"""Volume tiers: all units cost what the tier says that the last one reached."""

from __future__ import annotations

from fractions import Fraction

from charging.rating.model import Step
from charging.rating.tiers import Tiered


class Volume(Tiered):
    """Once 100 units are passed, every unit costs the second tier's price, those before too.

    The total may fall where a tier begins. A piece costs the difference of the totals after and before it, so the
    piece that reaches a cheaper tier carries the credit for the units before.
    """

    __slots__ = ()

    def total(self, units: int) -> int:
        if not units:
            return 0
        tier = self.tiers[self.index(units)]
        return tier.amount * units + tier.fee * self._size

    def highest(self, start: int, end: int) -> int:
        # Totals rise within a tier, so the highest is where a tier ends or where the stretch does.
        ends = [bound for bound in self._bounds if start <= bound < end]
        return max(self.total(units) for units in (*ends, end))

    def steps(self, start: int, end: int) -> list[Step]:
        if start == end:
            return []
        before, after = self.index(start), self.index(end)
        steps = []
        if start and before != after:
            credit = Fraction(self.total(start), self.scale)
            steps.append(Step(f"{self.tiers[before]} left: {start} units credited", 0, -credit))
        first = start if start and before == after else 0
        tier = self.tiers[after]
        if tier.fee and not first:
            steps.append(Step(f"{tier}: fee", 0, Fraction(tier.fee)))
        cost = Fraction(tier.amount * (end - first), self.scale)
        steps.append(Step(f"{tier}: {end - first} x {self.price_text(tier)}", end - start, cost))
        return steps
