"""The offer file as it is written: keys, types and what can be said of a value by itself."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, PlainValidator

from charging.subscriptions import Unit
from offers.versions import Requirement, parse_specifier, parse_version
from signalling.configuration import ConfigurationError, SectionName, encode_section
from signalling.money import MoneyError, checked_currency, decimal_micros

OfferKind = Literal["software", "data", "update", "service", "tone"]
WITHOUT_PACKAGE = frozenset({"service", "tone"})
"""Kinds of which nothing is published as a package: a tone goes to a card as messages."""

Reopening = Literal["new_release", "new_price"]

_IDENTIFIER = re.compile(r"[a-z0-9][a-z0-9._-]{0,47}\Z", re.ASCII)
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*\Z", re.ASCII)
_DAYS = re.compile(r"([0-9]{1,5})d\Z", re.ASCII)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_LARGEST = 2**53 - 1


def _identifier(value: str) -> str:
    if not _IDENTIFIER.match(value):
        raise ValueError("1 to 48 of a-z 0-9 . _ - are needed, the first a letter or digit")
    return value


def _requirement(value: object) -> Requirement:
    if not isinstance(value, str):
        raise ValueError('a name with a version specifier is needed, such as "python3>=3.9"')
    return Requirement.parse(value)


def _release(value: str) -> str:
    if value == "latest" or parse_version(value) is not None:
        return value
    if value[:1] not in "<>=!~":
        raise ValueError('"latest", a version such as "1.4.2" or a specifier such as "~=1.4" is needed')
    parse_specifier(value)
    return value


def _amount(value: object) -> int:
    if not isinstance(value, str):
        raise ValueError('an amount is written as a string, such as "4.99": a number may be a binary float')
    micros = decimal_micros(value)
    if micros < 0:
        raise ValueError("an amount must not be negative")
    return micros


def _currency(value: str) -> str:
    try:
        return checked_currency(value)
    except MoneyError as error:
        raise ValueError(str(error)) from None


def _instant(value: object) -> datetime:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError("a time needs its distance from UTC, such as 2026-12-24T18:00:00Z")
        try:
            return value.astimezone(UTC)
        except OverflowError:
            raise ValueError("a time from year 1 to 9999 is needed, in UTC") from None
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    raise ValueError("a date (its midnight in UTC) or a time with its distance from UTC is needed, without quotes")


def _texts(value: object) -> object:
    """A text by language; a bare string is in the operator's default language."""
    return {"": value} if isinstance(value, str) else value


def _line(value: str) -> str:
    if _CONTROL.search(value):
        raise ValueError("holds a control character")
    return value


def _lines(value: str) -> str:
    _line(value.translate({ord(each): None for each in "\r\n\t"}))
    return value


def _reported(section: SectionName, key: str) -> str:
    """``key`` if a terminal can report it in ``section``."""
    try:
        encode_section(section, {key: "0"})
    except ConfigurationError as error:
        raise ValueError(f"no terminal reports it: {error}") from None
    return key


def _package(value: str) -> str:
    return _reported("base_software", value)


def _fact(value: str) -> str:
    return _reported("hardware", value)


def _language(value: str) -> str:
    if value and not _LANGUAGE.match(value):
        raise ValueError('a language tag is needed, such as "de" or "pt-BR"')
    return value


def _day_count(value: object) -> int:
    """``30d`` as days."""
    if isinstance(value, str) and (days := _DAYS.match(value)):
        return int(days[1])
    raise ValueError('a number of days such as "30d" is needed')


def _price_change(value: object) -> int:
    """``fixed`` is 0, ``30d`` the days between the announcement and the new price."""
    if value == "fixed":
        return 0
    if isinstance(value, str) and (days := _DAYS.match(value)) and int(days[1]):
        return int(days[1])
    raise ValueError('"fixed", or the days of notice such as "30d" are needed')


def _days_text(value: int) -> str:
    return f"{value}d"


def _price_change_text(value: int) -> str:
    return _days_text(value) if value else "fixed"


def _rejection_end(value: object) -> timedelta | datetime | None:
    """``never`` is ``None``, ``30d`` a time span, a date its midnight in UTC."""
    if isinstance(value, str):
        if value == "never":
            return None
        if days := _DAYS.match(value):
            return timedelta(days=int(days[1]))
        if _DATE.match(value):
            return _instant(date.fromisoformat(value))
    elif isinstance(value, date):
        return _instant(value)
    raise ValueError('"never", a number of days such as "30d" or a date such as "2027-01-01" is needed')


