"""``tollgate account``: accounts, their subscribers and what they owe."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text
from sqlalchemy import Connection, select

from operator_server import parties
from operator_server.audit import cli_actor
from operator_server.cli import balance
from operator_server.cli.bucket import bucket, share
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
from operator_server.cli.files import Row, import_rows
from operator_server.cli.threshold import threshold
from operator_server.erasure import erase_account
from operator_server.parties import AccountChange, NewAccount, PartyError
from operator_server.store.parties import Account, Binding, Subscriber
from operator_server.store.rows import matching, table
from operator_server.trail import told_change
from operator_server.validation.desk import charges
from signalling.money import format_micros

app = typer.Typer(no_args_is_help=True, help="Accounts: who pays, who uses on whose account, and from which balances.")

_COLUMNS = ("country", "vat_id", "email", "language", "currency", "credit_limit")
"""Columns of an import beside id, name and address."""
for _name, _command in (
    ("top-up", balance.top_up),
    ("adjust", balance.adjust),
    ("pay-out", balance.pay_out),
    ("balance", balance.balance),
    ("limit", balance.limit),
    ("bar", balance.bar),
    ("unbar", balance.unbar),
):
    app.command(_name)(_command)
app.add_typer(bucket, name="bucket")
app.add_typer(share, name="share")
app.add_typer(threshold, name="threshold")


@app.command()
@says_errors(PartyError)
def create(
    account: Annotated[str, typer.Argument(help="Account id; its first subscriber gets the same id.")],
    name: Annotated[str, typer.Option(help="Name on the invoice.")],
    address: Annotated[list[str] | None, typer.Option(help="A line of the address; repeat for more.")] = None,
    country: Annotated[str, typer.Option(help="ISO 3166 code; default: the operator's.")] = "",
    vat_id: Annotated[str, typer.Option("--vat-id", help="VAT id, such as DE123456788.")] = "",
    email: Annotated[str, typer.Option(help="Where invoices are sent to.")] = "",
    language: Annotated[str, typer.Option(help="Language of invoices and offers.")] = "",
    currency: Annotated[str, typer.Option(help="ISO 4217 code.")] = "",
    credit_limit: Annotated[
        str, typer.Option("--credit-limit", help="In the account's currency, such as 200.00.")
    ] = "",
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Open an account.

    Example: tollgate account create A-1001 --name "Erika Muster" --address "Weg 1" --address "24103 Kiel"
    """
    new = NewAccount(account, name, address or [], country, vat_id, email, language, currency, credit_limit)
    with opened(config) as operator:
        settings, now = operator.settings.operator, operator.clock.now()
        made = changed(
            operator, "account.create", f"account/{account}",
            lambda c: parties.create_account(c, new, settings, now), {},
        )  # fmt: skip
        limit = format_micros(made.credit_limit, made.currency)
    told(
        {"account": account, "currency": made.currency, "credit_limit": limit}, as_json,
        f"Account {account} is open: {made.currency}, credit limit {limit}.",
    )  # fmt: skip


