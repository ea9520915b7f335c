"""Proving that open items say what the ledger says, by set-based statements."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, and_, func, or_, select, union_all

from charging.ledger.tables import RECEIVABLE, LedgerAccount, Posting, Transfer
from charging.ledger.verify import Finding
from operator_server.receivables.books import BAD_DEBT, decode
from operator_server.receivables.recognition import DEFERRED
from operator_server.store.accounting import InvoiceRow
from operator_server.store.receivables import BadDebtTax, CreditNoteRow, ItemAllocation, ReceivableItem, RevenueDeferral
from operator_server.store.rows import table

_item, _allocation = table(ReceivableItem), table(ItemAllocation)


def verify_receivables(connection: Connection) -> list[Finding]:
    """Findings: items that differ from the ledger's receivables, allocations and credits beyond them, altered notes.

    Invoices that no item was made for yet are counted as they stand.
    """
    return [
        *_balances(connection),
        *_left(connection),
        *_credited(connection),
        *_notes(connection),
        *_bad_debt_taxes(connection),
        *_deferred(connection),
    ]


def _bad_debt_taxes(connection: Connection) -> Iterator[Finding]:
    """Tax that was corrected for bad debts, against the postings of its transfers."""
    row, transfer, posting, ledger = table(BadDebtTax), table(Transfer), table(Posting), table(LedgerAccount)
    told = select(row.c.transfer_id, func.sum(row.c.tax).label("tax")).group_by(row.c.transfer_id).subquery()
    booked = (
        select(transfer.c.id, func.sum(posting.c.amount).label("tax"))
        .join(posting, posting.c.transfer_id == transfer.c.id)
        .join(ledger, ledger.c.id == posting.c.ledger_account_id)
        .where(transfer.c.kind == "bad_debt_tax", ledger.c.kind == BAD_DEBT)
        .group_by(transfer.c.id)
        .subquery()
    )
    for id, said, posted in connection.execute(
        select(booked.c.id, told.c.tax, booked.c.tax)
        .outerjoin(told, told.c.transfer_id == booked.c.id)
        .where(func.coalesce(told.c.tax, 0) != booked.c.tax)
    ):
        yield Finding(
            f"it books {posted} micros of tax of bad debts, the corrections say {said or 0}", f"transfer {id}"
        )


def _deferred(connection: Connection) -> Iterator[Finding]:
    """What months moved to deferred revenue, against the ledger's account."""
    row, ledger = table(RevenueDeferral), table(LedgerAccount)
    told = dict(connection.execute(select(row.c.currency, func.sum(row.c.moved)).group_by(row.c.currency)).all())
    booked = dict(
        connection.execute(select(ledger.c.currency, -ledger.c.balance).where(ledger.c.kind == DEFERRED)).all()
    )
    for currency in sorted(told.keys() | booked.keys()):
        said, posted = int(told.get(currency, 0)), int(booked.get(currency, 0))
        if said != posted:
            yield Finding(
                f"months moved {said} micros there, the ledger has {posted}", f"deferred revenue in {currency}"
            )


def _balances(connection: Connection) -> Iterator[Finding]:
    ledger, invoice = table(LedgerAccount), table(InvoiceRow)
    known = select(_item.c.transfer_id)
    waiting = select(invoice.c.account_id, invoice.c.currency, invoice.c.total.label("open")).where(
        invoice.c.transfer_id.not_in(known)
    )
    both = union_all(select(_item.c.account_id, _item.c.currency, _item.c.open), waiting).subquery()
    sums = (
        select(both.c.account_id, both.c.currency, func.sum(both.c.open).label("left"))
        .group_by(both.c.account_id, both.c.currency)
        .subquery()
    )
    left = func.coalesce(sums.c.left, 0)
    rows = connection.execute(
        select(ledger.c.owner, ledger.c.currency, ledger.c.balance, left)
        .outerjoin(sums, and_(sums.c.account_id == ledger.c.owner, sums.c.currency == ledger.c.currency))
        .where(ledger.c.kind == RECEIVABLE, ledger.c.balance != left)
    )
    for owner, currency, balance, amount in rows:
        what = f"its receivable in {currency} is {balance} micros, its open items have {amount} left"
        yield Finding(what, f"account {owner}")


