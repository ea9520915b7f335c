"""A tariff version as people read it: what is charged, in sentences and tables, with the amounts as written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from charging.tariffs.version import TariffVersion

_PLURALS = {"call", "day", "event", "game", "hour", "message", "minute", "page", "request", "second", "session", "use"}


@dataclass(frozen=True, slots=True)
class PriceTable:
    """Rows of text under columns."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Description:
    """``price``: the price model in sentences; ``facts``: what else holds, by name; ``tables``: tiers, bands."""

    price: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    tables: tuple[PriceTable, ...]


def describe(version: TariffVersion) -> Description:
    """What a version charges, complete: nothing of its content is left out."""
    raw = json.loads(version.content)
    price = raw.get("price")
    words = _Words(raw["currency"], raw["unit"])
    lines = tuple(words.price(price)) if price else ("Only the destinations below have a price.",)
    return Description(lines, tuple(_facts(raw, words)), tuple(_tables(raw, words)))


@dataclass(frozen=True, slots=True)
class _Words:
    currency: str
    unit: str

    def money(self, amount: str) -> str:
        return f"{amount} {self.currency}"

    def units(self, count: int) -> str:
        plural = "s" if count != 1 and self.unit in _PLURALS else ""
        return f"{_number(count)} {self.unit}{plural}"

    def per(self, size: int) -> str:
        return self.unit if size == 1 else self.units(size)

    def price(self, price: dict[str, Any]) -> Iterator[str]:
        """A price model, a sentence each."""
        scope = "in each period" if price.get("per", "session") == "period" else "for each use"
        size = int(price.get("unit_size", 1))
        match price["model"]:
            case "flat":
                yield f"{self.money(price['amount'])} {scope}, however much is used."
            case "per_unit" if price.get("amounts"):
                bands = ", ".join(f"{self.money(a)} in band {name}" for name, a in price["amounts"].items())
                yield f"For each {self.per(size)}: {bands}."
            case "per_unit":
                yield f"{self.money(price['amount'])} for each {self.per(size)}."
            case "graduated":
                yield f"Each unit costs what its own tier says, counted {_counted(price)}; tiers are in the table."
            case "volume":
                yield f"All units cost what the tier of the whole quantity says, counted {_counted(price)}."
            case "package":
                begun = f"{self.units(price['size'])} begun, counted {_counted(price)}"
                yield f"{self.money(price['amount'])} for each {begun}."
            case _:
                yield f"{price['percent']} % of the amount."
        if step := price.get("increments"):
            first, following = self.units(step["first"]), self.units(step["next"])
            yield f"Charged in steps: the first {first} whole, then each further {following}."
        if price.get("connect_fee"):
            yield f"{self.money(price['connect_fee'])} for the begin of each use."
        if price.get("minimum"):
            yield f"At least {self.money(price['minimum'])} for each use."
        if price.get("maximum"):
            yield f"At most {self.money(price['maximum'])} for each use."


def _counted(price: dict[str, Any]) -> str:
    return "over each use" if price.get("per", "period") == "session" else "over the period"


def _facts(raw: dict[str, Any], words: _Words) -> Iterator[tuple[str, str]]:
    per = "month" if raw.get("included_per", "month") == "month" else "agreement"
    yield "Unit", raw["unit"]
    yield "Counted over", f"the {per}" if per == "month" else "the life of the agreement"
    if raw.get("included"):
        yield "Included", f"{words.units(raw['included'])} per {per}, before anything costs"
    if raw.get("discount"):
        yield "Discount", f"{raw['discount']} % of what use costs"
    if raw.get("discount_amount"):
        yield "Discount", f"{words.money(raw['discount_amount'])} per {per}"
    if raw.get("spending_cap"):
        yield "Spending cap", f"use costs at most {words.money(raw['spending_cap'])} per {per}"
    if raw.get("commitment"):
        yield "Commitment", f"at least {words.money(raw['commitment'])} per {per} in which it is used"
    if raw.get("grant_units"):
        yield "Granted ahead", f"{words.units(raw['grant_units'])} at a time, for use off line"
    rounding = raw["rounding"]
    step = f"the smallest amount of {raw['currency']}" if rounding["to"] == "minor" else f"{rounding['to']} micros"
    mode = rounding["mode"].replace("_", " ")
    yield "Rounding", f"{mode}, to {step}, " + ("each use" if rounding["place"] == "record" else "each invoice line")
    yield "Tax category", raw["tax_category"]
    yield "Time zone", raw["zone"]
    if raw.get("holidays"):
        yield "Holidays", ", ".join(str(day) for day in raw["holidays"])


def _tables(raw: dict[str, Any], words: _Words) -> Iterator[PriceTable]:
    if raw.get("price") and raw["price"].get("tiers"):
        yield _tiers("Tiers", raw["price"], words)
    if bands := raw.get("band"):
        rows = tuple((band["name"], ", ".join(band["days"]), ", ".join(band["hours"])) for band in bands)
        yield PriceTable("Time bands", ("Band", "Days", "Hours"), rows)
    if destinations := raw.get("destination"):
        rows = tuple(
            (entry["name"], ", ".join(entry["prefixes"]), " ".join(words.price(entry["price"])))
            for entry in destinations
        )
        yield PriceTable("Destinations", ("Destination", "Numbers that begin with", "Price"), rows)
        for entry in destinations:
            if entry["price"].get("tiers"):
                yield _tiers(f"Tiers to {entry['name']}", entry["price"], words)


def _tiers(title: str, price: dict[str, Any], words: _Words) -> PriceTable:
    size = int(price.get("unit_size", 1))
    rows = tuple(
        (_range(tier["from"], tier.get("to")), words.money(tier["amount"]), words.money(tier.get("fee", "0")))
        for tier in price["tiers"]
    )
    return PriceTable(title, (f"Quantity ({words.unit})", f"Each {words.per(size)}", "Once in the tier"), rows)


def _range(start: int, end: int | None) -> str:
    return f"{_number(start)} to {_number(end)}" if end else f"beyond {_number(start)}"


def _number(value: int) -> str:
    return f"{value:,}".replace(",", "\u202f")
