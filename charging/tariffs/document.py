"""The tariff file as it is written: keys, types and what can be said of a value by itself.

Amounts of money and percentages are strings, so that no binary float comes between the file and the ledger.
"""

from __future__ import annotations

import re
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator

from charging.rating.rounding import Mode, Place
from charging.rating.timeband import DAY_MINUTES, DAYS, HOLIDAY, Hours, clock
from signalling.money import MAX_MICROS, MoneyError, checked_currency, decimal_micros

_DECIMAL = re.compile(r"[0-9]+(\.[0-9]+)?")
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
_FIRST_YEAR, _LAST_YEAR = 1970, 9998
_LONGEST_NAME, _LONGEST_UNIT = 64, 32
_HOURS = re.compile(r"([0-2][0-9]):([0-5][0-9])-([0-2][0-9]):([0-5][0-9])")


def _decimal(value: object, what: str) -> str:
    if isinstance(value, float | int):
        raise ValueError(f'{what} is written as a string, such as "0.05": a number may be a binary float')
    if not isinstance(value, str):
        raise ValueError(f'{what} is written as a string, such as "0.05"')
    if value.startswith("-"):
        raise ValueError(f"{what} must not be negative")
    if not _DECIMAL.fullmatch(value):
        raise ValueError(f'{what} is a decimal number, such as "0.05", without sign or exponent')
    return value


def _amount(value: object) -> int:
    return decimal_micros(_decimal(value, "an amount"))


def _share(value: object) -> Fraction:
    text = _decimal(value, "a percentage")
    percent = Decimal(text)
    if percent > 100:
        raise ValueError("a percentage is at most 100")
    if len(text.partition(".")[2]) > 6:
        raise ValueError("a percentage has at most six decimals")
    return Fraction(percent) / 100


def _step(value: object) -> object:
    if value == "minor" or (type(value) is int and 1 <= value <= MAX_MICROS):
        return value
    raise ValueError('"minor" for the smallest amount of the currency, or a number of micros, 1 or more')


def _zone(value: object) -> ZoneInfo:
    if not isinstance(value, str):
        raise ValueError('a zone is an IANA name, such as "Europe/Berlin"')
    try:
        return ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError('not a known IANA time zone, such as "Europe/Berlin"') from None


def _effective(value: object) -> date | datetime:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value) if "T" in value else date.fromisoformat(value)
        except ValueError:
            raise ValueError("a date such as 2026-09-01, or a time with its distance from UTC") from None
    if isinstance(value, datetime) and value.tzinfo is None:
        raise ValueError("a time needs its distance from UTC; a date alone means midnight in the tariff's zone")
    if not isinstance(value, date):
        raise ValueError("a date such as 2026-09-01, or a time with its distance from UTC")
    if not _FIRST_YEAR <= value.year <= _LAST_YEAR:
        raise ValueError(f"a year from {_FIRST_YEAR} to {_LAST_YEAR} is needed")
    return value


def _holiday(value: object) -> date | tuple[int, int]:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    if isinstance(value, str):
        every_year = len(value) == len("12-25")
        try:
            # 2024 has a 29th of February.
            day = date.fromisoformat(f"2024-{value}" if every_year else value)
        except ValueError:
            raise ValueError('no day of the calendar; a holiday is a date, or "12-25" for every year') from None
        return (day.month, day.day) if every_year else day
    raise ValueError('a holiday is a date, or "12-25" for every year')


def _hours(value: object) -> tuple[int, int]:
    match = _HOURS.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError('hours are written "08:00-18:00"')
    numbers = [int(group) for group in match.groups()]
    start, end = numbers[0] * 60 + numbers[1], numbers[2] * 60 + numbers[3]
    if not start < end <= DAY_MINUTES:
        raise ValueError(
            f'hours end after they start and by 24:00; a night is two: "{clock(start)}-24:00", "00:00-..."'
        )
    return start, end


def _word(value: str) -> str:
    if not _WORD.fullmatch(value):
        raise ValueError("a name is letters, digits, '_', '.' and '-', the first a letter")
    if len(value) > _LONGEST_NAME:
        raise ValueError(f"a name has at most {_LONGEST_NAME} characters, this one {len(value)}")
    return value


def _unit(value: str) -> str:
    if len(value) > _LONGEST_UNIT:
        raise ValueError(f"a unit has at most {_LONGEST_UNIT} characters, as terminals show it")
    return _word(value)


def _prefix(value: str) -> str:
    if not re.fullmatch(r"[0-9]+", value):
        raise ValueError("a prefix is digits alone, without '+'")
    return value


