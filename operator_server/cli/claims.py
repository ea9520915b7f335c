"""``tollgate mandate``, ``tollgate dispute`` and ``tollgate write-off``: what may be demanded of whom."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from operator_server.cli.common import (
    CONFIG,
    ConfigOption,
    JsonOption,
    changed,
    opened,
    out,
    reading,
    says_errors,
    show_rows,
    told,
)
from operator_server.cli.payment import By, day
from operator_server.receivables.bad_debt_tax import correct_due, find_corrections, notice_rows
from operator_server.receivables.books import ReceivablesError
from operator_server.receivables.collecting import NewMandate, add_mandate, find_mandates, revoke_mandate
from operator_server.receivables.disputes import find_holds, place_hold, release_hold
from operator_server.receivables.notices import compose_notice
from operator_server.receivables.write_offs import (
    approve_write_off,
    ask_write_off,
    find_write_offs,
    refuse_write_off,
)
from signalling.money import format_micros

mandates = typer.Typer(no_args_is_help=True, help="SEPA direct-debit mandates.")
disputes = typer.Typer(no_args_is_help=True, help="Disputed invoices and lines: neither reminded nor collected.")
write_offs = typer.Typer(no_args_is_help=True, help="Debts that are given up.")

Number = Annotated[str, typer.Argument(help="Number of an invoice or a fee.")]
Line = Annotated[str, typer.Option("--line", help="Only this line of the invoice.")]


@mandates.command("add")
@says_errors(ReceivablesError)
def add(
    mandate: Annotated[str, typer.Argument(help="Reference of the mandate.")],
    account: Annotated[str, typer.Option("--account", help="Account that it pays for.")],
    iban: Annotated[str, typer.Option("--iban", help="Account at the bank that is debited.")],
    signed_on: Annotated[str, typer.Option("--signed-on", help="Day of the signature.")],
    bic: Annotated[str, typer.Option("--bic", help="Its bank; not needed within the SEPA area.")] = "",
    holder: Annotated[str, typer.Option("--holder", help="Default: the account's name.")] = "",
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Keep a mandate; the one that the account had before is revoked.

    Example: tollgate mandate add M-1 --account A-1001 --iban DE89370400440532013000 --signed-on 2026-10-01
    """
    with opened(config) as operator:
        now = operator.clock.now()
        new = NewMandate(mandate, account, iban, day(signed_on, "--signed-on"), bic, holder)
        changed(
            operator, "mandate.add", f"mandate/{mandate}", lambda c: add_mandate(c, operator.settings, new, now),
            lambda former: {"replaces": former} if former else {},
        )  # fmt: skip
    told({"mandate": mandate, "account": account}, as_json, f"Mandate {mandate} of account {account} is kept.")


