"""The words of an invoice (``labels.toml``) and the customer's way to write amounts, numbers and days (Babel)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from functools import cache, lru_cache
from importlib.resources import files

import msgspec
from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_interval, format_skeleton
from babel.numbers import NumberPattern, format_decimal, get_currency_symbol, parse_pattern

from signalling.money import exponent

from .units import measured, name_of_many, short, singular_word

FALLBACK = "en"

_PLAIN_DECIMAL = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,12})?")


class Labels(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The words of one language; ``{name}`` stands for what is filled in."""

    invoice: str
    credit_note: str
    number: str
    date: str
    due: str
    period: str
    customer_vat: str
    seller_vat: str
    reference: str
    corrects: str
    amount_due: str
    amount_credited: str
    position: str
    description: str
    quantity: str
    unit_price: str
    tax: str
    net: str
    counter: str
    included: str
    agreement: str
    net_total: str
    tax_line: str
    pay: str
    pay_nothing: str
    credited: str
    account: str
    continued: str
    page: str
    customer_number: str
    subscriber: str
    no_subscriber: str
    subtotal: str
    carried: str
    paid: str
    rounding: str
    final_bill: str
    with_tax: str
    corrected_of: str
    use_by_day: str
    use_by_month: str
    items: str
    item_time: str
    item_what: str
    item_by: str
    untaxed_line: str
    line_reversal: str
    line_refund: str
    line_withdrawal: str
    by_tariff: str
    counter_ranges: str
    counter_range: str
    counter_reset: str
    untaxed: dict[str, str]
    modes: dict[str, str]
    units: dict[str, dict[str, str]]

    def mode(self, code: str) -> str:
        """The name of a charging mode; the code itself where the table has none."""
        return self.modes.get(code.replace("-", "_"), code)


@cache
def languages() -> dict[str, Labels]:
    """The shipped languages by their code."""
    text = (files(__package__) / "labels.toml").read_bytes()
    return msgspec.toml.decode(text, type=dict[str, Labels])


def labels_for(language: str) -> Labels:
    """The words for a BCP 47 tag: of its language, else English."""
    known = languages()
    return known.get(_primary(language), known[FALLBACK])


class Formats:
    """Writes amounts, numbers and days as the customer reads them.

    A language without words of its own is written in English throughout, so that words and numbers agree.
    """

    def __init__(self, locale: Locale) -> None:
        self._locale = locale
        self.tag = str(locale).replace("_", "-")

    def amount(self, micros: int, currency: str) -> str:
        """An amount in whole minor units, with its currency: ``1.234,50 €``, ``¥150``."""
        pattern, digits = _money_pattern(self._locale, currency, True)
        return self._apply(pattern, micros, digits, currency)

    def bare_amount(self, micros: int, currency: str) -> str:
        """The same without the currency, for a column that names it in its head."""
        pattern, digits = _money_pattern(self._locale, currency, False)
        return self._apply(pattern, micros, digits, currency)

    def _apply(self, pattern: NumberPattern, micros: int, digits: int, currency: str) -> str:
        value = Decimal(micros).scaleb(-6)
        if value != round(value, digits):
            raise ValueError(f"{value} {currency} is not in whole minor units; only rounded amounts are printed")
        return str(pattern.apply(value, self._locale, currency=currency, currency_digits=False))

    def number(self, value: int) -> str:
        """A whole number with the locale's grouping."""
        return _integer(value, self._locale)

    def exact_amount(self, micros: int, currency: str) -> str:
        """An amount with all the decimals it has, and its currency: ``€0.0036``."""
        return _exact_amount(micros, currency, self._locale)

    def fine_amount(self, micros: int, currency: str) -> str:
        """An amount with two decimals more than the currency's, or as many as it needs: ``0.0360``."""
        return _price(Decimal(micros).scaleb(-6), self._locale, exponent(currency) + 2)

    def measured(self, quantity: int, unit: str, words: Mapping[str, Mapping[str, str]]) -> str:
        """A quantity with its unit: in ``words`` by their plural forms, else as CLDR has it, else as it is."""
        if unit not in words and singular_word(unit) in words:
            unit = singular_word(unit)
        if unit in words:
            forms = words[unit]
            return f"{self.number(quantity)} {forms.get(self._locale.plural_form(quantity), forms['other'])}"
        return measured(quantity, unit, self._locale) or f"{self.number(quantity)} {unit}".rstrip()

    def price_for(self, price: str, quantity: int, unit: str, words: Mapping[str, Mapping[str, str]]) -> str:
        """A plain decimal for so many units: ``0,03 / 60 Sek.``"""
        many = short(quantity, unit, self._locale) or self.measured(quantity, unit, words)
        return f"{format_decimal(Decimal(price), locale=self._locale, decimal_quantization=False)} / {many}"

    def unit_name(self, unit: str, words: Mapping[str, Mapping[str, str]]) -> str:
        """A unit's name for many, without a quantity."""
        forms = words.get(unit) or words.get(singular_word(unit))
        return forms["other"] if forms else name_of_many(unit, self._locale)

    def time(self, moment: datetime) -> str:
        """A day and a time of day, short: ``02.10.26, 14:05:09``."""
        return _time(moment.date(), self._locale) + f" {moment:%H:%M:%S}"

    def short_day(self, day: date) -> str:
        """A day without its year: ``2.10.``"""
        return str(format_skeleton("Md", day, locale=self._locale))

    def short_month(self, day: date) -> str:
        """A month, short: ``Okt. 26``."""
        return str(format_skeleton("yyMMM", day, locale=self._locale))

    def price(self, text: str, currency: str) -> str:
        """A plain decimal with all its digits and at least the currency's; other text as it is."""
        if not _PLAIN_DECIMAL.fullmatch(text):
            return text
        return _price(Decimal(text), self._locale, exponent(currency))

    def percent(self, basis_points: int) -> str:
        """A rate: ``19 %``, ``5.5%``."""
        return _percent(basis_points, self._locale)

    def country(self, code: str) -> str:
        """The name of a country (ISO 3166-1 alpha-2), or the code where there is no name."""
        return str(self._locale.territories.get(code, code))

    def day(self, day: date) -> str:
        """A day in the locale's middle form."""
        return _day(day, self._locale)

    def days(self, first: date, last: date) -> str:
        """A span of days: ``1–31 Oct 2026``; one day when both are the same."""
        return _days(first, last, self._locale)