Amount = Annotated[int, PlainValidator(_amount)]
Share = Annotated[Fraction, PlainValidator(_share)]
Word = Annotated[str, AfterValidator(_word)]
Unit = Annotated[str, AfterValidator(_unit)]
Count = Annotated[int, Field(ge=0, le=MAX_MICROS)]
Size = Annotated[int, Field(ge=1, le=MAX_MICROS)]
Scope = Literal["session", "period"]


class Table(BaseModel):
    """A TOML table: unknown keys are refused and values are not converted."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, arbitrary_types_allowed=True)


class IncrementsTable(Table):
    """Units are charged in steps: the first of one size, all further ones of another."""

    first: Size
    next: Size


class RoundingTable(Table):
    """Where, how and to which step amounts are rounded."""

    mode: Mode
    place: Place
    to: Annotated[Literal["minor"] | int, PlainValidator(_step)]


class TierTable(Table):
    """The price of units from one number on, up to another or without end."""

    start: Count = Field(alias="from")
    end: Size | None = Field(alias="to", default=None)
    amount: Amount
    fee: Amount = 0


class PriceTable(Table):
    """What every price model may have: a fee to begin with, and limits of what one use costs."""

    connect_fee: Amount = 0
    minimum: Amount | None = None
    maximum: Amount | None = None


class FlatTable(PriceTable):
    """A fixed amount, however many units."""

    model: Literal["flat"]
    amount: Amount
    per: Scope = "session"


class PerUnitTable(PriceTable):
    """An amount for each unit, one for all or one by time band."""

    model: Literal["per_unit"]
    amount: Amount | None = None
    amounts: dict[str, Amount] | None = None
    unit_size: Size = 1
    increments: IncrementsTable | None = None


class TieredTable(PriceTable):
    """Prices by how many units there are: graduated, each tier its own; volume, the reached tier all."""

    model: Literal["graduated", "volume"]
    tiers: list[TierTable]
    unit_size: Size = 1
    increments: IncrementsTable | None = None
    per: Scope = "period"


class PackageTable(PriceTable):
    """An amount for each begun package of units."""

    model: Literal["package"]
    amount: Amount
    size: Size
    increments: IncrementsTable | None = None
    per: Scope = "period"


class PercentageTable(PriceTable):
    """A share of the value that was used."""

    model: Literal["percentage"]
    percent: Share


Price = Annotated[FlatTable | PerUnitTable | TieredTable | PackageTable | PercentageTable, Field(discriminator="model")]


class BandTable(Table):
    """Hours of days that have a price of their own."""

    name: Word
    days: list[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun", "holiday"]]
    hours: list[Annotated[tuple[int, int], PlainValidator(_hours)]]

    def week(self) -> list[tuple[str, Hours]]:
        """Each day's hours that belong to the band."""
        days = [day for day in (*DAYS, HOLIDAY) if day in self.days]
        return [(day, Hours(start, end, self.name)) for day in days for start, end in self.hours]


class DestinationTable(Table):
    """The price of what is addressed to one of these prefixes."""

    name: str
    prefixes: Annotated[list[Annotated[str, AfterValidator(_prefix)]], Field(min_length=1)]
    price: Price


def _currency(value: str) -> str:
    try:
        return checked_currency(value)
    except MoneyError as error:
        raise ValueError(str(error)) from None


class VersionTable(Table):
    """A ``[[version]]`` of a tariff file."""

    effective_from: Annotated[date | datetime, PlainValidator(_effective)]
    currency: Annotated[str, AfterValidator(_currency)]
    tax_category: Word
    unit: Unit
    zone: Annotated[ZoneInfo, PlainValidator(_zone)]
    rounding: RoundingTable
    price: Price | None = None
    included: Count = 0
    included_per: Literal["month", "agreement"] = "month"
    grant_units: Count = 0
    discount: Share = Fraction(0)
    discount_amount: Amount | None = None
    spending_cap: Amount | None = None
    commitment: Amount | None = None
    band: list[BandTable] = []
    holidays: list[Annotated[date | tuple[int, int], PlainValidator(_holiday)]] = []
    destination: list[DestinationTable] = []


def _versions(value: Any) -> Any:
    if not isinstance(value, list) or not value:
        raise ValueError("a tariff has one [[version]] or more")
    return value


class TariffTable(Table):
    """A tariff file; its versions are read one by one, so that a fault in one hides none in another."""

    id: Word
    name: dict[str, str] = {}
    version: Annotated[list[dict[str, Any]], BeforeValidator(_versions)]
