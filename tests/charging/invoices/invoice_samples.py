"""Invoices to test with."""

from datetime import date
from typing import Any

from charging.invoices.model import BankAccount, Invoice, InvoiceLine, Party
from charging.invoices.totals import totals

SELLER = Party(
    name="Nordlicht Mobilfunk GmbH",
    address=("Hafenstraße 12", "20457 Hamburg"),
    country="DE",
    vat_id="DE123456789",
    email="rechnung@nordlicht.example",
    bank=BankAccount(holder="Nordlicht Mobilfunk GmbH", iban="DE89370400440532013000", bic="COBADEFFXXX"),
)
CUSTOMER = Party(name="Ελένη Щедрин-Łąkowska", address=("ul. Żółta 7", "80-001 Gdańsk"), country="PL")


def agreement(number: int) -> str:
    """The agreement id of :func:`per_use` line ``number``."""
    return f"0192f3c4-7d1e-7abc-8def-{number:012d}"


def per_use(number: int = 1, **changes: Any) -> InvoiceLine:
    """A line billed by a counter."""
    fields: dict[str, Any] = {
        "line_id": str(number),
        "description": "Routes calculated",
        "offer": "Route planner",
        "charging_mode": "per_use",
        "agreement_id": agreement(number),
        "period_from": date(2026, 10, 1),
        "period_to": date(2026, 10, 31),
        "quantity": 1234,
        "unit": "routes",
        "unit_price": "0.0036",
        "net_micros": 4_442_400,
        "tax_category": "S",
        "tax_rate_bp": 1900,
        "charge_ids": (f"charge-{number}-a", f"charge-{number}-b"),
        "counter_name": "routes",
        "counter_from": 98_000,
        "counter_to": 99_234,
    }
    return InvoiceLine(**(fields | changes))


def invoice(*lines: InvoiceLine, **changes: Any) -> Invoice:
    """An invoice in German and euros over ``lines``."""
    fields: dict[str, Any] = {
        "number": "NL-2026-000123",
        "series": "NL-2026",
        "issue_date": date(2026, 11, 2),
        "due_date": date(2026, 11, 16),
        "period_from": date(2026, 10, 1),
        "period_to": date(2026, 10, 31),
        "seller": SELLER,
        "customer": CUSTOMER,
        "currency": "EUR",
        "language": "de",
        "lines": lines,
        "payment_reference": "RF18539007547034",
    }
    fields |= changes
    return Invoice(totals=totals(lines, fields["currency"]), **fields)
