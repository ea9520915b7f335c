"""An invoice as the XML of EN 16931 (UN/CEFACT Cross Industry Invoice), as Factur-X embeds it in a PDF.

The words are those of the page, in the customer's language. A line is ``quantity x price / base quantity``: where the
line's amount is its quantity times its unit price, rounded once, price and base are that unit price, with a base of so
many units that the price has four decimals at most; otherwise (tiers, included units, prices that include tax) the
price is the line's amount and the base its quantity. So the line can always be computed again from what it says. A
line that takes back has a negative quantity, since prices are never negative (BR-27).

EN 16931 knows two decimals (BR-DEC-01 to BR-DEC-28). An invoice in a currency with three can only be expressed if no
amount of it needs the third.
"""

from __future__ import annotations

import re
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Any

import facturx
from lxml import etree

from signalling.money import exponent, format_micros, minor_unit

from . import units
from .model import Invoice, InvoiceError, InvoiceLine, LineNet, Party, TaxTotal
from .totals import round_to_unit
from .wording import Wording

LEVEL = "en16931"
FILE_NAME = "factur-x.xml"

_INVOICE, _CREDIT_NOTE = "380", "381"
_CREDIT_TRANSFER, _SEPA_CREDIT_TRANSFER = "30", "58"
_PRICE_DECIMALS = 4
_PLAIN_DECIMAL = re.compile(r"[0-9]{1,15}(\.[0-9]{1,12})?")
_POST_TOWN = re.compile(r"((?:[A-Z]{1,2}-)?[0-9][0-9 -]{1,7}[0-9](?: [A-Z]{2})?) +(\D.*)")
_TOWN_POST = re.compile(r"(.*\D),? +([A-Z]{1,2}[0-9][0-9A-Z]? ?[0-9][A-Z]{2})")
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def to_xml(invoice: Invoice) -> bytes:
    """The XML, valid by the schema of Factur-X 1.0, profile EN 16931.

    Raises :class:`InvoiceError` for what EN 16931 cannot express (a third decimal) or lacks (a VAT id of the seller or,
    where the customer owes the tax, of the customer).
    """
    _check(invoice)
    xml: bytes = facturx.generate_xml(
        _clean(_document(invoice, Wording(invoice))),
        flavor="factur-x",
        level=LEVEL,
        check_xsd=False,
        check_schematron=None,
    )
    schema = _schema()
    if not schema.validate(etree.fromstring(xml)):
        raise InvoiceError(f"invoice {invoice.number!r} makes no valid Factur-X: {schema.error_log.last_error}")
    return xml


@cache
def _schema() -> etree.XMLSchema:
    # The library's own check reads the schema anew for every invoice.
    return etree.XMLSchema(file=str(files("facturx") / "xsd_and_schematron/facturx-en16931/Factur-X_EN16931.xsd"))


def _check(invoice: Invoice) -> None:
    categories = {tax.category for tax in invoice.totals.taxes}
    where = f"invoice {invoice.number!r}"
    if not invoice.seller.vat_id:
        raise InvoiceError(f"{where}: EN 16931 wants the seller's VAT id (BR-CO-26, BR-S-02); set it for the operator")
    for category, rule in (("AE", "BR-AE-02"), ("K", "BR-IC-02")):
        if category in categories and not invoice.customer.vat_id:
            raise InvoiceError(f"{where}: tax category {category} wants the customer's VAT id ({rule})")
    for party, role in ((invoice.seller, "seller"), (invoice.customer, "customer")):
        if not party.name.strip() or not party.country:
            raise InvoiceError(f"{where}: EN 16931 wants the {role}'s name and country (BR-06 to BR-11)")
    if exponent(invoice.currency) > 2:
        unit = 10_000
        totals = invoice.totals
        amounts = [net.net_micros for net in totals.lines] + [tax.tax_micros for tax in totals.taxes]
        amounts += [totals.paid_micros, totals.payable_rounding_micros]
        if any(amount % unit for amount in amounts):
            raise InvoiceError(
                f"{where}: EN 16931 allows two decimals (BR-DEC), and amounts in {invoice.currency} have three;"
                " export it as pdf or json"
            )


def _document(invoice: Invoice, wording: Wording) -> dict[str, Any]:
    """The invoice by the business terms of EN 16931."""
    totals, currency = invoice.totals, invoice.currency

    def amount(micros: int) -> str:
        return _amount(micros, currency)

    outside = any(tax.category == "O" for tax in totals.taxes)
    document: dict[str, Any] = {
        "BT-1": invoice.number,
        "BT-2": invoice.issue_date,
        "BT-3": _CREDIT_NOTE if wording.is_credit_note else _INVOICE,
        "BT-5": currency,
        "BT-20": wording.to_pay(),
        "BT-72": invoice.period_to,
        "BT-73": invoice.period_from,
        "BT-74": invoice.period_to,
        "BG-1": [{"BT-22": note} for note in wording.notes() if note.strip()],
        "BG-4": _party(invoice.seller, outside),
        "BG-7": _party(invoice.customer, outside),
        "BG-23": [_tax(tax, wording) for tax in totals.taxes],
        "BG-25": [_line(line, net, wording, invoice) for line, net in zip(invoice.lines, totals.lines, strict=True)],
        "BT-106": amount(totals.net_micros),
        "BT-109": amount(totals.net_micros),
        "BT-110": amount(totals.tax_micros),
        "BT-112": amount(totals.gross_micros),
        "BT-115": amount(totals.payable_micros),
    }
    if totals.paid_micros:
        document["BT-113"] = amount(totals.paid_micros)
    if totals.payable_rounding_micros:
        document["BT-114"] = amount(totals.payable_rounding_micros)
    if invoice.corrects:
        document["BG-3"] = [{"BT-25": invoice.corrects, "BT-26": invoice.corrects_date}]
    if any(tax.category == "K" for tax in totals.taxes):
        document["BG-13"] = {"name": invoice.customer.name, **_postal(invoice.customer)}
    if wording.payable:
        document |= _payment(invoice)
    return document


