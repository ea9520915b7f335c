"""Units of quantities: as customers read them, and as machines do (UN/ECE Recommendation 20)."""

from __future__ import annotations

from functools import lru_cache

from babel import Locale
from babel.units import format_unit, get_unit_name

ONE = "C62"

_CLDR = {
    "second": "duration-second",
    "minute": "duration-minute",
    "hour": "duration-hour",
    "day": "duration-day",
    "week": "duration-week",
    "month": "duration-month",
    "byte": "digital-byte",
}
_SHORT = {"s": "second", "sec": "second", "min": "minute", "h": "hour", "d": "day", "B": "byte", "octet": "byte"}

_RECOMMENDATION_20 = {
    "second": "SEC",
    "minute": "MIN",
    "hour": "HUR",
    "day": "DAY",
    "week": "WEE",
    "month": "MON",
    "byte": "AD",
    "bit": "A99",
    "kB": "2P",
    "MB": "4L",
    "GB": "E34",
    "TB": "E35",
    "KiB": "E64",
    "MiB": "E63",
    "GiB": "E62",
    "TiB": "E61",
    "piece": "H87",
}


def singular(unit: str) -> str:
    """The unit's name as the tables have it: ``seconds`` and ``s`` are ``second``."""
    name = _SHORT.get(unit, unit)
    if name not in _RECOMMENDATION_20 and name.endswith("s") and name[:-1] in _RECOMMENDATION_20:
        return name[:-1]
    return name


def code(unit: str) -> str:
    """The code of Recommendation 20 for BT-130; ``C62`` (one) for what it has no unit for, such as uses."""
    return _RECOMMENDATION_20.get(singular(unit), ONE)


def singular_word(unit: str) -> str:
    """An English plural's singular, for the tables of words: ``uses`` is ``use``."""
    return unit.removesuffix("s")


@lru_cache(maxsize=4096)
def measured(quantity: int, unit: str, locale: Locale) -> str | None:
    """``1.234 Sekunden``: a quantity with its unit in words by CLDR; None where CLDR has no such unit."""
    cldr = _CLDR.get(singular(unit))
    return None if cldr is None else format_unit(quantity, cldr, length="long", locale=locale)


@lru_cache(maxsize=1024)
def short(quantity: int, unit: str, locale: Locale) -> str | None:
    """``60 Sek.``: a quantity with its unit abbreviated by CLDR; None where CLDR has no such unit."""
    cldr = _CLDR.get(singular(unit))
    return None if cldr is None else format_unit(quantity, cldr, length="short", locale=locale)


def name_of_many(unit: str, locale: Locale) -> str:
    """A unit's name without a quantity (``Sekunden``); the unit itself where CLDR has no such unit."""
    cldr = _CLDR.get(singular(unit))
    return unit if cldr is None else get_unit_name(cldr, length="long", locale=locale) or unit
