"""How an account is billed: its cycle, zone, tax and least amount."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import available_timezones

from sqlalchemy import Connection, Row, select, update

from operator_server.audit import audited
from operator_server.billing.making import CLOSED
from operator_server.parties import PartyError, keep_taxpayer, require_open
from operator_server.store.parties import Account
from operator_server.store.rows import table
from signalling.money import MoneyError, decimal_micros

TAX_STATUSES = ("", "exempt", "reverse_charge")


@dataclass(frozen=True)
class Billing:
    """What is to change; ``None`` leaves it as it is. ``minimum``: major units; empty takes the operator's.

    ``closed``: whether the account gets its last bill with the next run.
    """

    cycle_day: int | None = None
    time_zone: str | None = None
    tax_country: str | None = None
    tax_status: str | None = None
    tax_reason: str | None = None
    minimum: str | None = None
    closed: bool | None = None


def set_billing(connection: Connection, account: str, change: Billing, actor: str, now: datetime) -> Row[Any]:
    """Change how an account is billed from its next bill on; how it is billed then. Raises :class:`PartyError`."""
    before = _billing_of(connection, account)
    values = _values(account, change)
    if values:
        require_open(connection, account)
    if change.tax_status == "exempt" and not (values.get("tax_reason", before.tax_reason)):
        raise PartyError(f"account {account}: tax_reason: say why it is exempt; it stands on the invoice")
    if values:
        accounts = table(Account)
        keep_taxpayer(connection, account, values, now)
        connection.execute(update(accounts).where(accounts.c.id == account).values(**values))
        changed = {key: getattr(before, key) for key in values}
        audited(connection, actor, "account.billing", f"account/{account}", changed, values, now)
    return _billing_of(connection, account)


def _billing_of(connection: Connection, account: str) -> Row[Any]:
    """How an account is billed. Raises :class:`PartyError`."""
    accounts = table(Account)
    columns = ("id", "cycle_day", "time_zone", "tax_country", "tax_status", "tax_reason", "minimum_amount", "status")
    row = connection.execute(select(*(accounts.c[name] for name in columns)).where(accounts.c.id == account)).first()
    if row is None:
        raise PartyError(f"account {account}: there is none; `tollgate account list` shows all")
    return row


def _values(account: str, change: Billing) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if change.cycle_day is not None:
        if not 1 <= change.cycle_day <= 31:
            raise PartyError(f"account {account}: cycle day {change.cycle_day}: a day from 1 to 31 is needed")
        values["cycle_day"] = change.cycle_day
    if change.time_zone is not None:
        if change.time_zone and change.time_zone not in available_timezones():
            raise PartyError(
                f"account {account}: time zone {change.time_zone!r} is not in the IANA database (Asia/Tokyo is)"
            )
        values["time_zone"] = change.time_zone
    if change.tax_country is not None:
        country = change.tax_country
        if country and not (len(country) == 2 and country.isascii() and country.isalpha() and country.isupper()):
            raise PartyError(f"account {account}: tax country {country!r} is not two capital letters (ISO 3166)")
        values["tax_country"] = country
    if change.tax_status is not None:
        if change.tax_status not in TAX_STATUSES:
            known = ", ".join(status or "(empty)" for status in TAX_STATUSES)
            raise PartyError(f"account {account}: tax status {change.tax_status!r} is none of {known}")
        values["tax_status"] = change.tax_status
    if change.tax_reason is not None:
        values["tax_reason"] = change.tax_reason
    if change.minimum is not None:
        values["minimum_amount"] = _minimum(account, change.minimum) if change.minimum else None
    if change.closed is not None:
        values["status"] = CLOSED if change.closed else "active"
    return values


def _minimum(account: str, text: str) -> int:
    try:
        micros = decimal_micros(text)
    except MoneyError as error:
        raise PartyError(f"account {account}: least amount: {error}") from None
    if micros < 0:
        raise PartyError(f"account {account}: least amount: {text!r} is below zero")
    return micros
