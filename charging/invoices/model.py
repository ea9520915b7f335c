"""What an invoice says, before any form of it is made.

Days are days of the account's time zone, first and last day inclusive (as EN 16931 has them, BT-73/74, BT-134/135).
Amounts are whole micros (``signalling.money``). Field names follow the business terms of EN 16931 where it has one.
"""

from __future__ import annotations

from datetime import date
from typing import Literal

import msgspec

TAX_CATEGORIES = {
    "S": "standard or reduced rate",
    "Z": "zero rated",
    "E": "exempt",
    "AE": "reverse charge",
    "K": "intra-Community supply",
    "G": "export outside the EU",
    "O": "outside the scope of tax",
}
"""Tax category codes of EN 16931 (BT-151, UNCL5305). Only ``S`` has a rate above zero."""

TAX_REASON_CODES = {
    "E": "",
    "AE": "VATEX-EU-AE",
    "K": "VATEX-EU-IC",
    "G": "VATEX-EU-G",
    "O": "VATEX-EU-O",
}
"""Categories that need a reason why no tax is charged (BR-E-10, BR-AE-10, BR-IC-10, BR-G-10, BR-O-10), and the code of
that reason where VATEX has one for every case (BT-121)."""


class InvoiceError(ValueError):
    """Content that cannot be an invoice; the text says which line or field and why."""


class BankAccount(msgspec.Struct, frozen=True, kw_only=True):
    """Where the seller is paid (BG-17)."""

    holder: str
    iban: str
    bic: str = ""
    bank: str = ""


class Party(msgspec.Struct, frozen=True, kw_only=True):
    """Seller (BG-4) or customer (BG-7). ``country`` is ISO 3166-1 alpha-2; ``bank`` is the seller's."""

    name: str
    address: tuple[str, ...]
    country: str
    vat_id: str = ""
    email: str = ""
    bank: BankAccount | None = None


class InvoiceLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line (BG-25) and what it can be traced to.

    ``net_micros`` is the exact sum of the charges at the ledger's scale; what the customer pays for the line is
    rounded in :func:`charging.invoices.totals.totals`. ``unit_price`` is a plain decimal such as ``"0.0036"``, which
    is shown in the customer's number format, or words (``"by tier"``), which are shown as they are. ``included`` is
    the part of ``quantity`` that the agreement contains without a further charge. ``charge_ids`` lead through the
    ledger to the evidence of ``agreement_id``.

    ``gross_micros``: where the price includes tax, the exact sum with tax; ``net_micros`` is what is left without it.
    ``tax_reason``: why no tax is charged, for categories that need one (BT-120). ``kind`` is the kind of the charges
    (delivery, use, reversal, recurring, commitment); ``subscriber`` who used it, for the breakdown by subscriber.
    """

    line_id: str
    description: str
    offer: str
    charging_mode: str
    agreement_id: str
    period_from: date
    period_to: date
    quantity: int
    net_micros: int
    tax_category: str
    tax_rate_bp: int
    charge_ids: tuple[str, ...]
    unit: str = ""
    unit_price: str = ""
    included: int = 0
    counter_name: str = ""
    counter_from: int | None = None
    counter_to: int | None = None
    kind: str = ""
    subscriber: str = ""
    gross_micros: int | None = None
    tax_reason: str = ""


class LineNet(msgspec.Struct, frozen=True):
    """A line's amount as invoiced (BT-131), in whole minor units, beside the exact one.

    ``gross_micros``: where the price includes tax, the line with tax in whole minor units.
    """

    line_id: str
    exact_micros: int
    net_micros: int
    gross_micros: int | None = None

    @property
    def rounding_micros(self) -> int:
        """What rounding added (positive) or took: for the rounding account of the ledger."""
        return self.net_micros - self.exact_micros


class TaxTotal(msgspec.Struct, frozen=True):
    """The tax of one category and rate (BG-23): ``tax_micros`` is the rounded product of base and rate.

    ``reason`` (BT-120) and ``reason_code`` (BT-121) say why none is charged.
    """

    category: str
    rate_bp: int
    net_micros: int
    tax_micros: int
    reason: str = ""
    reason_code: str = ""


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """The sums of an invoice (BG-22), all in whole minor units except ``rounding_micros``.

    net = sum of ``lines``; tax = sum of ``taxes``; gross = net + tax; net - ``rounding_micros`` = sum of the exact
    line amounts. ``paid_micros`` (BT-113) was paid before; ``payable_rounding_micros`` (BT-114) makes up for a minor
    unit where prices include tax and no net has their sum as its gross.
    """

    net_micros: int
    tax_micros: int
    gross_micros: int
    rounding_micros: int
    lines: tuple[LineNet, ...]
    taxes: tuple[TaxTotal, ...]
    paid_micros: int = 0
    payable_rounding_micros: int = 0

    @property
    def payable_micros(self) -> int:
        """What is to be paid (BT-115, BR-CO-16)."""
        return self.gross_micros - self.paid_micros + self.payable_rounding_micros


class UsePoint(msgspec.Struct, frozen=True):
    """What was used on a day."""

    day: date
    quantity: int


class UseSeries(msgspec.Struct, frozen=True):
    """Use over time, for the chart: ``points`` in the order of their days, a day once."""

    title: str
    unit: str
    points: tuple[UsePoint, ...]


class Invoice(msgspec.Struct, frozen=True, kw_only=True):
    """An invoice, or with ``corrects`` (the number of the invoice it takes back, BT-25) a credit note.

    ``language`` is the customer's, a BCP 47 tag such as ``de`` or ``fr-CH``. Amounts of a credit note are positive,
    as EN 16931 has them for document type 381.

    ``account``: the customer's number. ``carried_forward_micros``: the part of the exact net that earlier cycles left,
    since it was below the least amount that is billed. ``time_zone``: the zone of its days. ``tax_country``: the
    country whose rates hold. ``final_bill``: the last one of an account that is closed. ``use``: for the
    chart of use.
    """

    number: str
    series: str
    issue_date: date
    due_date: date
    period_from: date
    period_to: date
    seller: Party
    customer: Party
    currency: str
    language: str
    lines: tuple[InvoiceLine, ...]
    totals: Totals
    notes: tuple[str, ...] = ()
    payment_reference: str = ""
    corrects: str = ""
    corrects_date: date | None = None
    kind: Literal["invoice", "credit_note"] = "invoice"
    account: str = ""
    carried_forward_micros: int = 0
    time_zone: str = ""
    tax_country: str = ""
    final_bill: bool = False
    use: tuple[UseSeries, ...] = ()
