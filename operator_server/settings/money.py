"""Receivables and what finance gets."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from operator_server.settings.base import Section, checked_creditor, checked_iban, not_below_zero


class ReminderLevel(Section):
    """A step of dunning."""

    days: Annotated[int, Field(ge=0, le=365, description="Days after the due day; from the second on, after the last")]
    fee: Annotated[str, Field(description="Charged with the letter, in the operator's currency")] = "0.00"
    text: Annotated[dict[str, str], Field(description="Language to what the letter says at this level")] = {}

    @field_validator("fee")
    @classmethod
    def _fee(cls, value: str) -> str:
        return not_below_zero(value)


class BadDebtRule(Section):
    """What becomes of the tax of debts that are written off, in one country."""

    method: Annotated[
        Literal["keep", "posting", "document"],
        Field(description="keep: it stays owed; posting: corrected; document: that, with a notice to the customer"),
    ]
    days: Annotated[int, Field(ge=0, le=3650, description="Days after the due day; 0: with the write-off")] = 0


class ReceivablesSettings(Section):
    """Credit notes, payments, direct debits and reminders."""

    credit_note_series: Annotated[
        str, Field(pattern=r"^[A-Z0-9-]{1,16}$", description="Prefix of credit note numbers; not that of invoices")
    ] = "G"
    fee_series: Annotated[str, Field(pattern=r"^[A-Z0-9-]{1,16}$", description="Prefix of fees' numbers")] = "F"
    bank_accounts: Annotated[
        list[str], Field(description="IBANs whose statements are taken in; empty: the operator's alone")
    ] = []
    statement_bytes: Annotated[int, Field(ge=1_000, description="Largest statement file")] = 20_000_000
    creditor_id: Annotated[str, Field(description="SEPA creditor identifier; direct debits need it")] = ""
    return_fee: Annotated[str, Field(description="Charged when a direct debit comes back")] = "0.00"
    fee_days: Annotated[int, Field(ge=0, le=365, description="Days to pay that a reminder leaves")] = 7
    approve_own: Annotated[bool, Field(description="Whoever asks for a write-off may approve it too")] = False
    bad_debt_tax: Annotated[
        dict[str, BadDebtRule],
        Field(description="Country of the tax to what becomes of it with a write-off; adds to docs/receivables.md"),
    ] = {}
    bad_debt_series: Annotated[
        str, Field(pattern=r"^[A-Z0-9-]{1,16}$", description="Prefix of the numbers of notices of corrected tax")
    ] = "B"
    reminders_at: Annotated[
        str,
        Field(
            pattern=r"^(([01][0-9]|2[0-3]):[0-5][0-9])?$",
            description="Local time, such as 09:00, from which the worker reminds each day; empty: only by command",
        ),
    ] = ""
    reminder_days: Annotated[
        list[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]],
        Field(description="Weekdays on which the worker reminds"),
    ] = ["mon", "tue", "wed", "thu", "fri"]
    reminders: Annotated[
        list[ReminderLevel], Field(description="Levels, each a [[receivables.reminders]]; none: nobody is reminded")
    ] = [
        ReminderLevel(days=3),
        ReminderLevel(days=14, fee="2.50"),
        ReminderLevel(days=14, fee="5.00"),
    ]

    @field_validator("bank_accounts")
    @classmethod
    def _accounts(cls, values: list[str]) -> list[str]:
        return [checked_iban(value) for value in values]

    @field_validator("creditor_id")
    @classmethod
    def _creditor(cls, value: str) -> str:
        return checked_creditor(value) if value else ""

    @field_validator("return_fee")
    @classmethod
    def _fee(cls, value: str) -> str:
        return not_below_zero(value)


class FinanceSettings(Section):
    """What the books hand over to the operator's accountants."""

    accounts: Annotated[
        dict[str, str],
        Field(
            description="Code of the chart of accounts by kind of ledger account; adds to the ones of docs/finance.md"
        ),
    ] = {}
    post_deferred: Annotated[
        bool, Field(description="Post revenue for a time to come to deferred revenue at each month's end")
    ] = True
