"""Included units: the first units of a period cost nothing, in front of any price model."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Included:
    """``units`` units of each period are included."""

    units: int

    def chargeable(self, used: int) -> int:
        """How many of the ``used`` units of the period reach the price."""
        return used - self.units if used > self.units else 0
