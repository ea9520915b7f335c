"""``tollgate bill cycle|commit|commitments|end-commitment``: how accounts are billed, and what they promise."""

from __future__ import annotations

from typing import Annotated

import typer

from operator_server.audit import cli_actor
from operator_server.billing.accounts import Billing, set_billing
from operator_server.billing.bill_run import BillRunError, until_instant
from operator_server.billing.commitments import NewCommitment, add_commitment, commitments, end_commitment
from operator_server.cli.common import (
    CONFIG,
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
from operator_server.parties import PartyError, currency_of
from operator_server.store.store import transact
from signalling.money import MoneyError, decimal_micros, format_micros


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


@says_errors(PartyError, MoneyError, BillRunError)
def commit(
    account: Annotated[str, typer.Argument(help="Account id.")],
    amount: Annotated[str, typer.Argument(help="Least spend a cycle, net, such as 50.00.")],
    currency: Annotated[str, typer.Option(help="ISO 4217 code; default: the account's.")] = "",
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
            currency or transact(operator.engine, lambda c: currency_of(c, account)),
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


@says_errors()
def list_commitments(
    account: Annotated[str, typer.Option("--account", help="Of this account alone.")] = "",
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """All commitments.

    Example: tollgate bill commitments --account A-1001
    """
    with reading(config) as connection:
        rows = commitments(connection, account)
    if as_json:
        show_json([dict(row._mapping) for row in rows])
        return
    show_table(
        "Commitments",
        ("id", "account", "amount", "from", "until", "label"),
        [
            (
                row.id,
                row.account_id,
                f"{format_micros(row.amount, row.currency)} {row.currency}",
                row.starts_at,
                row.ends_at,
                row.label,
            )
            for row in rows
        ],
        empty="There is none. `tollgate bill commit ACCOUNT AMOUNT` makes one.",
    )


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
