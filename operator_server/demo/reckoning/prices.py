"""Prices and tariffs as the operator's TOML files write them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from operator_server.demo.reckoning import ReckoningError
from signalling.clock import from_micros
from signalling.money import decimal_micros, minor_unit
from terminal_sim import journal as lines

_PERCENT = 100


@dataclass(frozen=True)
class Tariff:
    """A version of a per-use tariff, as its file writes it. Amounts are micros."""

    tax_category: str
    included: int
    tiers: tuple[tuple[int, int | None, Fraction], ...]
    place: str
    mode: str
    step: int
    cap: int | None

    def cost(self, units: int) -> int:
        """Micros that ``units`` of one month cost together."""
        chargeable = max(0, units - self.included)
        exact = sum(
            (price * (min(chargeable, chargeable if end is None else end) - start))
            for start, end, price in self.tiers
            if chargeable > start
        )
        due = rounded(Fraction(exact), 1 if self.place == "line" else self.step, self.mode)
        return due if self.cap is None else min(due, self.cap)


@dataclass
class Prices:
    """The operator's files as far as money is concerned."""

    zone: ZoneInfo
    rates: Mapping[str, int]
    modes: Mapping[tuple[str, str], Mapping[str, Any]]
    tariffs: Mapping[str, Mapping[str, Any]]
    _read: dict[tuple[str, date], Tariff] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> Prices:
        """Read ``operator.toml``, ``offers`` and ``tariffs``."""
        operator = tomllib.loads((folder / "operator.toml").read_text())["operator"]
        offers = [
            offer
            for path in sorted((folder / "offers").glob("*.toml"))
            for offer in tomllib.loads(path.read_text())["offer"]
        ]
        tariffs = [tomllib.loads(path.read_text()) for path in sorted((folder / "tariffs").glob("*.toml"))]
        return cls(
            ZoneInfo(operator["time_zone"]),
            {category: int(Decimal(rate) * _PERCENT) for category, rate in operator["tax_rates"].items()},
            {(offer["id"], mode["id"]): mode for offer in offers for mode in offer["mode"]},
            {tariff["id"]: tariff for tariff in tariffs},
        )

    def mode(self, confirmed: lines.Confirmed) -> Mapping[str, Any]:
        """The mode that was agreed, as the catalogue writes it. Raises :class:`ReckoningError`."""
        try:
            return self.modes[confirmed.offer, confirmed.terms.mode]
        except KeyError:
            raise ReckoningError(f"offer {confirmed.offer}: mode {confirmed.terms.mode} is in no file") from None

    def tariff(self, confirmed: lines.Confirmed) -> Tariff:
        """The tariff version that held when an agreement was made. Raises :class:`ReckoningError`."""
        name = self.mode(confirmed)["tariff"]
        day = from_micros(confirmed.at).astimezone(self.zone).date()
        if (name, day) not in self._read:
            versions = [each for each in self.tariffs[name]["version"] if each["effective_from"] <= day]
            if not versions:
                raise ReckoningError(f"tariff {name}: no version holds on {day}")
            self._read[name, day] = _tariff(name, max(versions, key=lambda each: each["effective_from"]))
        return self._read[name, day]

    def month(self, instant: int) -> str:
        """The month of an instant, in the operator's zone."""
        return from_micros(instant).astimezone(self.zone).strftime("%Y-%m")


_KNOWN_KEYS = {
    "effective_from", "currency", "tax_category", "unit", "zone", "rounding", "included", "included_per", "grant_units",
    "spending_cap", "price",
}  # fmt: skip


def _tariff(name: str, version: Mapping[str, Any]) -> Tariff:
    price = version["price"]
    unknown = sorted(set(version) - _KNOWN_KEYS) + sorted(set(price) - {"model", "amount", "unit_size", "tiers"})
    if unknown or version.get("included_per", "month") != "month":
        raise ReckoningError(
            f"tariff {name}: {', '.join(unknown) or 'included_per'}: the calculator does not know this"
        )
    size = price.get("unit_size", 1)
    tiers: tuple[tuple[int, int | None, Fraction], ...]
    if price["model"] == "per_unit":
        tiers = ((0, None, Fraction(decimal_micros(price["amount"]), size)),)
    elif price["model"] == "graduated":
        tiers = tuple(
            (tier["from"], tier.get("to"), Fraction(decimal_micros(tier["amount"]), size)) for tier in price["tiers"]
        )
    else:
        raise ReckoningError(f"tariff {name}: model {price['model']}: the calculator does not know this")
    rounding = version["rounding"]
    step = minor_unit(version["currency"]) if rounding["to"] == "minor" else rounding["to"]
    cap = version.get("spending_cap")
    return Tariff(
        version["tax_category"],
        version.get("included", 0),
        tiers,
        rounding["place"],
        rounding["mode"],
        step,
        None if cap is None else decimal_micros(cap),
    )


def rounded(exact: Fraction, step: int, mode: str = "half_up") -> int:
    """To whole ``step`` micros. Raises :class:`ReckoningError`: only the mode that the files use is known."""
    if mode != "half_up":
        raise ReckoningError(f"rounding {mode}: the calculator does not know this")
    whole = (abs(exact) / step + Fraction(1, 2)).__floor__() * step
    return -whole if exact < 0 else whole
