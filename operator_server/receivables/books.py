"""Open items in the store, and their side of the ledger.

Every movement of a customer's receivable is one item and one transfer, written together. Invoices get their item
when receivables are next looked at (:func:`take_in_invoices`), whoever made them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, date, datetime, time
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, case, func, select, update

from charging.invoices.model import Invoice
from charging.ledger.book import apply
from charging.ledger.operations import Applied, Conflict, Declined, Duplicate, Leg, Post
from charging.ledger.tables import RECEIVABLE, LedgerAccount, Posting
from charging.receivables.items import Allocation, Item, settle, use_credits
from operator_server.settings import OperatorSettings, Settings
from operator_server.store.accounting import InvoiceRow
from operator_server.store.parties import Account
from operator_server.store.receivables import ItemAllocation, ReceivableItem
from operator_server.store.rows import add, table
from signalling.clock import to_micros
from signalling.ids import new_id

SOURCE = "receivables"
"""The ledger's name of this client, and of its writer."""

SUSPENSE, BAD_DEBT, FEES = "suspense", "bad_debt", "fees"
"""The operator's ledger accounts beside cash, revenue and tax."""

_LOCK = 0x70_11_6A_80
_DAY_END = time(23, 59, 59)

_item = table(ReceivableItem)


class ReceivablesError(ValueError):
    """Something about what customers owe that cannot be done; the text says what, why and what to do."""


