"""Writing bills: as drafts, or final with a number, their posting and the marks on their charges, all or nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

import msgspec
from sqlalchemy import Connection, delete, func, insert, select

from charging.invoices.mirror import booked
from charging.invoices.model import Invoice
from charging.ledger.book import apply
from charging.ledger.operations import Applied, Leg, Post
from charging.ledger.tables import OPERATOR, RECEIVABLE, REVENUE, ROUNDING, UNBILLED, tax_kind
from operator_server.billing.making import Bill
from operator_server.settings import OperatorSettings
from operator_server.store.accounting import InvoiceRow
from operator_server.store.billing import BillOutcome, InvoiceDraft
from operator_server.store.parties import Event
from operator_server.store.rows import table
from signalling.clock import to_micros
from signalling.ids import new_id

SOURCE = "billing"
"""The ledger's name of this client."""

_LOCK = 0x70_11_6A_7E
_MARK = {
    # The plus keeps SQLite from walking the index of all that is unbilled.
    "sqlite": "UPDATE charge SET invoice_id = ?, invoice_line = ? WHERE id IN (SELECT value FROM json_each(?))"
    " AND +invoice_id IS NULL",
    "postgresql": "UPDATE charge SET invoice_id = %s, invoice_line = %s WHERE id = ANY(%s) AND invoice_id IS NULL",
}


class BilledMeanwhile(Exception):
    """Charges that were read are on another bill by now: the portion is to be made again."""


@dataclass(frozen=True, slots=True)
class Written:
    """What came of a portion: invoices or drafts written, and accounts that failed: account, currency, reason."""

    count: int
    failed: list[tuple[str, str, str]]