@app.command()
@says_errors(PartyError)
def change(
    account: Annotated[str, typer.Argument(help="Account id.")],
    name: Annotated[str | None, typer.Option(help="Name on the invoice.")] = None,
    address: Annotated[
        list[str] | None, typer.Option(help="A line of the address, in place of all there are; repeat for more.")
    ] = None,
    country: Annotated[str | None, typer.Option(help="ISO 3166 code.")] = None,
    vat_id: Annotated[str | None, typer.Option("--vat-id", help="Empty: none.")] = None,
    email: Annotated[str | None, typer.Option(help="Where invoices are sent to; empty: nowhere.")] = None,
    language: Annotated[str | None, typer.Option(help="Language of invoices and offers.")] = None,
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Change name, address or language of an account; what was invoiced stays as it is.

    The credit limit is set by `tollgate account limit`, cycle and taxes by `tollgate bill cycle`.

    Example: tollgate account change A-1001 --address "Hafen 3" --address "24103 Kiel" --email erika@muster.example
    """
    wanted = AccountChange(name, address or None, country, vat_id, email, language)
    if wanted == AccountChange():
        raise CommandError("say what to change, such as --email; `tollgate account change --help` lists all")
    with opened(config) as operator:
        now = operator.clock.now()
        changed(
            operator, "account.change", f"account/{account}",
            lambda c: parties.change_account(c, account, wanted, now), {},
        )  # fmt: skip
    done = sorted(key for key, value in asdict(wanted).items() if value is not None)
    told({"account": account, "changed": done}, as_json, f"Account {account}: {', '.join(done)} changed.")


@app.command("list")
@says_errors()
def list_(
    name: Annotated[str, typer.Option(help="Only those with this in their name, in either case.")] = "",
    status: Annotated[str, typer.Option(help="Only active, closed, barred or erased ones.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Most rows.")] = 50,
    after: Annotated[str, typer.Option(help="Start after this account id.")] = "",
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """List accounts by id.

    Example: tollgate account list --name muster
    """
    accounts = table(Account)
    query = select(accounts).where(accounts.c.id > after).order_by(accounts.c.id).limit(limit)
    if name:
        query = query.where(accounts.c.name.icontains(name, autoescape=True))
    query = matching(query, (accounts.c.status, status))
    with reading(config) as connection:
        rows = connection.execute(query).all()
    found = [
        {"account": r.id, "name": r.name, "address": r.address, "country": r.country, "email": r.email,
         "language": r.language, "currency": r.currency, "credit_limit": format_micros(r.credit_limit, r.currency),
         "status": r.status, "created_at": r.created_at}
        for r in rows
    ]  # fmt: skip
    if as_json:
        show_json(found)
        return
    show_table(
        "Accounts",
        ["Account", "Name", "Address", "E-mail", "Credit limit", "State"],
        [
            (e["account"], e["name"], ", ".join(e["address"]), e["email"], f"{e['credit_limit']} {e['currency']}",
             e["status"])
            for e in found
        ],
        empty="No account matches. `tollgate account create` opens one.",
    )  # fmt: skip


@app.command("import")
@says_errors()
def import_(
    file: Annotated[
        Path, typer.Argument(help="CSV: id,name,address,country,vat_id,email,language,currency,credit_limit.")
    ],
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Open accounts in bulk; lines of an address are separated by '|'. Bad lines are told, the rest is done.

    An account that is known stays as it is; one that was erased is refused.

    Example: tollgate account import accounts.csv
    """
    with opened(config) as operator:
        settings, now = operator.settings.operator, operator.clock.now()

        def take(connection: Connection, row: Row) -> bool:
            if parties.exists(connection, Account, row["id"]):
                parties.require_open(connection, row["id"])
                return False
            told_change(
                connection, cli_actor(), "account.create", f"account/{row['id']}",
                lambda c: parties.create_account(c, _new(row), settings, now), now, {"file": file.name},
            )  # fmt: skip
            return True

        import_rows(operator.engine, file, ("id", "name"), take, "opened", as_json, ("address", *_COLUMNS))


def _new(row: Row) -> NewAccount:
    address = [line.strip() for line in row.get("address", "").split("|") if line.strip()]
    return NewAccount(row["id"], row["name"], address, **{name: row.get(name, "") for name in _COLUMNS})


@app.command()
@says_errors()
def show(
    account: Annotated[str, typer.Argument(help="Account id.")],
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Show an account with its subscribers, terminals and money.

    Example: tollgate account show A-1001
    """
    with reading(config) as connection:
        accounts = table(Account)
        row = connection.execute(select(accounts).where(accounts.c.id == account)).first()
        if row is None:
            raise CommandError(f"account {account}: there is none")
        value: dict[str, Any] = dict(row._mapping)
        value["credit_limit"] = format_micros(row.credit_limit, row.currency)
        value["subscribers"] = _subscribers(connection, account)
        value["money"] = [
            {"currency": money.currency}
            | {
                name: format_micros(getattr(money, name), money.currency)
                for name in ("unbilled", "open", "reserved", "available")
            }
            for money in charges(connection, account)
        ]
        if as_json:
            show_json(value)
            return
        out.print(Text(row.name, style="bold"), f"({row.id}), {', '.join([*row.address, row.country])}")
        out.print(
            f"VAT id {row.vat_id or 'none'}, {row.language}, since {row.created_at:%Y-%m-%d}, "
            f"credit limit {value['credit_limit']} {row.currency}"
        )
        show_table(
            "Money",
            ["Currency", "Not yet billed", "Billed and open", "Reserved", "Available"],
            [[money[k] for k in ("currency", "unbilled", "open", "reserved", "available")] for money in value["money"]],
            empty="",
        )
        show_table(
            "Subscribers",
            ["Subscriber", "Groups", "Terminals"],
            [(s["id"], ", ".join(s["groups"]), ", ".join(s["terminals"])) for s in value["subscribers"]],
            empty="No subscriber.",
        )


def _subscribers(connection: Connection, account: str) -> list[dict[str, Any]]:
    subscriber, binding = table(Subscriber), table(Binding)
    found = []
    for row in connection.execute(
        select(subscriber).where(subscriber.c.account_id == account).order_by(subscriber.c.id)
    ):
        terminals = connection.execute(
            select(binding.c.terminal_id).where(binding.c.subscriber_id == row.id, binding.c.valid_to.is_(None))
        ).scalars()
        found.append({"id": row.id, "name": row.name, "groups": row.groups, "terminals": list(terminals)})
    return found


@app.command()
@says_errors(PartyError)
def erase(
    account: Annotated[str, typer.Argument(help="Account id.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; there is no way back.")] = False,
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Overwrite what names the person behind an account; invoices and what they rest on stay for their retention.

    It is refused while money is owed either way or an agreement runs. Back-ups made before still have the data.

    Example: tollgate account erase A-1001 --yes
    """
    if not yes:
        typer.confirm(f"Erase the person's data of account {account}? There is no way back", abort=True)
    with opened(config) as operator:
        settings, now = operator.settings, operator.clock.now()
        done = changed(
            operator, "account.erase", f"account/{account}",
            lambda c: erase_account(c, settings, account, now, cli_actor()),
        )  # fmt: skip
    told(
        asdict(done), as_json,
        f"Account {account} is erased: {done.subscribers} subscribers, {len(done.terminals)} terminals revoked. "
        f"Kept for their retention: {done.invoices} invoices, {done.credit_notes} credit notes. "
        f"In the audit trail {done.trail} entries lost what named the person.",
    )  # fmt: skip


@app.command("add-subscriber")
@says_errors(PartyError)
def add_subscriber(
    account: Annotated[str, typer.Argument(help="Account id.")],
    subscriber: Annotated[str, typer.Argument(help="New subscriber id.")],
    name: Annotated[str, typer.Option(help="Who uses.")] = "",
    group: Annotated[list[str] | None, typer.Option(help="A subscriber group; repeat for more.")] = None,
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Add a subscriber who uses on this account.

    Example: tollgate account add-subscriber A-1001 A-1001-child --name "Max Muster" --group children
    """
    with opened(config) as operator:
        now = operator.clock.now()
        changed(
            operator, "subscriber.create", f"subscriber/{subscriber}",
            lambda c: parties.create_subscriber(c, subscriber, account, now, name=name, groups=list(group or [])), {},
        )  # fmt: skip
    made = {"subscriber": subscriber, "account": account, "groups": list(group or [])}
    told(made, as_json, f"Subscriber {subscriber} uses on account {account}.")


@app.command()
@says_errors(PartyError)
def groups(
    subscriber: Annotated[str, typer.Argument(help="Subscriber id.")],
    group: Annotated[list[str] | None, typer.Argument(help="All groups it is to be in; none empties them.")] = None,
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Put a subscriber into exactly these groups.

    Example: tollgate account groups A-1001 business staff
    """
    wanted = list(group or [])
    with opened(config) as operator:
        changed(
            operator, "subscriber.groups", f"subscriber/{subscriber}",
            lambda c: parties.set_groups(c, subscriber, wanted), {},
        )  # fmt: skip
    text = f"Subscriber {subscriber} is in: {', '.join(wanted) or 'no group'}."
    told({"subscriber": subscriber, "groups": wanted}, as_json, text)