def lock(connection: Connection) -> None:
    """One writer of receivables at a time; on SQLite a writing transaction is alone anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))


def post(connection: Connection, op_id: str, kind: str, legs: Sequence[Leg], now: datetime) -> str:
    """Post a balanced transfer; its id, also where it was posted before. Raises :class:`ReceivablesError`."""
    operation = Post(
        source=SOURCE, op_id=op_id, kind=kind, legs=tuple(leg for leg in legs if leg.amount), effective_at=now
    )
    [outcome] = apply(connection, [operation], to_micros(now), writer=SOURCE)
    match outcome:
        case Applied(transfer) | Duplicate(transfer):
            return transfer
        case Declined(_, reason):
            raise ReceivablesError(reason)
        case Conflict():
            raise ReceivablesError(f"{kind} {op_id}: this id was used before for something else")
    raise AssertionError(outcome)


def find_account(connection: Connection, account: str) -> Row[Any]:
    """The row of an account. Raises :class:`ReceivablesError`."""
    accounts = table(Account)
    row = connection.execute(select(accounts).where(accounts.c.id == account)).first()
    if row is None:
        raise ReceivablesError(f"account {account}: there is none; see `tollgate account show`")
    return row


def find_item(connection: Connection, number: str) -> Row[Any]:
    """The item of a number (of an invoice, a fee, a credit note). Raises :class:`ReceivablesError`."""
    row = connection.execute(select(_item).where(_item.c.number == number)).first()
    if row is None:
        raise ReceivablesError(f"{number}: no open item has this number; `tollgate payment items` lists them")
    return row


def add_item(
    connection: Connection,
    *,
    kind: str,
    number: str,
    account: str,
    currency: str,
    amount: int,
    transfer: str,
    now: datetime,
    due: datetime | None = None,
    about: str = "",
) -> str:
    """Write an item that is open in full; its id."""
    item = ReceivableItem(
        id=new_id(to_micros(now)), account_id=account, currency=currency, kind=kind, number=number, about=about,
        amount=amount, open=amount, booked_at=now, due_at=due or now, transfer_id=transfer,
    )  # fmt: skip
    add(connection, item)
    return item.id


def take_in_invoices(connection: Connection, settings: Settings, now: datetime, account: str | None = None) -> int:
    """Make the items of invoices that have none; credits of their accounts are set against them. How many there were.

    An item has what the invoice's transfer debited to the receivable, so an invoice that was paid ahead has none.
    """
    invoice, posting, ledger = table(InvoiceRow), table(Posting), table(LedgerAccount)
    receivable = (
        select(func.sum(posting.c.amount))
        .join(ledger, ledger.c.id == posting.c.ledger_account_id)
        .where(posting.c.transfer_id == invoice.c.transfer_id, ledger.c.kind == RECEIVABLE)
        .scalar_subquery()
    )
    missing = (
        select(
            invoice.c.number, invoice.c.account_id, invoice.c.currency, invoice.c.issued_at, invoice.c.transfer_id,
            invoice.c.document, receivable.label("owed"),
        )
        .outerjoin(_item, _item.c.transfer_id == invoice.c.transfer_id)
        .where(_item.c.id.is_(None), receivable.is_not(None))
        .order_by(invoice.c.issued_at, invoice.c.number)
    )  # fmt: skip
    if account is not None:
        missing = missing.where(invoice.c.account_id == account)
    made = 0
    for row in connection.execute(missing).all():
        item = add_item(
            connection, kind="invoice", number=row.number, account=row.account_id, currency=row.currency,
            amount=int(row.owed), transfer=row.transfer_id, now=row.issued_at,
            due=due_instant(decode(row.document).due_date, settings.operator),
        )  # fmt: skip
        settle_item(connection, item, now)
        made += 1
    return made


def decode(document: bytes) -> Invoice:
    """The document of an invoice or a credit note."""
    return msgspec.json.decode(document, type=Invoice)


def due_instant(day: date, operator: OperatorSettings) -> datetime:
    """The last second of a local day."""
    return datetime.combine(day, _DAY_END, operator.zone).astimezone(UTC)


def open_items(connection: Connection, account: str, currency: str) -> list[Row[Any]]:
    """Items of which something is left, the earliest due first."""
    return list(
        connection.execute(
            select(_item)
            .where(_item.c.account_id == account, _item.c.currency == currency, _item.c.open != 0)
            .order_by(_item.c.due_at, _item.c.booked_at, _item.c.id)
        )
    )


def oldest_first(connection: Connection, items: Collection[str]) -> list[str]:
    """The ids of items, the earliest due first."""
    order = (_item.c.due_at, _item.c.booked_at, _item.c.id)
    return list(connection.execute(select(_item.c.id).where(_item.c.id.in_(items)).order_by(*order)).scalars())


def settle_item(connection: Connection, item_id: str, now: datetime, named: Sequence[str] = ()) -> list[Allocation]:
    """Set an item against the open items of its account on the other side; ``named`` debts first, then the oldest."""
    row = connection.execute(select(_item).where(_item.c.id == item_id)).one()
    others = [_rule(each) for each in open_items(connection, row.account_id, row.currency) if each.id != item_id]
    if row.open < 0:
        made = settle(_rule(row), others, named)
    else:
        made = use_credits(_rule(row), [each for each in others if each.left < 0])
    for each in made:
        allocate(connection, each, now)
    return made


def allocate(connection: Connection, allocation: Allocation, now: datetime) -> None:
    """Write that a credit is set against a debt; a negative amount takes it back."""
    add(
        connection,
        ItemAllocation(
            id=new_id(to_micros(now)), debt_id=allocation.debt_id, credit_id=allocation.credit_id,
            amount=allocation.amount, at=now,
        ),
    )  # fmt: skip
    connection.execute(
        update(_item)
        .where(_item.c.id.in_([allocation.debt_id, allocation.credit_id]))
        .values(
            open=_item.c.open + case((_item.c.id == allocation.debt_id, -allocation.amount), else_=allocation.amount)
        )
    )


def undo_allocations(connection: Connection, credit_id: str, now: datetime) -> list[str]:
    """Take back all that a credit was set against; the ids of the debts that are open again."""
    allocation = table(ItemAllocation)
    rows = connection.execute(
        select(allocation.c.debt_id, func.sum(allocation.c.amount).label("amount"))
        .where(allocation.c.credit_id == credit_id)
        .group_by(allocation.c.debt_id)
        .having(func.sum(allocation.c.amount) != 0)
        .order_by(allocation.c.debt_id)
    ).all()
    for row in rows:
        allocate(connection, Allocation(row.debt_id, credit_id, -int(row.amount)), now)
    return [row.debt_id for row in rows]


def _rule(row: Row[Any]) -> Item:
    return Item(row.id, row.number, row.open, row.due_at, row.booked_at)
