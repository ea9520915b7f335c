"""Prices as SQL: how many units are billed, and what the first so many of them cost, in ``1 / scale`` micros."""

from __future__ import annotations

from dataclasses import dataclass

from charging.rating.per_unit import Increments
from charging.rating.rounding import Mode, Rounding
from charging.tariffs.document import (
    FlatTable,
    PackageTable,
    PercentageTable,
    PerUnitTable,
    Price,
    TieredTable,
)


@dataclass(frozen=True, slots=True)
class ByColumns:
    """A price in a form for columns. ``amounts``: for each band, or for one, what differs between prices of one shape.

    Prices of the same ``shape`` are one expression, over the columns ``a0``, ``a1`` and so on.
    """

    price: Price
    amounts: tuple[int, ...]
    rounding: Rounding

    @property
    def scale(self) -> int:
        """The parts into which a micro is divided in costs."""
        match self.price:
            case FlatTable() | PackageTable():
                return 1
            case PercentageTable():
                return self.price.percent.denominator
            case _:
                return self.price.unit_size

    @property
    def shape(self) -> str:
        """The same for prices that differ in their amounts only."""
        price = self.price
        if isinstance(price, PerUnitTable):
            price = price.model_copy(update={"amount": None, "amounts": None})
        return repr(price)

    @property
    def increments(self) -> Increments | None:
        """As in the tariff."""
        if isinstance(self.price, FlatTable | PercentageTable) or self.price.increments is None:
            return None
        return Increments(self.price.increments.first, self.price.increments.next)

    @property
    def per_session(self) -> bool:
        """Whether units are counted within the use, not over the period."""
        return not hasattr(self.price, "per") or self.price.per == "session"

    def columns(self) -> tuple[int, ...]:
        """The values of ``a0``, ``a1``, ...: amounts, or what the first and a further increment cost, rounded."""
        increments = self.increments
        if self.rounding.place != "increment" or increments is None:
            return self.amounts
        assert isinstance(self.price, PerUnitTable)
        size = self.price.unit_size
        return tuple(
            self.rounding.to_step(amount * units, size) * size
            for amount in self.amounts
            for units in (increments.first, increments.next)
        )

    def billed(self, quantity: str, *, zero: bool = False) -> str:
        """Units billed for a quantity of 1 or more; with ``zero`` of 0 or more."""
        increments = self.increments
        if increments is None:
            return quantity
        first, step = increments.first, increments.next
        units = f"{first} + (greatest({quantity} - {first}, 0) + {step - 1}) // {step} * {step}"
        return f"CASE WHEN {quantity} > 0 THEN {units} ELSE 0 END" if zero else units

    def stretch(self, begin: str, end: str, band: int) -> str:
        """Cost of a use's units from one position to another, where ``end`` is an increment's; price per unit only."""
        increments = self.increments
        if self.rounding.place != "increment" or increments is None:
            return f"a{band} * ({end} - {begin})"
        first = f"CASE WHEN {begin} < {increments.first} THEN a{2 * band} ELSE 0 END"
        further = f"({end} - greatest({begin}, {increments.first})) // {increments.next} * a{2 * band + 1}"
        return f"CASE WHEN {end} > {begin} THEN {first} + {further} ELSE 0 END"

    def total(self, units: str) -> str:
        """Cost of the first ``units`` units."""
        match self.price:
            case PerUnitTable():
                return self.stretch("0", units, 0)
            case FlatTable():
                return f"CASE WHEN {units} > 0 THEN {self.price.amount} ELSE 0 END"
            case PackageTable():
                return f"({units} + {self.price.size - 1}) // {self.price.size} * {self.price.amount}"
            case PercentageTable():
                return f"{units} * {self.price.percent.numerator}"
            case TieredTable():
                return self._tiers(self.price, units)

    @staticmethod
    def _tiers(price: TieredTable, units: str) -> str:
        parts = [f"CASE WHEN {units} <= 0 THEN 0"]
        reached = 0
        for tier in price.tiers:
            offset = tier.fee * price.unit_size
            if price.model == "graduated":
                offset += reached - tier.amount * tier.start
                reached = offset + tier.amount * (tier.end or 0)
            cost = f"{offset} + {tier.amount} * {units}"
            parts.append(f"ELSE {cost} END" if tier.end is None else f"WHEN {units} <= {tier.end} THEN {cost}")
        return " ".join(parts)

    def session(self, exact: str) -> str:
        """The cost with connect fee, minimum and maximum."""
        price, scale = self.price, self.scale
        text = f"({exact} + {price.connect_fee * scale})" if price.connect_fee else exact
        if price.minimum is not None:
            text = f"greatest({text}, {price.minimum * scale})"
        if price.maximum is not None:
            text = f"least({text}, {price.maximum * scale})"
        return text

    def most(self, units: int) -> int:
        """A bound of the cost of ``units`` units, for the choice of the integers' width."""
        price = self.price
        match price:
            case FlatTable():
                cost = price.amount
            case PackageTable():
                cost = price.amount * (units // price.size + 1)
            case PercentageTable():
                cost = units * price.percent.numerator
            case TieredTable():
                fees = sum(tier.fee for tier in price.tiers) * price.unit_size
                cost = max(tier.amount for tier in price.tiers) * units + fees
            case _:
                longest = self.increments.first + self.increments.next if self.increments else 0
                cost = max((*self.columns(), 0)) * (units + longest)
        return cost + (price.connect_fee + (price.minimum or 0)) * self.scale


def rounded(numerator: str, denominator: int, mode: Mode, *, negative: bool) -> str:
    """``numerator / denominator`` as a whole number, as :func:`charging.rating.round_ratio` has it."""
    if denominator == 1:
        return numerator
    if negative:
        whole = rounded(f"abs({numerator})", denominator, mode, negative=False)
        return f"sign({numerator}) * ({whole})"
    match mode:
        case "down":
            return f"{numerator} // {denominator}"
        case "up":
            return f"({numerator} + {denominator - 1}) // {denominator}"
        case "half_up":
            return f"(2 * {numerator} + {denominator}) // {2 * denominator}"
        case "half_even":
            whole, rest = f"{numerator} // {denominator}", f"2 * ({numerator} % {denominator})"
            odd = f"({whole}) % 2 = 1"
            return f"{whole} + CASE WHEN {rest} > {denominator} OR ({rest} = {denominator} AND {odd}) THEN 1 ELSE 0 END"
