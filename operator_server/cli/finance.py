"""``tollgate finance``: the hand-off to the operator's accountants."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from charging.periods import PeriodError, period
from operator_server.cli.common import (
    CONFIG,
    ConfigOption,
    JsonOption,
    changed,
    fail,
    opened,
    out,
    says_errors,
    show_json,
)
from operator_server.receivables.finance_files import export_finance
from operator_server.receivables.recognition import recognise
from signalling.money import format_micros

app = typer.Typer(no_args_is_help=True, help="The hand-off to finance.")


class FinanceForm(StrEnum):
    """In what form the files are written."""

    csv = "csv"
    json = "json"


@app.callback()
def finance() -> None:
    """The hand-off to finance."""


@app.command()
@says_errors(PeriodError)
def export(
    name: Annotated[str, typer.Argument(metavar="PERIOD", help="Month in the operator's time zone, such as 2026-10.")],
    folder: Annotated[Path, typer.Option("--out", help="Folder to write to.")],
    form: Annotated[FinanceForm, typer.Option("--form", help="csv or json.")] = FinanceForm.csv,
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Write journal, balances, taxes, deferred revenue and ageing of a month; exit 1 where a sum does not tie.

    Example: tollgate finance export 2026-10 --form csv --out finance/
    """
    with opened(config) as operator:
        span = period(name, operator.settings.operator.zone)
        made, files = export_finance(operator.engine, operator.settings, span, folder, form.value, operator.clock.now())
    receivables = {
        currency: sum(ageing.total for _, each, ageing in made.ageing if each == currency)
        for currency in sorted({each for _, each, _ in made.ageing})
    }
    if as_json:
        show_json(
            {"period": name, "files": files, "faults": made.faults,
             "receivable": {currency: format_micros(sum_, currency) for currency, sum_ in receivables.items()}}
        )  # fmt: skip
    else:
        owed = ", ".join(f"{format_micros(sum_, currency)} {currency}" for currency, sum_ in receivables.items())
        out.print(f"{len(files)} files of {name} are in {folder}; receivable at its end: {owed or 'nothing'}.")
    for fault in made.faults if not as_json else ():
        out.print(fault)
    if made.faults:
        raise fail(f"{len(made.faults)} sum(s) do not tie to the ledger; run `tollgate ledger verify`")


@app.command("recognise")
@says_errors(PeriodError)
def recognise_(
    name: Annotated[str, typer.Argument(metavar="PERIOD", help="Last month to post, such as 2026-10.")],
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Post deferred revenue at the end of each month up to one that is over; the worker does it by itself.

    Example: tollgate finance recognise 2026-10
    """
    with opened(config) as operator:
        span, now = period(name, operator.settings.operator.zone), operator.clock.now()
        if span.end > now:
            raise PeriodError(f"period {name} is open until {span.end:%Y-%m-%d %H:%M} UTC; its revenue is posted then")
        changed(operator, "revenue.recognise", f"period/{name}", lambda c: None)
        done = recognise(operator.engine, operator.settings, span, now)
    told = [
        (each, {currency: format_micros(micros, currency) for currency, micros in each.standing.items()})
        for each in done
    ]  # fmt: skip
    if as_json:
        show_json([{"period": each.period, "agreements": each.moved, "deferred": amounts} for each, amounts in told])
        return
    for each, amounts in told:
        left = ", ".join(f"{amount} {currency}" for currency, amount in amounts.items())
        out.print(f"{each.period}: {each.moved} agreements moved; deferred at its end: {left or 'nothing'}.")
    if not told:
        out.print(f"The deferred revenue of {name} and before is posted, or there was none.")
