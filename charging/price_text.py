"""A price as a sentence in the user's language, for terminals that compute nothing."""

from __future__ import annotations

from decimal import Decimal

from babel.core import Locale, UnknownLocaleError
from babel.numbers import format_currency, format_decimal, format_percent

from charging.modes import mode_kind
from signalling.messages import ModeTerms

_TEXTS: dict[str, dict[str, str]] = {
    "en": {
        "free": "free of charge",
        "once": "{price} once",
        "use": "{price} per {unit}",
        "at_most": "up to {price} per {unit}",
        "included": "{count} included per {per}",
        "tax": "plus {rate} tax",
        "month": "month",
        "agreement": "agreement",
    },
    "de": {
        "free": "kostenlos",
        "once": "einmalig {price}",
        "use": "{price} je {unit}",
        "at_most": "bis zu {price} je {unit}",
        "included": "{count} inklusive je {per}",
        "tax": "zzgl. {rate} MwSt.",
        "month": "Monat",
        "agreement": "Vertrag",
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
    """``€0.05 per use, 10 use included per month, plus 19% tax``; not ``exact``: that is the dearest unit."""
    texts = _TEXTS.get(language, _TEXTS["en"])
    kind = mode_kind(terms.kind)
    if not kind.paid:
        return texts["free"]
    locale = locale_of(language)
    price = money_text(terms.amount, terms.currency, language)
    if not kind.by_use:
        parts = [texts["once"].format(price=price)]
    else:
        unit = terms.unit if terms.unit_size == 1 else f"{format_decimal(terms.unit_size, locale=locale)} {terms.unit}"
        parts = [texts["use" if exact else "at_most"].format(price=price, unit=unit)]
    if terms.included:
        count = format_decimal(terms.included, locale=locale)
        per = texts.get(terms.included_per, terms.included_per)
        parts.append(texts["included"].format(count=count, unit=terms.unit, per=per))
    if terms.tax_rate:
        rate = format_percent(Decimal(terms.tax_rate).scaleb(-4), locale=locale, decimal_quantization=False)
        parts.append(texts["tax"].format(rate=rate))
    return ", ".join(parts)
