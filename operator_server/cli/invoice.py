"""``tollgate invoice``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import track
from rich.text import Text

from charging.invoices.export import to_data
from charging.invoices.model import InvoiceError
from operator_server.billing.invoices import UnknownInvoice, export_invoices, find_invoices, load_invoice
from operator_server.cli.common import (
    CONFIG,
    ConfigOption,
    JsonOption,
    err,
    fail,
    opened,
    out,
    says_errors,
    show_json,
    show_table,
)
from signalling.money import format_micros

app = typer.Typer(no_args_is_help=True, help="Invoices that were made.")

AccountFilter = Annotated[str, typer.Option("--account", help="Only of this account.")]
PeriodFilter = Annotated[str, typer.Option("--period", help="Only of this month, such as 2026-10.")]


class Form(StrEnum):
    """In what form invoices are exported."""

    pdf = "pdf"
    facturx = "facturx"
    json = "json"
    csv = "csv"
    charges_json = "charges-json"
    charges_csv = "charges-csv"


@app.command("list")
@says_errors()
def list_(
    account: AccountFilter = "",
    period: PeriodFilter = "",
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="Most rows.")] = 100,
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """List invoices in the order of their numbers."""
    with opened(config) as operator, operator.engine.connect() as connection:
        rows = find_invoices(connection, account=account or None, period=period or None, most=limit)
    if as_json:
        show_json(
            [
                {
                    "number": row.number, "account": row.account_id, "period": row.period, "issued": row.issued_at,
                    "currency": row.currency, "net": format_micros(row.net, row.currency),
                    "tax": format_micros(row.tax, row.currency), "total": format_micros(row.total, row.currency),
                }
                for row in rows
            ]
        )  # fmt: skip
        return
    show_table(
        "Invoices",
        ["Number", "Account", "Period", "Net", "Tax", "Total"],
        [
            (
                row.number, row.account_id, row.period, format_micros(row.net, row.currency),
                format_micros(row.tax, row.currency), f"{format_micros(row.total, row.currency)} {row.currency}",
            )
            for row in rows
        ],
        empty="No invoice matches. `tollgate bill --period YYYY-MM` makes them.",
    )  # fmt: skip


@app.command()
@says_errors(UnknownInvoice)
def show(
    number: Annotated[str, typer.Argument(help="Invoice number.")],
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Show an invoice with the agreement and charges behind each line."""
    with opened(config) as operator, operator.engine.connect() as connection:
        invoice = load_invoice(connection, number)
    if as_json:
        show_json(to_data(invoice))
        return
    out.print(
        Text(f"Invoice {invoice.number}", style="bold"),
        f"to {invoice.customer.name}, {invoice.issue_date}, due {invoice.due_date}",
    )
    show_table(
        f"{invoice.period_from} to {invoice.period_to}",
        ["Line", "Description", "Mode", "Quantity", "Net", "Agreement", "Charges"],
        [
            (
                line.line_id, line.description, line.charging_mode, f"{line.quantity} {line.unit}".strip(),
                format_micros(net.net_micros, invoice.currency), line.agreement_id, ", ".join(line.charge_ids),
            )
            for line, net in zip(invoice.lines, invoice.totals.lines, strict=True)
        ],
        empty="",
    )  # fmt: skip
    for tax in invoice.totals.taxes:
        out.print(f"Tax {tax.category} {tax.rate_bp / 100:g} %: {format_micros(tax.tax_micros, invoice.currency)}")
    out.print(f"Total: {format_micros(invoice.totals.gross_micros, invoice.currency)} {invoice.currency}")


@app.command()
@says_errors(UnknownInvoice)
def export(
    folder: Annotated[Path, typer.Argument(help="Folder to write to.")],
    number: Annotated[list[str] | None, typer.Option("--number", help="Only this invoice; repeat for more.")] = None,
    form: Annotated[Form, typer.Option("--format", help="facturx: PDF and EN 16931 XML in one.")] = Form.pdf,
    itemised: Annotated[bool, typer.Option("--itemised", help="PDFs show each charge, too.")] = False,
    account: AccountFilter = "",
    period: PeriodFilter = "",
    config: ConfigOption = CONFIG,
) -> None:
    """Write invoices as files, one each; those that a form cannot express are named at the end.

    Example: tollgate invoice export invoices/ --period 2026-10 --format facturx --itemised
    """
    written, refused = 0, []
    with opened(config) as operator, operator.engine.connect() as connection:
        numbers = number or [
            row.number for row in find_invoices(connection, account=account or None, period=period or None)
        ]
        for each in track(numbers, description="Writing", console=err, transient=True):
            invoice = load_invoice(connection, each)
            try:
                written += len(export_invoices(connection, [invoice], folder, form.value, itemised=itemised))
            except InvoiceError as error:
                refused.append(str(error))
    out.print(f"{written} invoices are in {folder}.")
    if refused:
        raise fail("\n".join(refused))
