"""The tax of a debt that will not be paid: whether and from when it may be corrected, and how much of it.

Tax that was invoiced is owed to the tax office whether the customer pays or not, until the law lets the operator take
it back; if the customer pays after all, it is owed again (Directive 2006/112/EC, articles 90 and 185). How that is done
differs by the country whose tax it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

from charging.invoices.totals import round_to_unit

Method = Literal["keep", "posting", "document"]
"""``keep``: the tax stays owed. ``posting``: it is corrected; ``document``: that, with a notice to the customer."""


@dataclass(frozen=True, slots=True)
class Rule:
    """How a country has it: the method, and how many days after the due day at the earliest; 0: with the write-off."""

    method: Method
    days: int = 0


KEEP = Rule("keep")

COUNTRY_RULES: Mapping[str, Rule] = {
    "AT": Rule("posting"),  # § 16 (3) UStG 1994
    "DE": Rule("posting"),  # § 17 (2) no. 1 UStG
    "ES": Rule("document", 365),  # art. 80 (4) LIVA
    "FR": Rule("document"),  # art. 272 (1) CGI
    "GB": Rule("posting", 184),  # s. 36 VATA 1994
    "IT": Rule("document"),  # art. 26 DPR 633/1972
    "NL": Rule("posting"),  # art. 29 Wet OB 1968
    "PL": Rule("posting", 90),  # art. 89a ustawa o VAT
}
"""By country of the tax; what the operator sets goes before it, and a country that is not here keeps its tax."""


@dataclass(frozen=True, slots=True)
class TaxPart:
    """Base and tax, in micros, of one category of EN 16931 and rate in basis points."""

    category: str
    rate_bp: int
    base: int
    tax: int


def rule_of(country: str, own: Mapping[str, Rule]) -> Rule:
    """The rule of the country whose tax it is."""
    return own.get(country) or COUNTRY_RULES.get(country, KEEP)


def correctable_on(rule: Rule, due: date, written_off: date) -> date | None:
    """The first day on which the tax of a debt may be corrected: at once, or so long after it was due."""
    if rule.method == "keep":
        return None
    return max(written_off, due + timedelta(days=rule.days)) if rule.days else written_off


def part_of(taxes: Iterable[TaxPart], whole: int, part: int, unit: int) -> list[TaxPart]:
    """Base and tax in ``part`` micros of ``whole``, what is to be paid in all, whose taxes these are.

    A customer who pays a part pays the same part of each tax. Rounded to ``unit`` micros; the whole has all of it.
    """
    if whole <= 0 or part <= 0:
        return []
    part = min(part, whole)
    found = [
        TaxPart(
            each.category, each.rate_bp, round_to_unit(each.base * part, whole, unit),
            round_to_unit(each.tax * part, whole, unit),
        )
        for each in taxes
    ]  # fmt: skip
    return [each for each in found if each.base or each.tax]


def between(taken: Sequence[TaxPart], amount: int, before: int, after: int, unit: int) -> list[TaxPart]:
    """What comes back of ``taken``, the taxes of ``amount`` micros, once ``after`` of them are paid and not ``before``.

    However many payments make up the amount, together they bring back exactly what was taken.
    """
    first = {(each.category, each.rate_bp): each for each in part_of(taken, amount, before, unit)}
    last = {(each.category, each.rate_bp): each for each in part_of(taken, amount, after, unit)}
    none = TaxPart("", 0, 0, 0)
    found = []
    for key in sorted(first.keys() | last.keys()):
        earlier, later = first.get(key, none), last.get(key, none)
        found.append(TaxPart(*key, later.base - earlier.base, later.tax - earlier.tax))
    return [each for each in found if each.base or each.tax]
