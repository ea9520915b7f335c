"""From the rows of a rate to a price as a tariff here has it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from math import lcm

from charging.tariffs.csv_import.reading import Faulty, Row, Unsupported, amount, length

_ROUNDING = {"*up": "up", "*down": "down", "*middle": "half_up"}
_MOST_UNITS = 10**12


@dataclass(frozen=True, slots=True)
class Slot:
    """From ``start`` units of a session on, ``rate`` micros for each ``unit`` units, in steps of ``increment``."""

    start: int
    rate: Fraction
    unit: int
    increment: int
    fee: Fraction
    row: Row


@dataclass(frozen=True, slots=True)
class Rounding:
    """``step`` in micros."""

    mode: str
    step: int


@dataclass(frozen=True, slots=True)
class Price:
    """``amounts``: from which unit of a session on, which micros for each ``unit_size``; from 0, ascending."""

    amounts: tuple[tuple[int, int], ...]
    unit_size: int
    increments: tuple[int, int]
    connect_fee: int
    maximum: int | None
    counts: str
    rounding: Rounding
    row: Row = field(compare=False)

    def scaled(self, unit_size: int) -> Price:
        """The same price for another unit size, a multiple of this one's."""
        factor = unit_size // self.unit_size
        return Price(
            tuple((start, micros * factor) for start, micros in self.amounts), unit_size, self.increments,
            self.connect_fee, self.maximum, self.counts, self.rounding, self.row,
        )  # fmt: skip

    @property
    def terms(self) -> tuple[object, ...]:
        """What cannot differ between the times of a day."""
        return self.increments, self.connect_fee, self.maximum


def build_price(attached: Row, rates: Sequence[Row]) -> Price | list[Unsupported]:
    """The price of a row of DestinationRates and the rows of its rate, or what is not supported in them."""
    faults: list[Unsupported] = []
    slots: list[Slot] = []
    counts: set[str] = set()
    for row in rates:
        try:
            slot, unit = _slot(row)
        except Faulty as fault:
            faults.append(row.refuse(str(fault)))
        else:
            slots.append(slot)
            counts.add(unit)
    try:
        rounding, maximum = _rounding(attached), _maximum(attached)
    except Faulty as fault:
        faults.append(attached.refuse(str(fault)))
        return faults
    if faults:
        return faults
    slots.sort(key=lambda slot: slot.start)
    if len(counts) > 1:
        return [rates[0].refuse("the rate mixes durations and plain numbers")]
    try:
        increments = _increments(slots)
        fee = whole(slots[0].fee, "ConnectFee")
        for slot in slots[1:]:
            if slot.fee not in (0, slots[0].fee):
                raise Faulty(f"ConnectFee {slot.row['ConnectFee']} differs from that of the group's first row")
        size, amounts = _amounts(slots)
    except Faulty as fault:
        return [slots[-1].row.refuse(str(fault))]
    return Price(amounts, size, increments, fee, maximum, counts.pop(), rounding, attached)


def whole(micros: Fraction, what: str) -> int:
    """The amount as whole micros. Raises :class:`Faulty`."""
    if micros.denominator != 1:
        raise Faulty(f"{what} has more than six decimals")
    return micros.numerator


def decimal(micros: int) -> str:
    """Major units, as a tariff file has them."""
    return format(Decimal(micros).scaleb(-6).normalize(), "f")


def _slot(row: Row) -> tuple[Slot, str]:
    unit, counts = length(row["RateUnit"], "RateUnit")
    increment, by = length(row["RateIncrement"], "RateIncrement")
    start, _ = length(row["GroupIntervalStart"] or "0", "GroupIntervalStart")
    if not unit or not increment:
        raise Faulty("RateUnit and RateIncrement are 1 or more")
    if by != counts:
        raise Faulty(f"RateUnit {row['RateUnit']!r} and RateIncrement {row['RateIncrement']!r} count different things")
    rate, fee = amount(row["Rate"], "Rate"), amount(row["ConnectFee"], "ConnectFee")
    return Slot(start, rate, unit, increment, fee, row), counts


def _rounding(row: Row) -> Rounding:
    method, decimals = row["RoundingMethod"], row["RoundingDecimals"]
    if method not in _ROUNDING:
        raise Faulty(f"RoundingMethod {method!r} is not supported; {', '.join(_ROUNDING)} are")
    if not decimals.isascii() or not decimals.isdigit() or int(decimals) > 6:
        raise Faulty(f"RoundingDecimals {decimals!r} is not supported; 0 to 6 are")
    return Rounding(_ROUNDING[method], 10 ** (6 - int(decimals)))


def _maximum(row: Row) -> int | None:
    most = whole(amount(row["MaxCost"], "MaxCost"), "MaxCost")
    if not most:
        return None
    if row["MaxCostStrategy"] != "*free":
        raise Faulty(f"MaxCostStrategy {row['MaxCostStrategy']!r} is not supported; only *free is")
    return most


def _increments(slots: Sequence[Slot]) -> tuple[int, int]:
    """First and further increment. Raises :class:`Faulty` where the slots need more than these two."""
    first, rest = slots[0], slots[1:]
    if first.start:
        raise Faulty("the rate has no row whose GroupIntervalStart is 0")
    if len({slot.start for slot in slots}) < len(slots):
        raise Faulty("two rows of the rate have the same GroupIntervalStart")
    steps = {slot.increment for slot in rest} or {first.increment}
    if len(steps) > 1:
        raise Faulty("RateIncrement differs between the second row of the rate and a later one")
    step = steps.pop()
    begin = rest[0].start if rest else 0
    if first.increment != step and first.increment != begin:
        raise Faulty("a first RateIncrement other than the further ones must reach up to the second row's start")
    lead = first.increment if first.increment == begin else step
    if any((slot.start - lead) % step for slot in rest):
        raise Faulty("GroupIntervalStart does not lie where an increment ends")
    return lead, step


def _amounts(slots: Sequence[Slot]) -> tuple[int, tuple[tuple[int, int], ...]]:
    """A unit size in which all rates are whole micros, and from which unit on which of them holds."""
    size = lcm(*(slot.unit for slot in slots))
    size *= lcm(*((slot.rate * size / slot.unit).denominator for slot in slots))
    if size > _MOST_UNITS:
        raise Faulty("the rate has too many decimals for its RateUnit")
    amounts: list[tuple[int, int]] = []
    for slot in slots:
        micros = int(slot.rate * size / slot.unit)
        if not amounts or amounts[-1][1] != micros:
            amounts.append((slot.start, micros))
    return size, tuple(amounts)
