"""``tollgate bill``: bill runs, their control and approval, and how accounts are billed."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.progress import Progress

from charging.billing.tax import TaxError
from charging.periods import PeriodError, period_of
from charging.periods import period as period_named
from operator_server.audit import cli_actor
from operator_server.billing import approval
from operator_server.billing.accounts import Billing, set_billing
from operator_server.billing.bill_run import BillRunError, BillRunReport, run_bills, until_instant
from operator_server.billing.commitments import NewCommitment, add_commitment, commitments, end_commitment
from operator_server.billing.control import Amount, ControlReport, control_report
from operator_server.cli.common import (
    CONFIG,
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
    told,
)
from operator_server.parties import PartyError
from operator_server.store.store import transact
from signalling.money import MoneyError, decimal_micros, format_micros

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
    with opened(config) as operator, Progress(console=err, transient=True) as progress:
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
    with opened(config) as operator, Progress(console=err, transient=True) as progress:
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


@app.command()
@says_errors(PartyError)
def cycle(
    account: Annotated[str, typer.Argument(help="Account id.")],
    day: Annotated[int | None, typer.Option("--day", help="Day of the month, 1 to 31, that cycles begin on.")] = None,
    zone: Annotated[str | None, typer.Option("--zone", help="Its time zone; empty: the operator's.")] = None,
    tax_country: Annotated[str | None, typer.Option("--tax-country", help="Where it is taxed; empty: country.")] = None,
    tax_status: Annotated[
        str | None, typer.Option("--tax-status", help="exempt, reverse_charge, or empty: by country and VAT id.")
    ] = None,
    tax_reason: Annotated[str | None, typer.Option("--tax-reason", help="Why, as it stands on the invoice.")] = None,
    minimum: Annotated[
        str | None, typer.Option("--minimum", help="Bills below this are left to the next; empty: the operator's.")
    ] = None,
    closed: Annotated[
        bool | None, typer.Option("--closed/--open", help="Closed: the next run makes the last bill, of everything.")
    ] = None,
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Show or change how an account is billed: cycle, time zone, tax, least amount, last bill.

    Example: tollgate bill cycle A-1001 --day 31 --zone Europe/Berlin
    """
    change = Billing(day, zone, tax_country, tax_status, tax_reason, minimum, closed)
    with opened(config) as operator:
        now = operator.clock.now()
        row = transact(operator.engine, lambda c: set_billing(c, account, change, cli_actor(), now))
        own = operator.settings.operator
    shown = dict(row._mapping)
    if as_json:
        show_json(shown)
        return
    least = "the operator's" if row.minimum_amount is None else format_micros(row.minimum_amount, own.currency)
    tax = row.tax_status.replace("_", " ") or "by country and VAT id"
    out.print(f"Account {row.id}: cycles begin on day {row.cycle_day} in {row.time_zone or own.time_zone}.")
    out.print(f"Tax: {tax}{f' ({row.tax_reason})' if row.tax_reason else ''}; least amount: {least}; {row.status}.")


@app.command()
@says_errors(PartyError, MoneyError, BillRunError)
def commit(
    account: Annotated[str, typer.Argument(help="Account id.")],
    amount: Annotated[str, typer.Argument(help="Least spend a cycle, net, such as 50.00.")],
    currency: Annotated[str, typer.Option(help="ISO 4217 code; default: the operator's.")] = "",
    since: Annotated[str, typer.Option("--from", help="First day; default: now.")] = "",
    until: Annotated[str, typer.Option("--until", help="Day on which it no longer holds.")] = "",
    label: Annotated[str, typer.Option(help="What stands on the invoice.")] = "Minimum spend",
    tax_category: Annotated[str, typer.Option("--tax-category", help="Category of configs/tax.toml.")] = "S",
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Keep a commitment: what is missing to it is billed at the end of each cycle.

    Example: tollgate bill commit A-1001 50.00 --from 2026-10-01
    """
    with opened(config) as operator:
        own, now = operator.settings.operator, operator.clock.now()
        new = NewCommitment(
            account,
            decimal_micros(amount),
            currency or own.currency,
            until_instant(since, own.zone) if since else now,
            label,
            tax_category,
            until_instant(until, own.zone) if until else None,
        )
        made = changed(
            operator, "commitment.add", lambda made: f"commitment/{made}",
            lambda c: add_commitment(c, new, own, now), {},
        )  # fmt: skip
    text = f"Commitment {made}: {amount} {new.currency} a cycle from {new.starts_at:%Y-%m-%d %H:%M} UTC on."
    told({"commitment": made, "account": account, "amount": amount, "currency": new.currency}, as_json, text)


@app.command("commitments")
@says_errors()
def list_commitments(
    account: Annotated[str, typer.Option("--account", help="Of this account alone.")] = "",
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """All commitments.

    Example: tollgate bill commitments --account A-1001
    """
    with opened(config) as operator, operator.engine.connect() as connection:
        rows = commitments(connection, account or None)
    if as_json:
        show_json([dict(row._mapping) for row in rows])
        return
    show_table(
        "Commitments",
        ("id", "account", "amount", "from", "until", "label"),
        [
            (row.id, row.account_id, _micros(row.amount, row.currency), row.starts_at, row.ends_at, row.label)
            for row in rows
        ],
        empty="There is none. `tollgate bill commit ACCOUNT AMOUNT` makes one.",
    )


@app.command("end-commitment")
@says_errors(PartyError, BillRunError)
def end(
    commitment: Annotated[str, typer.Argument(help="Its id, of `tollgate bill commitments`.")],
    day: Annotated[str, typer.Option("--on", help="Day on which it no longer holds; default: now.")] = "",
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """End a commitment; of the cycle in which that lies its share is billed.

    Example: tollgate bill end-commitment 01997a1e-... --on 2026-12-15
    """
    with opened(config) as operator:
        at = until_instant(day, operator.settings.operator.zone) if day else operator.clock.now()
        changed(operator, "commitment.end", f"commitment/{commitment}", lambda c: end_commitment(c, commitment, at), {})
    text = f"Commitment {commitment} ends at {at:%Y-%m-%d %H:%M} UTC."
    told({"commitment": commitment, "ends_at": at}, as_json, text)
