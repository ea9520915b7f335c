"""``tollgate mandate``, ``tollgate dispute`` and ``tollgate write-off``: what may be demanded of whom."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from operator_server.cli.common import (
    CONFIG,
    ConfigOption,
    JsonOption,
    opened,
    out,
    recorded,
    says_errors,
    show_json,
    show_table,
)
from operator_server.cli.payment import By, day
from operator_server.receivables.books import ReceivablesError
from operator_server.receivables.collecting import NewMandate, add_mandate, find_mandates, revoke_mandate
from operator_server.receivables.disputes import find_holds, place_hold, release_hold
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


def _show(title: str, rows: list[dict[str, Any]], as_json: bool, empty: str) -> None:
    if as_json:
        show_json(rows)
        return
    names = list(rows[0]) if rows else []
    show_table(title, [name.capitalize() for name in names], [list(row.values()) for row in rows], empty=empty)


@mandates.command("add")
@says_errors(ReceivablesError)
def add(
    mandate: Annotated[str, typer.Argument(help="Reference of the mandate.")],
    account: Annotated[str, typer.Option("--account", help="Account that it pays for.")],
    iban: Annotated[str, typer.Option("--iban")],
    signed_on: Annotated[str, typer.Option("--signed-on", help="Day of the signature.")],
    bic: Annotated[str, typer.Option("--bic")] = "",
    holder: Annotated[str, typer.Option("--holder", help="Default: the account's name.")] = "",
    config: ConfigOption = CONFIG,
) -> None:
    """Keep a mandate; the one that the account had before is revoked.

    Example: tollgate mandate add M-1 --account A-1001 --iban DE89370400440532013000 --signed-on 2026-10-01
    """
    with opened(config) as operator:
        now = operator.clock.now()
        new = NewMandate(mandate, account, iban, day(signed_on, "--signed-on"), bic, holder)
        recorded(operator, lambda c: add_mandate(c, operator.settings, new, now))
    out.print(f"Mandate {mandate} of account {account} is kept.")


@mandates.command("revoke")
@says_errors(ReceivablesError)
def revoke(
    mandate: Annotated[str, typer.Argument(help="Reference of the mandate.")], config: ConfigOption = CONFIG
) -> None:
    """Collect nothing by a mandate any more."""
    with opened(config) as operator:
        now = operator.clock.now()
        was = recorded(operator, lambda c: revoke_mandate(c, operator.settings, mandate, now))
    out.print(f"Mandate {mandate} is revoked." if was else f"Mandate {mandate} was revoked before.")


@mandates.command("list")
@says_errors()
def list_mandates(
    account: Annotated[str, typer.Option("--account", help="Only of this account.")] = "",
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """List mandates."""
    with opened(config) as operator, operator.engine.connect() as connection:
        rows = [
            {"mandate": row.id, "account": row.account_id, "holder": row.holder, "iban": row.iban, "bic": row.bic,
             "signed": row.signed_on, "state": row.state, "first used": row.first_used_on}
            for row in find_mandates(connection, account or None)
        ]  # fmt: skip
    _show("Mandates", rows, as_json, "No mandate. `tollgate mandate add` keeps one.")


@disputes.command("hold")
@says_errors(ReceivablesError)
def hold(
    number: Number,
    reason: Annotated[str, typer.Option("--reason", help="What the customer says.")],
    line: Line = "",
    by: By = "",
    config: ConfigOption = CONFIG,
) -> None:
    """Hold an invoice, a fee, or a line: nobody is reminded of it and it is not collected until it is released.

    Example: tollgate dispute hold R-2026-000001 --line 2 --reason "never delivered"
    """
    with opened(config) as operator:
        now = operator.clock.now()
        recorded(operator, lambda c: place_hold(c, operator.settings, number, now, line=line, reason=reason, by=by))
    out.print(f"{number}{f', line {line},' if line else ''} is held.")


@disputes.command("release")
@says_errors(ReceivablesError)
def release(number: Number, line: Line = "", by: By = "", config: ConfigOption = CONFIG) -> None:
    """End a dispute; what is due is demanded again."""
    with opened(config) as operator:
        now = operator.clock.now()
        was = recorded(operator, lambda c: release_hold(c, operator.settings, number, now, line=line, by=by))
    out.print(f"{number} is released." if was else f"{number} was not held.")


@disputes.command("list")
@says_errors()
def list_disputes(
    every: Annotated[bool, typer.Option("--all", help="Released ones too.")] = False,
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """List what is held."""
    with opened(config) as operator, operator.engine.connect() as connection:
        rows = [
            {"number": row.number, "line": row.line, "reason": row.reason, "by": row.by, "since": row.placed_at,
             "released": row.released_at}
            for row in find_holds(connection, active=not every)
        ]  # fmt: skip
    _show("Disputes", rows, as_json, "Nothing is held.")


@write_offs.command("ask")
@says_errors(ReceivablesError)
def ask(
    number: Number,
    reason: Annotated[str, typer.Option("--reason", help="Why it will not be paid.")],
    by: Annotated[str, typer.Option("--by", help="Who asks.")],
    config: ConfigOption = CONFIG,
) -> None:
    """Ask to give up what is left of a debt; another person has to approve it.

    Example: tollgate write-off ask R-2026-000001 --reason "insolvent" --by eve
    """
    with opened(config) as operator:
        now = operator.clock.now()
        id = recorded(operator, lambda c: ask_write_off(c, operator.settings, number, now, reason=reason, by=by))
    out.print(f"Write-off {id} of {number} waits for approval.")


@write_offs.command("approve")
@says_errors(ReceivablesError)
def approve(
    id: Annotated[str, typer.Argument(help="Id of the request.")],
    by: Annotated[str, typer.Option("--by", help="Who approves.")],
    config: ConfigOption = CONFIG,
) -> None:
    """Approve a write-off: what is left of the debt becomes bad debt."""
    with opened(config) as operator:
        now = operator.clock.now()
        recorded(operator, lambda c: approve_write_off(c, operator.settings, id, now, by=by))
    out.print(f"Write-off {id} is approved.")


@write_offs.command("refuse")
@says_errors(ReceivablesError)
def refuse(
    id: Annotated[str, typer.Argument(help="Id of the request.")],
    by: Annotated[str, typer.Option("--by", help="Who refuses.")],
    config: ConfigOption = CONFIG,
) -> None:
    """Refuse a write-off: the debt stays."""
    with opened(config) as operator:
        now = operator.clock.now()
        recorded(operator, lambda c: refuse_write_off(c, operator.settings, id, now, by=by))
    out.print(f"Write-off {id} is refused.")


@write_offs.command("list")
@says_errors()
def list_write_offs(
    state: Annotated[str, typer.Option("--state", help="asked, approved or refused.")] = "",
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """List write-offs, the oldest first."""
    with opened(config) as operator, operator.engine.connect() as connection:
        rows = [
            {"id": row.id, "number": row.number, "account": row.account_id,
             "amount": f"{format_micros(row.amount, row.currency)} {row.currency}",
             "recovered": format_micros(row.recovered, row.currency), "state": row.state, "reason": row.reason,
             "asked by": row.asked_by, "decided by": row.decided_by}
            for row in find_write_offs(connection, state or None)
        ]  # fmt: skip
    _show("Write-offs", rows, as_json, "No write-off.")