def _payment(invoice: Invoice) -> dict[str, Any]:
    terms: dict[str, Any] = {"BT-9": invoice.due_date}
    if invoice.payment_reference:
        terms["BT-83"] = invoice.payment_reference
    if bank := invoice.seller.bank:
        terms["BT-81"] = _SEPA_CREDIT_TRANSFER if invoice.currency == "EUR" else _CREDIT_TRANSFER
        terms["BT-84"] = bank.iban.replace(" ", "")
        terms["BT-85"] = bank.holder
        if bank.bic:
            terms["BT-86"] = bank.bic
    return terms


def _party(party: Party, outside: bool) -> dict[str, Any]:
    """``outside``: the scope of VAT, where no VAT id may be named as such (BR-O-02)."""
    fields: dict[str, Any] = {"name": party.name, **_postal(party)}
    if party.vat_id:
        fields |= {"identifiers": {None: party.vat_id}} if outside else {"vat_identifier": party.vat_id}
    if party.email:
        fields |= {"einvoicing_addr": party.email, "einvoicing_addr_schemeid": "EM"}
    return fields


def _postal(party: Party) -> dict[str, str]:
    fields = {"country_code": party.country}
    lines = [line for line in party.address if line.strip()]
    if lines and (found := _POST_TOWN.fullmatch(lines[-1])):
        fields |= {"postcode": found[1], "city": found[2]}
        lines.pop()
    elif lines and (found := _TOWN_POST.fullmatch(lines[-1])):
        fields |= {"postcode": found[2], "city": found[1].rstrip(", ")}
        lines.pop()
    elif len(lines) > 1:
        fields["city"] = lines.pop()
    if len(lines) > 3:
        lines[2:] = [", ".join(lines[2:])]
    return fields | {f"addr_l{at}": line for at, line in enumerate(lines, 1)}


def _tax(tax: TaxTotal, wording: Wording) -> dict[str, Any]:
    currency = wording.invoice.currency
    fields = {
        "BT-116": _amount(tax.net_micros, currency),
        "BT-117": _amount(tax.tax_micros, currency),
        "BT-118": tax.category,
    }
    if tax.category != "O":
        fields["BT-119"] = _rate(tax.rate_bp)
    if tax.category not in ("S", "Z"):
        fields["BT-120"] = wording.why_untaxed(tax)
        if tax.reason_code:
            fields["BT-121"] = tax.reason_code
    return fields


def _line(line: InvoiceLine, net: LineNet, wording: Wording, invoice: Invoice) -> dict[str, Any]:
    quantity, price, base = _pricing(line, net.net_micros, invoice.currency)
    title, *notes = [text for text in (line.offer, *wording.details(line)) if text.strip()] or [line.line_id]
    fields: dict[str, Any] = {
        "BT-126": line.line_id,
        "BT-129": str(quantity),
        "BT-130": units.code(line.unit),
        "BT-131": _amount(net.net_micros, invoice.currency),
        "BT-134": line.period_from,
        "BT-135": line.period_to,
        "BT-146": price,
        "BT-151": line.tax_category,
        "BT-153": title,
        "BT-127-00": [{"BT-127": text} for text in notes],
    }
    if base > 1:
        fields["BT-149"] = str(base)
    if line.tax_category != "O":
        fields["BT-152"] = _rate(line.tax_rate_bp)
    if line.agreement_id:
        fields["BT-128"] = {None: line.agreement_id}
    if line.subscriber:
        fields["BG-32"] = [{"BT-160": wording.labels.subscriber, "BT-161": line.subscriber}]
    return fields


def _pricing(line: InvoiceLine, net_micros: int, currency: str) -> tuple[int, str, int]:
    """Quantity, price and its base quantity, of which the line's amount can be computed."""
    counted = abs(line.quantity)
    amount = abs(net_micros)
    if not counted and amount:
        counted = 1
    if _PLAIN_DECIMAL.fullmatch(line.unit_price):
        unit_price = Decimal(line.unit_price)
        # In millionths of a micro, so that nothing is lost.
        scaled = int((unit_price * counted).scaleb(12))
        if round_to_unit(scaled, 10**6, minor_unit(currency)) == amount:
            base = 1
            while -int(unit_price.normalize().as_tuple().exponent) > _PRICE_DECIMALS:
                unit_price, base = unit_price * 10, base * 10
            return counted if net_micros >= 0 else -counted, _plain(unit_price), base
    price = _amount(amount, currency)
    return counted if net_micros >= 0 else -counted, price, max(counted if amount else 1, 1)


def _amount(micros: int, currency: str) -> str:
    return format_micros(micros, currency) if exponent(currency) <= 2 else f"{Decimal(micros).scaleb(-6):.2f}"


def _rate(basis_points: int) -> str:
    return _plain(Decimal(basis_points).scaleb(-2))


def _plain(value: Decimal) -> str:
    return f"{value.normalize():f}"


def _clean(value: Any) -> Any:
    """``value`` without characters that XML has no way to write."""
    if isinstance(value, str):
        return _NOT_XML.sub(" ", value)
    if isinstance(value, dict):
        return {key: _clean(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_clean(item) for item in value]
    return value
