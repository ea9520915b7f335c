"""The CSV files as they stand: rows with their places, and what a single value says."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from pathlib import Path

from signalling.money import MICROS

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "Destinations": ("Id", "Prefix"),
    "Rates": ("Id", "ConnectFee", "Rate", "RateUnit", "RateIncrement", "GroupIntervalStart"),
    "DestinationRates": (
        "Id", "DestinationId", "RatesTag", "RoundingMethod", "RoundingDecimals", "MaxCost", "MaxCostStrategy",
    ),
    "Timings": ("Tag", "Years", "Months", "MonthDays", "WeekDays", "Time"),
    "RatingPlans": ("Id", "DestinationRatesId", "TimingTag", "Weight"),
    "RatingProfiles": ("Tenant", "Category", "Subject", "ActivationTime", "RatingPlanId", "RatesFallbackSubject"),
}  # fmt: skip
OPTIONAL = {"DestinationRates": 2, "RatingProfiles": 1}
"""Columns at the end that may be missing."""

ANY = frozenset({"*any", "*all", ""})
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(h|ms|m|s)")
_SECONDS = {"h": Fraction(3600), "m": Fraction(60), "s": Fraction(1), "ms": Fraction(1, 1000)}


class Faulty(ValueError):
    """A value that is not understood or not supported; the text says which and why."""


@dataclass(frozen=True, slots=True, order=True)
class Unsupported:
    """What cannot be imported, and where; ``line`` 0 is the whole file."""

    file: str
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.file}: line {self.line}: {self.reason}" if self.line else f"{self.file}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Row:
    """A row's values by column."""

    file: str
    line: int
    values: Mapping[str, str]

    def __getitem__(self, column: str) -> str:
        return self.values[column]

    def refuse(self, reason: str) -> Unsupported:
        """This row, with the reason."""
        return Unsupported(self.file, self.line, reason)


def read_set(folder: Path) -> tuple[dict[str, list[Row]], list[Unsupported]]:
    """The rows of each file of the set, and what is wrong with the files themselves."""
    rows: dict[str, list[Row]] = {}
    faults: list[Unsupported] = []
    for name, columns in COLUMNS.items():
        path = folder / f"{name}.csv"
        rows[name] = []
        try:
            with path.open(newline="", encoding="utf-8-sig") as source:
                reader = csv.reader(source)
                for values in reader:
                    if not values or values[0].startswith("#") or not any(value.strip() for value in values):
                        continue
                    rows[name] += _row(name, str(path), reader.line_num, [v.strip() for v in values], columns, faults)
        except FileNotFoundError:
            if name != "Timings":
                faults.append(Unsupported(str(path), 0, "missing; the set needs it"))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            faults.append(Unsupported(str(path), 0, f"cannot be read as CSV: {error}"))
    return rows, faults


def _row(
    name: str, path: str, line: int, values: list[str], columns: tuple[str, ...], faults: list[Unsupported]
) -> list[Row]:
    least = len(columns) - OPTIONAL.get(name, 0)
    if len(values) < least or any(values[len(columns) :]):
        faults.append(Unsupported(path, line, f"has {len(values)} columns; expected are {', '.join(columns)}"))
        return []
    padded = values[: len(columns)] + [""] * (len(columns) - len(values))
    return [Row(path, line, dict(zip(columns, padded, strict=True)))]


def amount(text: str, what: str) -> Fraction:
    """Micros of a decimal number, exact. Raises :class:`Faulty`."""
    try:
        value = Decimal(text or "0")
    except InvalidOperation:
        raise Faulty(f"{what} {text!r} is not a decimal number") from None
    if not value.is_finite() or value < 0:
        raise Faulty(f"{what} {text!r} is not an amount of money, 0 or more")
    return Fraction(value) * MICROS


def length(text: str, what: str) -> tuple[int, str]:
    """A duration in seconds, or a plain number of units; with ``second`` or ``use``. Raises :class:`Faulty`."""
    if re.fullmatch(r"[0-9]+", text):
        return int(text), "use"
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise Faulty(f"{what} {text!r} is neither a duration such as 60s nor a whole number")
    seconds = sum(Fraction(number) * _SECONDS[unit] for number, unit in parts)
    if seconds != int(seconds):
        raise Faulty(f"{what} {text!r}: parts of a second are not supported")
    return int(seconds), "second"


def time_of_day(text: str) -> int:
    """The minute of the day. Raises :class:`Faulty`."""
    match = re.fullmatch(r"([01][0-9]|2[0-3]):([0-5][0-9]):([0-5][0-9])", text)
    if match is None:
        raise Faulty(f"Time {text!r} is not supported; only a time such as 08:00:00 is")
    if match[3] != "00":
        raise Faulty(f"Time {text!r}: bands begin at full minutes")
    return int(match[1]) * 60 + int(match[2])


def weekdays(text: str) -> tuple[int, ...]:
    """Days of the week, Monday is 0. Raises :class:`Faulty`."""
    if text in ANY:
        return tuple(range(7))
    days = text.split(";")
    if not all(day in {"1", "2", "3", "4", "5", "6", "7"} for day in days):
        raise Faulty(f"WeekDays {text!r} is not supported; days are 1 to 7, separated by ';'")
    return tuple(sorted({int(day) - 1 for day in days}))


def activation(text: str) -> datetime:
    """An aware instant. Raises :class:`Faulty`."""
    if re.fullmatch(r"[0-9]{9,10}", text):
        return datetime.fromtimestamp(int(text), UTC)
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise Faulty(f"ActivationTime {text!r} is not supported; only a time such as 2014-01-14T00:00:00Z is") from None
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
