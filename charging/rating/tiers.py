"""Tiered prices: the table of tiers, which graduated and volume pricing read differently."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from charging.rating.model import PriceModel, decimal_text


@dataclass(frozen=True, slots=True)
class Tier:
    """The units after ``start`` up to and including ``end`` (``None``: all that follow).

    ``amount`` is in micros for each ``unit_size`` units of the table; ``fee`` in micros, once the tier is reached.
    """

    start: int
    end: int | None
    amount: int
    fee: int = 0

    def __str__(self) -> str:
        return f"tier {self.start}-{'' if self.end is None else self.end}"


class Tiered(PriceModel):
    """A table of tiers without gap or overlap, the first from 0, the last open; else ``ValueError``."""

    __slots__ = ("_bounds", "_size", "tiers")

    def __init__(self, tiers: Sequence[Tier], unit_size: int = 1) -> None:
        end: int | None = 0
        for tier in tiers:
            if tier.start != end or (tier.end is not None and tier.end <= tier.start):
                raise ValueError(f"{tier} does not follow a tier that ends at {end}")
            end = tier.end
        if end is not None:
            raise ValueError("the last tier must be open")
        self.tiers = tuple(tiers)
        self._size = unit_size
        self._bounds = [tier.end for tier in tiers if tier.end is not None]

    @property
    def scale(self) -> int:
        return self._size

    def index(self, units: int) -> int:
        """The tier to which unit number ``units`` belongs."""
        return bisect_left(self._bounds, units)

    def price_text(self, tier: Tier) -> str:
        """The price of a tier, for the steps of an explanation."""
        return decimal_text(tier.amount) + (f" per {self._size}" if self._size > 1 else "")
