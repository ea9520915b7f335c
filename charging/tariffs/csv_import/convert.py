"""From the whole CSV set to tariff files."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import isfinite, lcm
from pathlib import Path

from charging.rating.timeband import DAYS, clock
from charging.tariffs.csv_import.bands import ALWAYS, Entry, Timing, Week, timing, week
from charging.tariffs.csv_import.prices import Price, build_price, decimal
from charging.tariffs.csv_import.reading import ANY, COLUMNS, Faulty, Row, Unsupported, activation, read_set


@dataclass(frozen=True, slots=True)
class Imported:
    """``files``: the text of each tariff file by tariff id. ``unsupported``: everything that none was made of.

    ``not_used``: what stands in the set without an effect on any tariff.
    """

    files: Mapping[str, str]
    unsupported: Sequence[Unsupported]
    not_used: Sequence[Unsupported]


def convert(folder: Path, *, currency: str, zone: str, tax_category: str) -> Imported:
    """The tariffs of the CSV set in ``folder``; a tariff of which anything is not supported is left out whole."""
    rows, faults = read_set(folder)
    if faults:
        return Imported({}, sorted(faults), ())
    return _Conversion(rows, currency, zone, tax_category).convert(folder)


@dataclass(slots=True)
class _Version:
    starts: datetime
    row: Row
    chosen: Mapping[str, Mapping[str, Entry]]
    hours: Week


@dataclass(slots=True)
class _Conversion:
    rows: Mapping[str, list[Row]]
    currency: str
    zone: str
    tax_category: str
    faults: set[Unsupported] = field(default_factory=set)
    used: set[tuple[str, str]] = field(default_factory=set)
    index: dict[str, dict[str, list[Row]]] = field(default_factory=dict)

    def convert(self, folder: Path) -> Imported:
        files: dict[str, str] = {}
        several_tenants = len({row["Tenant"] for row in self.rows["RatingProfiles"]}) > 1
        for (tenant, category, subject), activations in _grouped(self.rows["RatingProfiles"]).items():
            parts = [category, "any" if subject in ANY else subject]
            tariff_id = re.sub(r"[^A-Za-z0-9_.-]", "-", "-".join([tenant, *parts] if several_tenants else parts))
            text = self._tariff(tariff_id, activations)
            if tariff_id in files or not tariff_id[:1].isalpha():
                why = "is the id of another one too" if tariff_id in files else "does not begin with a letter"
                self._refuse(activations[0], f"the profile would be tariff {tariff_id!r}, which {why}")
            elif text is not None:
                files[tariff_id] = text
        return Imported(files, sorted(self.faults), sorted(self._not_used(folder)))

    def _refuse(self, row: Row, reason: str) -> None:
        self.faults.add(row.refuse(reason))

    def _tariff(self, tariff_id: str, activations: Sequence[Row]) -> str | None:
        versions = [version for row in activations if (version := self._version(row)) is not None]
        starts = {version.starts for version in versions}
        if len(starts) < len(versions):
            self._refuse(activations[-1], "another activation of the profile begins at the same time")
            return None
        if len(versions) < len(activations):
            return None
        texts = [self._text(version) for version in sorted(versions, key=lambda version: version.starts)]
        whole = [text for text in texts if text is not None]
        return "\n".join([f"id = {json.dumps(tariff_id)}\n", *whole]) if len(whole) == len(texts) else None

    def _version(self, row: Row) -> _Version | None:
        try:
            starts = activation(row["ActivationTime"])
        except Faulty as fault:
            self._refuse(row, str(fault))
            return None
        if row["RatesFallbackSubject"]:
            self._refuse(row, f"RatesFallbackSubject {row['RatesFallbackSubject']!r} is not supported")
            return None
        destinations = self._entries(row)
        if destinations is None:
            return None
        found = week(destinations)
        if isinstance(found, list):
            self.faults.update(found)
            return None
        return _Version(starts, row, found.chosen, found)

    def _entries(self, profile: Row) -> dict[str, list[Entry]] | None:
        """The entries of a rating plan by destination."""
        plan = profile["RatingPlanId"]
        rows = self._named("RatingPlans", "Id", plan)
        if not rows:
            self._refuse(profile, f"RatingPlanId {plan!r} is not in RatingPlans.csv")
            return None
        entries: dict[str, list[Entry]] = {}
        complete = True
        for row in rows:
            found = self._plan_entries(row)
            if found is None:
                complete = False
                continue
            for name, entry in found:
                entries.setdefault(name, []).append(entry)
        return entries if complete else None

    def _plan_entries(self, row: Row) -> list[tuple[str, Entry]] | None:
        held = self._timing(row)
        try:
            weight = float(row["Weight"] or "0")
            if not isfinite(weight):
                raise ValueError
        except ValueError:
            self._refuse(row, f"Weight {row['Weight']!r} is not a number")
            return None
        attached = self._named("DestinationRates", "Id", row["DestinationRatesId"])
        if not attached:
            self._refuse(row, f"DestinationRatesId {row['DestinationRatesId']!r} is not in DestinationRates.csv")
        if held is None or not attached:
            return None
        entries: list[tuple[str, Entry]] = []
        complete = True
        for each in attached:
            price = self._price(each)
            name = each["DestinationId"]
            if name != "*any" and not self._named("Destinations", "Id", name):
                self._refuse(each, f"DestinationId {name!r} is not in Destinations.csv")
                complete = False
            elif price is None:
                complete = False
            else:
                entries.append((name, Entry(price, held, weight, row)))
        return entries if complete else None

    def _timing(self, row: Row) -> Timing | None:
        name = row["TimingTag"]
        if name in ANY:
            return ALWAYS
        rows = self._named("Timings", "Tag", name)
        if len(rows) != 1:
            there = "stands twice" if rows else "is not"
            self._refuse(row, f"TimingTag {name!r} {there} in Timings.csv")
            return None
        try:
            return timing(rows[0])
        except Faulty as fault:
            self._refuse(rows[0], str(fault))
            return None

    def _price(self, row: Row) -> Price | None:
        rates = self._named("Rates", "Id", row["RatesTag"])
        if not rates:
            self._refuse(row, f"RatesTag {row['RatesTag']!r} is not in Rates.csv")
            return None
        price = build_price(row, rates)
        if isinstance(price, list):
            self.faults.update(price)
            return None
        return price

    def _named(self, file: str, column: str, name: str) -> list[Row]:
        self.used.add((file, name))
        if file not in self.index:
            named: dict[str, list[Row]] = {}
            for row in self.rows[file]:
                named.setdefault(row[column], []).append(row)
            self.index[file] = named
        return self.index[file].get(name, [])

    def _text(self, version: _Version) -> str | None:
        """The version as it stands in a tariff file."""
        prices = {name: list(by_band.values()) for name, by_band in version.chosen.items()}
        entries = [entry for of_name in prices.values() for entry in of_name]
        first = entries[0].price
        for entry in entries:
            if entry.price.counts != first.counts:
                self._refuse(entry.price.row, f"counts in {entry.price.counts}s, others of the plan in {first.counts}s")
                return None
            if entry.price.rounding != first.rounding:
                self._refuse(entry.price.row, "rounds otherwise than others of the plan; a version has one rounding")
                return None
        banded = len(version.hours.hours) > 1
        tables = {name: self._price_text(by_band, banded) for name, by_band in version.chosen.items()}
        if any(text is None for text in tables.values()):
            return None
        destinations = self._destinations(version, tables)
        if destinations is None:
            return None
        lines = [
            "[[version]]",
            f"effective_from = {version.starts:%Y-%m-%dT%H:%M:%SZ}",
            f"currency = {json.dumps(self.currency)}",
            f"tax_category = {json.dumps(self.tax_category)}",
            f"unit = {json.dumps(first.counts)}",
            f"zone = {json.dumps(self.zone)}",
            f'rounding = {{ mode = "{first.rounding.mode}", place = "record", to = {first.rounding.step} }}',
            "",
        ]
        if "*any" in tables:
            lines += ["[version.price]", str(tables["*any"])]
        return "\n".join([*lines, *destinations, *(_bands(version.hours) if banded else ())])

    def _destinations(self, version: _Version, tables: Mapping[str, str | None]) -> list[str] | None:
        lines: list[str] = []
        taken: dict[str, Row] = {}
        for name, text in tables.items():
            if name == "*any":
                continue
            prefixes = []
            for row in self._named("Destinations", "Id", name):
                prefix = row["Prefix"].removeprefix("+")
                if not prefix.isascii() or not prefix.isdigit():
                    self._refuse(row, f"Prefix {row['Prefix']!r} is not supported; only digits are")
                    return None
                if prefix in taken:
                    self._refuse(row, f"Prefix {row['Prefix']!r} stands in line {taken[prefix].line} too")
                    return None
                taken[prefix] = row
                prefixes.append(prefix)
            lines += ["[[version.destination]]", f"name = {json.dumps(name)}", f"prefixes = {json.dumps(prefixes)}"]
            lines += ["[version.destination.price]", str(text)]
        return lines

    def _price_text(self, by_band: Mapping[str, Entry], banded: bool) -> str | None:
        entries = list(by_band.values())
        size = lcm(*(entry.price.unit_size for entry in entries))
        first = entries[0].price
        lines: list[str] = []
        for entry in entries[1:]:
            if entry.price.terms != first.terms:
                reason = "RateIncrement, ConnectFee or MaxCost differs by time of day, which is not supported"
                self._refuse(entry.row, reason)
                return None
        if banded:
            for entry in entries:
                if len(entry.price.amounts) > 1:
                    self._refuse(entry.row, "a rate that changes within a call and by time of day is not supported")
                    return None
            amounts = {band: entry.price.scaled(size).amounts[0][1] for band, entry in by_band.items()}
            pairs = ", ".join(f'{json.dumps(band)} = "{decimal(micros)}"' for band, micros in amounts.items())
            lines += ['model = "per_unit"', f"amounts = {{ {pairs} }}"]
        elif len(first.amounts) == 1:
            lines += ['model = "per_unit"', f'amount = "{decimal(first.amounts[0][1])}"']
        else:
            lines += ['model = "graduated"', 'per = "session"', *_tiers(first)]
        lines.append(f"unit_size = {size}")
        if first.increments != (1, 1):
            lines.append(f"increments = {{ first = {first.increments[0]}, next = {first.increments[1]} }}")
        if first.connect_fee:
            lines.append(f'connect_fee = "{decimal(first.connect_fee)}"')
        if first.maximum is not None:
            lines.append(f'maximum = "{decimal(first.maximum)}"')
        return "\n".join([*lines, ""])

    def _not_used(self, folder: Path) -> list[Unsupported]:
        notes = [
            Unsupported(str(path), 0, "is not imported; it does not say what use costs")
            for path in sorted(folder.glob("*.csv"))
            if path.stem not in COLUMNS
        ]
        for file, rows in self.rows.items():
            if file == "RatingProfiles":
                continue
            for row in rows:
                name = next(iter(row.values.values()))
                if (file, name) not in self.used:
                    notes.append(row.refuse(f"{name} is used by no rating profile"))
        return notes


def _grouped(rows: Sequence[Row]) -> dict[tuple[str, str, str], list[Row]]:
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["Tenant"], row["Category"], row["Subject"]), []).append(row)
    return groups


def _tiers(price: Price) -> list[str]:
    ends = [str(start) for start, _ in price.amounts[1:]]
    tiers = [
        f'    {{ from = {start}, to = {end}, amount = "{decimal(micros)}" }},'
        for (start, micros), end in zip(price.amounts, ends, strict=False)
    ]
    start, micros = price.amounts[-1]
    return ["tiers = [", *tiers, f'    {{ from = {start}, amount = "{decimal(micros)}" }},', "]"]


def _bands(found: Week) -> list[str]:
    lines: list[str] = []
    for band, by_day in found.hours.items():
        alike: dict[tuple[tuple[int, int], ...], list[int]] = {}
        for day, hours in by_day.items():
            alike.setdefault(tuple(hours), []).append(day)
        for times, days in alike.items():
            lines += [
                "[[version.band]]",
                f"name = {json.dumps(band)}",
                f"days = {json.dumps([DAYS[day] for day in days])}",
                f"hours = {json.dumps([f'{clock(start)}-{clock(end)}' for start, end in times])}",
                "",
            ]
    return lines
