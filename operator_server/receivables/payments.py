"""Payments: taken in by hand or from statements, set against debts, put in suspense, assigned, taken back, paid out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from hashlib import sha256
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, select, update

from charging.ledger.operations import Leg
from charging.ledger.tables import CASH, OPERATOR, RECEIVABLE
from charging.receivables.items import Allocation
from charging.receivables.references import numbers_in, plain
from operator_server.receivables.books import (
    SUSPENSE,
    ReceivablesError,
    add_item,
    allocate,
    find_account,
    lock,
    oldest_first,
    post,
    settle_item,
    take_in_invoices,
    undo_allocations,
)
from operator_server.receivables.fees import charge_return_fee
from operator_server.receivables.write_offs import reopen_written_off
from operator_server.settings import Settings
from operator_server.store.feed import record
from operator_server.store.receivables import CollectedItem, ItemAllocation, PaymentRow, ReceivableItem
from operator_server.store.rows import add, matching, table
from signalling.clock import to_micros
from signalling.ids import new_id
from signalling.money import Money, format_micros, minor_unit

_payment = table(PaymentRow)
_item = table(ReceivableItem)


@dataclass(frozen=True, slots=True)
class NewPayment:
    """Money that came in. ``amount`` micros above zero; without ``account`` it goes to suspense, with a ``reason``.

    ``id`` is the client's name of it: the same is taken once. ``named``: numbers of debts that it is for.
    """

    amount: int
    currency: str
    booked_on: date
    account: str | None = None
    named: tuple[str, ...] = ()
    id: str = ""
    method: str = "manual"
    reference: str = ""
    end_to_end: str = ""
    payer: str = ""
    payer_iban: str = ""
    statement_id: str | None = None
    reason: str = ""
    matched_by: str = ""

    @property
    def digest(self) -> bytes:
        """Of what makes it another payment."""
        content = [self.amount, self.currency, self.booked_on, self.account, self.named, self.reference]
        return sha256(msgspec.json.encode(content)).digest()


@dataclass(frozen=True, slots=True)
class Taken:
    """A payment as it was taken; ``new``: just now. ``settled``: debts' numbers and micros; ``left``: credit."""

    payment: str
    new: bool
    settled: tuple[tuple[str, int], ...] = ()
    left: int = 0


def add_payment(connection: Connection, settings: Settings, new: NewPayment, now: datetime) -> Taken:
    """Take a payment in: set against what it names, else the oldest debts; the rest stands to the account's credit.

    Raises :class:`ReceivablesError`, also for an id that was used for another payment.
    """
    lock(connection)
    payment = new.id or new_id(to_micros(now))
    if len(payment) > 48:
        raise ReceivablesError(f"payment {payment!r}: an id has at most 48 characters")
    if new.amount <= 0 or new.amount % minor_unit(new.currency):
        amount = format_micros(new.amount, new.currency)
        raise ReceivablesError(f"payment of {amount} {new.currency}: nobody can pay that; give whole units above zero")
    known = connection.execute(select(_payment).where(_payment.c.id == payment)).first()
    if known is not None:
        if known.request_digest != new.digest:
            raise ReceivablesError(f"payment {payment}: this id was used before for another payment")
        return Taken(payment, False, *_settled(connection, payment))
    if new.account is not None:
        find_account(connection, new.account)
        take_in_invoices(connection, settings, now, new.account)
        _check_named(connection, new)
    other = Leg(OPERATOR, SUSPENSE, new.currency, -new.amount)
    if new.account is not None:
        other = Leg(new.account, RECEIVABLE, new.currency, -new.amount)
    transfer = post(connection, f"payment:{payment}", "payment", [_cash(new.currency, new.amount), other], now)
    add(
        connection,
        PaymentRow(
            id=payment, account_id=new.account, currency=new.currency, amount=new.amount, booked_on=new.booked_on,
            method=new.method, state="booked" if new.account else "suspense", reason=new.reason,
            reference=new.reference, end_to_end=new.end_to_end, payer=new.payer, payer_iban=new.payer_iban,
            statement_id=new.statement_id, matched_by=new.matched_by, request_digest=new.digest, transfer_id=transfer,
            recorded_at=now,
        ),
    )  # fmt: skip
    if new.account is not None:
        _credit(connection, settings, payment, new.account, new.currency, new.amount, transfer, new.named, now)
    record(
        connection, now, "paid" if new.account else "payment_suspended", account=new.account, reference=payment,
        currency=new.currency, amount=new.amount, method=new.method, reason=new.reason,
    )  # fmt: skip
    return Taken(payment, True, *_settled(connection, payment))


