"""``tollgate bill``: bill runs, their control and approval, and how accounts are billed."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from sqlalchemy import select

from charging.billing.tax import TaxError
from charging.periods import PeriodError, period_of
from charging.periods import period as period_named
from operator_server.audit import cli_actor
from operator_server.billing import approval
from operator_server.billing.bill_run import BillRunError, BillRunReport, run_bills, until_instant
from operator_server.billing.control import Amount, ControlReport, control_report
from operator_server.cli import bill_terms
from operator_server.cli.common import (
    CONFIG,
    ConfigOption,
    JsonOption,
    changed,
    err,
    fail,
    opened,
    out,
    progress_bar,
    reading,
    says_errors,
    show_json,
    show_table,
    told,
)
from operator_server.store.accounting import BillRun
from operator_server.store.rows import matching, table
from signalling.money import format_micros

app = typer.Typer(help="Bill runs: make the invoices of a period, control, approve and finalise them.")

PeriodArgument = Annotated[str, typer.Argument(help="Month, such as 2026-10.")]
ByOption = Annotated[str, typer.Option("--by", help="Who does it; default: the user of this machine.")]
UntilOption = Annotated[str, typer.Option("--until", help="Bill an open period up to this day (not included).")]


@app.callback(invoke_without_command=True)
@says_errors(BillRunError, PeriodError, TaxError)
def bill(
    context: typer.Context,
    period: Annotated[str, typer.Option("--period", help="Month in the operator's time zone, such as 2026-10.")] = "",
    until: UntilOption = "",
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Make the invoices of a period, control, approve and finalise them.

    Example: tollgate bill --period 2026-10, which is short for tollgate bill run 2026-10
    """
    if context.invoked_subcommand is not None:
        return
    if not period:
        raise fail("say which period: tollgate bill run 2026-10; tollgate bill --help lists all commands", 2)
    _run(config, period, until, as_json)


