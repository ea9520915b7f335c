"""``tollgate payment``: open items, payments by hand and from bank statements, direct debits."""

from __future__ import annotations

import hashlib
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from sqlalchemy import select

from charging.receivables.camt import StatementError
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
    show_rows,
    told,
)
from operator_server.files import write_atomically
from operator_server.receivables.books import ReceivablesError, find_account, open_items, take_in_invoices
from operator_server.receivables.collecting import cancel_collection, collect, find_collections
from operator_server.receivables.disputes import Held, held
from operator_server.receivables.payments import (
    NewPayment,
    Taken,
    add_payment,
    assign_payment,
    find_payments,
    refund_credit,
    return_payment,
)
from operator_server.receivables.statements import Imported, import_statements
from operator_server.store.receivables import ReceivableItem
from operator_server.store.rows import table
from operator_server.store.store import transact
from signalling.money import Money, MoneyError, format_micros

app = typer.Typer(no_args_is_help=True, help="Payments and what is open.")

AccountArgument = Annotated[str, typer.Argument(help="Account id.")]
By = Annotated[str, typer.Option("--by", help="Who does it.")]


def day(text: str, option: str) -> date:
    """A day of an option. Raises :class:`CommandError`."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise CommandError(f"{option} {text!r}: write a day, such as 2026-11-30") from None


@app.command()
@says_errors(ReceivablesError)
def items(
    account: Annotated[str, typer.Argument(help="Account id; without it all accounts.")] = "",
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Show open items: what is owed, and what stands to customers' credit.

    Example: tollgate payment items A-1001
    """
    item = table(ReceivableItem)
    with opened(config) as operator:
        now = operator.clock.now()
        transact(operator.engine, lambda c: take_in_invoices(c, operator.settings, now))
        with operator.engine.connect() as connection:
            if account:
                find_account(connection, account)
            places = select(item.c.account_id, item.c.currency).where(item.c.open != 0).distinct()
            pairs = connection.execute(places.order_by(item.c.account_id, item.c.currency)).all()
            rows = [
                row
                for name, currency in pairs
                if not account or name == account
                for row in open_items(connection, name, currency)
            ]
            disputed = held(connection, {row.number for row in rows})
    found = [
        {
            "account": row.account_id, "number": row.number, "kind": row.kind, "due": row.due_at.date(),
            "amount": format_micros(row.amount, row.currency), "open": format_micros(row.open, row.currency),
            "demanded": format_micros(disputed.get(row.number, Held()).demanded(max(0, row.open)), row.currency),
            "currency": row.currency, "level": row.level,
        }
        for row in rows
    ]  # fmt: skip
    show_rows("Open items", found, as_json, empty="Nothing is open.")


