"""Credit notes: whole invoices, lines or parts of lines taken back, each with a number of its own series."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, func, select

from charging.invoices.model import Invoice
from charging.ledger.operations import Leg
from charging.ledger.tables import OPERATOR, RECEIVABLE, REVENUE, ROUNDING, tax_kind
from charging.receivables.credit import credit_note, left_of
from operator_server.receivables.books import (
    ReceivablesError,
    add_item,
    decode,
    lock,
    post,
    settle_item,
    take_in_invoices,
)
from operator_server.receivables.credited import credited_of
from operator_server.receivables.given_back import given_back
from operator_server.receivables.write_offs import reopen_written_off
from operator_server.settings import Settings
from operator_server.store.accounting import InvoiceRow
from operator_server.store.feed import record
from operator_server.store.receivables import CreditNoteRow
from operator_server.store.rows import add, matching, table
from signalling.clock import to_micros
from signalling.ids import new_id
from signalling.money import format_micros

_note = table(CreditNoteRow)


@dataclass(frozen=True, slots=True)
class CreditRequest:
    """What is to be credited of an invoice. ``lines``: net micros by line, ``None`` for all that is left of it.

    Without ``lines`` it is all that is left of the invoice. ``op_id`` names the request: it is done once.
    """

    invoice: str
    lines: Mapping[str, int | None] | None = None
    reason: str = ""
    by: str = ""
    op_id: str = ""

    @property
    def digest(self) -> bytes:
        """Of what is asked for; who asks does not matter."""
        lines = None if self.lines is None else sorted(self.lines.items())
        return sha256(msgspec.json.encode([self.invoice, lines, self.reason])).digest()


def make_credit_note(connection: Connection, settings: Settings, request: CreditRequest, now: datetime) -> Invoice:
    """Make a credit note and set it against its invoice; what the customer has paid already stands to his credit.

    Raises :class:`charging.receivables.credit.CreditError` for more than is left, and :class:`ReceivablesError`.
    """
    lock(connection)
    op_id = request.op_id or new_id(to_micros(now))
    if len(op_id) > 48:
        raise ReceivablesError(f"id {op_id!r}: at most 48 characters")
    known = connection.execute(select(_note).where(_note.c.op_id == op_id)).first()
    if known is not None:
        if known.request_digest != request.digest:
            raise ReceivablesError(f"id {op_id}: credit note {known.number} was made with it, of other content")
        return decode(known.document)
    invoices = table(InvoiceRow)
    row = connection.execute(select(invoices).where(invoices.c.number == request.invoice)).first()
    if row is None:
        raise ReceivablesError(f"invoice {request.invoice!r}: there is none; `tollgate invoice list` shows all")
    take_in_invoices(connection, settings, now, row.account_id)
    invoice = decode(row.document)
    if invoice.kind == "credit_note":
        raise ReceivablesError(f"{request.invoice}: it is a credit note itself, so nothing of it can be credited")
    number, series = _next_number(connection, settings, now)
    credited = credited_of(connection, request.invoice)
    document = credit_note(
        invoice,
        credited,
        _not_given_back(invoice, left_of(invoice, credited), given_back(connection, row.id, invoice), request.lines),
        number=f"{series}-{number:06d}",
        series=series,
        issued=now.astimezone(settings.operator.zone).date(),
        reason=request.reason,
    )
    transfer = post(connection, f"credit:{op_id}", "credit_note", _legs(row.account_id, document), now)
    sums = document.totals
    add(
        connection,
        CreditNoteRow(
            id=new_id(to_micros(now)), op_id=op_id, request_digest=request.digest, number=document.number,
            series=series, number_in_series=number, invoice_number=invoice.number, account_id=row.account_id,
            period=row.period, currency=invoice.currency, net=sums.net_micros, tax=sums.tax_micros,
            total=sums.payable_micros, reason=request.reason, by=request.by, issued_at=now,
            document=msgspec.json.encode(document), transfer_id=transfer,
        ),
    )  # fmt: skip
    if sums.payable_micros:
        # What was given up is owed again before it is taken back, so that nothing of it comes back twice.
        numbers = reopen_written_off(
            connection, settings, row.account_id, invoice.currency, sums.payable_micros, [invoice.number],
            document.number, now, named_only=True,
        )  # fmt: skip
        item = add_item(
            connection, kind="credit_note", number=document.number, account=row.account_id, currency=invoice.currency,
            amount=-sums.payable_micros, transfer=transfer, now=now, about=invoice.number,
        )  # fmt: skip
        settle_item(connection, item, now, numbers)
    record(
        connection, now, "credited", account=row.account_id, reference=document.number, invoice=invoice.number,
        currency=invoice.currency, total=sums.payable_micros, reason=request.reason, by=request.by,
    )  # fmt: skip
    return document


def _not_given_back(
    invoice: Invoice, left: Mapping[str, int], back: Mapping[str, int], wanted: Mapping[str, int | None] | None
) -> Mapping[str, int | None] | None:
    """What is to be credited, without what refunds gave back on other bills. Raises :class:`ReceivablesError`."""
    if not back:
        return wanted
    what = f"invoice {invoice.number}"
    if wanted is None and any(amount < 0 for amount in left.values()):
        raise ReceivablesError(f"{what}: refunds gave back a part of it on another bill; credit its lines one by one")
    made: dict[str, int | None] = {}
    for line, asked in (dict.fromkeys(left) if wanted is None else wanted).items():
        free = left.get(line, 0) - back.get(line, 0)
        if line not in back:
            if wanted is not None or free:
                made[line] = asked
        elif asked is not None and asked > free:
            told = [format_micros(max(0, each), invoice.currency) for each in (asked, back[line], free)]
            raise ReceivablesError(
                f"{what}, line {line}: {told[0]} {invoice.currency} asked, but refunds gave back {told[1]} on another"
                f" bill, so {told[2]} are left"
            )
        elif free > 0:
            made[line] = free if asked is None else asked
    if not made:
        raise ReceivablesError(f"{what}: nothing is left of it to credit; refunds gave it back on another bill")
    return made


def left_to_credit(connection: Connection, invoice: Invoice) -> dict[str, int]:
    """By line, the net micros of an invoice that neither a credit note nor a refund has taken back."""
    invoices = table(InvoiceRow)
    id = connection.execute(select(invoices.c.id).where(invoices.c.number == invoice.number)).scalar_one()
    back = given_back(connection, id, invoice)
    left = left_of(invoice, credited_of(connection, invoice.number))
    return {line: max(0, amount - back[line]) if line in back else amount for line, amount in left.items()}


def find_credit_notes(
    connection: Connection,
    *,
    account: str = "",
    invoice: str = "",
    most: int | None = None,
) -> list[Row[Any]]:
    """The rows of matching credit notes without their documents, in the order of their numbers."""
    statement = matching(
        select(*(column for column in _note.c if column.name != "document")),
        (_note.c.account_id, account), (_note.c.invoice_number, invoice),
    )  # fmt: skip
    return list(connection.execute(statement.order_by(_note.c.series, _note.c.number_in_series).limit(most)))


def load_credit_note(connection: Connection, number: str) -> Invoice:
    """A credit note as it was made. Raises :class:`ReceivablesError`."""
    document = connection.execute(select(_note.c.document).where(_note.c.number == number)).scalar()
    if document is None:
        raise ReceivablesError(f"credit note {number!r}: there is none; `tollgate credit-note list` shows all")
    return decode(document)


def each_credit_note(connection: Connection, *, account: str = "") -> Iterator[Invoice]:
    """Matching credit notes as they were made, in the order of their numbers."""
    statement = matching(
        select(_note.c.document).order_by(_note.c.series, _note.c.number_in_series), (_note.c.account_id, account)
    )
    for document in connection.execute(statement).scalars():
        yield decode(document)


def _next_number(connection: Connection, settings: Settings, now: datetime) -> tuple[int, str]:
    """The next number of this year's series, which has no gaps, since it is taken in the note's transaction."""
    series = f"{settings.receivables.credit_note_series}-{now.astimezone(settings.operator.zone).year}"
    last = connection.execute(select(func.max(_note.c.number_in_series)).where(_note.c.series == series)).scalar()
    return (last or 0) + 1, series


def _legs(account: str, note: Invoice) -> list[Leg]:
    """What the invoice posted, the other way round: revenue gets the exact amounts back, and rounding its part."""
    sums, currency = note.totals, note.currency
    tax: dict[str, int] = {}
    for each in sums.taxes:
        tax[each.category] = tax.get(each.category, 0) + each.tax_micros
    exact = sums.net_micros - sums.rounding_micros
    return [
        Leg(account, RECEIVABLE, currency, -sums.payable_micros),
        *(Leg(OPERATOR, tax_kind(category), currency, amount) for category, amount in sorted(tax.items())),
        Leg(OPERATOR, REVENUE, currency, exact),
        Leg(OPERATOR, ROUNDING, currency, sums.rounding_micros + sums.payable_rounding_micros),
    ]
