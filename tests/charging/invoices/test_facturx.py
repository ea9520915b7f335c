"""The XML of an invoice passes the schema and the Schematron of EN 16931, and computes to what the invoice says."""

from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from invoice_samples import CUSTOMER, SELLER, invoice, per_use
from lxml import etree
from msgspec.structs import replace
from schematron import findings

from charging.invoices.facturx import to_xml
from charging.invoices.labels import languages
from charging.invoices.mirror import as_credit_note
from charging.invoices.model import Invoice, InvoiceError, TaxTotal
from charging.invoices.units import code

_RAM = {"ram": "urn:un:unece:uncefact:data:standard:ReusableAggregateBusinessInformationEntity:100"}
_COMPANY = replace(CUSTOMER, vat_id="PL5260250995")


def _texts(xml: bytes, name: str) -> list[str]:
    return [node.text or "" for node in etree.fromstring(xml).iterfind(f".//{{{_RAM['ram']}}}{name}")]


def _lines(xml: bytes) -> list[tuple[Decimal, Decimal, Decimal, Decimal]]:
    """Quantity, price, base quantity and amount of each line."""
    found = []
    for line in etree.fromstring(xml).iterfind(".//ram:IncludedSupplyChainTradeLineItem", _RAM):

        def value(name: str, line: Any = line) -> Decimal:
            return Decimal(line.findtext(f".//ram:{name}", "1", _RAM))

        found.append((value("BilledQuantity"), value("ChargeAmount"), value("BasisQuantity"), value("LineTotalAmount")))
    return found


def test_an_invoice_passes_the_schematron() -> None:
    assert findings(to_xml(invoice(per_use(1), per_use(2, unit_price="by tier"), per_use(3, tax_rate_bp=700)))) == []


def test_a_bill_that_gives_back_passes_as_a_credit_note_that_corrects_no_one_invoice() -> None:
    taken_back = per_use(1, net_micros=-7_000_000, quantity=-1, unit="", unit_price="7.00")
    xml = to_xml(as_credit_note(invoice(taken_back, per_use(2), per_use(3, tax_rate_bp=700))))
    assert findings(xml) == []
    assert _texts(xml, "TypeCode")[0] == "381"
    assert _texts(xml, "LineTotalAmount")[0] == "7.00"


def test_the_schematron_finds_what_is_wrong() -> None:
    xml = to_xml(invoice(per_use()))
    assert any(
        "BR-CO-10" in finding for finding in findings(xml.replace(b"LineTotalAmount>4.44", b"LineTotalAmount>4.45", 1))
    )


@pytest.mark.parametrize("language", sorted(languages()))
def test_every_language_passes(language: str) -> None:
    assert findings(to_xml(invoice(per_use(), language=language))) == []


@pytest.mark.parametrize("category", ["Z", "E", "AE", "K", "G", "O"])
def test_every_untaxed_category_passes_with_its_reason(category: str) -> None:
    xml = to_xml(invoice(per_use(tax_category=category, tax_rate_bp=0), customer=_COMPANY, language="en"))
    assert findings(xml) == []
    assert ("Reverse charge: the customer owes the VAT" in _texts(xml, "ExemptionReason")) == (category == "AE")


def test_a_credit_note_is_of_type_381_with_positive_amounts_and_names_its_invoice() -> None:
    xml = to_xml(
        invoice(
            per_use(), kind="credit_note", corrects="NL-2026-000099", corrects_date=date(2026, 10, 2), language="en"
        )
    )
    assert findings(xml) == []
    assert _texts(xml, "TypeCode")[0] == "381"
    assert "NL-2026-000099" in _texts(xml, "IssuerAssignedID")
    assert _texts(xml, "DuePayableAmount") == ["5.28"]
    assert not _texts(xml, "IBANID")


