"""Money: whole numbers of micros, a millionth of the currency's major unit, and a currency.

1.50 EUR is ``Money(1_500_000, "EUR")``; 150 JPY is ``Money(150_000_000, "JPY")``: the scale is the same in every
currency, the exponent of ISO 4217 says only how many decimals can be *paid*. No float comes near.
"""

from __future__ import annotations

import re
from decimal import Decimal
from functools import lru_cache

import msgspec
from iso4217 import Currency

MICROS = 1_000_000
"""Micros in one major unit: the scale of the ledger and of the wire."""

MAX_MICROS = 2**63 - 1

_DECIMAL = re.compile(r"[+-]?[0-9]{1,32}(\.[0-9]{1,32})?\Z")


class MoneyError(ValueError):
    """An amount or a currency that cannot be money; the text says which and why."""


@lru_cache(maxsize=512)
def exponent(currency: str) -> int:
    """Decimals that can be paid in ``currency`` (ISO 4217): EUR 2, JPY 0, KWD 3. Raises :class:`MoneyError`."""
    try:
        digits = Currency(currency).exponent
    except ValueError:
        raise MoneyError(f"{currency!r} is not a currency of ISO 4217") from None
    if digits is None:
        raise MoneyError(f"{currency} is in ISO 4217 but nobody can pay in it (no minor unit is defined)")
    return int(digits)


def minor_unit(currency: str) -> int:
    """Micros in the smallest amount that can be paid: EUR 10_000, JPY 1_000_000, KWD 1_000."""
    return int(MICROS // 10 ** exponent(currency))


class Money(msgspec.Struct, frozen=True):
    """An amount in micros and its currency. Adding two currencies raises :class:`MoneyError`."""

    micros: int
    currency: str

    @classmethod
    def parse(cls, text: str | int, currency: str) -> Money:
        """Read a decimal such as ``"4.99"``. At most six decimals; no float, no exponent, no NaN."""
        return cls(decimal_micros(text), checked_currency(currency))

    def __add__(self, other: Money) -> Money:
        self._same(other)
        return Money(self.micros + other.micros, self.currency)

    def __sub__(self, other: Money) -> Money:
        self._same(other)
        return Money(self.micros - other.micros, self.currency)

    def __neg__(self) -> Money:
        return Money(-self.micros, self.currency)

    def _same(self, other: Money) -> None:
        if self.currency != other.currency:
            raise MoneyError(f"{self.currency} and {other.currency} cannot be added or compared")

    def decimal(self) -> Decimal:
        """The amount in major units, exact."""
        return Decimal(self.micros).scaleb(-6)

    def __str__(self) -> str:
        return f"{format_micros(self.micros, self.currency)} {self.currency}"


def checked_currency(currency: str) -> str:
    """``currency`` itself when ISO 4217 knows it and it can be paid in; else :class:`MoneyError`."""
    exponent(currency)
    return currency


def decimal_micros(text: str | int) -> int:
    """Micros of a decimal number in major units. Raises :class:`MoneyError` for what is not exact or not a number."""
    if isinstance(text, bool | float) or not _DECIMAL.match(str(text)):
        raise MoneyError(f"{text!r} is not a decimal number such as 4.99")
    value = Decimal(text)
    if value.copy_abs() >= Decimal(MAX_MICROS).scaleb(-6):
        raise MoneyError(f"{text!r} is larger than a ledger amount can be")
    scaled = value.scaleb(6)
    if scaled != scaled.to_integral_value():
        raise MoneyError(f"{text!r} has more than six decimals")
    return int(scaled)


def format_micros(micros: int, currency: str) -> str:
    """Major units with at least the currency's decimals and no more than needed: ``4.99``, ``0.0036``, ``150``."""
    if micros >= 0 and micros % 10_000 == 0 and exponent(currency) == 2:
        return f"{micros // MICROS}.{micros // 10_000 % 100:02d}"
    sign = "-" if micros < 0 else ""
    whole, rest = divmod(abs(micros), MICROS)
    digits = f"{rest:06d}".rstrip("0").ljust(exponent(currency), "0")
    return f"{sign}{whole}.{digits}" if digits else f"{sign}{whole}"
