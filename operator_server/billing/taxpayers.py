"""What tax an account bears, before its bill is made: for quotes, and for what is paid at once."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, select

from charging.billing.tax import Tax, Taxpayer, TaxTable, load_taxes
from operator_server.settings import Settings
from operator_server.store.parties import Account
from operator_server.store.rows import table
from signalling.messages import ModeTerms


def taxpayer_of(account: Row[Any]) -> Taxpayer:
    """The row of an account as far as tax goes."""
    return Taxpayer(account.tax_country or account.country, account.vat_id, account.tax_status)


def tax_of(
    connection: Connection, settings: Settings, account: str, category: str, own_rate: int, now: datetime
) -> Tax:
    """The tax that the account bears now on the operator's ``category``, whose own rate is in basis points."""
    accounts, operator = table(Account), settings.operator
    row = connection.execute(select(accounts).where(accounts.c.id == account)).one()
    return _taxes(settings.config_dir / "tax.toml").tax(
        category,
        own_rate,
        now.astimezone(operator.zone).date(),
        taxpayer_of(row),
        operator.country,
        operator_has_vat_id=bool(operator.vat_id),
    )


def taxed(connection: Connection, settings: Settings, account: str, terms: ModeTerms, now: datetime) -> ModeTerms:
    """The terms of a mode with the rate that the account bears."""
    tax = tax_of(connection, settings, account, terms.tax_category, terms.tax_rate, now)
    return msgspec.structs.replace(terms, tax_rate=tax.rate_bp)


def _taxes(path: Path) -> TaxTable:
    try:
        changed = path.stat().st_mtime_ns
    except FileNotFoundError:
        changed = 0
    return _read(path, changed)


@lru_cache(maxsize=8)
def _read(path: Path, changed: int) -> TaxTable:
    return load_taxes(path)
