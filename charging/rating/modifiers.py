"""Modifiers: steps that stand behind any price model.

Session terms and the discount work on the exact cost of a session, before rounding; the amount off and the spending
cap on the sum of the period, after it. Each is a function of a running sum, so pieces still add up to the whole.
The commitment is due when the period closes, and is no part of any usage's cost.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol


@dataclass(frozen=True, slots=True)
class SessionTerms:
    """Connect fee, minimum and maximum cost of a session in micros; once a session, and only if a unit of it
    reaches the price: a session of included units costs nothing.
    """

    connect_fee: int = 0
    minimum: int | None = None
    maximum: int | None = None

    def apply(self, exact: int, scale: int) -> int:
        """The session's cost with its terms, for ``exact`` and the result in ``1 / scale`` micros."""
        exact += self.connect_fee * scale
        if self.minimum is not None and exact < self.minimum * scale:
            exact = self.minimum * scale
        if self.maximum is not None and exact > self.maximum * scale:
            exact = self.maximum * scale
        return exact


@dataclass(frozen=True, slots=True)
class Discount:
    """``share`` of the cost is taken off, between 0 and 1."""

    share: Fraction

    @property
    def kept(self) -> Fraction:
        """What is left to pay of each micro."""
        return 1 - self.share


class PeriodModifier(Protocol):
    """A step on the sum that is due in a period."""

    def apply(self, due: int) -> int:
        """What is charged of ``due`` micros; never falls when ``due`` rises."""

    @property
    def text(self) -> str:
        """Its name in an explanation."""


@dataclass(frozen=True, slots=True)
class AmountOff:
    """The first ``amount`` micros of a period are taken off."""

    amount: int
    text: str = "amount off"

    def apply(self, due: int) -> int:
        return max(0, due - self.amount)


@dataclass(frozen=True, slots=True)
class SpendingCap:
    """No more than ``amount`` micros are charged in a period; what is used beyond costs nothing."""

    amount: int
    text: str = "spending cap"

    def apply(self, due: int) -> int:
        return due if due < self.amount else self.amount


@dataclass(frozen=True, slots=True)
class Commitment:
    """At least ``amount`` micros are paid for a period."""

    amount: int

    def missing(self, charged: int) -> int:
        """What fills up ``charged`` micros when the period closes."""
        return max(0, self.amount - charged)
