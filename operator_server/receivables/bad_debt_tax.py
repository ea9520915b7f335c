"""The tax of debts that were written off: corrected by the country's rule, and owed again when they are paid after all.

The customer's debt is not touched by it. What is corrected moves from bad debt to the tax account; the tax summary of
the month has its base and tax with the opposite sign.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import Connection, Engine, Row, func, select, update

from charging.invoices.model import Invoice
from charging.ledger.operations import Leg
from charging.ledger.tables import OPERATOR, tax_kind
from charging.receivables.bad_debt import Rule, TaxPart, between, correctable_on, part_of, rule_of
from operator_server.receivables.books import BAD_DEBT, ReceivablesError, decode, lock, post
from operator_server.receivables.credited import credited_of
from operator_server.settings import Settings
from operator_server.store.accounting import InvoiceRow
from operator_server.store.feed import record
from operator_server.store.receivables import BadDebtTax, CreditNoteRow, ReceivableItem, WriteOff
from operator_server.store.rows import add, table
from operator_server.store.store import transact
from signalling.clock import to_micros
from signalling.ids import new_id
from signalling.money import minor_unit

KEPT, WAITING, CORRECTED = "kept", "waiting", "corrected"
_MOST = 500

_write_off, _rows, _item, _note = table(WriteOff), table(BadDebtTax), table(ReceivableItem), table(CreditNoteRow)


def begin_correction(connection: Connection, settings: Settings, write_off: Row[Any], now: datetime) -> str:
    """Correct the tax of a debt that was just written off, or note from when that may be done; the state of its tax."""
    invoice = _invoice_of(connection, write_off.number)
    rule = Rule("keep") if invoice is None else _rule(settings, invoice)
    today = now.astimezone(settings.operator.zone).date()
    due = None if invoice is None else correctable_on(rule, invoice.due_date, today)
    state = KEPT if due is None else WAITING
    connection.execute(update(_write_off).where(_write_off.c.id == write_off.id).values(tax=state, tax_from=due))
    if due is not None and due <= today:
        return _correct(connection, settings, write_off, now)
    return state


def correct_due(engine: Engine, settings: Settings, now: datetime) -> int:
    """Correct the tax of write-offs whose day has come, each in a transaction of its own; how many."""
    today = now.astimezone(settings.operator.zone).date()
    with engine.connect() as connection:
        due = connection.execute(
            select(_write_off.c.id).where(_write_off.c.tax == WAITING, _write_off.c.tax_from <= today).limit(_MOST)
        )
        ids = list(due.scalars())

    def correct(connection: Connection, id: str) -> bool:
        lock(connection)
        row = connection.execute(select(_write_off).where(_write_off.c.id == id)).one()
        if row.tax == WAITING:
            _correct(connection, settings, row, now)
        return bool(row.tax == WAITING)

    return sum(transact(engine, partial(correct, id=id)) for id in ids)


def restore(
    connection: Connection, settings: Settings, write_off: Row[Any], part: int, payment: str, now: datetime
) -> None:
    """Owe the tax again of ``part`` micros of a written-off debt, which ``payment`` pays after all.

    ``write_off`` is its row before that payment.
    """
    if write_off.tax != CORRECTED:
        return
    rows = connection.execute(select(_rows).where(_rows.c.write_off_id == write_off.id, _rows.c.part < 0)).all()
    if not rows:
        return
    amount = -rows[0].part
    paid = write_off.recovered - (write_off.amount - amount)
    taken = [TaxPart(each.category, each.rate_bp, -each.base, -each.tax) for each in rows]
    back = between(taken, amount, paid, paid + part, minor_unit(write_off.currency))
    _book(connection, settings, write_off, back, part, f"bdt:{write_off.id[-12:]}:{payment}"[:64], now)


def corrections_of(connection: Connection, write_off: str) -> list[Row[Any]]:
    """What a write-off took back of tax and what payments brought back, in order."""
    return list(connection.execute(select(_rows).where(_rows.c.write_off_id == write_off).order_by(_rows.c.id)))


def notice_rows(connection: Connection, notice: str) -> tuple[list[Row[Any]], Invoice]:
    """The corrections that a notice tells of, and their invoice. Raises :class:`ReceivablesError`."""
    rows = list(
        connection.execute(select(_rows).where(_rows.c.notice == notice).order_by(_rows.c.category, _rows.c.rate_bp))
    )
    if not rows or not notice:
        raise ReceivablesError(f"notice {notice!r}: there is none; `tollgate write-off taxes` lists them")
    invoice = _invoice_of(connection, rows[0].number)
    assert invoice is not None, "tax was corrected, so there is an invoice"
    return rows, invoice


def find_corrections(connection: Connection) -> list[Row[Any]]:
    """All corrections, the oldest first."""
    return list(connection.execute(select(_rows).order_by(_rows.c.booked_at, _rows.c.notice, _rows.c.id)))


def _correct(connection: Connection, settings: Settings, write_off: Row[Any], now: datetime) -> str:
    """Take back the tax of what is still not paid of a write-off."""
    invoice = _invoice_of(connection, write_off.number)
    assert invoice is not None, "only the tax of an invoice waits to be corrected"
    connection.execute(update(_write_off).where(_write_off.c.id == write_off.id).values(tax=CORRECTED))
    open_part = write_off.amount - write_off.recovered
    parts = part_of(*_left(connection, invoice), open_part, minor_unit(invoice.currency))
    taken = [TaxPart(each.category, each.rate_bp, -each.base, -each.tax) for each in parts]
    _book(connection, settings, write_off, taken, -open_part, f"bdt:{write_off.id}", now)
    return CORRECTED


def _book(
    connection: Connection,
    settings: Settings,
    write_off: Row[Any],
    parts: Sequence[TaxPart],
    part: int,
    op_id: str,
    now: datetime,
) -> None:
    if not parts:
        return
    invoice = _invoice_of(connection, write_off.number)
    assert invoice is not None, "tax was invoiced"
    tax = sum(each.tax for each in parts)
    categories = sorted({each.category for each in parts})
    legs = [
        Leg(OPERATOR, tax_kind(name), invoice.currency, -sum(each.tax for each in parts if each.category == name))
        for name in categories
    ]
    legs.append(Leg(OPERATOR, BAD_DEBT, invoice.currency, tax))
    transfer = post(connection, op_id, "bad_debt_tax", legs, now) if any(each.tax for each in parts) else None
    notice = _next_notice(connection, settings, now) if _rule(settings, invoice).method == "document" else ""
    for each in parts:
        add(
            connection,
            BadDebtTax(
                id=new_id(to_micros(now)), write_off_id=write_off.id, number=invoice.number, country=_country(invoice),
                category=each.category, rate_bp=each.rate_bp, currency=invoice.currency, base=each.base, tax=each.tax,
                part=part, transfer_id=transfer, notice=notice, booked_at=now,
            ),
        )  # fmt: skip
    record(
        connection, now, "bad_debt_tax", account=write_off.account_id, reference=invoice.number,
        currency=invoice.currency, tax=tax, notice=notice,
    )  # fmt: skip


def _left(connection: Connection, invoice: Invoice) -> tuple[list[TaxPart], int]:
    """Base and tax of an invoice that no credit note took back, and what is to be paid of it in all."""
    credited = credited_of(connection, invoice.number)
    bases: dict[tuple[str, int], int] = {}
    for line in invoice.lines:
        key = (line.tax_category, line.tax_rate_bp)
        bases[key] = bases.get(key, 0) + credited.nets.get(line.line_id, 0)
    parts = [
        TaxPart(
            each.category, each.rate_bp, each.net_micros - bases.get((each.category, each.rate_bp), 0),
            each.tax_micros - credited.taxes.get((each.category, each.rate_bp), 0),
        )
        for each in invoice.totals.taxes
    ]  # fmt: skip
    back = connection.execute(
        select(func.coalesce(func.sum(_note.c.total), 0)).where(_note.c.invoice_number == invoice.number)
    ).scalar_one()
    return parts, invoice.totals.payable_micros + invoice.totals.paid_micros - int(back)


def _invoice_of(connection: Connection, number: str) -> Invoice | None:
    """The invoice behind a debt: itself, or of what a late payment made owed again, the one that was written off."""
    invoices = table(InvoiceRow)
    for _ in range(100):
        document = connection.execute(select(invoices.c.document).where(invoices.c.number == number)).scalar()
        if document is not None:
            return decode(document)
        about = connection.execute(
            select(_item.c.about).where(_item.c.number == number, _item.c.kind == "recovery")
        ).scalar()
        if not about:
            return None
        number = str(about)
    return None


def _country(invoice: Invoice) -> str:
    return invoice.tax_country or invoice.customer.country


def _rule(settings: Settings, invoice: Invoice) -> Rule:
    own = {country: Rule(each.method, each.days) for country, each in settings.receivables.bad_debt_tax.items()}
    return rule_of(_country(invoice), own)


def _next_notice(connection: Connection, settings: Settings, now: datetime) -> str:
    """The next number of this year's series, which has no gaps, since it is taken in the notice's transaction."""
    series = f"{settings.receivables.bad_debt_series}-{now.astimezone(settings.operator.zone).year}"
    last = connection.execute(
        select(func.max(_rows.c.notice)).where(_rows.c.notice.startswith(f"{series}-"))
    ).scalar()  # fmt: skip
    return f"{series}-{int(last.rpartition('-')[2]) + 1 if last else 1:06d}"
