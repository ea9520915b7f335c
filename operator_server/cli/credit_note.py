"""``tollgate credit-note``: what was invoiced, taken back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from charging.invoices.export import to_data
from charging.receivables.credit import CreditError
from operator_server.billing.invoices import export_invoices
from operator_server.cli.common import (
    CONFIG,
    CommandError,
    ConfigOption,
    JsonOption,
    changed,
    opened,
    out,
    reading,
    says_errors,
    show_json,
    show_table,
    told,
)
from operator_server.cli.invoice import AccountFilter, Form
from operator_server.receivables.books import ReceivablesError
from operator_server.receivables.credit_notes import (
    CreditRequest,
    each_credit_note,
    find_credit_notes,
    load_credit_note,
    make_credit_note,
)
from signalling.money import MoneyError, decimal_micros, format_micros

app = typer.Typer(no_args_is_help=True, help="Credit notes: whole invoices, lines or parts of lines taken back.")


@app.command()
@says_errors(ReceivablesError, CreditError, MoneyError)
def create(
    invoice: Annotated[str, typer.Argument(help="Number of the invoice.")],
    line: Annotated[
        list[str] | None, typer.Option("--line", help="Only this line; repeat for more. Without it: all that is left.")
    ] = None,
    amount: Annotated[str, typer.Option("--amount", help="Only so much of the one line, net, such as 1.50.")] = "",
    reason: Annotated[str, typer.Option("--reason", help="Stands on the credit note.")] = "",
    by: Annotated[str, typer.Option("--by", help="Who gives it.")] = "",
    id: Annotated[str, typer.Option("--id", help="Your name of the request: it is done once.")] = "",
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Make a credit note. It is set against its invoice; what was paid already stands to the customer's credit.

    Example: tollgate credit-note create R-2026-000001 --line 2 --amount 1.50 --reason "never delivered"
    """
    if amount and len(line or ()) != 1:
        raise CommandError("--amount is of one line: name it with --line")
    lines = {name: decimal_micros(amount) if amount else None for name in line} if line else None
    with opened(config) as operator:
        now = operator.clock.now()
        request = CreditRequest(invoice, lines, reason, by, id)
        note = changed(
            operator, "credit_note.make", f"invoice/{invoice}",
            lambda c: make_credit_note(c, operator.settings, request, now),
        )  # fmt: skip
    if as_json:
        show_json(to_data(note))
        return
    total = format_micros(note.totals.payable_micros, note.currency)
    out.print(f"Credit note {note.number} takes back {total} {note.currency} of invoice {note.corrects}.")


@app.command("list")
@says_errors()
def list_(
    account: AccountFilter = "",
    invoice: Annotated[str, typer.Option("--invoice", help="Only of this invoice.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="Most rows.")] = 100,
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """List credit notes in the order of their numbers.

    Example: tollgate credit-note list --account A-1001
    """
    with reading(config) as connection:
        rows = find_credit_notes(connection, account=account, invoice=invoice, most=limit)
    if as_json:
        show_json(
            [
                {
                    "number": row.number, "invoice": row.invoice_number, "account": row.account_id,
                    "issued": row.issued_at, "currency": row.currency, "net": format_micros(row.net, row.currency),
                    "tax": format_micros(row.tax, row.currency), "total": format_micros(row.total, row.currency),
                    "reason": row.reason, "by": row.by,
                }
                for row in rows
            ]
        )  # fmt: skip
        return
    show_table(
        "Credit notes",
        ["Number", "Invoice", "Account", "Net", "Tax", "Total", "Reason"],
        [
            (
                row.number, row.invoice_number, row.account_id, format_micros(row.net, row.currency),
                format_micros(row.tax, row.currency), f"{format_micros(row.total, row.currency)} {row.currency}",
                row.reason,
            )
            for row in rows
        ],
        empty="No credit note matches. `tollgate credit-note create INVOICE` makes one.",
    )  # fmt: skip


@app.command()
@says_errors(ReceivablesError)
def show(
    number: Annotated[str, typer.Argument(help="Number of the credit note.")],
    as_json: Annotated[bool, typer.Option("--json", help="It is JSON in any case.")] = True,
    config: ConfigOption = CONFIG,
) -> None:
    """Show a credit note as JSON, with the lines and taxes that it takes back.

    Example: tollgate credit-note show G-2026-000001
    """
    with reading(config) as connection:
        show_json(to_data(load_credit_note(connection, number)))


@app.command()
@says_errors(ReceivablesError)
def export(
    folder: Annotated[Path, typer.Argument(help="Folder to write to.")],
    number: Annotated[list[str] | None, typer.Option("--number", help="Only this one; repeat for more.")] = None,
    form: Annotated[Form, typer.Option("--format", help="pdf, json or csv.")] = Form.pdf,
    account: AccountFilter = "",
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Write credit notes as files, one each.

    Example: tollgate credit-note export notes/ --account A-1
    """
    with reading(config) as connection:
        if number:
            notes = [load_credit_note(connection, each) for each in number]
        else:
            notes = list(each_credit_note(connection, account=account))
        files = export_invoices(connection, notes, folder, form.value)
    done = {"folder": str(folder), "credit_notes": len(files)}
    told(done, as_json, f"{len(files)} credit notes are in {folder}.")
