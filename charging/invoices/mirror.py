"""A bill that gives money back, as the credit note that it is: the amounts of EN 16931's type 381 are positive."""

from __future__ import annotations

import msgspec

from .model import Invoice, InvoiceLine, LineNet, TaxTotal, Totals


def as_credit_note(invoice: Invoice) -> Invoice:
    """The same with every amount and quantity of the opposite sign, as a credit note that corrects no one invoice."""
    return msgspec.structs.replace(
        invoice,
        kind="credit_note",
        lines=tuple(_line(line) for line in invoice.lines),
        totals=_mirrored(invoice.totals),
        carried_forward_micros=-invoice.carried_forward_micros,
    )


def _mirrored(totals: Totals) -> Totals:
    """The sums with the opposite sign."""
    return Totals(
        net_micros=-totals.net_micros,
        tax_micros=-totals.tax_micros,
        gross_micros=-totals.gross_micros,
        rounding_micros=-totals.rounding_micros,
        lines=tuple(
            LineNet(
                each.line_id,
                -each.exact_micros,
                -each.net_micros,
                None if each.gross_micros is None else -each.gross_micros,
            )
            for each in totals.lines
        ),
        taxes=tuple(_tax(each) for each in totals.taxes),
        paid_micros=-totals.paid_micros,
        payable_rounding_micros=-totals.payable_rounding_micros,
    )


def booked(invoice: Invoice) -> Totals:
    """The sums as the books have them: below zero where the document is a credit note."""
    return _mirrored(invoice.totals) if invoice.kind == "credit_note" else invoice.totals


def _line(line: InvoiceLine) -> InvoiceLine:
    return msgspec.structs.replace(
        line,
        quantity=-line.quantity,
        net_micros=-line.net_micros,
        gross_micros=None if line.gross_micros is None else -line.gross_micros,
    )


def _tax(tax: TaxTotal) -> TaxTotal:
    return msgspec.structs.replace(tax, net_micros=-tax.net_micros, tax_micros=-tax.tax_micros)