@app.command()
@says_errors(BillRunError, PeriodError, TaxError)
def run(
    period: Annotated[str, typer.Argument(help="Month, such as 2026-10; with --due it may be left out.")] = "",
    until: UntilOption = "",
    draft: Annotated[
        bool | None, typer.Option("--draft/--final", help="Make drafts to approve, or invoices; default: by settings.")
    ] = None,
    due: Annotated[bool, typer.Option("--due", help="Bill every account whose cycle is over today.")] = False,
    workers: Annotated[int, typer.Option("--workers", min=1, max=64, help="Processes that make bills.")] = 1,
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Make the invoices of a period. A second run changes nothing; one that was killed goes on where it stopped.

    Example: tollgate bill run 2026-10 --draft
    """
    if not period and not due:
        raise fail("say which period: tollgate bill run 2026-10, or tollgate bill run --due", 2)
    _run(config, period, until, as_json, draft=draft, scope="due" if due else "all", workers=workers)


def _run(config: Path, period: str, until: str, as_json: bool, **how: Any) -> None:
    with opened(config) as operator, progress_bar() as progress:
        now, zone = operator.clock.now(), operator.settings.operator.zone
        end = until_instant(until, zone) if until else None
        if how.get("scope") == "due":
            today = now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
            end = end or until_instant(today.isoformat(), zone)
            period = period or period_of(end - timedelta(microseconds=1), zone)
        kind = "draft" if how.get("draft") else "final" if how.get("draft") is False else "by the settings"
        asked = {"until": end, "scope": how.get("scope", "all"), "kind": kind}
        changed(operator, "bill_run.start", f"period/{period}", lambda c: period_named(period, zone), asked)
        task = progress.add_task("Billing", total=None)
        report = run_bills(
            operator.engine,
            operator.settings,
            period,
            now=now,
            until=end,
            progress=lambda done, of: progress.update(task, completed=done, total=of),
            **how,
        )
    _tell(report, as_json)


def _tell(report: BillRunReport, as_json: bool) -> None:
    gross = {currency: format_micros(micros, currency) for currency, micros in sorted(report.gross.items())}
    if as_json:
        show_json(
            {"run": report.run, "period": report.period, "until": report.until, "state": report.state,
             "made": report.made, "invoices": report.invoices, "gross": gross, "carried": report.carried,
             "waiting": report.waiting, "failed": list(report.failed)}
        )  # fmt: skip
    else:
        amounts = ", ".join(f"{amount} {currency}" for currency, amount in gross.items()) or "nothing"
        what = "drafts" if report.state in ("drafting", "drafted") else "invoices"
        out.print(
            f"{report.made} {what} made; the run to {report.until:%Y-%m-%d %H:%M} UTC has {report.invoices}: {amounts}."
        )
        if report.carried:
            out.print(f"{report.carried} bills are below the least amount and left to the next run.")
        if report.waiting:
            out.print(f"{report.waiting} accounts have a cycle that is not over; repeat the run then.")
        if report.state == "drafted":
            out.print(f"Look at `tollgate bill report {report.period}`, then `tollgate bill approve {report.period}`.")
    for text in report.failed if not as_json else ():
        err.print(text)
    if report.failed:
        raise fail(f"{len(report.failed)} account(s) could not be billed; mend that and repeat the run")


@app.command()
@says_errors(PeriodError)
def report(
    period: PeriodArgument,
    most: Annotated[int, typer.Option("--most", min=1, help="Entries of a list.")] = 20,
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """The control report of a month: what was rated and became of it, odd invoices, terminals that are silent.

    Example: tollgate bill report 2026-10
    """
    with opened(config) as operator, operator.engine.connect() as connection:
        made = control_report(connection, operator.settings.operator, period, most=most)
    if as_json:
        show_json(msgspec.to_builtins(made))
        return
    _show_report(made)


def _show_report(made: ControlReport) -> None:
    state = f"bill run {made.state}" if made.state else "no bill run yet"
    approved = f", approved by {made.approved_by}" if made.approved_by else ""
    locked = f", locked by {made.locked_by}" if made.locked_by else ""
    out.print(f"{made.period}: {state}{approved}{locked}")
    names = ("rated", "billed", "drafted", "unbilled", "prepaid", "rated_only", "bills")
    rows = [
        (name.replace("_", " "), amount.currency, amount.count, _money(amount))
        for name in names
        for amount in getattr(made, name)
    ]
    show_table("Figures", ("what", "currency", "count", "amount"), rows, empty="Nothing was rated.")
    if made.suspended:
        left = [(each.account, each.kind, _micros(each.micros, each.currency), each.reason) for each in made.suspended]
        show_table("Suspended: accounts without a bill", ("account", "why", "amount", "reason"), left, empty="")
    out.print(f"Gaps in counter reports: {made.gaps}")
    out.print(f"Rejected counter reports: {sum(made.rejected.values())}")
    for why, count in made.rejected.items():
        out.print(f"  {count} {why}")
    for title, odd in (("Zero invoices", made.zero), ("Outliers", made.outliers)):
        out.print(f"{title}: {len(odd)}")
        for each in odd:
            amount = _micros(each.micros, each.currency)
            usual = f", usually {_micros(each.usual, each.currency)}" if each.usual else ""
            out.print(f"  {each.account} {each.number or 'draft'} {amount}{usual}: {each.why}")
    out.print(f"Terminals that did not report: {len(made.silent)}")
    for silent in made.silent:
        last = f"{silent.reported_at:%Y-%m-%d}" if silent.reported_at else "never"
        out.print(
            f"  {silent.terminal} {silent.product} of {silent.subscriber}: last {last},"
            f" at risk {_micros(silent.at_risk, silent.currency)}"
        )


def _actor(by: str) -> str:
    return f"{cli_actor()} ({by})" if by else cli_actor()


def _money(amount: Amount) -> str:
    return format_micros(amount.micros, amount.currency)


def _micros(micros: int, currency: str) -> str:
    return f"{format_micros(micros, currency)} {currency}" if currency else ""


@app.command()
@says_errors(BillRunError)
def approve(
    period: PeriodArgument, by: ByOption = "", as_json: JsonOption = False, config: ConfigOption = CONFIG
) -> None:
    """Approve the drafts of a period as they are, by name.

    Example: tollgate bill approve 2026-10 --by "Erika Muster"
    """
    with opened(config) as operator:
        actor, now = _actor(by), operator.clock.now()
        made = changed(
            operator, "bill_run.approve", f"period/{period}", lambda c: approval.approve(c, period, actor, now)
        )
    told(
        {"period": period, "approved": made.invoices, "by": actor}, as_json,
        f"{made.invoices} drafts of {period} are approved by {by or actor}; `tollgate bill finalise {period}` is next.",
    )  # fmt: skip


@app.command()
@says_errors(BillRunError)
def finalise(
    period: PeriodArgument, by: ByOption = "", as_json: JsonOption = False, config: ConfigOption = CONFIG
) -> None:
    """Make the approved drafts of a period invoices, which get their numbers now and never change.

    Example: tollgate bill finalise 2026-10
    """
    with opened(config) as operator, progress_bar() as progress:
        task = progress.add_task("Finalising", total=None)
        made = approval.finalise(
            operator.engine,
            operator.settings,
            period,
            _actor(by),
            now=operator.clock.now(),
            progress=lambda done, of: progress.update(task, completed=done, total=of),
        )
    _tell(made, as_json)


@app.command()
@says_errors(BillRunError)
def discard(
    period: PeriodArgument, by: ByOption = "", as_json: JsonOption = False, config: ConfigOption = CONFIG
) -> None:
    """Throw the drafts of a period away; their charges are billed by the next run.

    Example: tollgate bill discard 2026-10
    """
    with opened(config) as operator:
        actor, now = _actor(by), operator.clock.now()
        count = changed(
            operator, "bill_run.discard", f"period/{period}", lambda c: approval.discard(c, period, actor, now)
        )
    text = f"{count} drafts of {period} are thrown away; `tollgate bill run {period}` makes bills anew."
    told({"period": period, "discarded": count}, as_json, text)


@app.command()
@says_errors(BillRunError, PeriodError)
def lock(period: PeriodArgument, by: ByOption = "", as_json: JsonOption = False, config: ConfigOption = CONFIG) -> None:
    """Close the books of a period: use that comes late goes to the next one.

    Example: tollgate bill lock 2026-10
    """
    with opened(config) as operator:
        actor, now, settings = _actor(by), operator.clock.now(), operator.settings.operator
        end = changed(
            operator, "period.lock", f"period/{period}",
            lambda c: approval.lock_period(c, period, settings, actor, now),
        )  # fmt: skip
    text = f"{period} is locked: what comes late takes effect from {end:%Y-%m-%d %H:%M} UTC on."
    told({"period": period, "locked": True, "effective_from": end}, as_json, text)


@app.command()
@says_errors(BillRunError)
def unlock(
    period: PeriodArgument, by: ByOption = "", as_json: JsonOption = False, config: ConfigOption = CONFIG
) -> None:
    """Open the books of a period again, which no bill run has begun to bill.

    Example: tollgate bill unlock 2026-10
    """
    with opened(config) as operator:
        actor, now = _actor(by), operator.clock.now()
        changed(operator, "period.unlock", f"period/{period}", lambda c: approval.unlock_period(c, period, actor, now))
    told({"period": period, "locked": False}, as_json, f"{period} is open again.")


@app.command("list")
@says_errors()
def list_(
    period: Annotated[str, typer.Option("--period", help="Only of this month, such as 2026-10.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Most rows.")] = 50,
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """List bill runs, the newest first: how far each is, and who approved it.

    Example: tollgate bill list --period 2026-10
    """
    runs = table(BillRun)
    query = matching(select(runs).order_by(runs.c.id.desc()).limit(limit), (runs.c.period, period))
    with reading(config) as connection:
        names = ("id", "period", "until_at", "state", "invoices", "scope", "approved_by", "started_at", "finished_at")
        rows = [{name: getattr(row, name) for name in names} for row in connection.execute(query)]
    if as_json:
        show_json(rows)
        return
    show_table(
        "Bill runs",
        ["Period", "Until (UTC)", "State", "Bills", "Scope", "Approved by", "Started"],
        [
            (r["period"], f"{r['until_at']:%Y-%m-%d %H:%M}", r["state"], r["invoices"], r["scope"], r["approved_by"],
             f"{r['started_at']:%Y-%m-%d %H:%M}")
            for r in rows
        ],
        empty="No bill was run yet. `tollgate bill run YYYY-MM` makes the invoices of a month.",
    )  # fmt: skip


for _name, _command in (
    ("cycle", bill_terms.cycle),
    ("commit", bill_terms.commit),
    ("commitments", bill_terms.list_commitments),
    ("end-commitment", bill_terms.end),
):
    app.command(_name)(_command)
