"""``tollgate charge``: use taken from balances, at once or reserved ahead; prices asked; charges refunded."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any, cast

import typer
from sqlalchemy import select

from charging.ledger.operations import Pays
from operator_server.balances.expiry import expire_balances
from operator_server.balances.once import BalanceError
from operator_server.balances.refunds import refund as refund_charge
from operator_server.balances.usage import UsageDesk, Use
from operator_server.cli.balance import IdOption, ReasonOption, instant, named
from operator_server.cli.common import (
    CONFIG,
    CommandError,
    ConfigOption,
    JsonOption,
    arguments,
    changed,
    opened,
    out,
    reading,
    says_errors,
    show_json,
    show_table,
    told,
)
from operator_server.context import Operator
from operator_server.offering.loading import BrokenCatalogue, keep_versions, load
from operator_server.store.accounting import Charge, InvoiceRow
from operator_server.store.rows import matching, table
from operator_server.store.store import transact
from signalling.money import MoneyError, decimal_micros, format_micros

app = typer.Typer(no_args_is_help=True, help="Use taken from buckets and money; prices, reservations, refunds.")

SubscriberArgument = Annotated[str, typer.Argument(help="Subscriber id.")]
UnitArgument = Annotated[str, typer.Argument(help="Unit of the use, such as second or byte.")]
QuantityArgument = Annotated[int, typer.Argument(min=0, help="How many units.")]
TariffOption = Annotated[str, typer.Option(help="Tariff that rates what no bucket covers; none: buckets must do.")]
DestinationOption = Annotated[str, typer.Option(help="Where to, for a tariff by destination.")]
PaysOption = Annotated[str, typer.Option(help="unbilled (the next invoice), prepaid or pseudo_prepaid.")]
AtOption = Annotated[str, typer.Option(help="When the use began; when it is done, if not said.")]
ReservationArgument = Annotated[str, typer.Argument(help="The --id by which it was reserved.")]


def _desk(operator: Operator, now: datetime) -> UsageDesk:
    """Takes use by the tariffs as they are now. What is over is ended first, also where no worker runs."""
    loaded = load(operator.settings)
    transact(operator.engine, lambda connection: keep_versions(connection, loaded, now))
    expire_balances(operator.engine, now)
    return UsageDesk(lambda: loaded.tariffs, operator.settings, operator.keys.signing)


def _use(
    operator: Operator, subscriber: str, unit: str, quantity: int, tariff: str, destination: str,
    pays: str, at: str,
) -> Use:  # fmt: skip
    began = instant(at, operator.settings.operator.zone, "--at")
    return Use(
        subscriber=subscriber, unit=unit, quantity=quantity, at=began, tariff=tariff, destination=destination,
        pays=cast(Pays, pays),
    )  # fmt: skip


@app.command()
@says_errors(BalanceError, BrokenCatalogue)
def enquire(
    subscriber: SubscriberArgument,
    unit: UnitArgument,
    quantity: QuantityArgument,
    tariff: TariffOption = "",
    destination: DestinationOption = "",
    pays: PaysOption = "unbilled",
    at: AtOption = "",
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Tell what use would cost and whether it could be had. Nothing is changed.

    Example: tollgate charge enquire A-1001 second 75 --tariff voice --pays prepaid
    """
    with opened(config) as operator:
        now = operator.clock.now()
        desk, use = _desk(operator, now), _use(operator, subscriber, unit, quantity, tariff, destination, pays, at)
        answer = transact(operator.engine, lambda c: desk.enquire(c, use, now))
    shown = _shown(answer, "net", "tax", "due")
    if as_json:
        show_json(shown)
        return
    _print_units(shown)
    out.print(f"{shown['rated']} {unit} to pay: {shown['due']} {shown['currency']} (net {shown['net']}).")
    out.print("It can be had." if shown["possible"] else f"It cannot be had: {shown['obstacle']}.")


