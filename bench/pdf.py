"""Invoices as PDF, by the time of one core, beside bare ReportLab drawing the same page.

The ceiling is a ``Canvas`` that writes the same texts in the same fonts at the same places and the same rectangles,
all known beforehand: nothing is formatted, measured, wrapped or distributed to pages, and what it writes is no PDF/A.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import cycle
from typing import Any

from reportlab.lib.pagesizes import A4
from reportlab.pdfgen.canvas import Canvas

from bench.measure import medians, result, show
from bench.report import Target
from charging.invoices import layout, pdf
from charging.invoices.chart import use_by_day
from charging.invoices.items import Item, Items
from charging.invoices.model import BankAccount, Invoice, InvoiceLine, Party
from charging.invoices.totals import totals

SECONDS = 1.0
ITEMS = 5_000
VARIANTS = 200

ONE_PAGE = "invoices as PDF, one page, a core"
FACTURX = "invoices as Factur-X, one page, a core"
ITEMISED = "items of an itemisation as PDF, a core"
TARGETS = {ONE_PAGE: Target("ratio", ">=", 0.9), FACTURX: Target("ratio", ">=", 0.6)}


def sample(of: int = 0) -> Invoice:
    """An invoice of one page: five lines, a chart, two rates. Customers and amounts differ with ``of``."""
    lines = [
        InvoiceLine(
            line_id=str(number),
            description="Routes calculated, priced by use",
            offer=f"Route planner {number}",
            charging_mode="per_use",
            agreement_id=f"0192f3c4-7d1e-7abc-8def-{of * 10 + number:012d}",
            period_from=date(2026, 10, 1),
            period_to=date(2026, 10, 31),
            quantity=(1234 + 57 * of) * number,
            unit="route",
            unit_price="0.0036",
            net_micros=(4_442_400 + 205_200 * of) * number,
            tax_category="S",
            tax_rate_bp=1900 if number % 2 else 700,
            charge_ids=(f"charge-{number}",),
            counter_name="routes",
            counter_from=98_000,
            counter_to=98_000 + (1234 + 57 * of) * number,
        )
        for number in range(1, 6)
    ]
    days = (("Route planner", "route", date(2026, 10, day), day * (7 + of) % 60) for day in range(1, 32))
    return Invoice(
        number=f"NL-2026-{of:06d}",
        series="NL-2026",
        issue_date=date(2026, 11, 2),
        due_date=date(2026, 11, 16),
        period_from=date(2026, 10, 1),
        period_to=date(2026, 10, 31),
        seller=Party(
            name="Nordlicht Mobilfunk GmbH",
            address=("Hafenstraße 12", "20457 Hamburg"),
            country="DE",
            vat_id="DE123456789",
            email="rechnung@nordlicht.example",
            bank=BankAccount(holder="Nordlicht Mobilfunk GmbH", iban="DE89370400440532013000", bic="COBADEFFXXX"),
        ),
        customer=Party(name=f"Erika Muster-{chr(65 + of % 26)}", address=("Weg 1", "24103 Kiel"), country="DE"),
        currency="EUR",
        language="de",
        lines=tuple(lines),
        totals=totals(lines, "EUR"),
        payment_reference=f"RF{18539007547034 + of}",
        account=f"A-{1000 + of}",
        use=use_by_day(days),
    )


def bare(invoice: Invoice) -> Callable[[], bytes]:
    """What draws the invoice's page by ReportLab alone."""
    drawn: list[tuple[list[layout.Strip], float]] = []
    original = pdf.draw
    try:
        pdf.draw = lambda canvas, strips, top: (drawn.append((list(strips), top)), original(canvas, strips, top))[1]
        pdf.render_pdf(invoice)
    finally:
        pdf.draw = original
    fills, runs = [], []
    for strips, top in drawn:
        for strip in strips:
            fills += [
                (each.color, each.x, top - each.down - each.height, each.width, each.height) for each in strip.fills
            ]
            for run in strip.runs:
                width = layout.width_of(run.text, run.style)
                runs.append((run.style, run.x - width if run.right else run.x, top - run.down, run.text))
            top -= strip.height

    def page() -> bytes:
        out = io.BytesIO()
        canvas = Canvas(out, pagesize=A4, invariant=1, pageCompression=1, initialFontName=runs[0][0].font)
        for color, x, y, width, height in fills:
            canvas.setFillColor(color)
            canvas.rect(x, y, width, height, stroke=0, fill=1)
        for style, x, y, text in runs:
            canvas.setFont(style.font, style.size)
            canvas.setFillColor(style.color)
            canvas.drawString(x, y, text)
        canvas.showPage()
        canvas.save()
        return out.getvalue()

    return page


def rate(make: Callable[[Invoice], object], invoices: Iterator[Invoice]) -> Callable[[], float]:
    """How often a second ``make`` is done, each time with another invoice."""

    def measured() -> float:
        count, start = 0, time.process_time()
        while time.process_time() - start < SECONDS:
            make(next(invoices))
            count += 1
        return count / (time.process_time() - start)

    return measured


def itemised(invoice: Invoice) -> float:
    """Items a second in a PDF of ``ITEMS``."""
    at = datetime(2026, 10, 1, 8, tzinfo=UTC)
    items = (
        Item(
            at=at + timedelta(minutes=7 * number),
            what="Route planner",
            quantity=number,
            unit="route",
            net_micros=number * 3600,
        )
        for number in range(ITEMS)
    )
    start = time.process_time()
    pdf.render_pdf(invoice, items=Items(ITEMS, items))
    return ITEMS / (time.process_time() - start)


def run() -> list[dict[str, Any]]:
    """Invoices a second."""
    invoice = sample()
    page = bare(invoice)
    pdf.render_facturx(invoice)
    others = cycle([sample(of) for of in range(1, VARIANTS)])
    found = medians(
        {
            "pdf": rate(pdf.render_pdf, others),
            "facturx": rate(pdf.render_facturx, others),
            "bare": rate(lambda _: page(), others),
            "items": lambda: itemised(invoice),
        }
    )
    return [
        result(ONE_PAGE, found["pdf"], "invoices/s", found["bare"]),
        result(FACTURX, found["facturx"], "invoices/s", found["bare"]),
        result(ITEMISED, found["items"], "items/s"),
    ]


if __name__ == "__main__":
    show(run())
