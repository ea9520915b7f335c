"""Package price: units are sold in whole packages."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from charging.rating.model import PriceModel, Step, decimal_text


@dataclass(frozen=True, slots=True)
class Package(PriceModel):
    """``amount`` micros for each ``size`` units begun."""

    amount: int
    size: int

    def total(self, units: int) -> int:
        return self.amount * self._packages(units)

    def steps(self, start: int, end: int) -> list[Step]:
        bought = self._packages(end) - self._packages(start)
        if not bought:
            return [Step(f"within the package of {self.size}", end - start, Fraction(0))] if end > start else []
        text = f"{bought} x {decimal_text(self.amount)} per package of {self.size}"
        return [Step(text, end - start, Fraction(self.amount * bought))]

    def _packages(self, units: int) -> int:
        return -(-units // self.size)
