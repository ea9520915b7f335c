"""Who the operator is, and where everything is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import Field, field_validator
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from operator_server.settings.base import Section, checked_bic, checked_iban
from signalling.money import MoneyError, checked_currency, decimal_micros


class OperatorSettings(Section):
    """Who the operator is, as it stands on invoices and in signatures."""

    server_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]{1,64}$", description="Name in signatures")]
    name: Annotated[str, Field(min_length=1, description="Seller's name on invoices")]
    address: Annotated[list[str], Field(min_length=1, description="Seller's address, a line an element")]
    country: Annotated[str, Field(pattern=r"^[A-Z]{2}$", description="ISO 3166 code")]
    vat_id: Annotated[str, Field(description="Seller's VAT id on invoices")] = ""
    email: Annotated[str, Field(description="Seller's address for questions, on invoices")] = ""
    iban: Annotated[str, Field(description="Account to pay to; empty: invoices name none")] = ""
    bic: Annotated[str, Field(description="Bank of that account")] = ""
    currency: Annotated[str, Field(description="ISO 4217 code of new accounts")] = "EUR"
    time_zone: Annotated[str, Field(description="IANA zone in which months begin and calendars run")] = "UTC"
    language: Annotated[str, Field(pattern=r"^[a-z]{2}$", description="Used where a user's has no text")] = "en"
    credit_limit: Annotated[str, Field(description="Default credit limit of an account, in its currency")] = "200.00"
    payment_days: Annotated[int, Field(ge=0, le=365, description="Days until an invoice is due")] = 14
    invoice_series: Annotated[str, Field(pattern=r"^[A-Z0-9-]{0,16}$", description="Prefix of invoice numbers")] = "R"
    minimum_amount: Annotated[
        str,
        Field(description="Bills below this are left to the next one, in each bill's currency; 0: every bill is made"),
    ] = "0"
    negative_bills: Annotated[
        Literal["credit_note", "carry"],
        Field(description="A bill that gives money back: a credit note at once, or carried forward to the next bill"),
    ] = "credit_note"
    bill_approval: Annotated[
        bool, Field(description="Bill runs make drafts, which somebody approves before they are final")
    ] = False
    tax_rates: Annotated[dict[str, str], Field(description="Tax category to percentage")] = {"S": "19", "Z": "0"}

    @field_validator("currency")
    @classmethod
    def _currency(cls, value: str) -> str:
        try:
            return checked_currency(value)
        except MoneyError as error:
            raise ValueError(str(error)) from None

    @field_validator("iban")
    @classmethod
    def _iban(cls, value: str) -> str:
        return checked_iban(value) if value else ""

    @field_validator("bic")
    @classmethod
    def _bic(cls, value: str) -> str:
        return checked_bic(value) if value else ""

    @field_validator("time_zone")
    @classmethod
    def _zone(cls, value: str) -> str:
        if value not in available_timezones():
            raise ValueError(f"{value!r} is not a zone of the IANA time zone database")
        return value

    @field_validator("credit_limit", "minimum_amount")
    @classmethod
    def _limit(cls, value: str) -> str:
        if decimal_micros(value) < 0:
            raise ValueError(f"{value!r} is below zero")
        return value

    @field_validator("tax_rates")
    @classmethod
    def _rates(cls, value: dict[str, str]) -> dict[str, str]:
        for category, rate in value.items():
            if not 0 <= decimal_micros(rate) <= decimal_micros("100") or decimal_micros(rate) % 10_000:
                raise ValueError(f"{category}: {rate!r} is not a percentage from 0 to 100 with at most two decimals")
        return value

    @property
    def zone(self) -> ZoneInfo:
        """The time zone in which months begin."""
        return ZoneInfo(self.time_zone)

    def tax_basis_points(self) -> dict[str, int]:
        """Tax category to basis points: 19 per cent are 1900."""
        return {category: decimal_micros(rate) // 10_000 for category, rate in self.tax_rates.items()}


class StoreSettings(Section):
    """Where everything is kept."""

    data: Annotated[
        Path, Field(description="Folder of database, keys and repository; relative to the working folder")
    ] = Path("var")
    url: Annotated[str, Field(description="Database URL; empty: tollgate.sqlite in the data folder")] = ""

    @field_validator("url")
    @classmethod
    def _url(cls, value: str) -> str:
        if value:
            try:
                make_url(value)
            except ArgumentError:
                raise ValueError("not a database URL such as postgresql+psycopg://user@host/tollgate") from None
        return value