def _rejection_text(value: timedelta | datetime | None) -> str:
    if value is None:
        return "never"
    return f"{value.days}d" if isinstance(value, timedelta) else value.isoformat()


Identifier = Annotated[str, AfterValidator(_identifier)]
RequirementText = Annotated[Requirement, PlainValidator(_requirement), PlainSerializer(str)]
Instant = Annotated[datetime, PlainValidator(_instant), PlainSerializer(datetime.isoformat)]
Language = Annotated[str, AfterValidator(_language)]
Text = Annotated[str, Field(min_length=1, max_length=4000), AfterValidator(_lines)]
Texts = Annotated[dict[Language, Text], BeforeValidator(_texts)]
Fact = Annotated[str, AfterValidator(_fact)]
Package = Annotated[str, AfterValidator(_package)]
Patterns = list[Annotated[str, Field(min_length=1)]]
Currency = Annotated[str, AfterValidator(_currency)]
Days = Annotated[int, PlainValidator(_day_count), PlainSerializer(_days_text)]
PriceChange = Annotated[int, PlainValidator(_price_change), PlainSerializer(_price_change_text)]


class Table(BaseModel):
    """A TOML table: unknown keys are refused and values are not converted."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, arbitrary_types_allowed=True)


class TextTable(Table):
    """What the user reads of an offer, in one language."""

    title: Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_line)]
    description: Annotated[str, Field(max_length=4000), AfterValidator(_lines)] = ""


class ValidityTable(Table):
    """The offer holds from the first instant on and no longer at the second."""

    start: Instant | None = Field(alias="from", default=None)
    end: Instant | None = Field(alias="until", default=None)


class TargetTable(Table):
    """Which configurations the offer is tuned to; what is not named is not asked for."""

    model: Patterns = []
    manufacturer: Patterns = []
    architecture: Patterns = []
    minima: dict[Fact, Annotated[int, Field(ge=0, le=_LARGEST)]] = {}
    firmware: list[RequirementText] = []
    base_software: list[RequirementText] = []
    requires: list[RequirementText] = []
    conflicts: list[RequirementText] = []


class SubscribersTable(Table):
    """The groups that an offer is for; excluded goes before included."""

    include: list[Identifier] = []
    exclude: list[Identifier] = []


class RejectionTable(Table):
    """How long a rejection hides the product, and what shows it again."""

    until: Annotated[timedelta | datetime | None, PlainValidator(_rejection_end), PlainSerializer(_rejection_text)] = (
        None
    )
    reopen_on: list[Reopening] = []


class ModeTable(Table):
    """A ``[[mode]]`` of an offer."""

    id: Identifier
    kind: str
    label: Texts
    amount: Annotated[int | None, PlainValidator(_amount)] = None
    currency: Currency | None = None
    tax_category: str | None = None
    tariff: str | None = None
    groups: list[Identifier] = []
    spending_limit_min: Annotated[int | None, PlainValidator(_amount)] = None
    terms: Texts = {}
    payment: str = "postpaid"
    period: Unit | None = None
    charged: Literal["advance", "arrears"] | None = None
    pro_rata: bool = False
    minimum_periods: Annotated[int, Field(ge=0, le=1200)] = 0
    notice: Days = 0
    trial: Days = 0
    trial_warning: Days = 0
    price_change: PriceChange = 0


def _modes(value: Any) -> Any:
    if not isinstance(value, list) or not value:
        raise ValueError("an offer has one charging mode ([[mode]]) or more; without one it cannot be published")
    return value


class OfferTable(Table):
    """An offer as a file of its own, or as an ``[[offer]]`` of a file that holds several."""

    id: Identifier
    product: Identifier
    kind: OfferKind
    release: Annotated[str, AfterValidator(_release)] = "latest"
    package: Package | None = None
    priority: Annotated[int, Field(ge=-_LARGEST, le=_LARGEST)] = 0
    text: dict[Language, TextTable]
    valid: ValidityTable = ValidityTable()
    target: TargetTable = TargetTable()
    subscribers: SubscribersTable = SubscribersTable()
    depends_on: list[RequirementText] = []
    rejection: RejectionTable = RejectionTable()
    mode: Annotated[list[ModeTable], BeforeValidator(_modes)]
