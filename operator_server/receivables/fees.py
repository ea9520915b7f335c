"""Fees: of reminders and of direct debits that came back. They are damages, outside the scope of tax."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, func, select

from charging.ledger.operations import Leg
from charging.ledger.tables import OPERATOR, RECEIVABLE
from operator_server.receivables.books import FEES, add_item, due_instant, post, settle_item
from operator_server.settings import Settings
from operator_server.store.feed import record
from operator_server.store.receivables import ReceivableItem
from operator_server.store.rows import table
from signalling.money import decimal_micros

_item = table(ReceivableItem)


def charge_fee(
    connection: Connection,
    settings: Settings,
    *,
    account: str,
    currency: str,
    amount: int,
    op_id: str,
    what: str,
    about: str,
    now: datetime,
) -> str:
    """Charge a fee of ``amount`` micros above zero; its number."""
    operator = settings.operator
    legs = [Leg(account, RECEIVABLE, currency, amount), Leg(OPERATOR, FEES, currency, -amount)]
    transfer = post(connection, op_id, "fee", legs, now)
    today = now.astimezone(operator.zone).date()
    number = _next_number(connection, f"{settings.receivables.fee_series}-{today.year}")
    item = add_item(
        connection, kind="fee", number=number, account=account, currency=currency, amount=amount, transfer=transfer,
        now=now, due=due_instant(today + timedelta(days=settings.receivables.fee_days), operator), about=about,
    )  # fmt: skip
    settle_item(connection, item, now)
    record(connection, now, "fee", account=account, reference=number, currency=currency, amount=amount, what=what)
    return number


def charge_return_fee(connection: Connection, settings: Settings, payment: Row[Any], now: datetime) -> None:
    """Charge what the settings ask for a direct debit that came back; nothing in another currency."""
    amount = fee_in(settings, settings.receivables.return_fee, payment.currency)
    if amount:
        charge_fee(
            connection, settings, account=payment.account_id, currency=payment.currency, amount=amount,
            op_id=f"return-fee:{payment.id}", what="return", about=payment.reference, now=now,
        )  # fmt: skip


def fee_in(settings: Settings, fee: str, currency: str) -> int:
    """A fee of the settings in micros; they are in the operator's currency, and nothing in another."""
    return decimal_micros(fee) if currency == settings.operator.currency else 0


def _next_number(connection: Connection, series: str) -> str:
    last = connection.execute(select(func.max(_item.c.number)).where(_item.c.number.startswith(f"{series}-"))).scalar()
    return f"{series}-{int(last.rpartition('-')[2]) + 1 if last else 1:06d}"
