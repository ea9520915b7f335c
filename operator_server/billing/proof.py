"""Proving that charges and invoices say what the ledger says, by set-based statements."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256

import msgspec
from sqlalchemy import Connection, func, select

from charging.invoices.mirror import booked
from charging.invoices.model import Invoice
from charging.ledger.tables import PREPAID, RECEIVABLE, UNBILLED, LedgerAccount, Posting
from charging.ledger.verify import Finding
from operator_server.counting.units import COVERED
from operator_server.store.accounting import Charge, InvoiceRow
from operator_server.store.billing import InvoiceDraft
from operator_server.store.rows import table

_AT_ONCE = 500


def verify_billing(connection: Connection) -> list[Finding]:
    """Findings: charges and invoices that differ from their postings, or that stand twice; none is the proof."""
    return [
        *_charges(connection),
        *_invoices(connection),
        *_charged_twice(connection),
        *_documents(connection),
        *_numbers(connection),
        *_drafts(connection),
    ]


def _debited(kind: str):  # type: ignore[no-untyped-def]  # a Core subquery
    posting, account = table(Posting), table(LedgerAccount)
    return (
        select(posting.c.transfer_id, func.sum(posting.c.amount).label("amount"))
        .join(account, account.c.id == posting.c.ledger_account_id)
        .where(account.c.kind == kind)
        .group_by(posting.c.transfer_id)
        .subquery()
    )


def _charges(connection: Connection) -> Iterator[Finding]:
    charge = table(Charge)
    for kind, amount in ((UNBILLED, charge.c.net), (PREPAID, charge.c.net + charge.c.paid_tax)):
        debited = _debited(kind)
        rows = connection.execute(
            select(charge.c.id, amount.label("says"), charge.c.transfer_id, debited.c.amount)
            .outerjoin(debited, debited.c.transfer_id == charge.c.transfer_id)
            .where(charge.c.pays == kind, func.coalesce(debited.c.amount, 0) != amount)
        )
        for row in rows:
            what = f"says {row.says} micros, transfer {row.transfer_id} says {row.amount or 0}"
            yield Finding(what, f"charge {row.id}")


def _invoices(connection: Connection) -> Iterator[Finding]:
    invoice, debited = table(InvoiceRow), _debited(RECEIVABLE)
    rows = connection.execute(
        select(invoice.c.number, invoice.c.total, invoice.c.transfer_id, debited.c.amount)
        .outerjoin(debited, debited.c.transfer_id == invoice.c.transfer_id)
        .where(func.coalesce(debited.c.amount, 0) != invoice.c.total)
    )
    for row in rows:
        what = f"says {row.total} micros, transfer {row.transfer_id} says {row.amount or 0}"
        yield Finding(what, f"invoice {row.number}")
    charge, unbilled = table(Charge), _debited(UNBILLED)
    billed = (
        select(charge.c.invoice_id, func.sum(charge.c.net).label("net"))
        .where(charge.c.invoice_id.is_not(None))
        .group_by(charge.c.invoice_id)
        .subquery()
    )
    rows = connection.execute(
        select(invoice.c.number, billed.c.net, unbilled.c.amount)
        .outerjoin(billed, billed.c.invoice_id == invoice.c.id)
        .outerjoin(unbilled, unbilled.c.transfer_id == invoice.c.transfer_id)
        .where(func.coalesce(billed.c.net, 0) != -func.coalesce(unbilled.c.amount, 0))
    )
    for row in rows:
        what = f"its charges sum to {row.net or 0} micros, its transfer takes {-(row.amount or 0)} from unbilled"
        yield Finding(what, f"invoice {row.number}")


def _charged_twice(connection: Connection) -> Iterator[Finding]:
    charge = table(Charge)
    deliveries = connection.execute(
        select(charge.c.agreement_id, func.count())
        .where(charge.c.kind == "delivery")
        .group_by(charge.c.agreement_id)
        .having(func.count() > 1)
    )
    for agreement, count in deliveries:
        yield Finding(f"its delivery is charged {count} times", f"agreement {agreement}")
    before = (
        func.max(charge.c.counter_to)
        .over(
            partition_by=(charge.c.installation_id, charge.c.counter, charge.c.epoch),
            order_by=(charge.c.counter_from, charge.c.id),
            rows=(None, -1),
        )
        .label("before")
    )
    ranges = select(charge.c.id, charge.c.counter_from, before).where(charge.c.kind.in_(("use", COVERED))).subquery()
    for row in connection.execute(select(ranges).where(ranges.c.counter_from < ranges.c.before)):
        yield Finding(f"it charges from {row.counter_from}, where {row.before} was charged already", f"charge {row.id}")


def _documents(connection: Connection) -> Iterator[Finding]:
    """What the documents of invoices say, against the rows beside them and the digest of the day they were made."""
    invoice = table(InvoiceRow)
    rows = connection.execute(select(invoice).order_by(invoice.c.id), execution_options={"stream_results": True})
    for row in rows.yield_per(_AT_ONCE):
        where = f"invoice {row.number}"
        if row.digest is not None and sha256(row.document).digest() != row.digest:
            yield Finding("its document is not the one that was made", where)
            continue
        try:
            document = msgspec.json.decode(row.document, type=Invoice)
        except msgspec.DecodeError as error:
            yield Finding(f"its document cannot be read: {error}", where)
            continue
        sums = booked(document)
        said = (
            document.number,
            document.series,
            document.currency,
            sums.net_micros,
            sums.tax_micros,
            sums.payable_micros,
        )
        kept = (row.number, row.series, row.currency, row.net, row.tax, row.total)
        if said != kept:
            yield Finding(f"its document says {said}, the row beside it {kept}", where)


def _numbers(connection: Connection) -> Iterator[Finding]:
    invoice = table(InvoiceRow)
    number = invoice.c.number_in_series
    rows = connection.execute(
        select(invoice.c.series, func.count(), func.min(number), func.max(number))
        .group_by(invoice.c.series)
        .having((func.min(number) != 1) | (func.max(number) != func.count()))
    )
    for series, count, first, last in rows:
        yield Finding(f"it has {count} invoices numbered {first} to {last}; numbers are missing", f"series {series}")


def _drafts(connection: Connection) -> Iterator[Finding]:
    """Drafts against the charges that they hold, and marks that lead nowhere."""
    charge, draft, invoice = table(Charge), table(InvoiceDraft), table(InvoiceRow)
    held = (
        select(charge.c.invoice_id, func.sum(charge.c.net).label("net"))
        .where(charge.c.invoice_id.in_(select(draft.c.id)))
        .group_by(charge.c.invoice_id)
        .subquery()
    )
    for row in connection.execute(
        select(draft.c.id, draft.c.account_id, draft.c.unbilled, held.c.net)
        .outerjoin(held, held.c.invoice_id == draft.c.id)
        .where(func.coalesce(held.c.net, 0) != draft.c.unbilled)
    ):
        what = f"it bills {row.unbilled} micros, its charges sum to {row.net or 0}"
        yield Finding(what, f"draft {row.id} of account {row.account_id}")
    lost = connection.execute(
        select(charge.c.id, charge.c.invoice_id)
        .outerjoin(draft, draft.c.id == charge.c.invoice_id)
        .outerjoin(invoice, invoice.c.id == charge.c.invoice_id)
        .where(charge.c.invoice_id.is_not(None), draft.c.id.is_(None), invoice.c.id.is_(None))
    )
    for mark in lost:
        yield Finding(f"it stands on {mark.invoice_id}, which is neither an invoice nor a draft", f"charge {mark.id}")
