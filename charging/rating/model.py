"""What every price model promises, and what a rating carries from piece to piece.

A model is a *cumulative* function: :meth:`PriceModel.total` is the cost of the first ``units`` units. A piece that
leads from ``a`` units to ``b`` costs ``total(b) - total(a)``, so pieces rated one after another always add up to
the whole, for models too whose price of a unit depends on how many there are (volume tiers): there the piece that
reaches a cheaper tier is credited for the units before it and may cost less than nothing.

Costs inside a model are exact: whole numbers of ``1 / scale`` micros, where ``scale`` is fixed for the model.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from fractions import Fraction

import msgspec

from signalling.money import MICROS


class RatingError(ValueError):
    """A usage that this tariff cannot rate; the text says which value and why."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of how a cost came about. ``cost`` is in micros and exact; the steps of a rating sum to its cost."""

    text: str
    quantity: int
    cost: Fraction


def decimal_text(micros: int | Fraction) -> str:
    """``0.006`` for 6000 micros, for the texts of steps; a fraction of a micro is cut at nine decimals."""
    digits, exact = divmod(abs(Fraction(micros)) * 1000, 1)
    whole, rest = divmod(int(digits), MICROS * 1000)
    text = f"{whole}.{rest:09d}".rstrip("0").removesuffix(".") + ("..." if exact else "")
    return f"-{text}" if micros < 0 else text


class RatingState(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """What must be known of the earlier pieces to rate the next one; belongs to one tariff version.

    A session is what increments, connect fee, minimum, maximum and rounding by record apply to once: a call, or one
    counter report. A period is what included units, tiers, packages and the spending cap count over, through all
    sessions and destinations of it.

    ``msgspec.to_builtins`` makes a small dict of it, ``msgspec.convert(..., RatingState)`` reads one. The empty
    state is the beginning of a period and of a session.
    """

    quantity: int = 0
    """Units of the session as measured."""
    units: int = 0
    """Units of the session that reached the price, after increments and included units."""
    exact: int = 0
    """Cost of ``units`` at the price, in ``1 / scale`` micros of the price model."""
    carried: int = 0
    """Exact cost of the invoice line before this session; only where rounding is by line."""
    total: int = 0
    """Exact cost of the invoice line so far; only where rounding is by line."""
    cost: int = 0
    """Micros due so far for the session, or for the line where rounding is by line."""
    used: int = 0
    """Units billed in the period, included ones too."""
    due: int = 0
    """Micros due in the period before the spending cap."""

    def next_session(self) -> RatingState:
        """The state in which another session of the same period begins."""
        if self.total:
            return RatingState(carried=self.total, total=self.total, cost=self.cost, used=self.used, due=self.due)
        return RatingState(used=self.used, due=self.due)

    def resumed(self, session: RatingState) -> RatingState:
        """The state in which ``session`` goes on after others of its period, the last of which left this state."""
        if not self.total and not session.total:
            return RatingState(
                quantity=session.quantity, units=session.units, exact=session.exact, cost=session.cost, used=self.used,
                due=self.due,
            )  # fmt: skip
        # Rounding is by line: the line has by now what the others added to it.
        return RatingState(
            quantity=session.quantity, units=session.units, exact=session.exact,
            carried=self.total - (session.total - session.carried), total=self.total, cost=self.cost, used=self.used,
            due=self.due,
        )  # fmt: skip

    def next_period(self) -> RatingState:
        """The state in which the running session goes on in a new period: included units and tiers start again."""
        if self.total:
            return RatingState(
                quantity=self.quantity, units=self.units, exact=self.exact, carried=self.carried - self.total
            )
        return RatingState(quantity=self.quantity, units=self.units, exact=self.exact, cost=self.cost)

    def next_version(self) -> RatingState:
        """The state in which a session of the same period begins under another version of the tariff."""
        return RatingState(used=self.used, due=self.due)


class Rated(msgspec.Struct, frozen=True):
    """What a piece costs in micros, and the state in which the next piece is rated.

    The cost is negative only where volume tiers make earlier units cheaper.
    """

    cost_micros: int
    state: RatingState


class PriceModel(ABC):
    """A price as a function of how many units there are. Pure, immutable, without rounding."""

    __slots__ = ()

    @property
    def scale(self) -> int:
        """The parts into which a micro is divided in the costs of this model."""
        return 1

    @abstractmethod
    def total(self, units: int) -> int:
        """Cost of the first ``units`` units (not negative), in ``1 / scale`` micros."""

    @abstractmethod
    def steps(self, start: int, end: int) -> list[Step]:
        """How the cost of the units after ``start`` up to ``end`` comes about."""

    def highest(self, start: int, end: int) -> int:
        """The largest ``total(n)`` for ``start <= n <= end``; other than ``total(end)`` only if totals can fall."""
        return self.total(end)
