"""``tollgate invoice rerate``: mending what a faulty tariff made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import track
from sqlalchemy import Connection

from charging.periods import PeriodError, period
from charging.receivables.credit import CreditError
from charging.tariffs import TariffBook, TariffError
from charging.tariffs.book import read_tariff
from operator_server.cli.common import (
    CONFIG,
    CommandError,
    ConfigOption,
    JsonOption,
    changed,
    err,
    fail,
    opened,
    out,
    says_errors,
    show_json,
    show_table,
)
from operator_server.counting.tariffs import TariffVersions
from operator_server.receivables.books import ReceivablesError
from operator_server.receivables.rerating import Rerated, invoices_by_tariff, rerate_invoice
from operator_server.store.store import transact
from signalling.money import format_micros


@says_errors(ReceivablesError, CreditError, PeriodError, TariffError)
def rerate(
    file: Annotated[Path, typer.Option("--tariff", help="The tariff as it should have been.")],
    number: Annotated[str, typer.Argument(help="Number of the invoice.")] = "",
    on: Annotated[str, typer.Option("--period", help="All invoices of this month with use by the tariff.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show who would get what, write nothing.")] = False,
    reason: Annotated[str, typer.Option("--reason", help="Stands on the credit notes.")] = "",
    by: Annotated[str, typer.Option("--by", help="Who does it.")] = "",
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Credit what a faulty tariff made of use, and invoice it anew by the right one. A second call changes nothing.

    Example: tollgate invoice rerate --period 2026-10 --tariff right.toml --dry-run
    """
    if bool(number) == bool(on):
        raise CommandError("name an invoice, or a month with --period")
    tariff, problems = read_tariff(file)
    if tariff is None:
        for problem in problems:
            out.print(str(problem))
        raise fail(f"{len(problems)} fault(s) in {file}; nothing is re-rated")
    done: list[Rerated] = []
    faults: list[str] = []
    with opened(config) as operator:
        if on:
            period(on, operator.settings.operator.zone)
        with operator.engine.connect() as connection:
            numbers = [number] if number else invoices_by_tariff(connection, tariff.tariff_id, on)
        versions = TariffVersions(lambda: TariffBook([]))

        def again(each: str) -> Rerated:
            now = operator.clock.now()

            def do(connection: Connection) -> Rerated:
                return rerate_invoice(
                    connection, operator.settings, each, tariff, now,
                    tariffs=versions, dry_run=dry_run, reason=reason, by=by,
                )  # fmt: skip

            if dry_run:
                return transact(operator.engine, do)
            return changed(operator, "invoice.rerate", f"invoice/{each}", do)

        for each in track(numbers, "Rating again", transient=True, console=err, disable=not err.is_terminal):
            try:
                done.append(again(each))
            except (ReceivablesError, CreditError) as error:
                faults.append(str(error))
    _tell(done, faults, dry_run, as_json)
    if faults:
        raise fail(f"{len(faults)} invoice(s) are not re-rated")


def _tell(done: Sequence[Rerated], faults: Sequence[str], dry_run: bool, as_json: bool) -> None:
    rows = [_row(each) for each in done]
    if as_json:
        show_json({"invoices": rows, "faults": faults, "dry_run": dry_run})
    else:
        names = ("invoice", "account", "before", "after", "difference", "currency", "credit_note", "new_invoice")
        show_table(
            "Nothing is written" if dry_run else "Re-rated",
            [name.replace("_", " ").capitalize() for name in names],
            [[row[name] for name in names] for row in rows],
            empty="No invoice has use by this tariff.",
        )
        for fault in faults:
            out.print(fault)


def _row(each: Rerated) -> dict[str, str | bool]:
    return {
        "invoice": each.invoice,
        "account": each.account,
        "before": format_micros(each.before, each.currency),
        "after": format_micros(each.after, each.currency),
        "difference": format_micros(each.after - each.before, each.currency),
        "currency": each.currency,
        "credit_note": each.credit_note,
        "new_invoice": each.new_invoice,
        "new": each.new,
    }
