"""The price of a tariff version in one figure, as a menu shows it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Any

from charging.rating.per_unit import Increments
from charging.tariffs.version import TariffVersion
from signalling.money import MICROS, decimal_micros

_SESSION_TERMS = ("connect_fee", "minimum", "maximum", "increments")


@dataclass(frozen=True, slots=True)
class Headline:
    """``amount`` micros for ``size`` units: the most that the version can ask for them when they are used at once.

    ``exact``: whether every unit beyond the included ones costs just that.
    """

    amount: int
    size: int
    exact: bool


def headline(version: TariffVersion) -> Headline:
    """The headline of a version's default price; of its destinations' where it has none."""
    raw = json.loads(version.content)
    prices = [raw["price"]] if raw.get("price") else [entry["price"] for entry in raw.get("destination", [])]
    found = [_of_price(price) for price in prices]
    dearest = max(found, key=lambda each: Fraction(each.amount, each.size))
    plain = len(found) == 1 and not any(raw.get(key) for key in ("discount", "discount_amount", "spending_cap"))
    return Headline(dearest.amount, dearest.size, dearest.exact and plain)


def _of_price(price: dict[str, Any]) -> Headline:
    size = int(price.get("size", price.get("unit_size", 1)))
    match price["model"]:
        case "graduated" | "volume":
            amounts = [_micros(tier, "amount") + _micros(tier, "fee") for tier in price["tiers"]]
        case "percentage":
            # The units are micros of the amount: so much of each whole one.
            size, amounts = MICROS, [ceil(Fraction(_micros(price, "percent"), 100))]
        case _:
            amounts = [decimal_micros(amount) for amount in (price.get("amounts") or {"": price["amount"]}).values()]
    dearest = max(amounts)
    if increments := price.get("increments"):
        dearest = ceil(Fraction(dearest * Increments(**increments).billed(size), size))
    dearest = max(dearest + _micros(price, "connect_fee"), _micros(price, "minimum"))
    if "maximum" in price:
        dearest = min(dearest, _micros(price, "maximum"))
    plain = price["model"] == "per_unit" and len(amounts) == 1
    return Headline(dearest, size, plain and not any(key in price for key in _SESSION_TERMS))


def _micros(table: dict[str, Any], key: str) -> int:
    return decimal_micros(table.get(key, "0"))
