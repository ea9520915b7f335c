"""What a line says, in the customer's words and numbers: the same on the page and in the embedded XML."""

from __future__ import annotations

from collections.abc import Iterator

from .labels import formats_for, labels_for
from .model import TAX_CATEGORIES, Invoice, InvoiceLine, TaxTotal


class Wording:
    """The words of one invoice; those of its language unless others are given."""

    def __init__(self, invoice: Invoice) -> None:
        self.invoice = invoice
        self.labels = labels_for(invoice.language)
        self.formats = formats_for(invoice.language)

    @property
    def is_credit_note(self) -> bool:
        """Whether it takes back what another invoice asked for."""
        return self.invoice.kind == "credit_note" or bool(self.invoice.corrects)

    @property
    def title(self) -> str:
        """What it is, and its number."""
        kind = self.labels.credit_note if self.is_credit_note else self.labels.invoice
        return f"{kind} {self.invoice.number}"

    def bare(self, micros: int) -> str:
        """An amount in whole minor units without its currency."""
        return self.formats.bare_amount(micros, self.invoice.currency)

    def amount(self, micros: int) -> str:
        """An amount in whole minor units with its currency."""
        return self.formats.amount(micros, self.invoice.currency)

    def exact(self, micros: int) -> str:
        """An exact amount, without its currency."""
        return self.formats.fine_amount(micros, self.invoice.currency)

    def unit_name(self, unit: str) -> str:
        """A unit's name for many, without a quantity."""
        return self.formats.unit_name(unit, self.labels.units) if unit else ""

    def notes(self) -> Iterator[str]:
        """What is to be said beside the lines."""
        invoice = self.invoice
        if invoice.carried_forward_micros:
            amount = self.formats.exact_amount(invoice.carried_forward_micros, invoice.currency)
            yield self.labels.carried.format(amount=amount)
        if invoice.final_bill:
            yield self.labels.final_bill
        yield from invoice.notes

    def price(self, line: InvoiceLine) -> str:
        """The unit price."""
        return self.formats.price(line.unit_price, self.invoice.currency)

    def quantity(self, line: InvoiceLine) -> str:
        """The quantity with its unit."""
        return self.measured(line.quantity, line.unit)

    def measured(self, quantity: int, unit: str) -> str:
        """A quantity with its unit in words."""
        return self.formats.measured(quantity, unit, self.labels.units)

    def details(self, line: InvoiceLine) -> Iterator[str]:
        """What stands below a line's title: what was bought, how and when, counted from where, agreed by what."""
        labels, formats = self.labels, self.formats
        if line.description != line.offer:
            yield line.description
        parts = [labels.mode(line.charging_mode), formats.days(line.period_from, line.period_to)]
        if line.included:
            parts.append(labels.included.format(count=formats.number(line.included)))
        if line.gross_micros is not None:
            gross = self.formats.exact_amount(line.gross_micros, self.invoice.currency)
            parts.append(labels.with_tax.format(amount=gross))
        yield " · ".join(part for part in parts if part)
        if line.counter_from is not None and line.counter_to is not None:
            yield labels.counter.format(
                name=line.counter_name or line.unit,
                first=formats.number(line.counter_from),
                last=formats.number(line.counter_to),
            )
        if line.agreement_id:
            yield f"{labels.agreement} {line.agreement_id}"

    def to_pay(self) -> str:
        """What is to be done about the amount."""
        invoice, labels = self.invoice, self.labels
        if invoice.totals.payable_micros < 0 or (self.is_credit_note and invoice.totals.gross_micros):
            return labels.credited
        if not self.payable:
            return labels.pay_nothing
        return labels.pay.format(
            amount=self.amount(invoice.totals.payable_micros),
            date=self.formats.day(invoice.due_date),
            reference=invoice.payment_reference or invoice.number,
        )

    @property
    def payable(self) -> bool:
        """Whether anything is to be paid."""
        return self.invoice.totals.payable_micros > 0 and not self.is_credit_note

    def why_untaxed(self, tax: TaxTotal) -> str:
        """Why a category has no tax: the operator's words, else the language's."""
        general = TAX_CATEGORIES[tax.category].capitalize()
        return tax.reason if tax.reason not in ("", general) else self.labels.untaxed[tax.category]

    def tax_line(self, tax: TaxTotal) -> str:
        """A tax by its rate, or why there is none, with what it is taken on."""
        base = self.amount(tax.net_micros)
        if tax.category == "S":
            return self.labels.tax_line.format(rate=self.formats.percent(tax.rate_bp), base=base)
        return self.labels.untaxed_line.format(reason=self.why_untaxed(tax), base=base)
