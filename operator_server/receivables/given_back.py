"""What refunds and taken-back deliveries gave back of an invoice's lines on other bills, or will on the next one."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, func, or_, select

from charging.invoices.model import Invoice
from charging.invoices.totals import round_to_unit
from operator_server.counting.book import portions
from operator_server.receivables.books import decode
from operator_server.receivables.credited import credited_of
from operator_server.store.accounting import Charge, InvoiceRow
from operator_server.store.rows import table
from operator_server.usage.history import RERATED
from signalling.money import minor_unit

_charge, _invoice = table(Charge), table(InvoiceRow)


def given_back(connection: Connection, invoice_id: str, invoice: Invoice) -> dict[str, int]:
    """By line, the micros net that were given back elsewhere; lines of which nothing was are not in it."""
    back, first = _charge, _charge.alias()
    rows = connection.execute(
        select(first.c.id, func.sum(back.c.net))
        .join(first, first.c.id == back.c.reverses_id)
        .where(
            back.c.agreement_id.in_({line.agreement_id for line in invoice.lines}),
            back.c.kind != RERATED,
            or_(back.c.invoice_id.is_(None), back.c.invoice_id != invoice_id),
            first.c.invoice_id == invoice_id,
        )
        .group_by(first.c.id)
    ).all()
    taken = {id: -int(net) for id, net in rows}
    found: dict[str, int] = {}
    for line, sums in zip(invoice.lines, invoice.totals.lines, strict=True):
        part = sum(taken.get(charge, 0) for charge in line.charge_ids) if taken else 0
        if part > 0:
            # What was charged for may be a price with tax, and the line rounded; its net goes back in proportion.
            whole = _charged(connection, line.charge_ids)
            unit = minor_unit(invoice.currency)
            found[line.line_id] = min(sums.net_micros, round_to_unit(sums.net_micros * part, whole, unit))
    return found


def left_of_charge(connection: Connection, charge: Row[Any]) -> int | None:
    """Micros that may be given back yet of the invoice's line on which a charge stands; ``None`` while it is on none.

    A credit note takes back a part of a line, not of its charges.
    """
    row = connection.execute(select(_invoice).where(_invoice.c.id == charge.invoice_id)).first()
    if row is None:
        return None
    invoice = decode(row.document)
    credited = credited_of(connection, invoice.number).nets
    for line, sums in zip(invoice.lines, invoice.totals.lines, strict=True):
        gone = credited.get(line.line_id, 0)
        if charge.id in line.charge_ids and gone:
            left = max(0, sums.net_micros - gone - given_back(connection, row.id, invoice).get(line.line_id, 0))
            return _charged(connection, line.charge_ids) * left // sums.net_micros
    return None


def _charged(connection: Connection, charges: tuple[str, ...]) -> int:
    total = select(func.coalesce(func.sum(_charge.c.net), 0))
    return sum(int(connection.execute(total.where(_charge.c.id.in_(ids))).scalar_one()) for ids in portions(charges))