def test_an_invoice_says_how_to_pay() -> None:
    xml = to_xml(invoice(per_use()))
    assert _texts(xml, "IBANID") == ["DE89370400440532013000"]
    assert _texts(xml, "PaymentReference") == ["RF18539007547034"]
    assert _texts(xml, "TypeCode")[0] == "380"
    assert "16.11.2026" in "".join(_texts(xml, "Description"))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"unit_price": "0.0036"}, ("1234", "0.0036", "1")),
        ({"quantity": 1_000_000, "unit_price": "0.00000444"}, ("1000000", "0.0444", "10000")),
        ({"unit_price": "by tier"}, ("1234", "4.44", "1234")),
        ({"unit_price": "0.01", "included": 790}, ("1234", "4.44", "1234")),
        ({"quantity": 0, "unit_price": ""}, ("1", "4.44", "1")),
        ({"quantity": -1, "net_micros": -4_440_000, "unit_price": "4.44"}, ("-1", "4.44", "1")),
        ({"quantity": 1, "net_micros": -4_440_000, "unit_price": ""}, ("-1", "4.44", "1")),
        ({"quantity": 7, "net_micros": 0, "unit_price": ""}, ("7", "0.00", "1")),
    ],
)
def test_price_and_base_quantity_make_the_amount(changes: dict[str, Any], expected: tuple[str, str, str]) -> None:
    xml = to_xml(invoice(per_use(**changes)))
    assert findings(xml) == []
    (line,) = _lines(xml)
    assert line[:3] == tuple(Decimal(value) for value in expected)


def test_units_have_the_codes_of_recommendation_20() -> None:
    units = ["second", "seconds", "min", "byte", "MiB", "GB", "use", ""]
    assert [code(unit) for unit in units] == ["SEC", "SEC", "MIN", "AD", "E63", "E34", "C62", "C62"]


@pytest.mark.parametrize("currency", ["JPY", "EUR", "CHF"])
def test_amounts_have_no_more_decimals_than_their_currency(currency: str) -> None:
    xml = to_xml(invoice(per_use(net_micros=999_600_000), per_use(2, net_micros=37_000_000), currency=currency))
    assert findings(xml) == []
    decimals = 0 if currency == "JPY" else 2
    assert {-Decimal(text).as_tuple().exponent for text in _texts(xml, "LineTotalAmount")} == {decimals}


def test_a_third_decimal_is_refused_and_none_is_lost() -> None:
    assert findings(to_xml(invoice(per_use(net_micros=1_000_000), currency="KWD"))) == []
    with pytest.raises(InvoiceError, match="two decimals"):
        to_xml(invoice(per_use(net_micros=1_001_000), currency="KWD"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seller": replace(SELLER, vat_id="")}, "seller's VAT id"),
        ({"customer": replace(CUSTOMER, country="")}, "customer's name and country"),
    ],
)
def test_what_is_missing_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvoiceError, match=message):
        to_xml(invoice(per_use(), **changes))


def test_reverse_charge_wants_the_customers_vat_id() -> None:
    with pytest.raises(InvoiceError, match="BR-AE-02"):
        to_xml(invoice(per_use(tax_category="AE", tax_rate_bp=0)))


def test_the_operators_own_reason_is_named() -> None:
    made = invoice(per_use(tax_category="E", tax_rate_bp=0))
    tax = replace(made.totals.taxes[0], reason="§ 19 UStG")
    xml = to_xml(replace(made, totals=replace(made.totals, taxes=(tax,))))
    assert findings(xml) == []
    assert _texts(xml, "ExemptionReason") == ["§ 19 UStG"]
    assert isinstance(tax, TaxTotal)


_WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=30)


@st.composite
def _invoices(draw: st.DrawFn) -> Invoice:
    lines = [
        per_use(
            at,
            offer=draw(_WORDS),
            description=draw(_WORDS),
            unit=draw(st.sampled_from(["use", "second", "MiB", "furlong"])),
            unit_price=draw(st.sampled_from(["", "0.0036", "0.000001", "1.99", "nach Tarif", "120"])),
            quantity=draw(st.integers(-(10**6), 10**12)),
            net_micros=draw(st.integers(-(10**12), 10**12)),
            tax_rate_bp=draw(st.sampled_from([1900, 700, 550])),
            subscriber=draw(st.sampled_from(["", "+49 171 1"])),
        )
        for at in range(draw(st.integers(1, 4)))
    ]
    return invoice(
        *lines,
        customer=replace(CUSTOMER, address=tuple(draw(st.lists(_WORDS, max_size=5)))),
        notes=(draw(_WORDS),),
        currency=draw(st.sampled_from(["EUR", "JPY"])),
    )


@settings(max_examples=40, deadline=None)
@given(_invoices())
def test_any_invoice_passes_and_every_line_computes(any_invoice: Invoice) -> None:
    xml = to_xml(any_invoice)
    assert [finding for finding in findings(xml) if "status warning" not in finding] == []
    unit = Decimal(1) if any_invoice.currency == "JPY" else Decimal("0.01")
    for quantity, price, base, amount in _lines(xml):
        assert (quantity * price / base).quantize(unit, ROUND_HALF_UP) == amount