def lock_numbers(connection: Connection) -> None:
    """Let one transaction at a time give numbers; on SQLite a writing transaction is alone anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))


def write_drafts(connection: Connection, run: str, bills: Sequence[Bill], now: datetime) -> Written:
    """Keep bills as drafts. Raises :class:`BilledMeanwhile`."""
    _named(bills, now)
    _mark(connection, bills)
    rows = []
    for bill in bills:
        document, sums = msgspec.json.encode(bill.invoice), booked(bill.invoice)
        rows.append(
            {
                "id": bill.id,
                "bill_run_id": run,
                "account_id": bill.account,
                "period": bill.period,
                "currency": bill.invoice.currency,
                "net": sums.net_micros,
                "tax": sums.tax_micros,
                "total": sums.payable_micros,
                "unbilled": bill.unbilled,
                "taxed": bill.taxed,
                "document": document,
                "digest": sha256(document).digest(),
            }
        )
    if rows:
        connection.execute(insert(table(InvoiceDraft)), rows)
    return Written(len(rows), [])


def write_invoices(
    connection: Connection, run: str, bills: Sequence[Bill], operator: OperatorSettings, now: datetime
) -> Written:
    """Make bills final: numbers without a gap, postings, documents, marks. Raises :class:`BilledMeanwhile`.

    A bill without ``id`` marks its charges now; a draft has marked them before.
    """
    lock_numbers(connection)
    fresh = [bill for bill in bills if not bill.id]
    _named(fresh, now)
    posted, failed = _post(connection, bills, now)
    done = [bill for bill in bills if bill.id in posted]
    _mark(connection, [bill for bill in fresh if bill.id in posted])
    first, series = _next_number(connection, operator, now)
    issued = now.astimezone(operator.zone).date()
    rows, events = [], []
    for number, bill in enumerate(done, first):
        name = f"{series}-{number:06d}"
        invoice = msgspec.structs.replace(
            bill.invoice,
            number=name,
            series=series,
            issue_date=issued,
            due_date=issued + timedelta(days=operator.payment_days),
            payment_reference=name,
        )
        rows.append(_row(run, bill, invoice, number, posted[bill.id], now))
        events.append(_event(bill, invoice, now))
    if rows:
        connection.execute(insert(table(InvoiceRow)), rows)
        connection.execute(insert(table(Event)), events)
    return Written(len(rows), failed)


def note_outcomes(
    connection: Connection,
    run: str,
    accounts: Iterable[str],
    carried: Sequence[Bill],
    failed: list[tuple[str, str, str]],
) -> None:
    """Keep why accounts have no invoice of this run, in place of what an earlier call noted."""
    outcome = table(BillOutcome)
    connection.execute(delete(outcome).where(outcome.c.bill_run_id == run, outcome.c.account_id.in_(list(accounts))))
    rows = [
        {
            "bill_run_id": run, "account_id": bill.account, "currency": bill.invoice.currency, "kind": "carried",
            "amount": booked(bill.invoice).payable_micros, "reason": "",
        }
        for bill in carried
    ] + [
        {
            "bill_run_id": run, "account_id": account, "currency": currency, "kind": "failed", "amount": 0,
            "reason": reason,
        }
        for account, currency, reason in failed
    ]  # fmt: skip
    if rows:
        connection.execute(insert(outcome), rows)


def _named(bills: Sequence[Bill], now: datetime) -> None:
    micros = to_micros(now)
    for bill in bills:
        bill.id = new_id(micros)


def _post(
    connection: Connection, bills: Sequence[Bill], now: datetime
) -> tuple[dict[str, str], list[tuple[str, str, str]]]:
    """The transfer of each bill that could be posted, and the others with the reason."""
    # The lock lets bill runs write one after another, so all of them are one writer of the ledger.
    outcomes = apply(connection, [_posting(bill, now) for bill in bills], to_micros(now), writer=SOURCE)
    posted, failed = {}, []
    for bill, outcome in zip(bills, outcomes, strict=True):
        if isinstance(outcome, Applied):
            posted[bill.id] = outcome.transfer_id
        else:
            failed.append((bill.account, bill.invoice.currency, f"could not be posted: {outcome}"))
    return posted, failed


def _posting(bill: Bill, now: datetime) -> Post:
    """Move what is billed from unbilled to receivable, with its tax and what rounding made of it."""
    sums, currency = booked(bill.invoice), bill.invoice.currency
    tax: dict[str, int] = {}
    for each in sums.taxes:
        tax[each.category] = tax.get(each.category, 0) + each.tax_micros
    exact = bill.unbilled - bill.taxed
    legs = (
        Leg(bill.account, UNBILLED, currency, -bill.unbilled),
        Leg(bill.account, RECEIVABLE, currency, sums.payable_micros),
        *(Leg(OPERATOR, tax_kind(category), currency, -amount) for category, amount in sorted(tax.items())),
        # Prices that include tax were booked as revenue whole.
        Leg(OPERATOR, REVENUE, currency, bill.taxed),
        Leg(OPERATOR, ROUNDING, currency, exact - sums.net_micros - sums.payable_rounding_micros),
    )
    return Post(
        source=SOURCE, op_id=bill.id, kind="invoice", legs=tuple(leg for leg in legs if leg.amount), effective_at=now
    )


def _next_number(connection: Connection, operator: OperatorSettings, now: datetime) -> tuple[int, str]:
    """The next number of this year's series, which has no gaps, since it is taken in the invoice's transaction."""
    year = str(now.astimezone(operator.zone).year)
    series = f"{operator.invoice_series}-{year}" if operator.invoice_series else year
    invoices = table(InvoiceRow)
    last = connection.execute(select(func.max(invoices.c.number_in_series)).where(invoices.c.series == series)).scalar()
    return (last or 0) + 1, series


def _row(run: str, bill: Bill, invoice: Invoice, number: int, transfer: str, now: datetime) -> dict[str, Any]:
    document, sums = msgspec.json.encode(invoice), booked(invoice)
    return {
        "id": bill.id,
        "number": invoice.number,
        "series": invoice.series,
        "number_in_series": number,
        "bill_run_id": run,
        "account_id": bill.account,
        "period": bill.period,
        "currency": invoice.currency,
        "net": sums.net_micros,
        "tax": sums.tax_micros,
        "total": sums.payable_micros,
        "issued_at": now,
        "document": document,
        "transfer_id": transfer,
        "digest": sha256(document).digest(),
    }


def _event(bill: Bill, invoice: Invoice, now: datetime) -> dict[str, Any]:
    return {
        "id": new_id(to_micros(now)),
        "at": now,
        "kind": "invoiced",
        "account_id": bill.account,
        "reference": invoice.number,
        "data": {"period": bill.period, "currency": invoice.currency, "total": booked(invoice).payable_micros},
    }


def _mark(connection: Connection, bills: Sequence[Bill]) -> None:
    sqlite = connection.dialect.name == "sqlite"
    marks = [
        (bill.id, position, json.dumps(line.charge_ids) if sqlite else list(line.charge_ids))
        for bill in bills
        for position, line in enumerate(bill.invoice.lines, 1)
    ]
    if not marks:
        return
    marked = connection.exec_driver_sql(_MARK[connection.dialect.name], marks).rowcount
    if marked != sum(len(line.charge_ids) for bill in bills for line in bill.invoice.lines):
        raise BilledMeanwhile
