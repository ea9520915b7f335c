"""Debts that are given up: asked for with a reason, approved by another person, posted as bad debt.

Their tax is corrected by the country's rule (:mod:`operator_server.receivables.bad_debt_tax`). Money that comes after
all, or a credit note, takes its part of the write-off and of its tax back first.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, func, select, update

from charging.ledger.operations import Leg
from charging.ledger.tables import OPERATOR, RECEIVABLE
from charging.receivables.items import Allocation
from operator_server.receivables.bad_debt_tax import begin_correction, restore
from operator_server.receivables.books import (
    BAD_DEBT,
    ReceivablesError,
    add_item,
    allocate,
    find_item,
    lock,
    post,
    take_in_invoices,
)
from operator_server.settings import Settings
from operator_server.store.feed import record
from operator_server.store.receivables import CollectedItem, ReceivableItem, WriteOff
from operator_server.store.rows import add, matching, table
from signalling.clock import to_micros
from signalling.ids import new_id

_write_off = table(WriteOff)
_item = table(ReceivableItem)


def ask_write_off(
    connection: Connection, settings: Settings, number: str, now: datetime, *, reason: str, by: str
) -> str:
    """Ask to give up what is left of a debt; the id of the request. Raises :class:`ReceivablesError`."""
    lock(connection)
    if not reason.strip() or not by.strip():
        raise ReceivablesError(f"write-off of {number}: a reason and who asks are needed")
    take_in_invoices(connection, settings, now)
    item = find_item(connection, number)
    if item.amount <= 0 or item.open <= 0:
        raise ReceivablesError(f"{number}: nothing is owed of it")
    asked = connection.execute(
        select(_write_off.c.id).where(_write_off.c.number == number, _write_off.c.state == "asked")
    ).scalar()
    if asked is not None:
        return str(asked)
    row = WriteOff(
        id=new_id(to_micros(now)), number=number, account_id=item.account_id, currency=item.currency,
        amount=item.open, reason=reason, asked_by=by, asked_at=now,
    )  # fmt: skip
    add(connection, row)
    record(
        connection, now, "write_off_asked", account=item.account_id, reference=number, currency=item.currency,
        amount=item.open, reason=reason, by=by,
    )  # fmt: skip
    return row.id


def approve_write_off(connection: Connection, settings: Settings, id: str, now: datetime, *, by: str) -> int:
    """Approve a request and post what is left of the debt as bad debt; the micros. A second time changes nothing.

    Whoever asked may not approve, unless the settings let him. Raises :class:`ReceivablesError`.
    """
    lock(connection)
    row = _asked(connection, id)
    if row.state == "approved":
        return int(row.amount)
    _decidable(row)
    if not by.strip():
        raise ReceivablesError(f"write-off {id}: who approves it is needed")
    if by == row.asked_by and not settings.receivables.approve_own:
        raise ReceivablesError(f"write-off {id}: {by} asked for it; another person has to approve it")
    item = find_item(connection, row.number)
    if item.open <= 0:
        raise ReceivablesError(f"{row.number}: nothing is owed of it any more; refuse the write-off")
    sent = table(CollectedItem)
    if connection.execute(select(sent.c.id).where(sent.c.item_id == item.id, sent.c.state == "sent")).first():
        raise ReceivablesError(f"{row.number}: a direct debit of it is under way; wait until it is paid or returned")
    legs = [
        Leg(item.account_id, RECEIVABLE, item.currency, -item.open),
        Leg(OPERATOR, BAD_DEBT, item.currency, item.open),
    ]
    transfer = post(connection, f"write-off:{id}", "write_off", legs, now)
    credit = add_item(
        connection, kind="write_off", number=f"write-off {id}", account=item.account_id, currency=item.currency,
        amount=-item.open, transfer=transfer, now=now, about=row.number,
    )  # fmt: skip
    allocate(connection, Allocation(item.id, credit, item.open), now)
    _decide(connection, id, "approved", by, now, amount=item.open, transfer_id=transfer)
    begin_correction(connection, settings, _asked(connection, id), now)
    record(
        connection, now, "written_off", account=item.account_id, reference=row.number, currency=item.currency,
        amount=item.open, reason=row.reason, by=by,
    )  # fmt: skip
    return int(item.open)


def refuse_write_off(connection: Connection, settings: Settings, id: str, now: datetime, *, by: str) -> None:
    """Refuse a request: the debt stays. Raises :class:`ReceivablesError`."""
    lock(connection)
    _decidable(_asked(connection, id))
    _decide(connection, id, "refused", by, now)


def find_write_offs(connection: Connection, state: str = "") -> list[Row[Any]]:
    """Requests, the oldest first."""
    statement = select(_write_off).order_by(_write_off.c.asked_at, _write_off.c.id)
    return list(connection.execute(matching(statement, (_write_off.c.state, state))))


def reopen_written_off(
    connection: Connection,
    settings: Settings,
    account: str,
    currency: str,
    amount: int,
    named: Sequence[str],
    payment: str,
    now: datetime,
    *,
    named_only: bool = False,
) -> tuple[str, ...]:
    """Take back of write-offs what a payment of ``amount`` micros pays after all, and owe its tax again.

    Written-off debts that it names come first, of these what is owed again already; others get what is left once
    everything open is paid, or nothing with ``named_only``. Returns the numbers that the payment is for, a debt that
    was written off replaced by what is owed of it again.
    """
    owed = connection.execute(
        select(func.sum(_item.c.open)).where(
            _item.c.account_id == account, _item.c.currency == currency, _item.c.open > 0
        )
    ).scalar()
    again = connection.execute(
        select(_item.c.number, _item.c.open)
        .where(_item.c.account_id == account, _item.c.currency == currency, _item.c.kind == "recovery")
        .where(_item.c.open > 0, _item.c.about.in_(named))
        .order_by(_item.c.booked_at, _item.c.id)
    ).all()
    spare, numbers = amount - sum(row.open for row in again), [*named, *(row.number for row in again)]
    beyond = 0 if named_only else amount - int(owed or 0)
    for row in sorted(_unrecovered(connection, account, currency), key=lambda row: row.number not in named):
        is_named = row.number in named
        part = min(row.amount - row.recovered, spare, spare if is_named else beyond)
        if part <= 0:
            continue
        number = f"recovery {row.id[-12:]} {payment}"
        legs = [Leg(account, RECEIVABLE, currency, part), Leg(OPERATOR, BAD_DEBT, currency, -part)]
        transfer = post(connection, f"rec:{row.id[-12:]}:{payment}"[:64], "recovery", legs, now)
        add_item(
            connection, kind="recovery", number=number, account=account, currency=currency, amount=part,
            transfer=transfer, now=now, about=row.number,
        )  # fmt: skip
        connection.execute(
            update(_write_off).where(_write_off.c.id == row.id).values(recovered=_write_off.c.recovered + part)
        )
        restore(connection, settings, row, part, payment, now)
        spare, beyond = spare - part, beyond - part
        numbers = [number if each == row.number else each for each in numbers]
        if number not in numbers:
            numbers.append(number)
    return tuple(numbers)


def _unrecovered(connection: Connection, account: str, currency: str) -> Sequence[Row[Any]]:
    """Write-offs of which something was not paid after all, the oldest first."""
    return connection.execute(
        select(_write_off)
        .where(
            _write_off.c.account_id == account,
            _write_off.c.currency == currency,
            _write_off.c.state == "approved",
            _write_off.c.recovered < _write_off.c.amount,
        )
        .order_by(_write_off.c.decided_at, _write_off.c.id)
    ).all()


def _asked(connection: Connection, id: str) -> Row[Any]:
    row = connection.execute(select(_write_off).where(_write_off.c.id == id)).first()
    if row is None:
        raise ReceivablesError(f"write-off {id}: there is none; `tollgate write-off list` lists them")
    return row


def _decidable(row: Row[Any]) -> None:
    if row.state != "asked":
        raise ReceivablesError(f"write-off {row.id}: it is {row.state} already, by {row.decided_by}")


def _decide(connection: Connection, id: str, state: str, by: str, now: datetime, **more: Any) -> None:
    values = {"state": state, "decided_by": by, "decided_at": now, **more}
    connection.execute(update(_write_off).where(_write_off.c.id == id).values(**values))