@mandates.command("revoke")
@says_errors(ReceivablesError)
def revoke(
    mandate: Annotated[str, typer.Argument(help="Reference of the mandate.")],
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Collect nothing by a mandate any more.

    Example: tollgate mandate revoke M-1
    """
    with opened(config) as operator:
        now = operator.clock.now()
        was = changed(
            operator, "mandate.revoke", f"mandate/{mandate}",
            lambda c: revoke_mandate(c, operator.settings, mandate, now), {},
        )  # fmt: skip
    text = f"Mandate {mandate} is revoked." if was else f"Mandate {mandate} was revoked before."
    told({"mandate": mandate, "revoked": True, "changed": was}, as_json, text)


@mandates.command("list")
@says_errors()
def list_mandates(
    account: Annotated[str, typer.Option("--account", help="Only of this account.")] = "",
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """List mandates.

    Example: tollgate mandate list --account A-1001
    """
    with reading(config) as connection:
        rows = [
            {"mandate": row.id, "account": row.account_id, "holder": row.holder, "iban": row.iban, "bic": row.bic,
             "signed": row.signed_on, "state": row.state, "first used": row.first_used_on}
            for row in find_mandates(connection, account)
        ]  # fmt: skip
    show_rows("Mandates", rows, as_json, empty="No mandate. `tollgate mandate add` keeps one.")


@disputes.command("hold")
@says_errors(ReceivablesError)
def hold(
    number: Number,
    reason: Annotated[str, typer.Option("--reason", help="What the customer says.")],
    line: Line = "",
    by: By = "",
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Hold an invoice, a fee, or a line: nobody is reminded of it and it is not collected until it is released.

    Example: tollgate dispute hold R-2026-000001 --line 2 --reason "never delivered"
    """
    with opened(config) as operator:
        now = operator.clock.now()
        id = changed(
            operator, "dispute.hold", f"debt/{number}",
            lambda c: place_hold(c, operator.settings, number, now, line=line, reason=reason, by=by),
        )  # fmt: skip
    made = {"dispute": id, "number": number, "line": line, "held": True}
    told(made, as_json, f"{number}{f', line {line},' if line else ''} is held.")


@disputes.command("release")
@says_errors(ReceivablesError)
def release(
    number: Number, line: Line = "", by: By = "", as_json: JsonOption = False, config: ConfigOption = CONFIG
) -> None:
    """End a dispute; what is due is demanded again.

    Example: tollgate dispute release R-2026-000001 --line 2
    """
    with opened(config) as operator:
        now = operator.clock.now()
        was = changed(
            operator, "dispute.release", f"debt/{number}",
            lambda c: release_hold(c, operator.settings, number, now, line=line, by=by),
        )  # fmt: skip
    made = {"number": number, "line": line, "held": False, "changed": was}
    told(made, as_json, f"{number} is released." if was else f"{number} was not held.")


@disputes.command("list")
@says_errors()
def list_disputes(
    every: Annotated[bool, typer.Option("--all", help="Released ones too.")] = False,
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """List what is held.

    Example: tollgate dispute list --all
    """
    with reading(config) as connection:
        rows = [
            {"number": row.number, "line": row.line, "reason": row.reason, "by": row.by, "since": row.placed_at,
             "released": row.released_at}
            for row in find_holds(connection, active=not every)
        ]  # fmt: skip
    show_rows("Disputes", rows, as_json, empty="Nothing is held.")


@write_offs.command("ask")
@says_errors(ReceivablesError)
def ask(
    number: Number,
    reason: Annotated[str, typer.Option("--reason", help="Why it will not be paid.")],
    by: Annotated[str, typer.Option("--by", help="Who asks.")],
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Ask to give up what is left of a debt; another person has to approve it.

    Example: tollgate write-off ask R-2026-000001 --reason "insolvent" --by eve
    """
    with opened(config) as operator:
        now = operator.clock.now()
        id = changed(
            operator, "write_off.ask", lambda id: f"write_off/{id}",
            lambda c: ask_write_off(c, operator.settings, number, now, reason=reason, by=by), {},
        )  # fmt: skip
    told({"write_off": id, "number": number}, as_json, f"Write-off {id} of {number} waits for approval.")


RequestArgument = Annotated[str, typer.Argument(help="Id of the request, of `tollgate write-off list`.")]
Decider = Annotated[str, typer.Option("--by", help="Who decides; another person than asked.")]


@write_offs.command("approve")
@says_errors(ReceivablesError)
def approve(id: RequestArgument, by: Decider, as_json: JsonOption = False, config: ConfigOption = CONFIG) -> None:
    """Approve a write-off: what is left of the debt becomes bad debt.

    Example: tollgate write-off approve 0199f3c2-7a10-7c41-a3b5-5d2f3c1e9a77 --by adam
    """
    _decide(config, id, by, "approve", approve_write_off)
    told({"write_off": id, "state": "approved"}, as_json, f"Write-off {id} is approved.")


@write_offs.command("refuse")
@says_errors(ReceivablesError)
def refuse(id: RequestArgument, by: Decider, as_json: JsonOption = False, config: ConfigOption = CONFIG) -> None:
    """Refuse a write-off: the debt stays.

    Example: tollgate write-off refuse 0199f3c2-7a10-7c41-a3b5-5d2f3c1e9a77 --by adam
    """
    _decide(config, id, by, "refuse", refuse_write_off)
    told({"write_off": id, "state": "refused"}, as_json, f"Write-off {id} is refused.")


def _decide(config: Path, id: str, by: str, what: str, do: Callable[..., object]) -> None:
    with opened(config) as operator:
        now = operator.clock.now()
        changed(
            operator, f"write_off.{what}", f"write_off/{id}", lambda c: do(c, operator.settings, id, now, by=by), {}
        )


@write_offs.command("list")
@says_errors()
def list_write_offs(
    state: Annotated[str, typer.Option("--state", help="asked, approved or refused.")] = "",
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """List write-offs, the oldest first.

    Example: tollgate write-off list --state asked
    """
    with reading(config) as connection:
        rows = [
            {"id": row.id, "number": row.number, "account": row.account_id,
             "amount": f"{format_micros(row.amount, row.currency)} {row.currency}",
             "recovered": format_micros(row.recovered, row.currency), "state": row.state, "reason": row.reason,
             "asked by": row.asked_by, "decided by": row.decided_by,
             "tax": f"{row.tax} until {row.tax_from}" if row.tax == "waiting" else row.tax}
            for row in find_write_offs(connection, state)
        ]  # fmt: skip
    show_rows("Write-offs", rows, as_json, empty="No write-off.")


@write_offs.command("correct-taxes")
@says_errors(ReceivablesError)
def correct_taxes(as_json: JsonOption = False, config: ConfigOption = CONFIG) -> None:
    """Correct the tax of write-offs whose day has come; the worker does it by itself.

    Example: tollgate write-off correct-taxes
    """
    with opened(config) as operator:
        changed(operator, "write_off.correct_taxes", "write_off/all", lambda c: None)
        count = correct_due(operator.engine, operator.settings, operator.clock.now())
    told({"corrected": count}, as_json, f"The tax of {count} write-offs is corrected.")


@write_offs.command("taxes")
@says_errors()
def taxes(as_json: JsonOption = False, config: ConfigOption = CONFIG) -> None:
    """List the tax that write-offs took back, and that payments brought back after all.

    Example: tollgate write-off taxes --json
    """
    with reading(config) as connection:
        rows = [
            {"write-off": row.write_off_id, "invoice": row.number, "country": row.country, "category": row.category,
             "rate": f"{row.rate_bp / 100:g} %", "base": format_micros(row.base, row.currency),
             "tax": f"{format_micros(row.tax, row.currency)} {row.currency}", "notice": row.notice,
             "at": row.booked_at}
            for row in find_corrections(connection)
        ]  # fmt: skip
    show_rows("Tax of written-off debts", rows, as_json, empty="No tax was corrected.")


@write_offs.command("notice")
@says_errors(ReceivablesError)
def notice(
    number: Annotated[str, typer.Argument(help="Number of the notice, as `write-off taxes` lists it.")],
    config: ConfigOption = CONFIG,
) -> None:
    """Print the notice that tells a customer of the corrected tax, where the country asks for one.

    Example: tollgate write-off notice B-2026-000001
    """
    with opened(config) as operator, operator.engine.connect() as connection:
        rows, invoice = notice_rows(connection, number)
        out.print(compose_notice(operator.settings, rows, invoice))
