"""Price per unit, and the increments in which a session is counted."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from charging.rating.model import PriceModel, Step, decimal_text
from charging.rating.rounding import Rounding


@dataclass(frozen=True, slots=True)
class Increments:
    """Units are counted in a first increment and further ones: 30/6 counts 32 s as 36, 60/1 counts 32 s as 60."""

    first: int
    next: int

    def __str__(self) -> str:
        return f"{self.first}/{self.next}"

    def billed(self, quantity: int) -> int:
        """The units counted for ``quantity`` measured ones since the session began."""
        if quantity <= 0:
            return 0
        if quantity <= self.first:
            return self.first
        return self.first - (self.first - quantity) // self.next * self.next


@dataclass(frozen=True, slots=True)
class PerUnit(PriceModel):
    """``amount`` micros for each ``unit_size`` units, in proportion."""

    amount: int
    unit_size: int = 1

    @property
    def scale(self) -> int:
        return self.unit_size

    def total(self, units: int) -> int:
        return self.amount * units

    def steps(self, start: int, end: int) -> list[Step]:
        units = end - start
        if not units:
            return []
        price = decimal_text(self.amount) + (f" per {self.unit_size}" if self.unit_size > 1 else "")
        return [Step(f"{units} x {price}", units, Fraction(self.amount * units, self.unit_size))]

    def by_increment(self, start: int, end: int, increments: Increments, rounding: Rounding) -> int:
        """Cost of the billed units from position ``start`` to ``end`` of a session, each increment rounded.

        ``end`` is where an increment ends; ``start`` may lie within one whose beginning was included.
        """
        cost = 0
        if start < increments.first:
            cost += self._rounded(increments.first - start, rounding)
            start = increments.first
        if start >= end:
            return cost
        head = (increments.first - start) % increments.next
        if head:
            cost += self._rounded(head, rounding)
        return cost + (end - start - head) // increments.next * self._rounded(increments.next, rounding)

    def _rounded(self, units: int, rounding: Rounding) -> int:
        return rounding.to_step(self.amount * units, self.unit_size) * self.unit_size
