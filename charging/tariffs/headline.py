"""The price of a tariff version in one figure, as a menu shows it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from charging.tariffs.version import TariffVersion
from signalling.money import decimal_micros


@dataclass(frozen=True, slots=True)
class Headline:
    """``amount`` micros for each ``size`` units: the dearest price that the version can ask for them.

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
    fees = any(price.get(key) for key in ("connect_fee", "minimum", "maximum", "increments"))
    match price["model"]:
        case "graduated" | "volume":
            amounts = [decimal_micros(tier["amount"]) for tier in price["tiers"]]
        case "percentage":
            return Headline(decimal_micros(str(price["percent"]).rstrip("%")), 100, False)
        case _:
            amounts = [decimal_micros(price["amount"])] if "amount" in price else []
            amounts += [decimal_micros(amount) for amount in (price.get("amounts") or {}).values()]
    return Headline(max(amounts), size, len(amounts) == 1 and not fees and price["model"] == "per_unit")