@app.command()
@says_errors(ReceivablesError, MoneyError)
def add(
    account: AccountArgument,
    amount: Annotated[str, typer.Argument(help="What came in, such as 11.90.")],
    reference: Annotated[
        list[str] | None, typer.Option("--reference", help="Invoice or fee that it is for; repeat for more.")
    ] = None,
    on: Annotated[str, typer.Option("--on", help="Day on which it came in; default: today.")] = "",
    currency: Annotated[str, typer.Option("--currency", help="Default: the account's.")] = "",
    id: Annotated[str, typer.Option("--id", help="Your name of the payment: it is taken once.")] = "",
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Take a payment in by hand: it settles what it names, else the oldest debts; the rest stands to the credit.

    Example: tollgate payment add A-1001 11.90 --reference R-2026-000001
    """
    with opened(config) as operator:
        now = operator.clock.now()
        today = now.astimezone(operator.settings.operator.zone).date()

        def take(connection: Any) -> tuple[Taken, str]:
            used = currency or find_account(connection, account).currency
            new = NewPayment(
                amount=Money.parse(amount, used).micros, currency=used, account=account, named=tuple(reference or ()),
                booked_on=day(on, "--on") if on else today, id=id, reference=" ".join(reference or ()),
                matched_by="hand",
            )  # fmt: skip
            return add_payment(connection, operator.settings, new, now), used

        taken, used = changed(operator, "payment.take", lambda made: f"payment/{made[0].payment}", take, {})
    _say(taken, used, as_json)


def _say(taken: Taken, currency: str, as_json: bool) -> None:
    settled = [{"number": number, "amount": format_micros(micros, currency)} for number, micros in taken.settled]
    left = format_micros(taken.left, currency)
    if as_json:
        show_json(
            {"payment": taken.payment, "new": taken.new, "settled": settled, "credit": left, "currency": currency}
        )
        return
    what = ", ".join(f"{each['amount']} of {each['number']}" for each in settled) or "nothing"
    again = "" if taken.new else " (taken before)"
    out.print(f"Payment {taken.payment}{again} settles {what}; {left} {currency} stand to the credit.")


@app.command("import")
@says_errors(ReceivablesError, StatementError)
def import_(
    files: Annotated[list[Path], typer.Argument(help="Bank statements: camt.053, versions 001.02 to 001.13.")],
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Take bank statements in. A bad file is refused whole; what was taken before is not taken again.

    Example: tollgate payment import statement.xml
    """
    with opened(config) as operator:

        def take(file: Path) -> Imported:
            content, now = file.read_bytes(), operator.clock.now()
            try:
                return changed(
                    operator, "payment.import", f"statement/{file.name}",
                    lambda c: import_statements(c, operator.settings, content, now, file=file.name),
                    {"sha256": hashlib.sha256(content).hexdigest()},
                )  # fmt: skip
            except StatementError as error:
                raise CommandError(f"{file}: {error}; nothing of it is taken") from None

        taken = [(file, take(file)) for file in files]
    if as_json:
        show_json(
            [
                {
                    "file": str(file), "statements": each.statements, "matched": each.matched,
                    "returned": each.returned, "known": each.known,
                    "suspense": [{"payment": payment, "reason": reason} for payment, reason in each.suspense],
                    "ignored": [{"entry": entry, "reason": reason} for entry, reason in each.ignored],
                    "amounts": {currency: format_micros(sum_, currency) for currency, sum_ in each.amounts.items()},
                }
                for file, each in taken
            ]
        )  # fmt: skip
        return
    for file, each in taken:
        out.print(
            f"{file}: {each.matched} matched, {each.returned} returned, {len(each.suspense)} in suspense, "
            f"{each.known} taken before, {len(each.ignored)} left alone."
        )
        for payment, reason in each.suspense:
            out.print(f"  {payment}: {reason}; `tollgate payment assign` gives it to an account")


@app.command("list")
@says_errors()
def list_(
    account: Annotated[str, typer.Option("--account", help="Only of this account.")] = "",
    state: Annotated[str, typer.Option("--state", help="booked, suspense, assigned or returned.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="Most rows.")] = 100,
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """List payments, the newest first.

    Example: tollgate payment list --state suspense
    """
    with reading(config) as connection:
        rows = find_payments(connection, account=account, state=state, most=limit)
    found = [
        {
            "payment": row.id, "account": row.account_id or "", "on": row.booked_on,
            "amount": format_micros(row.amount, row.currency), "currency": row.currency, "method": row.method,
            "state": row.state, "matched_by": row.matched_by, "payer": row.payer, "reference": row.reference,
            "reason": row.reason,
        }
        for row in rows
    ]  # fmt: skip
    names = ("payment", "account", "on", "amount", "currency", "state", "payer", "reference", "reason")
    show_rows("Payments", found, as_json, names=names, empty="No payment matches.")


@app.command()
@says_errors(ReceivablesError)
def assign(
    payment: Annotated[str, typer.Argument(help="Payment that stands in suspense.")],
    account: AccountArgument,
    reference: Annotated[list[str] | None, typer.Option("--reference", help="Invoice or fee that it is for.")] = None,
    by: By = "",
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Give a payment that stands in suspense to an account.

    Example: tollgate payment assign bank-17 A-1001 --reference R-2026-000001
    """
    with opened(config) as operator:
        now = operator.clock.now()
        taken, row = changed(
            operator, "payment.assign", f"payment/{payment}",
            lambda c: (
                assign_payment(c, operator.settings, payment, account, now, named=tuple(reference or ()), by=by),
                find_account(c, account),
            ),
        )  # fmt: skip
    _say(taken, row.currency, as_json)


@app.command("return")
@says_errors(ReceivablesError)
def return_(
    payment: Annotated[str, typer.Argument(help="Payment that was taken back.")],
    reason: Annotated[str, typer.Option("--reason", help="Such as the bank's code, MD06.")],
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """A payment was taken back by payer or bank: what it had settled is open again.

    Example: tollgate payment return bank-17 --reason MD06
    """
    with opened(config) as operator:
        now = operator.clock.now()
        numbers = changed(
            operator, "payment.return", f"payment/{payment}",
            lambda c: return_payment(c, operator.settings, payment, now, reason=reason),
        )  # fmt: skip
    text = f"Open again: {', '.join(numbers)}." if numbers else "Nothing changes."
    told({"payment": payment, "open_again": list(numbers)}, as_json, text)


@app.command()
@says_errors(ReceivablesError, MoneyError)
def refund(
    account: AccountArgument,
    amount: Annotated[str, typer.Argument(help="At most what stands to the account's credit.")],
    id: Annotated[str, typer.Option("--id", help="Your name of the refund: it is done once.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; it is kept.")] = "",
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Note that a customer's credit was paid out.

    Example: tollgate payment refund A-1001 5.00 --id refund-1
    """
    with opened(config) as operator:
        now = operator.clock.now()

        def pay(connection: Any) -> Money:
            money = Money.parse(amount, find_account(connection, account).currency)
            refund_credit(connection, operator.settings, account, money, now, id=id, reason=reason)
            return money

        money = changed(operator, "payment.refund", f"account/{account}", pay)
    text = f"{money} are paid out to account {account}."
    told({"account": account, "amount": amount, "currency": money.currency, "id": id}, as_json, text)


@app.command("collect")
@says_errors(ReceivablesError)
def collect_(
    on: Annotated[str, typer.Option("--on", help="Day of the collection, tomorrow or later.")],
    file: Annotated[Path, typer.Option("--out", help="File to write for the bank.")],
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Write the SEPA direct-debit file (pain.008.001.02) of what is due by a day; nothing is collected twice.

    Example: tollgate payment collect --on 2026-11-30 --out pain.008.xml
    """
    with opened(config) as operator:
        now = operator.clock.now()
        made = changed(
            operator, "collection.make", lambda made: f"collection/{made.id or 'none'}",
            lambda c: collect(c, operator.settings, day(on, "--on"), now), {"on": on},
        )  # fmt: skip
    if made.id is not None:
        write_atomically(file, made.document, mode=0o600)
    if as_json:
        show_json({"id": made.id, "total": format_micros(made.total, "EUR"), "numbers": made.numbers})
    elif made.id is None:
        out.print("Nothing is to be collected: no mandate, nothing due, or all of it is under way. No file is written.")
    else:
        out.print(f"{file}: collection {made.id}, {len(made.numbers)} debts, {format_micros(made.total, 'EUR')} EUR.")


@app.command()
@says_errors()
def collections(as_json: JsonOption = False, config: ConfigOption = CONFIG) -> None:
    """List direct-debit files, the newest first.

    Example: tollgate payment collections
    """
    with reading(config) as connection:
        rows = find_collections(connection)
    found = [
        {"id": row.id, "on": row.collect_on, "debts": row.count, "total": format_micros(row.total, row.currency),
         "written": row.created_at}
        for row in rows
    ]  # fmt: skip
    show_rows("Collections", found, as_json, empty="No direct-debit file was written.")


@app.command("cancel-collection")
@says_errors(ReceivablesError)
def cancel(
    collection: Annotated[str, typer.Argument(help="Id of a file that the bank never got.")],
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Free the debts of a direct-debit file that was never handed to the bank.

    Example: tollgate payment cancel-collection 0199f3c2-7a10-7c41-a3b5-5d2f3c1e9a77
    """
    with opened(config) as operator:
        now: datetime = operator.clock.now()
        count = changed(
            operator, "collection.cancel", f"collection/{collection}",
            lambda c: cancel_collection(c, operator.settings, collection, now), {"freed": True},
        )  # fmt: skip
    told({"collection": collection, "freed": count}, as_json, f"{count} debts can be collected again.")
