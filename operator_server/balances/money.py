"""Money paid ahead: topped up, adjusted, paid out, expiring; and the credit limit.

Each function is one operation in the caller's writing transaction, and raises
:class:`operator_server.balances.once.BalanceError` for what cannot be done.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select, update

from charging.balances.credits import Credit, settle
from charging.balances.tables import OPEN, PrepaidCredit
from charging.ledger.book import available, open_account
from charging.ledger.operations import Leg, Post
from charging.ledger.tables import CASH, OPERATOR, PREPAID, LedgerAccount
from operator_server.balances.once import SOURCE, BalanceError, lock, once, open_account_row, positive, post
from operator_server.balances.thresholds import refill
from operator_server.store.feed import record
from operator_server.store.parties import Account
from operator_server.store.rows import table
from signalling.clock import to_micros
from signalling.ids import new_id
from signalling.money import MAX_MICROS

ADJUSTMENTS = "adjustments"
"""The operator's account that adjustments are booked against."""

EXPIRED = "expired_credit"
"""The operator's account of prepaid credit that nobody used in time."""

_credits, _ledger = table(PrepaidCredit), table(LedgerAccount)


def top_up(
    connection: Connection,
    account: str,
    amount: int,
    *,
    id: str,
    valid_until: datetime | None = None,
    reason: str = "",
    now: datetime,
) -> dict[str, Any]:
    """Credit ``amount`` micros that the customer paid ahead, to be spent until ``valid_until`` or for good."""
    currency = open_account_row(connection, account).currency
    positive(amount, currency)
    lock(connection, [account])
    content = {"account": account, "amount": amount, "valid_until": valid_until, "reason": reason}

    def do() -> dict[str, Any]:
        if valid_until is not None and valid_until <= now:
            raise BalanceError("bad_amount", f"top-up {id}: it would be expired already, at {valid_until.isoformat()}")
        transfer = _move(connection, id, "top_up", account, currency, amount, CASH, now)
        _credit(connection, transfer, account, currency, amount, valid_until, now)
        return _done(connection, "topped_up", account, currency, amount, id, transfer, reason, now)

    return once(connection, id, "top_up", content, now, do)


def adjust(connection: Connection, account: str, amount: int, *, id: str, reason: str, now: datetime) -> dict[str, Any]:
    """Add to (positive) or take from (negative) what is paid ahead, for a reason that is kept. Never below zero."""
    currency = open_account_row(connection, account).currency
    if not amount or not reason.strip():
        raise BalanceError("bad_amount", f"adjustment {id}: needs an amount other than zero and a reason")
    lock(connection, [account])
    content = {"account": account, "amount": amount, "reason": reason}

    def do() -> dict[str, Any]:
        transfer = _move(connection, id, "adjustment", account, currency, amount, ADJUSTMENTS, now)
        if amount > 0:
            _credit(connection, transfer, account, currency, amount, None, now)
        return _done(connection, "adjusted", account, currency, amount, id, transfer, reason, now)

    return once(connection, id, "adjustment", content, now, do)


def pay_out(
    connection: Connection, account: str, amount: int, *, id: str, reason: str = "", now: datetime
) -> dict[str, Any]:
    """Give money paid ahead back to the customer; declined beyond what is there and free."""
    currency = open_account_row(connection, account).currency
    positive(amount, currency)
    lock(connection, [account])
    content = {"account": account, "amount": amount, "reason": reason}

    def do() -> dict[str, Any]:
        transfer = _move(connection, id, "pay_out", account, currency, -amount, CASH, now)
        return _done(connection, "paid_out", account, currency, -amount, id, transfer, reason, now)

    return once(connection, id, "pay_out", content, now, do)


def set_limit(connection: Connection, account: str, limit: int, now: datetime) -> None:
    """Set the credit limit, in micros of the account's currency."""
    row = open_account_row(connection, account)
    if not 0 <= limit <= MAX_MICROS:
        raise BalanceError("bad_amount", f"account {account}: a credit limit is not below zero")
    lock(connection, [account])
    accounts = table(Account)
    connection.execute(update(accounts).where(accounts.c.id == account).values(credit_limit=limit))
    open_account(connection, account, row.currency, limit)
    refill(connection, account, row.currency, now)
    record(connection, now, "credit_limit_set", account=account, limit=limit, before=row.credit_limit)