@cache
def formats_for(language: str) -> Formats:
    """Number and date formats for a BCP 47 tag, its region included (``de-AT``)."""
    if _primary(language) not in languages():
        language = FALLBACK
    try:
        locale = Locale.parse(language, sep="-")
    except (UnknownLocaleError, ValueError):
        locale = Locale.parse(_primary(language))
    return Formats(locale)


def _primary(language: str) -> str:
    return language.partition("-")[0].lower()


@cache
def _money_pattern(locale: Locale, currency: str, with_currency: bool) -> tuple[NumberPattern, int]:
    # CLDR's digits follow the cash in use (none for some currencies that ISO 4217 gives two): ISO's are the ones
    # that an invoice is paid with.
    digits = exponent(currency)
    decimals = "." + "0" * digits if digits else ""
    pattern = locale.currency_formats["standard"].pattern if with_currency else "#,##0.00"
    if get_currency_symbol(currency, locale)[-1:].isalpha():
        pattern = pattern.replace("¤#", "¤\xa0#")
    return parse_pattern(pattern.replace(".00", decimals)), digits


@lru_cache(maxsize=4096)
def _exact_amount(micros: int, currency: str, locale: Locale) -> str:
    pattern, digits = _money_pattern(locale, currency, True)
    value = Decimal(micros).scaleb(-6)
    rounded = value == round(value, digits)
    return str(pattern.apply(value, locale, currency=currency, currency_digits=False, decimal_quantization=rounded))


@lru_cache(maxsize=512)
def _time(day: date, locale: Locale) -> str:
    return format_date(day, "short", locale=locale)


# The same few days, numbers and rates come again on every line and every invoice of a run.
@lru_cache(maxsize=4096)
def _integer(value: int, locale: Locale) -> str:
    return format_decimal(value, locale=locale)


@lru_cache(maxsize=4096)
def _price(value: Decimal, locale: Locale, digits: int) -> str:
    shown = -int(value.normalize().as_tuple().exponent)
    decimals = max(shown, digits)
    pattern = "#,##0." + "0" * decimals if decimals else "#,##0"
    return format_decimal(value, pattern, locale=locale)


@lru_cache(maxsize=256)
def _percent(basis_points: int, locale: Locale) -> str:
    pattern = parse_pattern(locale.percent_formats[None].pattern.replace("0", "0.##"))
    return str(pattern.apply(Decimal(basis_points).scaleb(-4), locale))


@lru_cache(maxsize=1024)
def _day(day: date, locale: Locale) -> str:
    return format_date(day, "medium", locale=locale)


@lru_cache(maxsize=1024)
def _days(first: date, last: date, locale: Locale) -> str:
    if first == last:
        return format_date(first, "medium", locale=locale)
    return format_interval(first, last, "yMMMd", locale=locale)
