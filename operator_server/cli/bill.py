"""``tollgate bill``."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.progress import Progress

from charging.periods import PeriodError
from operator_server.billing.bill_run import BillRunError, run_bills, until_instant
from operator_server.cli.common import CONFIG, ConfigOption, JsonOption, err, opened, out, says_errors, show_json
from signalling.money import format_micros


@says_errors(BillRunError, PeriodError)
def bill(
    period: Annotated[str, typer.Option("--period", help="Month in the operator's time zone, such as 2026-10.")],
    until: Annotated[str, typer.Option("--until", help="Bill an open period up to this day (not included).")] = "",
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Make the invoices of a period. A second run changes nothing; one that was killed goes on where it stopped.

    Example: tollgate bill --period 2026-10
    """
    with opened(config) as operator, Progress(console=err, transient=True) as progress:
        task = progress.add_task("Billing", total=None)
        report = run_bills(
            operator.engine,
            operator.settings,
            period,
            now=operator.clock.now(),
            until=until_instant(until, operator.settings.operator.zone) if until else None,
            progress=lambda done, of: progress.update(task, completed=done, total=of),
        )
    gross = {currency: format_micros(micros, currency) for currency, micros in sorted(report.gross.items())}
    if as_json:
        show_json(
            {"run": report.run, "period": report.period, "until": report.until, "made": report.made,
             "invoices": report.invoices, "gross": gross}
        )  # fmt: skip
        return
    amounts = ", ".join(f"{amount} {currency}" for currency, amount in gross.items()) or "nothing"
    out.print(
        f"{report.made} invoices made; the run to {report.until:%Y-%m-%d %H:%M} UTC has {report.invoices}: {amounts}."
    )
