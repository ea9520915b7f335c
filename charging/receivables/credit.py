"""What a credit note takes back of an invoice: whole, some lines, or a part of a line; never more than is left.

Tax comes back with the base it was charged on. After every note, what a category and rate has given back is the
rounded tax on all that was credited of it, at most what was charged, and all of it once the base is credited whole;
so no sequence of notes gives back a cent more or less than was charged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import msgspec

from charging.invoices.model import Invoice, InvoiceError, InvoiceLine, LineNet, TaxTotal, Totals
from charging.invoices.totals import round_to_unit
from signalling.money import format_micros, minor_unit

_BASIS_POINTS = 10_000
TaxKey = tuple[str, int]


class CreditError(InvoiceError):
    """A credit that cannot be given; the text says which line, how much is left and why."""


@dataclass(frozen=True, slots=True)
class Credited:
    """What earlier notes took back of an invoice: by line the net as invoiced and the exact micros, by tax the tax."""

    nets: Mapping[str, int]
    exact: Mapping[str, int]
    taxes: Mapping[TaxKey, int]

    @classmethod
    def nothing(cls) -> Credited:
        """Before the first note."""
        return cls({}, {}, {})

    def with_note(self, note: Totals, lines: Sequence[InvoiceLine]) -> Credited:
        """This and one note more."""
        nets, exact, taxes = dict(self.nets), dict(self.exact), dict(self.taxes)
        for line in note.lines:
            nets[line.line_id] = nets.get(line.line_id, 0) + line.net_micros
            exact[line.line_id] = exact.get(line.line_id, 0) + line.exact_micros
        for tax in note.taxes:
            key = (tax.category, tax.rate_bp)
            taxes[key] = taxes.get(key, 0) + tax.tax_micros
        return Credited(nets, exact, taxes)


def left_of(invoice: Invoice, credited: Credited) -> dict[str, int]:
    """By line, the net as invoiced that can still be credited; of a line that takes something back, below zero."""
    return {line.line_id: line.net_micros - credited.nets.get(line.line_id, 0) for line in invoice.totals.lines}


def credit_lines(
    invoice: Invoice, credited: Credited, wanted: Mapping[str, int | None] | None
) -> tuple[tuple[InvoiceLine, ...], Totals]:
    """The lines and sums of a credit note.

    ``wanted``: by line the net micros to credit, ``None`` for all that is left of it; no mapping for all that is left
    of the invoice. Raises :class:`CreditError`.
    """
    left = left_of(invoice, credited)
    amounts = _amounts(invoice, credited, left, wanted)
    nets = {net.line_id: net for net in invoice.totals.lines}
    lines, sums = [], []
    for line in invoice.lines:
        if line.line_id not in amounts:
            continue
        amount = amounts[line.line_id]
        rest = amount == left[line.line_id]
        exact = nets[line.line_id].exact_micros - credited.exact.get(line.line_id, 0) if rest else amount
        sums.append(LineNet(line.line_id, exact, amount))
        lines.append(_line(line, amount, exact, whole=amount == nets[line.line_id].net_micros))
    taxes = _taxes(invoice, credited, lines, amounts)
    complete = all(amounts.get(line, 0) == amount for line, amount in left.items())
    net, tax = sum(amounts.values()), sum(each.tax_micros for each in taxes)
    return tuple(lines), Totals(
        net_micros=net,
        tax_micros=tax,
        gross_micros=net + tax,
        rounding_micros=sum(each.rounding_micros for each in sums),
        lines=tuple(sums),
        taxes=taxes,
        payable_rounding_micros=invoice.totals.payable_rounding_micros if complete else 0,
    )


def credit_note(
    invoice: Invoice,
    credited: Credited,
    wanted: Mapping[str, int | None] | None,
    *,
    number: str,
    series: str,
    issued: date,
    reason: str,
) -> Invoice:
    """The credit note as a document: amounts positive, ``corrects`` names the invoice (BT-25)."""
    lines, sums = credit_lines(invoice, credited, wanted)
    return msgspec.structs.replace(
        invoice,
        kind="credit_note",
        number=number,
        series=series,
        issue_date=issued,
        due_date=issued,
        lines=lines,
        totals=sums,
        notes=(reason,) if reason else (),
        payment_reference=invoice.number,
        corrects=invoice.number,
        corrects_date=invoice.issue_date,
        carried_forward_micros=0,
    )


def _amounts(
    invoice: Invoice, credited: Credited, left: Mapping[str, int], wanted: Mapping[str, int | None] | None
) -> dict[str, int]:
    currency, unit = invoice.currency, minor_unit(invoice.currency)
    if wanted is None:
        # A line that rounds to nothing goes along, so that what rounding made of it goes back too.
        amounts = {line: amount for line, amount in left.items() if amount or line not in credited.nets}
        if sum(amounts.values()) <= 0:
            raise CreditError(f"invoice {invoice.number}: nothing is left of it to credit")
        return amounts
    if not wanted:
        raise CreditError(f"invoice {invoice.number}: name the lines to credit, or credit the whole")
    amounts = {}
    for line, asked in wanted.items():
        if line not in left:
            raise CreditError(f"invoice {invoice.number}: it has no line {line!r}; it has {', '.join(left)}")
        amount = left[line] if asked is None else asked
        what = f"invoice {invoice.number}, line {line}"
        if left[line] <= 0:
            raise CreditError(f"{what}: nothing is left of it to credit")
        if amount <= 0 or amount % unit:
            raise CreditError(f"{what}: {format_micros(amount, currency)} {currency} cannot be paid; give whole units")
        if amount > left[line]:
            raise CreditError(
                f"{what}: {format_micros(amount, currency)} {currency} asked, "
                f"{format_micros(left[line], currency)} net of it is not credited yet"
            )
        amounts[line] = amount
    return amounts


def _line(line: InvoiceLine, amount: int, exact: int, *, whole: bool) -> InvoiceLine:
    if whole:
        return msgspec.structs.replace(line, net_micros=exact)
    return msgspec.structs.replace(
        line,
        net_micros=exact,
        quantity=1,
        unit="",
        unit_price="",
        included=0,
        counter_name="",
        counter_from=None,
        counter_to=None,
        charge_ids=(),
        gross_micros=None,
    )


def _taxes(
    invoice: Invoice, credited: Credited, lines: Sequence[InvoiceLine], amounts: Mapping[str, int]
) -> tuple[TaxTotal, ...]:
    unit = minor_unit(invoice.currency)
    of_line = {line.line_id: (line.tax_category, line.tax_rate_bp) for line in invoice.lines}
    before = _by_tax(of_line, credited.nets)
    now = _by_tax(of_line, amounts)
    taxes = []
    for charged in invoice.totals.taxes:
        key = (charged.category, charged.rate_bp)
        if key not in {(line.tax_category, line.tax_rate_bp) for line in lines}:
            continue
        base = before.get(key, 0) + now[key]
        if base != charged.net_micros and not 0 <= base <= charged.net_micros:
            raise CreditError(
                f"invoice {invoice.number}: its lines with tax {charged.category} {charged.rate_bp / 100:g} % sum to "
                f"{format_micros(charged.net_micros, invoice.currency)} net, since some take back others; credit these "
                "together, or the whole"
            )
        if base == charged.net_micros:
            tax = charged.tax_micros
        else:
            tax = min(round_to_unit(base * charged.rate_bp, _BASIS_POINTS, unit), charged.tax_micros)
        taxes.append(msgspec.structs.replace(charged, net_micros=now[key], tax_micros=tax - credited.taxes.get(key, 0)))
    return tuple(taxes)


def _by_tax(of_line: Mapping[str, TaxKey], amounts: Mapping[str, int]) -> dict[TaxKey, int]:
    sums: dict[TaxKey, int] = {}
    for line, amount in amounts.items():
        sums[of_line[line]] = sums.get(of_line[line], 0) + amount
    return sums