def named_in(connection: Connection, settings: Settings, text: str) -> list[Row[Any]]:
    """The debts that a text names, in its order: invoices and fees by number or creditor reference."""
    prefixes = {settings.receivables.fee_series, settings.operator.invoice_series}
    years = range(2000, 2100)
    written = plain(text)
    series = [
        f"{prefix}{year}" for prefix in prefixes for year in years if f"{prefix}{year}".replace("-", "") in written
    ]
    wanted = list(numbers_in(text, series))
    if not wanted:
        return []
    spelled = {_spelled(number, prefixes): place for place, number in enumerate(wanted)}
    rows = connection.execute(
        select(_item).where(_item.c.number.in_([number for number in spelled if number]), _item.c.amount > 0)
    ).all()
    return sorted(rows, key=lambda row: spelled[row.number])


def assign_payment(
    connection: Connection,
    settings: Settings,
    payment: str,
    account: str,
    now: datetime,
    *,
    named: tuple[str, ...] = (),
    by: str = "",
) -> Taken:
    """Give a payment that stands in suspense to an account. A second time for the same account changes nothing."""
    lock(connection)
    row = _find_payment(connection, payment)
    if row.state == "assigned" and row.account_id == account:
        return Taken(payment, False, *_settled(connection, payment))
    if row.state != "suspense":
        raise ReceivablesError(f"payment {payment}: it is {row.state}, of account {row.account_id}, not in suspense")
    find_account(connection, account)
    take_in_invoices(connection, settings, now, account)
    legs = [
        Leg(OPERATOR, SUSPENSE, row.currency, row.amount),
        Leg(account, RECEIVABLE, row.currency, -row.amount),
    ]
    transfer = post(connection, f"assign:{payment}", "assignment", legs, now)
    connection.execute(
        update(_payment)
        .where(_payment.c.id == payment)
        .values(state="assigned", account_id=account, matched_by=f"hand of {by}" if by else "hand")
    )
    if row.amount > 0:
        _credit(connection, settings, payment, account, row.currency, row.amount, transfer, named, now)
    else:
        item = add_item(
            connection, kind="return", number=f"return {payment}", account=account, currency=row.currency,
            amount=-row.amount, transfer=transfer, now=now,
        )  # fmt: skip
        settle_item(connection, item, now)
    record(connection, now, "payment_assigned", account=account, reference=payment, by=by)
    return Taken(payment, True, *_settled(connection, payment))


def return_payment(
    connection: Connection,
    settings: Settings,
    payment: str,
    now: datetime,
    *,
    reason: str,
    id: str = "",
    booked_on: date | None = None,
    statement_id: str | None = None,
) -> list[str]:
    """A payment was taken back by payer or bank: its debts are open again, as they were. Their numbers.

    What stands to the account's credit otherwise settles them at once. A second return of the same payment changes
    nothing. A direct debit that comes back costs the return fee.
    """
    lock(connection)
    row = _find_payment(connection, payment)
    if row.state == "returned":
        return []
    if row.account_id is None or row.amount <= 0:
        raise ReceivablesError(f"payment {payment}: it stands in suspense; assign it before it is returned")
    transfer = post(
        connection, f"return:{payment}", "return",
        [Leg(row.account_id, RECEIVABLE, row.currency, row.amount), _cash(row.currency, -row.amount)], now,
    )  # fmt: skip
    credit = connection.execute(select(_item.c.id).where(_item.c.number == f"payment {payment}")).scalar_one()
    debts = undo_allocations(connection, credit, now)
    debit = add_item(
        connection, kind="return", number=f"return {payment}", account=row.account_id, currency=row.currency,
        amount=row.amount, transfer=transfer, now=now,
    )  # fmt: skip
    # The credit and what took it back are set against each other, so nothing else of the account moves.
    _offset(connection, debit, credit, row.amount, now)
    for debt in oldest_first(connection, debts):
        settle_item(connection, debt, now)
    connection.execute(update(_payment).where(_payment.c.id == payment).values(state="returned", reason=reason))
    collected = table(CollectedItem)
    connection.execute(update(collected).where(collected.c.id == row.end_to_end).values(state="returned"))
    add(
        connection,
        PaymentRow(
            id=id or f"return-{payment}"[:64], account_id=row.account_id, currency=row.currency, amount=-row.amount,
            booked_on=booked_on or now.astimezone(settings.operator.zone).date(), method=row.method, state="booked",
            reason=reason, reference=row.reference, end_to_end="", payer=row.payer, payer_iban=row.payer_iban,
            statement_id=statement_id, returns_id=payment, request_digest=b"", transfer_id=transfer, recorded_at=now,
        ),
    )  # fmt: skip
    if row.method == "direct_debit":
        charge_return_fee(connection, settings, row, now)
    record(
        connection, now, "payment_returned", account=row.account_id, reference=payment, currency=row.currency,
        amount=row.amount, reason=reason,
    )  # fmt: skip
    return [number for (number,) in connection.execute(select(_item.c.number).where(_item.c.id.in_(debts)))]