def _left(connection: Connection) -> Iterator[Finding]:
    sides = union_all(
        select(_allocation.c.debt_id.label("id"), _allocation.c.amount),
        select(_allocation.c.credit_id.label("id"), -_allocation.c.amount),
    ).subquery()
    used = select(sides.c.id, func.sum(sides.c.amount).label("used")).group_by(sides.c.id).subquery()
    expected = _item.c.amount - func.coalesce(used.c.used, 0)
    rows = connection.execute(
        select(_item.c.number, _item.c.open, expected.label("expected"))
        .outerjoin(used, used.c.id == _item.c.id)
        .where(
            or_(
                _item.c.open != expected,
                and_(_item.c.amount > 0, ~_item.c.open.between(0, _item.c.amount)),
                and_(_item.c.amount < 0, ~_item.c.open.between(_item.c.amount, 0)),
            )
        )
    )
    for number, left, wanted in rows:
        yield Finding(f"it has {left} micros left, its allocations leave {wanted}", f"open item {number}")


def _credited(connection: Connection) -> Iterator[Finding]:
    note, invoice = table(CreditNoteRow), table(InvoiceRow)
    sums = (
        select(
            note.c.invoice_number,
            func.sum(note.c.total).label("total"),
            func.sum(note.c.tax).label("tax"),
        )
        .group_by(note.c.invoice_number)
        .subquery()
    )
    rows = connection.execute(
        select(sums.c.invoice_number, sums.c.total, sums.c.tax, invoice.c.total, invoice.c.tax)
        .outerjoin(invoice, invoice.c.number == sums.c.invoice_number)
        .where(or_(invoice.c.total.is_(None), sums.c.total > invoice.c.total, sums.c.tax > invoice.c.tax))
    )
    for number, credited, tax, total, charged_tax in rows:
        what = f"its credit notes take back {credited} micros with {tax} tax, it has {total} with {charged_tax}"
        yield Finding(what, f"invoice {number}")


def _notes(connection: Connection) -> Iterator[Finding]:
    """Numbers of credit notes without a gap, their documents and their postings as the rows beside them say."""
    note, posting, ledger = table(CreditNoteRow), table(Posting), table(LedgerAccount)
    number = note.c.number_in_series
    series = connection.execute(
        select(note.c.series, func.count(), func.min(number), func.max(number))
        .group_by(note.c.series)
        .having(or_(func.min(number) != 1, func.max(number) != func.count()))
    )
    for name, count, first, last in series:
        yield Finding(f"it has {count} credit notes numbered {first} to {last}; numbers are missing", f"series {name}")
    posted = (
        select(func.coalesce(func.sum(posting.c.amount), 0))
        .join(ledger, ledger.c.id == posting.c.ledger_account_id)
        .where(posting.c.transfer_id == note.c.transfer_id, ledger.c.kind == RECEIVABLE)
        .scalar_subquery()
        .label("posted")
    )
    for row in connection.execute(select(note, posted).order_by(note.c.id), execution_options={"yield_per": 500}):
        made = decode(row.document)
        said = (made.number, made.corrects, made.totals.net_micros, made.totals.tax_micros, made.totals.payable_micros)
        kept = (row.number, row.invoice_number, row.net, row.tax, row.total)
        if said != kept:
            yield Finding(f"its document says {said}, the row beside it {kept}", f"credit note {row.number}")
        if int(row.posted) != -row.total:
            what = f"says {row.total} micros, transfer {row.transfer_id} takes {-int(row.posted)}"
            yield Finding(what, f"credit note {row.number}")
