"""``tollgate invoice``."""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import track
from rich.text import Text

from charging.invoices.export import to_data
from charging.invoices.model import InvoiceError
from operator_server.audit import cli_actor
from operator_server.billing.bounces import NotABounce, messages_in, read_reports
from operator_server.billing.dispatch import (
    DispatchError,
    Returned,
    ask,
    ask_period,
    find_dispatches,
    send_due_invoices,
    take_report,
)
from operator_server.billing.invoices import UnknownInvoice, export_invoices, find_invoices, load_invoice
from operator_server.cli.common import (
    CONFIG,
    ConfigOption,
    JsonOption,
    changed,
    err,
    fail,
    opened,
    out,
    reading,
    says_errors,
    show_json,
    show_table,
    told,
    working,
)
from operator_server.cli.rerate import rerate
from signalling.money import format_micros

app = typer.Typer(no_args_is_help=True, help="Invoices that were made.")
app.command("rerate")(rerate)

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
    """List invoices in the order of their numbers.

    Example: tollgate invoice list --period 2026-10
    """
    with reading(config) as connection:
        rows = find_invoices(connection, account=account, period=period, most=limit)
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
    """Show an invoice with the agreement and charges behind each line.

    Example: tollgate invoice show R-2026-000001
    """
    with reading(config) as connection:
        invoice = load_invoice(connection, number)
    if as_json:
        show_json(to_data(invoice))
        return
    credited = invoice.kind == "credit_note"
    out.print(
        Text(f"{'Credit note' if credited else 'Invoice'} {invoice.number}", style="bold"),
        f"to {invoice.customer.name}, {invoice.issue_date}{'' if credited else f', due {invoice.due_date}'}",
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
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Write invoices as files, one each; those that a form cannot express are named at the end.

    Example: tollgate invoice export invoices/ --period 2026-10 --format facturx --itemised
    """
    written, refused = 0, []
    with reading(config) as connection:
        numbers = number or [row.number for row in find_invoices(connection, account=account, period=period)]
        for each in track(numbers, description="Writing", console=err, transient=True, disable=not err.is_terminal):
            invoice = load_invoice(connection, each)
            try:
                written += len(export_invoices(connection, [invoice], folder, form.value, itemised=itemised))
            except InvoiceError as error:
                refused.append(str(error))
    done = {"folder": str(folder), "invoices": written, "refused": refused}
    told(done, as_json, f"{written} invoices are in {folder}.")
    if refused:
        raise fail("\n".join(refused))


class MailForm(StrEnum):
    """In what form invoices are attached to mails."""

    pdf = "pdf"
    facturx = "facturx"


@app.command()
@says_errors(UnknownInvoice, DispatchError)
def send(
    number: Annotated[list[str] | None, typer.Argument(help="Invoice numbers; each goes out again.")] = None,
    period: PeriodFilter = "",
    form: Annotated[MailForm, typer.Option("--format", help="What is attached.")] = MailForm.pdf,
    to: Annotated[str, typer.Option("--to", help="Another address than the account's.")] = "",
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Send invoices by e-mail: by number, or all of a month that did not go out before, or came back.

    What a mail server cannot take now is tried again by the worker, or by this command, with growing pauses.

    Example: tollgate invoice send --period 2026-10
    """
    if bool(number) == bool(period) or (to and not number):
        raise fail("say which: tollgate invoice send NUMBER... [--to ADDRESS], or --period 2026-10", 2)
    without: tuple[str, ...] = ()
    with opened(config) as operator:
        now, by = operator.clock.now(), cli_actor()
        for each in number or ():
            sent = {"form": form.value, "to": to or "the account's address"}
            changed(
                operator, "invoice.send", f"invoice/{each}",
                partial(ask, number=each, now=now, form=form.value, to=to, by=by), sent,
            )  # fmt: skip
        if period:
            asked = changed(
                operator, "invoice.send", f"period/{period}",
                lambda c: ask_period(c, period, now, form=form.value, by=by), {"form": form.value},
            )  # fmt: skip
            without = asked.no_address
        with working("Sending"):
            done = send_due_invoices(operator.engine, operator.settings, now)
    if as_json:
        show_json({"sent": done.sent, "refused": done.refused, "waiting": done.waiting,
                   "no_address": list(without), "faults": list(done.faults)})  # fmt: skip
    else:
        out.print(f"{done.sent} invoices are sent, {done.refused} refused, {done.waiting} wait for another try.")
        for fault in done.faults:
            err.print(fault)
        if without:
            err.print(f"{len(without)} have no e-mail address: {', '.join(without[:20])}")
    if done.refused:
        raise typer.Exit(1)


@app.command()
@says_errors()
def dispatches(
    state: Annotated[str, typer.Option("--state", help="waiting, sent, refused, failed or bounced.")] = "",
    account: AccountFilter = "",
    period: PeriodFilter = "",
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="Most rows.")] = 100,
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """List the e-mails with invoices, the newest first.

    Example: tollgate invoice dispatches --state bounced
    """
    with reading(config) as connection:
        rows = find_dispatches(connection, state=state, account=account, period=period, most=limit)
    if as_json:
        show_json([dict(row._mapping) for row in rows])
        return
    show_table(
        "E-mails with invoices",
        ["Invoice", "Account", "To", "State", "Tries", "Sent", "What the mail server said"],
        [
            (
                row.invoice_number, row.account_id, row.recipient, row.state, row.attempts,
                f"{row.sent_at:%Y-%m-%d %H:%M}" if row.sent_at else "", row.reason,
            )
            for row in rows
        ],
        empty="No e-mail matches. `tollgate invoice send --period YYYY-MM` sends the invoices of a month.",
    )  # fmt: skip


@app.command()
@says_errors()
def bounce(
    file: Annotated[list[Path], typer.Argument(help="Mails, mbox files, or folders of mails (also Maildir).")],
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Take in what mail servers sent back (RFC 3464), so that the invoices show as bounced.

    Messages that are no reports, or about other mails, are left alone; the same report again changes nothing.

    Example: tollgate invoice bounce /var/mail/billing
    """
    found: list[Returned] = []
    left: list[str] = []
    with opened(config) as operator:
        server, now = operator.settings.operator.server_id, operator.clock.now()
        for path in file:
            for name, content in messages_in(path):
                try:
                    reports = read_reports(content)
                except NotABounce as no:
                    left.append(f"{name}: {no}")
                    continue
                for report in reports:
                    taken = changed(
                        operator, "invoice.bounce", f"mail/{report.message_id[:300]}",
                        partial(take_report, report=report, server_id=server, now=now), {"said": report.action},
                    )  # fmt: skip
                    if taken is None:
                        left.append(f"{name}: it is about no invoice of ours")
                    else:
                        found.append(taken)
    if as_json:
        show_json({"taken": [{name: getattr(each, name) for name in Returned.__slots__} for each in found],
                   "left": left})  # fmt: skip
        return
    for each in found:
        out.print(f"Invoice {each.number} to {each.recipient} is {each.state}: {each.text}")
    for text in left:
        err.print(text)
    out.print(f"{len(found)} reports taken in, {len(left)} messages left alone.")
