"""What is behind an invoice's lines: each charge with its use, its tariff version and the evidence for it.

Charges that are billed never change, so what is made of them is the same whenever it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from zoneinfo import ZoneInfo

from msgspec.structs import replace
from sqlalchemy import Connection, ScalarSelect, func, select

from charging.invoices.chart import use_by_day
from charging.invoices.export import ChargeDetail
from charging.invoices.items import Item, Items
from charging.invoices.model import Invoice
from operator_server.store.accounting import Charge, CounterReportRow, InvoiceRow
from operator_server.store.rows import table

_AT_ONCE = 1000


def charge_details(connection: Connection, invoice: Invoice) -> Iterator[ChargeDetail]:
    """The charges of an invoice in the order of time, read a thousand at a time."""
    lines = {line.line_id: line for line in invoice.lines}
    charge, report = table(Charge), table(CounterReportRow)
    evidence = (
        select(func.min(report.c.id))
        .where(
            report.c.installation_id == charge.c.installation_id,
            report.c.counter == charge.c.counter,
            report.c.epoch == charge.c.epoch,
            report.c.value == charge.c.counter_to,
        )
        .scalar_subquery()
        .label("report_id")
    )
    statement = select(charge, evidence).where(charge.c.invoice_id == _id_of(invoice))
    statement = statement.order_by(charge.c.effective_at, charge.c.id).execution_options(yield_per=_AT_ONCE)
    for row in connection.execute(statement):
        line = lines[str(row.invoice_line)]
        yield ChargeDetail(
            invoice=invoice.number,
            line_id=line.line_id,
            charge_id=row.id,
            kind=row.kind,
            offer=line.offer,
            subscriber=row.subscriber_id,
            agreement_id=row.agreement_id,
            installation=row.installation_id or "",
            counter=row.counter,
            epoch=row.epoch if row.counter else None,
            counter_from=row.counter_from if row.counter else None,
            counter_to=row.counter_to if row.counter else None,
            quantity=row.quantity,
            included=row.included,
            unit=line.unit,
            effective_at=row.effective_at,
            recorded_at=row.recorded_at,
            service_from=row.service_from,
            service_to=row.service_to,
            net_micros=row.net,
            currency=row.currency,
            tax_category=line.tax_category,
            tax_rate_bp=line.tax_rate_bp,
            tariff_version=row.tariff_version,
            transfer_id=row.transfer_id,
            reverses_id=row.reverses_id or "",
            report_id=row.report_id or "",
        )


def items_of(connection: Connection, invoice: Invoice) -> Items:
    """The charges as the customer sees them on the pages of the itemisation."""
    charge = table(Charge)
    count = connection.execute(
        select(func.count()).select_from(charge).where(charge.c.invoice_id == _id_of(invoice))
    ).scalar_one()
    zone = _zone(invoice)
    each = (
        Item(
            at=detail.effective_at.astimezone(zone),
            what=detail.offer,
            quantity=detail.quantity,
            unit=detail.unit,
            net_micros=detail.net_micros,
            subscriber=detail.subscriber,
        )
        for detail in charge_details(connection, invoice)
    )
    return Items(count, each, by_subscriber=len({line.subscriber for line in invoice.lines}) > 1)


def with_use(connection: Connection, invoice: Invoice) -> Invoice:
    """The invoice with its use by day, for the chart; as it is where its document says it."""
    lines = {line.line_id: line for line in invoice.lines if line.kind in ("", "use") and line.counter_name}
    if invoice.use or not lines:
        return invoice
    charge, zone = table(Charge), _zone(invoice)
    rows = connection.execute(
        select(charge.c.invoice_line, charge.c.effective_at, charge.c.quantity).where(
            charge.c.invoice_id == _id_of(invoice), charge.c.kind == "use"
        )
    )
    uses = (
        (line.offer, line.unit, row.effective_at.astimezone(zone).date(), row.quantity)
        for row in rows
        if (line := lines.get(str(row.invoice_line))) is not None
    )
    return replace(invoice, use=use_by_day(uses))


def _id_of(invoice: Invoice) -> ScalarSelect[str]:
    invoices = table(InvoiceRow)
    return select(invoices.c.id).where(invoices.c.number == invoice.number).scalar_subquery()


def _zone(invoice: Invoice) -> ZoneInfo:
    return ZoneInfo(invoice.time_zone or "UTC")