def expire_credits(connection: Connection, now: datetime, most: int = 1000) -> list[str]:
    """Take what is left of at most ``most`` accounts' credits whose time is over; the ids of the credits that ended.

    What is reserved stays until it is captured or released, what covers a debt beyond the credit limit until that is
    paid.
    """
    due = connection.execute(
        select(_credits.c.owner, _credits.c.currency)
        .where(_credits.c.state == OPEN, _credits.c.valid_until <= now)
        .distinct()
        .order_by(_credits.c.owner, _credits.c.currency)
        .limit(most)
    ).all()
    lock(connection, [row.owner for row in due])
    ended = []
    for owner, currency in due:
        balance, reserved = _prepaid(connection, owner, currency)
        spare = available(connection, owner, currency)
        free = balance - reserved if spare is None else min(balance - reserved, spare)
        for credit in _settled(connection, owner, currency, balance, now):
            if credit.valid_until is None or credit.valid_until > now:
                continue
            taken = max(0, min(credit.remaining, free))
            if credit.remaining and not taken:
                continue
            left = credit.remaining - taken
            if taken:
                free -= taken
                name = f"expiry:{credit.id[:36]}:{left}"
                _move(connection, name, "expiry", owner, currency, -taken, EXPIRED, now)
                record(connection, now, "credit_expired", account=owner, reference=credit.id, amount=taken)
            _keep(connection, credit.id, left, OPEN if left else "expired")
            if not left:
                ended.append(credit.id)
    return ended


def credits_of(connection: Connection, account: str, currency: str, now: datetime) -> list[Credit]:
    """What is left now of each credit of the account, in the order in which they are spent; nothing is changed."""
    balance, _ = _prepaid(connection, account, currency, locked=False)
    settled, extra = settle(_open(connection, account, currency), balance)
    if extra:
        settled.append(Credit("", extra, None, now))
    return [credit for credit in settled if credit.remaining]


def _move(
    connection: Connection, id: str, kind: str, account: str, currency: str, amount: int, against: str, now: datetime
) -> str:
    legs = (Leg(OPERATOR, against, currency, amount), Leg(account, PREPAID, currency, -amount))
    return post(connection, Post(source=SOURCE, op_id=id, kind=kind, legs=legs, effective_at=now), now)


def _credit(
    connection: Connection,
    transfer: str,
    account: str,
    currency: str,
    amount: int,
    valid_until: datetime | None,
    now: datetime,
) -> None:
    """Keep a credit that was just booked; those before it are settled by the balance without it."""
    balance, _ = _prepaid(connection, account, currency)
    _settled(connection, account, currency, balance - amount, now)
    # What was below zero is made up for first.
    remaining = min(amount, max(0, balance))
    connection.execute(
        insert(_credits).values(
            id=transfer, owner=account, currency=currency, amount=amount, remaining=remaining, valid_until=valid_until,
            made_at=now, state=OPEN if remaining else "used",
        )
    )  # fmt: skip
    refill(connection, account, currency, now)


def _done(
    connection: Connection,
    kind: str,
    account: str,
    currency: str,
    amount: int,
    id: str,
    transfer: str,
    reason: str,
    now: datetime,
) -> dict[str, Any]:
    record(connection, now, kind, account=account, reference=id, amount=amount, currency=currency, reason=reason)
    balance, _ = _prepaid(connection, account, currency)
    return {"id": id, "account": account, "currency": currency, "amount": amount, "transfer": transfer,
            "prepaid": balance}  # fmt: skip


def _prepaid(connection: Connection, account: str, currency: str, *, locked: bool = True) -> tuple[int, int]:
    """What is paid ahead, below zero if more was used, and what of it is reserved."""
    statement = select(_ledger.c.kind, _ledger.c.balance, _ledger.c.reserved).where(
        _ledger.c.owner == account, _ledger.c.currency == currency
    )
    if locked:
        statement = statement.order_by(_ledger.c.id).with_for_update()
    for row in connection.execute(statement):
        if row.kind == PREPAID:
            return -row.balance, row.reserved
    raise BalanceError("unknown_account", f"account {account}: it has no {currency} account in the ledger")


def _open(connection: Connection, account: str, currency: str) -> list[Credit]:
    rows = connection.execute(
        select(_credits.c.id, _credits.c.remaining, _credits.c.valid_until, _credits.c.made_at).where(
            _credits.c.owner == account, _credits.c.currency == currency, _credits.c.state == OPEN
        )
    )
    return [Credit(*row) for row in rows]


def _settled(connection: Connection, account: str, currency: str, balance: int, now: datetime) -> list[Credit]:
    before = {credit.id: credit.remaining for credit in _open(connection, account, currency)}
    settled, extra = settle(_open(connection, account, currency), balance)
    for credit in settled:
        if credit.remaining != before[credit.id]:
            _keep(connection, credit.id, credit.remaining, OPEN if credit.remaining else "used")
    if extra:
        other = Credit(new_id(to_micros(now)), extra, None, now)
        connection.execute(
            insert(_credits).values(
                id=other.id, owner=account, currency=currency, amount=extra, remaining=extra, made_at=now, state=OPEN
            )
        )
        settled.append(other)
    return settled


def _keep(connection: Connection, credit: str, remaining: int, state: str) -> None:
    connection.execute(update(_credits).where(_credits.c.id == credit).values(remaining=remaining, state=state))
