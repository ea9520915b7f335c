"""Which tax a charge bears: by the operator's category, the customer's country and status, and the day of supply.

In this order, for services that are supplied where the customer is (Directive 2006/112/EC, articles 44 and 58):

1. A customer who is exempt (``E``) or is known to owe the tax himself (``AE``) bears none.
2. In the operator's own country the table's rate of that day holds, and where the table has none the charge's own.
3. A customer with a VAT id of another EU country owes the tax himself there: ``AE``, reverse charge (article 196).
4. Another country that is in the table has its own rate: the operator is registered there, or in the one-stop shop.
5. An EU country that is not in the table is taxed as the operator's own (below the threshold of article 59c).
6. Any other country bears none: the table's ``outside_eu``, category ``G``.

A price of a category that is ``inclusive`` contains its tax: where there is none to pay, the customer pays less.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec

from charging.invoices.model import TAX_CATEGORIES
from signalling.money import MoneyError, decimal_micros

EU = frozenset(
    {
        "AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU",
        "IE", "IT", "LT", "LU", "LV", "MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK",
    }
)  # fmt: skip
"""Members of the EU, ISO 3166."""

_VAT_PREFIX = {"GR": "EL"}
_PERCENT = 10_000
_MOST = 100


class TaxError(ValueError):
    """A tax table that cannot be used; the text names file, key and reason."""


class Tax(NamedTuple):
    """``category`` of EN 16931, ``rate_bp`` in basis points, and the ``country`` whose tax it is: the customer's, or
    the operator's below the threshold.
    """

    category: str
    rate_bp: int
    country: str


class Taxpayer(NamedTuple):
    """A customer as far as tax goes. ``status``: empty, ``exempt``, or ``reverse_charge``."""

    country: str
    vat_id: str = ""
    status: str = ""


class _From(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"since": "from"}):
    percent: str
    since: date


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    rates: dict[Annotated[str, msgspec.Meta(pattern="^[A-Z]{2}$")], dict[str, list[_From]]] = {}
    inclusive: frozenset[str] = frozenset()
    outside_eu: str = "G"


class TaxTable:
    """Rates by country and category, each from a day on. An empty one leaves each charge the rate it was agreed at."""

    def __init__(
        self,
        rates: Mapping[tuple[str, str], list[tuple[date, int]]] | None = None,
        inclusive: frozenset[str] = frozenset(),
        outside_eu: str = "G",
    ) -> None:
        self._rates = {key: sorted(steps) for key, steps in (rates or {}).items()}
        self._days = {day for steps in self._rates.values() for day, _ in steps}
        self.inclusive = inclusive
        self._outside_eu = outside_eu

    @property
    def categories(self) -> frozenset[str]:
        """The categories that have a rate anywhere."""
        return frozenset(category for _, category in self._rates)

    def rate(self, country: str, category: str, day: date) -> int | None:
        """Basis points of a category in a country on a day; ``None`` where the table has none."""
        steps = self._rates.get((country, category), [])
        at = bisect_right(steps, (day, _PERCENT * _MOST))
        return steps[at - 1][1] if at else None

    def steady(self, first: date, last: date) -> bool:
        """Whether no rate begins after ``first`` and not after ``last``."""
        return not any(first < day <= last for day in self._days)

    def tax(
        self, category: str, own_rate: int, day: date, customer: Taxpayer, operator: str, *, operator_has_vat_id: bool
    ) -> Tax:
        """The tax of something of the operator's ``category``, whose own rate is ``own_rate`` basis points.

        ``operator``: the operator's country; without a VAT id of its own it has no reverse charge (BR-AE-02).
        """
        country = customer.country
        if customer.status == "exempt":
            return Tax("E", 0, country)
        if customer.status == "reverse_charge":
            return Tax("AE", 0, country)
        domestic = self.rate(operator, category, day)
        if domestic is None:
            domestic = own_rate
        if country == operator:
            return _taxed(category, domestic, country)
        if operator_has_vat_id and operator in EU and _abroad_in_eu(customer):
            return Tax("AE", 0, country)
        there = self.rate(country, category, day)
        if there is not None:
            return _taxed(category, there, country)
        if country in EU and operator in EU:
            return _taxed(category, domestic, operator)
        return Tax(self._outside_eu, 0, country)


def load_taxes(path: Path) -> TaxTable:
    """The table of a TOML file; an empty one where there is no file. Raises :class:`TaxError`."""
    raw: dict[str, Any] = {}
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        document = msgspec.convert(raw, type=_Document)
    except FileNotFoundError:
        return TaxTable()
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise TaxError(f"{path}: not TOML: {error}") from None
    except msgspec.ValidationError as error:
        raise TaxError(f"{path}: {_fault(raw) or error}") from None
    rates: dict[tuple[str, str], list[tuple[date, int]]] = {}
    for country, categories in document.rates.items():
        for category, steps in categories.items():
            where = f"{path}: rates.{country}.{category}"
            days = [step.since for step in steps]
            if len(set(days)) < len(days):
                raise TaxError(f"{where}: two rates begin on the same day")
            rates[country, category] = [(step.since, _basis_points(step.percent, where)) for step in steps]
    if document.outside_eu not in TAX_CATEGORIES or document.outside_eu == "S":
        raise TaxError(f"{path}: outside_eu: {document.outside_eu!r} is no category without tax, such as G or O")
    return TaxTable(rates, document.inclusive, document.outside_eu)


def _fault(raw: Mapping[str, Any]) -> str:
    """Key, value and reason of the first part of a table that has another form; empty where all have theirs."""
    rates = raw.get("rates", {})
    if not isinstance(rates, dict):
        return f"rates = {rates!r}: write a table for each country, such as [rates.DE]"
    for country, categories in rates.items():
        if not re.fullmatch("[A-Z]{2}", country):
            return f"rates.{country}: a country is two capital letters (ISO 3166)"
        if not isinstance(categories, dict) or not all(isinstance(steps, list) for steps in categories.values()):
            return f"rates.{country} = {categories!r}: each category has a list of rates, [{{ percent, from }}]"
        for category, steps in categories.items():
            for place, step in enumerate(steps):
                fault = _fault_of_step(step)
                if fault:
                    return f"rates.{country}.{category}[{place}]{fault}"
    for key in ("inclusive", "outside_eu"):
        try:
            msgspec.convert({key: raw[key]} if key in raw else {}, type=_Document)
        except msgspec.ValidationError as error:
            return f"{key} = {raw[key]!r}: {error}"
    return ""


def _fault_of_step(step: Any) -> str:
    if not isinstance(step, dict):
        return f" = {step!r}: a rate is written {{ percent, from }}"
    if isinstance(step.get("percent"), int | float):
        return f'.percent = {step["percent"]}: a percentage is written as a string, such as "19"'
    try:
        msgspec.convert(step, type=_From)
    except msgspec.ValidationError as error:
        return f": {', '.join(f'{key} = {value}' for key, value in step.items())}: {error}"
    return ""


def _basis_points(percent: str, where: str) -> int:
    try:
        micros = decimal_micros(percent)
    except MoneyError as error:
        raise TaxError(f"{where}: percent: {error}") from None
    if not 0 <= micros <= decimal_micros(_MOST) or micros % _PERCENT:
        raise TaxError(f"{where}: {percent!r} is not a percentage from 0 to {_MOST} with at most two decimals")
    return micros // _PERCENT


def _taxed(category: str, rate: int, country: str) -> Tax:
    """The operator's category as EN 16931 knows it: whatever has a rate is S, reduced rates too (UNCL5305)."""
    if rate:
        return Tax("S", rate, country)
    return Tax(category if category in TAX_CATEGORIES and category != "S" else "Z", 0, country)


def _abroad_in_eu(customer: Taxpayer) -> bool:
    prefix = _VAT_PREFIX.get(customer.country, customer.country)
    return customer.country in EU and customer.vat_id.replace(" ", "").upper().startswith(prefix)
