"""A price as a sentence in the user's language, for terminals that compute nothing."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from babel.core import Locale, UnknownLocaleError
from babel.numbers import format_currency, format_decimal, format_percent

from charging.modes import mode_kind, owed
from signalling.messages import ModeTerms
from signalling.money import minor_unit

_TEXTS: dict[str, dict[str, Any]] = {
    "en": {
        "free": "free of charge",
        "once": "{price} once",
        "use": "{price} per {unit}",
        "at_most": "up to {price} per {unit}",
        "included": "{count} included per {per}",
        "tax": "plus {rate} tax",
        "tax_included": "including {rate} tax",
        "tax_excluded": "without tax",
        "day": "day",
        "week": "week",
        "month": "month",
        "year": "year",
        "agreement": "agreement",
        "each": "{price} per {per}, {charged}",
        "advance": "in advance",
        "arrears": "in arrears",
        "pro_rata": "the first {per} by its days",
        "spans": {
            "day": ("{count} day", "{count} days"),
            "week": ("{count} week", "{count} weeks"),
            "month": ("{count} month", "{count} months"),
            "year": ("{count} year", "{count} years"),
        },
        "minimum_term": "at least {span}",
        "notice": "notice of {days}",
        "no_notice": "can be ended with any {per}",
        "trial": "{days} free of charge, then {text}",
        "warning": "you are told {days} before",
        "days": ("{count} day", "{count} days"),
        "prepaid": "from your balance",
        "pseudo_prepaid": "from your balance, charged afterwards",
        "rated_only": "shown, never charged",
        "price_change": "price changes are announced {days} ahead, and you may then cancel",
    },
    "de": {
        "free": "kostenlos",
        "once": "einmalig {price}",
        "use": "{price} je {unit}",
        "at_most": "bis zu {price} je {unit}",
        "included": "{count} inklusive je {per}",
        "tax": "zzgl. {rate} MwSt.",
        "tax_included": "inkl. {rate} MwSt.",
        "tax_excluded": "ohne MwSt.",
        "day": "Tag",
        "week": "Woche",
        "month": "Monat",
        "year": "Jahr",
        "agreement": "Vertrag",
        "each": "{price} je {per}, {charged}",
        "advance": "im Voraus",
        "arrears": "im Nachhinein",
        "pro_rata": "zu Beginn anteilig nach Tagen",
        "spans": {
            "day": ("{count} Tag", "{count} Tage"),
            "week": ("{count} Woche", "{count} Wochen"),
            "month": ("{count} Monat", "{count} Monate"),
            "year": ("{count} Jahr", "{count} Jahre"),
        },
        "minimum_term": "Mindestlaufzeit {span}",
        "notice": "Kündigungsfrist {days}",
        "no_notice": "kündbar zum Ende jeder Laufzeit ({per})",
        "trial": "{days} kostenlos, danach {text}",
        "warning": "Hinweis {days} vorher",
        "days": ("{count} Tag", "{count} Tage"),
        "prepaid": "aus Ihrem Guthaben",
        "pseudo_prepaid": "aus Ihrem Guthaben, nachträglich abgebucht",
        "rated_only": "wird angezeigt, nie berechnet",
        "price_change": "Preisänderungen werden {days} vorher angekündigt, Sie können dann kündigen",
    },
}


def locale_of(language: str) -> Locale:
    """The locale of a language, English where there is none."""
    try:
        return Locale.parse(language, sep="-")
    except (ValueError, UnknownLocaleError):
        return Locale("en")


def money_text(micros: int, currency: str, language: str) -> str:
    """An amount with as many decimals as it needs: ``€4.99``, ``0,0036 €``."""
    amount = Decimal(micros).scaleb(-6)
    return str(format_currency(amount, currency, locale=locale_of(language), decimal_quantization=False))


def price_text(terms: ModeTerms, language: str, *, exact: bool = True) -> str:
    """The price with all that binds: ``14 days free of charge, then €4.99 per month, in advance, plus 19% tax; at least
    12 months; notice of 30 days``. Not ``exact``: a price by use is that of the dearest unit.
    """
    texts = _TEXTS.get(language, _TEXTS["en"])
    kind = mode_kind(terms.kind)
    if not kind.paid:
        return str(texts["free"])
    parts = [", ".join(_price(terms, texts, language, exact)), *_conditions(terms, texts, language)]
    if terms.trial_days:
        parts[0] = texts["trial"].format(days=_days(terms.trial_days, texts, language), text=parts[0])
    return "; ".join(parts)


def _price(terms: ModeTerms, texts: dict[str, Any], language: str, exact: bool) -> Iterator[str]:
    locale = locale_of(language)
    kind = mode_kind(terms.kind)
    amount = terms.amount
    if terms.tax_included and not terms.tax_rate:
        whole = kind.periodic or kind.once
        amount = owed(amount, 0, terms.tax_included, minor_unit(terms.currency) if whole else 1).net
    price = money_text(amount, terms.currency, language)
    if kind.periodic:
        yield texts["each"].format(price=price, per=texts[terms.period], charged=texts[terms.charged or "advance"])
        if terms.pro_rata:
            yield texts["pro_rata"].format(per=texts[terms.period])
    elif kind.by_use:
        unit = terms.unit if terms.unit_size == 1 else f"{format_decimal(terms.unit_size, locale=locale)} {terms.unit}"
        yield texts["use" if exact else "at_most"].format(price=price, unit=unit)
    else:
        yield texts["once"].format(price=price)
    if terms.included:
        count = format_decimal(terms.included, locale=locale)
        per = texts.get(terms.included_per, terms.included_per)
        yield texts["included"].format(count=count, unit=terms.unit, per=per)
    if terms.tax_rate:
        rate = format_percent(Decimal(terms.tax_rate).scaleb(-4), locale=locale, decimal_quantization=False)
        yield texts["tax_included" if terms.tax_included else "tax"].format(rate=rate)
    elif terms.tax_included:
        yield texts["tax_excluded"]
    if terms.payment in texts:
        yield texts[terms.payment]


def _conditions(terms: ModeTerms, texts: dict[str, Any], language: str) -> Iterator[str]:
    if terms.minimum_periods:
        span = _count(terms.minimum_periods, texts["spans"][terms.period], language)
        yield texts["minimum_term"].format(span=span)
    if terms.notice_days:
        yield texts["notice"].format(days=_days(terms.notice_days, texts, language))
    elif mode_kind(terms.kind).periodic:
        yield texts["no_notice"].format(per=texts[terms.period])
    if terms.trial_days and terms.trial_warning_days:
        yield texts["warning"].format(days=_days(terms.trial_warning_days, texts, language))
    if terms.price_change_days:
        yield texts["price_change"].format(days=_days(terms.price_change_days, texts, language))


def _days(count: int, texts: dict[str, Any], language: str) -> str:
    return _count(count, texts["days"], language)


def _count(count: int, words: tuple[str, str], language: str) -> str:
    return words[count != 1].format(count=format_decimal(count, locale=locale_of(language)))