@app.command()
@says_errors(BalanceError, BrokenCatalogue)
def consume(
    subscriber: SubscriberArgument,
    unit: UnitArgument,
    quantity: QuantityArgument,
    id: IdOption = "",
    tariff: TariffOption = "",
    destination: DestinationOption = "",
    pays: PaysOption = "unbilled",
    at: AtOption = "",
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Take use at once: from buckets first, the rest charged by the tariff.

    Example: tollgate charge consume A-1001 second 75 --id call-1 --tariff voice --at 2026-11-02T09:30
    """
    with opened(config) as operator:
        now = operator.clock.now()
        desk, use = _desk(operator, now), _use(operator, subscriber, unit, quantity, tariff, destination, pays, at)
        name = named(id, now)
        answer = changed(
            operator, "charge.consume", f"subscriber/{subscriber}", lambda c: desk.consume(c, name, use, now),
            arguments() | {"id": name},
        )  # fmt: skip
    _told_taken(answer, as_json)


@app.command()
@says_errors(BalanceError, BrokenCatalogue)
def reserve(
    subscriber: SubscriberArgument,
    unit: UnitArgument,
    quantity: QuantityArgument,
    id: IdOption = "",
    tariff: TariffOption = "",
    destination: DestinationOption = "",
    pays: PaysOption = "unbilled",
    at: AtOption = "",
    seconds: Annotated[int, typer.Option("--for", min=1, help="Seconds until it expires by itself.")] = 600,
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Set aside the units and the money that use may need; commit or release it later.

    Example: tollgate charge reserve A-1001 second 600 --id call-1 --tariff voice --pays prepaid --for 900
    """
    with opened(config) as operator:
        now = operator.clock.now()
        desk, use = _desk(operator, now), _use(operator, subscriber, unit, quantity, tariff, destination, pays, at)
        name, held_for = named(id, now), timedelta(seconds=seconds)
        answer = changed(
            operator, "charge.reserve", f"subscriber/{subscriber}",
            lambda c: desk.reserve_usage(c, name, use, held_for, now), arguments() | {"id": name},
        )  # fmt: skip
    shown = _shown(answer, "money")
    if as_json:
        show_json(shown)
        return
    _print_units(shown)
    out.print(f"{shown['money']} {shown['currency']} of account {shown['payer']} set aside until {shown['expires']}.")
    out.print(f"Reservation {name}.")


@app.command()
@says_errors(BalanceError, BrokenCatalogue)
def commit(
    reservation: ReservationArgument,
    quantity: Annotated[int | None, typer.Option(min=0, help="Units used; all that is reserved if not said.")] = None,
    more: Annotated[bool, typer.Option("--more", help="Keep the rest reserved for further commits.")] = False,
    id: IdOption = "",
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Take all or part of what was reserved; give back the rest, or with --more keep it for further commits.

    Example: tollgate charge commit call-1 --quantity 60 --more --id call-1-minute-1
    """
    with opened(config) as operator:
        now = operator.clock.now()
        desk, name = _desk(operator, now), named(id, now)
        answer = changed(
            operator, "charge.commit", f"usage_reservation/{reservation}",
            lambda c: desk.commit_usage(c, name, reservation, quantity, now, more=more), arguments() | {"id": name},
        )  # fmt: skip
    _told_taken(answer, as_json)


@app.command()
@says_errors(BalanceError, BrokenCatalogue)
def release(
    reservation: ReservationArgument,
    id: IdOption = "",
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Give back all that was reserved.

    Example: tollgate charge release call-1
    """
    with opened(config) as operator:
        now = operator.clock.now()
        desk, name = _desk(operator, now), named(id, now)
        answer = changed(
            operator, "charge.release", f"usage_reservation/{reservation}",
            lambda c: desk.release_usage(c, name, reservation, now), arguments() | {"id": name},
        )  # fmt: skip
    told(answer, as_json, f"Reservation {reservation} is released.")


@app.command()
@says_errors(BalanceError, MoneyError)
def refund(
    charge: Annotated[str, typer.Argument(help="Charge id.")],
    reason: ReasonOption,
    amount: Annotated[str, typer.Option(help="How much, such as 1.50; all that is left of it if not said.")] = "",
    id: IdOption = "",
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Give back what was charged, to where it came from; never more than that.

    Example: tollgate charge refund 0199f3c2-7a10-7c41-a3b5-5d2f3c1e9a77 --amount 1.50 --reason "bad line"
    """
    with opened(config) as operator:
        now = operator.clock.now()
        micros, name = decimal_micros(amount) if amount else None, named(id, now)
        answer = changed(
            operator, "charge.refund", f"charge/{charge}",
            lambda c: refund_charge(c, charge, id=name, amount=micros, reason=reason, now=now),
            arguments() | {"id": name},
        )  # fmt: skip
    shown = _shown(answer, "amount", "net", "tax")
    told(shown, as_json, f"{shown['amount']} {shown['currency']} of charge {charge} given back ({name}).")


def _told_taken(answer: dict[str, Any], as_json: bool) -> None:
    shown = _shown(answer, "net", "charged")
    if as_json:
        show_json(shown)
        return
    _print_units(shown)
    if shown["charge"]:
        out.print(
            f"{shown['charged']} {shown['currency']} charged to account {shown['payer']}, charge {shown['charge']}."
        )
    if "left" in shown:
        out.print(f"{shown['left']} stay reserved.")


def _print_units(answer: dict[str, Any]) -> None:
    for each in answer["units"]:
        out.print(f"{each['amount']} from bucket {each['bucket']}.")


def _shown(answer: dict[str, Any], *amounts: str) -> dict[str, Any]:
    currency = answer["currency"]
    if currency is None:
        return answer
    return answer | {name: format_micros(answer[name], currency) for name in amounts}


_COLUMNS = {
    "id": "id", "kind": "kind", "account_id": "account", "subscriber_id": "subscriber", "agreement_id": "agreement",
    "counter": "counter", "quantity": "quantity", "included": "included", "period": "period",
    "effective_at": "effective_at", "recorded_at": "recorded_at", "currency": "currency", "pays": "pays",
    "tariff_version": "tariff_version", "transfer_id": "transfer", "reverses_id": "reverses", "invoice_id": "invoice",
}  # fmt: skip


def _facts(row: Any) -> dict[str, Any]:
    facts = {shown: getattr(row, name) for name, shown in _COLUMNS.items()}
    return facts | {"net": format_micros(row.net, row.currency)}


@app.command("list")
@says_errors()
def list_(
    account: Annotated[str, typer.Option("--account", help="Only of this account.")] = "",
    agreement: Annotated[str, typer.Option("--agreement", help="Only of this agreement.")] = "",
    invoice: Annotated[str, typer.Option("--invoice", help="Only those on the invoice of this number.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="Most rows.")] = 50,
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """List charges, the newest first.

    Example: tollgate charge list --account A-1001
    """
    charge, bills = table(Charge), table(InvoiceRow)
    query = matching(
        select(charge).order_by(charge.c.id.desc()).limit(limit),
        (charge.c.account_id, account),
        (charge.c.agreement_id, agreement),
    )
    if invoice:
        query = query.where(charge.c.invoice_id.in_(select(bills.c.id).where(bills.c.number == invoice)))
    with reading(config) as connection:
        rows = [_facts(row) for row in connection.execute(query)]
    if as_json:
        show_json(rows)
        return
    show_table(
        "Charges",
        ["Charge", "Kind", "Account", "Counter", "Quantity", "Net", "Recorded", "Billed"],
        [
            (r["id"], r["kind"], r["account"], r["counter"], r["quantity"], f"{r['net']} {r['currency']}",
             f"{r['recorded_at']:%Y-%m-%d %H:%M}", "yes" if r["invoice"] else "no")
            for r in rows
        ],
        empty="No charge matches.",
    )  # fmt: skip


@app.command()
@says_errors()
def show(
    charge: Annotated[str, typer.Argument(help="Charge id.")],
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Show a charge; `tollgate tariff explain` tells step by step how its cost came about.

    Example: tollgate charge show 0199f3c2-7a10-7c41-a3b5-5d2f3c1e9a77
    """
    rows = table(Charge)
    with reading(config) as connection:
        row = connection.execute(select(rows).where(rows.c.id == charge)).first()
    if row is None:
        raise CommandError(f"charge {charge}: there is none; `tollgate charge list` shows all")
    facts = _facts(row)
    told(facts, as_json, *(f"{name}: {value}" for name, value in facts.items() if value not in (None, "")))
