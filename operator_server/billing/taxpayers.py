"""What tax an account bears, before its bill is made: for quotes, and for what is paid at once."""

from __future__ import annotations

from datetime import date, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, select

from charging.billing.tax import Tax, Taxpayer, TaxTable, load_taxes
from charging.modes import Owed, owed
from charging.price_text import price_text
from operator_server.settings import Settings
from operator_server.store.parties import Account
from operator_server.store.rows import table
from signalling.messages import ModeTerms


def taxpayer_of(account: Row[Any]) -> Taxpayer:
    """The row of an account as far as tax goes."""
    return Taxpayer(account.tax_country or account.country, account.vat_id, account.tax_status)


def _tax_of(
    connection: Connection, settings: Settings, account: str, category: str, own_rate: int, now: datetime
) -> Tax:
    """The tax that the account bears now on the operator's ``category``, whose own rate is in basis points."""
    accounts = table(Account)
    row = connection.execute(select(accounts).where(accounts.c.id == account)).one()
    return tax_for(settings, taxpayer_of(row), category, own_rate, now)


def tax_for(settings: Settings, taxpayer: Taxpayer, category: str, own_rate: int, now: datetime) -> Tax:
    """The tax that a customer bears now on the operator's ``category``, whose own rate is in basis points."""
    operator = settings.operator
    return _taxes(settings.config_dir / "tax.toml").tax(
        category,
        own_rate,
        now.astimezone(operator.zone).date(),
        taxpayer,
        operator.country,
        operator_has_vat_id=bool(operator.vat_id),
    )


def taxed(
    connection: Connection, settings: Settings, account: str, terms: ModeTerms, language: str, now: datetime
) -> ModeTerms:
    """The terms of a mode with the rate that the account bears, and the price in words that says so."""
    exact = terms.price_text != price_text(terms, language, exact=False)
    tax = _tax_of(connection, settings, account, terms.tax_category, terms.tax_rate, now)
    contained = _contained_rate(settings, tax, terms.tax_category, terms.tax_rate, now)
    if (tax.rate_bp, contained) == (terms.tax_rate, terms.tax_included):
        return terms
    made = msgspec.structs.replace(terms, tax_rate=tax.rate_bp, tax_included=contained)
    return msgspec.structs.replace(made, price_text=price_text(made, language, exact=exact))


def _contained_rate(settings: Settings, tax: Tax, category: str, own_rate: int, now: datetime) -> int:
    """The basis points that a price of the operator's category contains for who bears ``tax``; 0: tax comes on top."""
    taxes, operator = _taxes(settings.config_dir / "tax.toml"), settings.operator
    if category not in taxes.inclusive:
        return 0
    own = taxes.rate(operator.country, category, now.astimezone(operator.zone).date())
    return tax.rate_bp or (own_rate if own is None else own)


def inclusive_of(settings: Settings) -> frozenset[str]:
    """The tax categories whose prices contain their tax."""
    return _taxes(settings.config_dir / "tax.toml").inclusive


class PaidTaxes:
    """What prices come to that are paid at once, with their tax; each case is worked out once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._own = settings.operator.tax_basis_points()
        self._known: dict[tuple[Taxpayer, str, date], tuple[int, int]] = {}

    def rates(self, taxpayer: Taxpayer, category: str, at: datetime) -> tuple[int, int]:
        """Basis points that a customer bears of use at an instant, and those that its price contains."""
        case = (taxpayer, category, at.astimezone(self._settings.operator.zone).date())
        found = self._known.get(case)
        if found is None:
            own = self._own[category]
            tax = tax_for(self._settings, taxpayer, category, own, at)
            found = tax.rate_bp, _contained_rate(self._settings, tax, category, own, at)
            self._known[case] = found
        return found

    def owed(self, taxpayer: Taxpayer, category: str, at: datetime, price: int) -> Owed:
        """Micros net and of tax of a price for use at an instant."""
        rate, contained = self.rates(taxpayer, category, at)
        return owed(price, rate, contained)


def _taxes(path: Path) -> TaxTable:
    try:
        changed = path.stat().st_mtime_ns
    except FileNotFoundError:
        changed = 0
    return _read(path, changed)


@lru_cache(maxsize=8)
def _read(path: Path, changed: int) -> TaxTable:
    return load_taxes(path)
