"""Rounding of exact costs to whole micros, as a tariff names it: mode, place and step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Mode = Literal["half_up", "half_even", "up", "down"]
Place = Literal["increment", "record", "line"]
MODES: tuple[Mode, ...] = get_args(Mode)


def round_ratio(numerator: int, denominator: int, mode: Mode) -> int:
    """``numerator / denominator`` as a whole number; ``denominator`` is positive.

    The modes mean what they mean in :mod:`decimal`: ``up`` is away from zero, ``down`` towards it, and a credit is
    rounded like the charge it mirrors.
    """
    if numerator < 0:
        return -round_ratio(-numerator, denominator, mode)
    whole, rest = divmod(numerator, denominator)
    if not rest or mode == "down":
        return whole
    if mode == "up":
        return whole + 1
    twice = 2 * rest
    if twice > denominator or (twice == denominator and (mode == "half_up" or whole & 1)):
        return whole + 1
    return whole


@dataclass(frozen=True, slots=True)
class Rounding:
    """Where and how a tariff rounds. ``step`` is in micros: 10_000 rounds to the cent.

    ``increment``: the price of each increment, then the record (a discount may have made a fraction again);
    ``record``: the cost of each session; ``line``: the sum on the invoice, while records keep whole micros and carry
    the fraction along.
    """

    mode: Mode
    place: Place
    step: int

    def due(self, exact: int, scale: int) -> int:
        """Micros due for ``exact / scale`` micros of a record (of the line so far, where rounding is by line)."""
        if self.place == "line":
            return round_ratio(exact, scale, self.mode)
        return self.to_step(exact, scale)

    def to_step(self, exact: int, scale: int) -> int:
        """``exact / scale`` micros, rounded to the step."""
        return round_ratio(exact, scale * self.step, self.mode) * self.step

    def line(self, micros: int) -> int:
        """What an invoice line says for records that sum to ``micros``."""
        return self.to_step(micros, 1) if self.place == "line" else micros