def refund_credit(
    connection: Connection, settings: Settings, account: str, money: Money, now: datetime, *, id: str, reason: str = ""
) -> str:
    """Pay out what stands to an account's credit, at most that; the id. The same id is done once."""
    lock(connection)
    find_account(connection, account)
    known = connection.execute(select(_item).where(_item.c.number == f"refund {id}")).first()
    if known is not None:
        if (known.account_id, known.currency, known.amount) != (account, money.currency, money.micros):
            raise ReceivablesError(f"refund {id}: this id was used before for another refund")
        return id
    take_in_invoices(connection, settings, now, account)
    standing = -sum(
        connection.execute(
            select(_item.c.open).where(
                _item.c.account_id == account, _item.c.currency == money.currency, _item.c.open < 0
            )
        ).scalars()
    )
    if not 0 < money.micros <= standing:
        raise ReceivablesError(
            f"account {account}: {money} asked, {format_micros(standing, money.currency)} {money.currency} stand to "
            "its credit"
        )
    legs = [Leg(account, RECEIVABLE, money.currency, money.micros), _cash(money.currency, -money.micros)]
    transfer = post(connection, f"refund:{id}", "refund", legs, now)
    item = add_item(
        connection, kind="refund", number=f"refund {id}", account=account, currency=money.currency,
        amount=money.micros, transfer=transfer, now=now,
    )  # fmt: skip
    settle_item(connection, item, now)
    record(
        connection, now, "refunded", account=account, reference=id, currency=money.currency, amount=money.micros,
        reason=reason,
    )  # fmt: skip
    return id


def _find_payment(connection: Connection, payment: str) -> Row[Any]:
    """The row of a payment. Raises :class:`ReceivablesError`."""
    row = connection.execute(select(_payment).where(_payment.c.id == payment)).first()
    if row is None:
        raise ReceivablesError(f"payment {payment}: there is none; `tollgate payment list` shows all")
    return row


def find_payments(
    connection: Connection, *, account: str = "", state: str = "", most: int | None = None
) -> list[Row[Any]]:
    """Matching payments, the newest first."""
    statement = matching(select(_payment), (_payment.c.account_id, account), (_payment.c.state, state))
    return list(connection.execute(statement.order_by(_payment.c.recorded_at.desc(), _payment.c.id).limit(most)))


def _cash(currency: str, amount: int) -> Leg:
    return Leg(OPERATOR, CASH, currency, amount)


def _credit(
    connection: Connection,
    settings: Settings,
    payment: str,
    account: str,
    currency: str,
    amount: int,
    transfer: str,
    named: tuple[str, ...],
    now: datetime,
) -> None:
    named = reopen_written_off(connection, settings, account, currency, amount, named, payment, now)
    item = add_item(
        connection, kind="payment", number=f"payment {payment}", account=account, currency=currency, amount=-amount,
        transfer=transfer, now=now, about=", ".join(named),
    )  # fmt: skip
    settle_item(connection, item, now, named)


def _offset(connection: Connection, debit: str, credit: str, amount: int, now: datetime) -> None:
    allocate(connection, Allocation(debit, credit, amount), now)


def _check_named(connection: Connection, new: NewPayment) -> None:
    for number in new.named:
        row = connection.execute(select(_item).where(_item.c.number == number)).first()
        if row is None or row.account_id != new.account:
            raise ReceivablesError(f"{number}: account {new.account} has no such invoice or fee")
        if row.currency != new.currency:
            raise ReceivablesError(f"{number}: it is in {row.currency}, the payment in {new.currency}")


def _settled(connection: Connection, payment: str) -> tuple[tuple[tuple[str, int], ...], int]:
    allocation = table(ItemAllocation)
    credit = connection.execute(select(_item).where(_item.c.number == f"payment {payment}")).first()
    if credit is None:
        return (), 0
    rows = connection.execute(
        select(_item.c.number, allocation.c.amount)
        .join(_item, _item.c.id == allocation.c.debt_id)
        .where(allocation.c.credit_id == credit.id)
        .order_by(allocation.c.id)
    )
    return tuple((number, amount) for number, amount in rows), -credit.open


def _spelled(number: str, prefixes: set[str]) -> str:
    """A plain number as the books have it: ``R2026000001`` is ``R-2026-000001``."""
    for prefix in sorted(prefixes, key=len, reverse=True):
        start = plain(prefix)
        rest = number.removeprefix(start)
        if number.startswith(start) and rest.isdigit() and len(rest) >= 10:
            return f"{prefix}-{rest[:4]}-{rest[4:]}" if prefix else f"{rest[:4]}-{rest[4:]}"
    return ""
