"""The pictures of docs/invoices.md: ``python -m tools.invoice_pictures`` (needs pdftoppm of poppler-utils)."""

from __future__ import annotations

import random
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from charging.invoices.chart import use_by_day
from charging.invoices.items import Item, Items
from charging.invoices.model import BankAccount, Invoice, InvoiceLine, Party
from charging.invoices.pdf import render_pdf
from charging.invoices.totals import totals

IMAGES = Path(__file__).parent.parent / "docs" / "images"
DOTS_PER_INCH = 72

SELLER = Party(
    name="Nordlicht Mobilfunk GmbH",
    address=("Hafenstraße 12", "20457 Hamburg"),
    country="DE",
    vat_id="DE123456789",
    email="rechnung@nordlicht.example",
    bank=BankAccount(holder="Nordlicht Mobilfunk GmbH", iban="DE89370400440532013000", bic="COBADEFFXXX"),
)
PERSON = Party(name="Erika Muster", address=("Weg 1", "24103 Kiel"), country="DE")
COMPANY = Party(name="Muster & Sons Ltd", address=("12 Quay Street", "Dublin 2"), country="IE", vat_id="IE6388047V")
NUMBERS = ("+49 171 2345678", "+49 171 2345679", "+49 160 9988776")


def line(number: int, offer: str, description: str, net: int, **more: Any) -> InvoiceLine:
    """A line of October; ``net`` in micros."""
    fields: dict[str, Any] = {
        "charging_mode": "per_use",
        "period_from": date(2026, 10, 1),
        "period_to": date(2026, 10, 31),
        "tax_category": "S",
        "tax_rate_bp": 1900,
        "charge_ids": (f"charge-{number}",),
    }
    return InvoiceLine(
        line_id=str(number),
        offer=offer,
        description=description,
        agreement_id=f"0192f3c4-7d1e-7abc-8def-{number:012d}",
        net_micros=net,
        **(fields | more),
    )


def invoice(*lines: InvoiceLine, **more: Any) -> Invoice:
    """An invoice over ``lines``."""
    fields: dict[str, Any] = {
        "number": "R-2026-000123",
        "series": "R-2026",
        "issue_date": date(2026, 11, 2),
        "due_date": date(2026, 11, 16),
        "period_from": date(2026, 10, 1),
        "period_to": date(2026, 10, 31),
        "seller": SELLER,
        "customer": PERSON,
        "currency": "EUR",
        "language": "de",
        "payment_reference": "RF18539007547034",
        "account": "A-1001",
    }
    return Invoice(lines=lines, totals=totals(lines, "EUR"), **(fields | more))


def samples() -> Iterator[tuple[str, bytes, int]]:
    """Name, PDF and page of each picture."""
    chosen = random.Random(4)
    listened = [
        ("Sprachmailbox", "second", date(2026, 10, day), chosen.randrange(900)) for day in range(1, 32) if day % 6
    ]
    mailbox = line(
        1, "Sprachmailbox", "Abhören, je Minute", 2_706_000,
        unit="second", quantity=5412, unit_price="0,03 / 60",
        counter_name="seconds", counter_from=1200, counter_to=6612,
    )  # fmt: skip
    tones = line(
        2, "Klingeltöne Classic", "Einmaliger Kauf", 1_990_000, charging_mode="one_off", quantity=1, unit_price="1.99",
        period_from=date(2026, 10, 14), period_to=date(2026, 10, 14),
    )  # fmt: skip
    yield "invoice-one-page", render_pdf(invoice(mailbox, tones, use=use_by_day(listened))), 1
    note = invoice(
        replace(mailbox, net_micros=902_000), kind="credit_note", corrects="R-2026-000123",
        corrects_date=date(2026, 11, 2), number="G-2026-000004", issue_date=date(2026, 11, 20), language="fr",
        notes=("Le prix de la messagerie était de 0,02 € par minute depuis le 1er octobre.",),
    )  # fmt: skip
    yield "invoice-credit-note", render_pdf(note), 1
    lines = [
        line(
            3 * at + of, offer, description, net * (at + 2), subscriber=number, unit=unit, quantity=quantity,
            tax_category="AE", tax_rate_bp=0,
        )
        for at, number in enumerate(NUMBERS)
        for of, (offer, description, net, unit, quantity) in enumerate(
            [("Voice mailbox", "Listening, by the minute", 1_353_000, "second", 2706),
             ("Route planner", "Routes calculated", 2_221_200, "route", 617),
             ("Data", "By tier", 4_100_000, "MiB", 5120)], 1,
        )
    ]  # fmt: skip
    routes = [("Route planner", "route", date(2026, 10, day), chosen.randrange(60)) for day in range(1, 32)]
    use = use_by_day([*routes, *[("Data", "MiB", date(2026, 10, day), chosen.randrange(900)) for day in range(1, 32)]])
    company = invoice(*lines, customer=COMPANY, language="en-IE", use=use, account="A-2002")
    start = datetime(2026, 10, 1, 8, tzinfo=UTC)
    items = [
        Item(
            at=start + timedelta(minutes=97 * number),
            what=(each := chosen.choice(lines)).offer,
            quantity=chosen.randrange(1, 900),
            unit=each.unit,
            net_micros=chosen.randrange(1000, 900_000),
            subscriber=each.subscriber,
        )
        for number in range(180)
    ]
    document = render_pdf(company, items=Items(len(items), items))
    yield "invoice-subscribers-1", document, 1
    yield "invoice-subscribers-2", document, 2
    yield "invoice-itemisation", document, 3


def main() -> None:
    """Draw the pictures."""
    with tempfile.TemporaryDirectory() as temporary:
        for name, document, page in samples():
            path = Path(temporary) / f"{name}.pdf"
            path.write_bytes(document)
            subprocess.run(
                ["pdftoppm", "-png", "-r", str(DOTS_PER_INCH), "-f", str(page), "-singlefile", path, IMAGES / name],
                check=True,
            )


if __name__ == "__main__":
    main()
