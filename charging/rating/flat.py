"""Flat price: one amount, however much is used."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from charging.rating.model import PriceModel, Step


@dataclass(frozen=True, slots=True)
class Flat(PriceModel):
    """``amount`` micros with the first unit, nothing for those that follow."""

    amount: int

    def total(self, units: int) -> int:
        return self.amount if units else 0

    def steps(self, start: int, end: int) -> list[Step]:
        if start or not end:
            return []
        return [Step("flat price", end, Fraction(self.amount))]
