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

from signalling.money import MAX_MICROS, MICROS

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

_ALIASES = {
    "tag": "id", "destinationstag": "destinationid", "destinationtag": "destinationid", "ratesid": "ratestag",
    "rateid": "ratestag", "ratetag": "ratestag", "destinationratestag": "destinationratesid",
    "destinationrateid": "destinationratesid", "timingid": "timingtag", "timingsid": "timingtag",
    "timingstag": "timingtag", "ratingplantag": "ratingplanid", "fallbacksubject": "ratesfallbacksubject",
    "fallbacksubjects": "ratesfallbacksubject", "ratefallbacksubject": "ratesfallbacksubject",
}  # fmt: skip
"""Names of columns in older releases, in small letters."""

_OUT = "*out"
"""The direction that older releases write before the tenant; the only one that they rate."""

_BEGIN = datetime(1970, 1, 2, tzinfo=UTC)
ANY = frozenset({"*any", "*all", ""})
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(h|ms|us|µs|ns|m|s)")
_SECONDS = {
    "h": Fraction(3600), "m": Fraction(60), "s": Fraction(1), "ms": Fraction(1, 10**3), "us": Fraction(1, 10**6),
    "µs": Fraction(1, 10**6), "ns": Fraction(1, 10**9),
}  # fmt: skip
_MOST, _FINEST = MAX_MICROS // MICROS, -30


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
                reader, order = csv.reader(source), None
                for values in reader:
                    if not values or not any(value.strip() for value in values):
                        continue
                    found = None if rows[name] else _header(values, columns, OPTIONAL.get(name, 0))
                    order = found or order
                    if found or values[0].lstrip().startswith("#"):
                        continue
                    stripped = [value.strip() for value in values]
                    if (direction := _direction(stripped, order)) not in (_OUT, ""):
                        reason = f"Direction {direction!r} is not supported; only {_OUT} is rated"
                        faults.append(Unsupported(str(path), reader.line_num, reason))
                        continue
                    arranged = _arranged(name, stripped, columns, order)
                    rows[name] += _row(name, str(path), reader.line_num, arranged, columns, faults)
        except FileNotFoundError:
            if name != "Timings":
                faults.append(Unsupported(str(path), 0, "missing; the set needs it"))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            faults.append(Unsupported(str(path), 0, f"cannot be read as CSV: {error}"))
    return rows, faults


def _header(values: list[str], columns: tuple[str, ...], optional: int) -> dict[str, int] | None:
    """Where each column stands, if this row, a comment or not, names all that are needed; ``None`` if it does not."""
    said = [value.strip().lstrip("#").strip().replace("_", "").lower() for value in values]
    places = {_ALIASES.get(name, name): place for place, name in reversed(list(enumerate(said)))}
    wanted = {column: _ALIASES.get(column.lower(), column.lower()) for column in columns}
    if not all(wanted[column] in places for column in columns[: len(columns) - optional]):
        return None
    found = {column: places[name] for column, name in wanted.items() if name in places}
    if "direction" in places:
        found["Direction"] = places["direction"]
    return found


def _direction(values: list[str], order: dict[str, int] | None) -> str:
    """What a row says of its direction, where the file's header has a column for it."""
    place = (order or {}).get("Direction")
    return "" if place is None or place >= len(values) else values[place]


def _arranged(name: str, values: list[str], columns: tuple[str, ...], order: dict[str, int] | None) -> list[str]:
    """The values in the order of ``columns``, as the file's header says; more or fewer values stay as they are."""
    if order is not None and len(values) > max(order.values()):
        return [values[order[column]] if column in order else "" for column in columns]
    if name == "RatingProfiles" and order is None and values[0] == _OUT:
        return values[1:]
    return values


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
    if value > _MOST or int(value.as_tuple().exponent) < _FINEST:
        raise Faulty(f"{what} {text[:40]!r} is larger, or finer, than an amount of money can be")
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
    if instant.year < _BEGIN.year:
        # How the set writes that a plan always held.
        return _BEGIN
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
