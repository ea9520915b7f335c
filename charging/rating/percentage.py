"""Percentage: a share of an amount of money that is itself the quantity."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from charging.rating.model import PriceModel, Step, decimal_text


@dataclass(frozen=True, slots=True)
class Percentage(PriceModel):
    """``share`` of the quantity, which is counted in micros of the tariff's currency.

    A piece costs the difference of the shares of the amounts after and before it, so amounts that are added up
    within a session cost what their sum costs.
    """

    share: Fraction

    @property
    def scale(self) -> int:
        return self.share.denominator

    def total(self, units: int) -> int:
        return units * self.share.numerator

    def steps(self, start: int, end: int) -> list[Step]:
        if start == end:
            return []
        percent = decimal_text(self.share * 100 * 1_000_000)
        text = f"{percent} % of {decimal_text(end - start)}"
        return [Step(text, end - start, (end - start) * self.share)]
