"""From timings and weights to time bands: which rate holds in which part of the week."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from charging.rating.timeband import DAY_MINUTES, DAYS, clock
from charging.tariffs.csv_import.prices import Price
from charging.tariffs.csv_import.reading import ANY, Faulty, Row, Unsupported, time_of_day, weekdays


@dataclass(frozen=True, slots=True)
class Timing:
    """On ``days`` (Monday is 0) from minute ``start`` to the end of the day, unless another begins."""

    name: str
    days: tuple[int, ...]
    start: int


ALWAYS = Timing("always", tuple(range(7)), 0)


@dataclass(frozen=True, slots=True)
class Entry:
    """A price of a destination, when it holds, and the weight with which it is preferred."""

    price: Price
    timing: Timing
    weight: float
    row: Row


@dataclass(frozen=True, slots=True)
class Week:
    """Bands by name with their hours by day (minutes), and of each destination the entry by band."""

    hours: Mapping[str, Mapping[int, list[tuple[int, int]]]]
    chosen: Mapping[str, Mapping[str, Entry]]


def timing(row: Row) -> Timing:
    """The timing of a row. Raises :class:`Faulty` for what recurs otherwise than by the week."""
    for column in ("Years", "Months", "MonthDays"):
        if row[column] not in ANY:
            raise Faulty(f"{column} {row[column]!r} is not supported; only *any is")
    return Timing(row["Tag"], weekdays(row["WeekDays"]), time_of_day(row["Time"]))


def week(destinations: Mapping[str, Sequence[Entry]]) -> Week | list[Unsupported]:
    """The bands in which no destination's price changes; the highest weight holds, then what began last."""
    faults: list[Unsupported] = []
    starts = sorted({0} | {entry.timing.start for entries in destinations.values() for entry in entries})
    segments = list(zip(starts, [*starts[1:], DAY_MINUTES], strict=True))
    bands: dict[tuple[int, ...], list[tuple[int, int, int]]] = {}
    for day in range(7):
        for start, end in segments:
            choice = []
            for name, entries in destinations.items():
                found = _best(name, entries, day, start)
                if isinstance(found, Unsupported):
                    faults.append(found)
                else:
                    choice.append(found)
            bands.setdefault(tuple(choice), []).append((day, start, end))
    if faults:
        return list(dict.fromkeys(faults))
    hours: dict[str, dict[int, list[tuple[int, int]]]] = {}
    chosen: dict[str, dict[str, Entry]] = {name: {} for name in destinations}
    for picked, parts in bands.items():
        entries = [destinations[name][index] for name, index in zip(destinations, picked, strict=True)]
        band = _name({entry.timing.name for entry in entries}, hours)
        of_band = hours.setdefault(band, {})
        for day, start, end in parts:
            before = of_band.setdefault(day, [])
            if before and before[-1][1] == start:
                before[-1] = (before[-1][0], end)
            else:
                before.append((start, end))
        for name, entry in zip(destinations, entries, strict=True):
            chosen[name][band] = entry
    return Week(hours, chosen)


def _best(name: str, entries: Sequence[Entry], day: int, start: int) -> int | Unsupported:
    holding = [
        (entry.weight, entry.timing.start, index)
        for index, entry in enumerate(entries)
        if day in entry.timing.days and entry.timing.start <= start
    ]
    if not holding:
        return entries[0].row.refuse(f"destination {name} has no rate on {DAYS[day]} at {clock(start)}")
    weight, began, index = max(holding)
    for other in holding:
        if other[:2] == (weight, began) and entries[other[2]].price != entries[index].price:
            line = entries[other[2]].row.line
            return entries[index].row.refuse(f"destination {name}: line {line} holds at the same time, weight alike")
    return index


def _name(timings: set[str], taken: Mapping[str, object]) -> str:
    """A name for a band that the tariff file takes, after the timings that hold in it."""
    joined = "_".join(sorted(timings - {ALWAYS.name} or timings))
    text = "".join(letter if letter.isascii() and (letter.isalnum() or letter in "_.-") else "-" for letter in joined)
    stem = text if text[:1].isalpha() else f"band-{text}"
    name, number = stem, 2
    while name in taken:
        name, number = f"{stem}-{number}", number + 1
    return name
