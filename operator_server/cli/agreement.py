"""``tollgate agreement``."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer
from sqlalchemy import Connection

from charging.modes import ModeError
from charging.tariffs import TariffError
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
from operator_server.offering.loading import BrokenCatalogue, keep_versions, load
from operator_server.store.store import transact
from operator_server.subscriptions import ending, prices, running, views
from operator_server.subscriptions.ending import AgreementError
from operator_server.usage.standing import StandingError, set_payment
from signalling.money import MoneyError, decimal_micros, format_micros

app = typer.Typer(no_args_is_help=True, help="Agreements: what runs, what it costs, how it ends.")

AgreementArgument = Annotated[str, typer.Argument(help="Agreement id.")]


@app.command("list")
@says_errors()
def list_(
    account: Annotated[str, typer.Option(help="Only of this account.")] = "",
    subscriber: Annotated[str, typer.Option(help="Only of this subscriber.")] = "",
    running_only: Annotated[bool, typer.Option("--running", help="Only what has not ended.")] = False,
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """List agreements.

    Example: tollgate agreement list --account A-1001 --running
    """
    with reading(config) as connection:
        rows = views.agreements(connection, account=account, subscriber=subscriber, running=running_only, most=100_000)
    if as_json:
        show_json(rows)
        return
    show_table(
        "Agreements",
        ["Agreement", "Subscriber", "Product", "Mode", "State", "Charged", "Ends"],
        [
            (
                r["id"], r["subscriber"], f"{r['product']} {r['release']}", f"{r['mode']} ({r['payment']})", r["state"],
                f"{r['charged']} {r['currency']}", _day(r["ends"]),
            )
            for r in rows
        ],
        empty="There is no such agreement. They are made by users at their terminals.",
    )  # fmt: skip


@app.command()
@says_errors(AgreementError)
def show(agreement: AgreementArgument, as_json: JsonOption = False, config: ConfigOption = CONFIG) -> None:
    """Show an agreement: its terms, its calendar, what it charged.

    Example: tollgate agreement show 0199a3c0-...
    """
    with reading(config) as connection:
        found = views.agreement(connection, agreement)
    if as_json:
        show_json(found)
        return
    for name, value in found.items():
        if name not in ("charges", "prices") and value not in (None, ""):
            out.print(f"{name.replace('_', ' ')}: {_plain(value)}")
    for price in found["prices"]:
        new = price["tariff_version"] or f"{price['amount']} {found['currency']}"
        out.print(f"price from {_day(price['from'])}: {new} (announced {_day(price['announced'])})")
    show_table(
        "Charges",
        ["At", "Kind", "Quantity", "Net", "Paid from", "For", "Invoice"],
        [
            (_plain(c["at"]), c["kind"], c["quantity"], c["net"], c["pays"], _span(c), c["invoice"])
            for c in found["charges"]
        ],
        empty="Nothing is charged yet.",
    )


@app.command()
@says_errors(AgreementError)
def cancel(agreement: AgreementArgument, as_json: JsonOption = False, config: ConfigOption = CONFIG) -> None:
    """Cancel an agreement; the answer says when that takes effect by its terms.

    Example: tollgate agreement cancel 0199a3c0-...
    """
    with opened(config) as operator:
        now, settings = operator.clock.now(), operator.settings
        done = changed(
            operator, "agreement.cancel", f"agreement/{agreement}",
            lambda c: ending.cancel(c, agreement, settings, now), {},
        )  # fmt: skip
    if as_json:
        show_json({"agreement": done.agreement, "ends": done.ends_at, "because": done.because})
        return
    why = {"notice": "after the notice", "minimum": "with the minimum term", "trial": "with its trial",
           "price": "before the new price"}.get(done.because, "at once")  # fmt: skip
    out.print(f"Agreement {done.agreement} ends {why}, on {done.ends_at:%Y-%m-%d %H:%M} UTC.")


@app.command()
@says_errors(AgreementError)
def renew(agreement: AgreementArgument, as_json: JsonOption = False, config: ConfigOption = CONFIG) -> None:
    """Take back a cancellation that has not taken effect.

    Example: tollgate agreement renew 0199a3c0-...
    """
    with opened(config) as operator:
        now, settings = operator.clock.now(), operator.settings
        changed(
            operator, "agreement.renew", f"agreement/{agreement}",
            lambda c: ending.renew(c, agreement, settings, now), {},
        )  # fmt: skip
    if as_json:
        show_json({"agreement": agreement, "ends": None})
        return
    out.print(f"Agreement {agreement} runs on.")


@app.command()
@says_errors(AgreementError)
def withdraw(agreement: AgreementArgument, as_json: JsonOption = False, config: ConfigOption = CONFIG) -> None:
    """Withdraw an agreement within the operator's withdrawal days: it ends now, and its charges are taken back.

    Example: tollgate agreement withdraw 0199a3c0-...
    """
    with opened(config) as operator:
        now, settings = operator.clock.now(), operator.settings
        done = changed(
            operator, "agreement.withdraw", f"agreement/{agreement}",
            lambda c: ending.withdraw(c, agreement, settings, now), {},
        )  # fmt: skip
    net, tax = format_micros(done.net, done.currency), format_micros(done.tax, done.currency)
    if as_json:
        show_json({"agreement": done.agreement, "net": net, "tax": tax, "currency": done.currency,
                   "charges": list(done.charges)})  # fmt: skip
        return
    with_tax = f" and {tax} tax" if done.tax else ""
    out.print(f"Agreement {done.agreement} is withdrawn; {net} {done.currency} net{with_tax} are taken back.")


@app.command()
@says_errors(BrokenCatalogue)
def announce(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change, and tell nobody.")] = False,
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Announce changed prices to users whose terms have a clause for that; fixed prices stay as they were agreed.

    Example: tollgate agreement announce --dry-run
    """
    with opened(config) as operator:
        now, settings, loaded = operator.clock.now(), operator.settings, load(operator.settings)

        def tell(connection: Connection) -> list[prices.Announced]:
            return prices.announce(connection, loaded, settings, now, dry_run=dry_run)

        if dry_run:
            changes = transact(operator.engine, tell)
        else:
            changes = changed(operator, "price.announce", "price/all", tell)
    if as_json:
        show_json([
            {"agreement": each.agreement, "subscriber": each.subscriber, "product": each.product,
             "from": each.effective_at, "amount_micros": each.amount, "tariff_version": each.tariff_version or None}
            for each in changes
        ])  # fmt: skip
        return
    show_table(
        "Price changes",
        ["Agreement", "Subscriber", "Product", "From", "New price"],
        [
            (each.agreement, each.subscriber, each.product, _day(each.effective_at),
             each.tariff_version or format_micros(each.amount, each.currency))
            for each in changes
        ],
        empty="No running agreement has terms by which its price would change now.",
    )  # fmt: skip


@app.command()
@says_errors()
def due(as_json: JsonOption = False, config: ConfigOption = CONFIG) -> None:
    """Do now what the worker does by the clock: end trials, charge due periods, end what was cancelled.

    Example: tollgate agreement due
    """
    with opened(config) as operator:
        count = running.advance_due(operator.engine, operator.settings, operator.clock.now())
        changed(operator, "agreement.due", "agreement/all", lambda c: None, {"agreements": count})
    if as_json:
        show_json({"agreements": count})
        return
    out.print(f"{count} agreement(s) had something due.")


@app.command()
@says_errors(AgreementError, MoneyError)
def limit(
    subscriber: Annotated[str, typer.Argument(help="Subscriber id.")],
    amount: Annotated[str, typer.Option(help="What all agreements together may cost in a month, net.")] = "",
    none: Annotated[bool, typer.Option("--none", help="Take the limit away.")] = False,
    currency: Annotated[str, typer.Option(help="ISO 4217; the operator's by default.")] = "",
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Limit what all agreements of a subscriber together may cost in a month, in whatever modes.

    Example: tollgate agreement limit A-1001 --amount 20.00
    """
    if bool(amount) == none:
        raise CommandError("say --amount, such as --amount 20.00, or --none")
    with opened(config) as operator:
        now, of = operator.clock.now(), currency or operator.settings.operator.currency
        micros = None if none else decimal_micros(amount)
        changed(
            operator, "subscriber.limit", f"subscriber/{subscriber}",
            lambda c: views.set_limit(c, subscriber, of, micros, now), {},
        )  # fmt: skip
    shown = None if micros is None else format_micros(micros, of)
    said = "has no limit" if shown is None else f"may spend {shown} {of} a month"
    told({"subscriber": subscriber, "limit": shown, "currency": of}, as_json, f"Subscriber {subscriber} {said}.")


@app.command()
@says_errors(StandingError, ModeError, TariffError, BrokenCatalogue)
def standing(
    subscriber: Annotated[str, typer.Argument(help="Subscriber id.")],
    tariff: Annotated[str, typer.Argument(help="Tariff id.")],
    payment: Annotated[str, typer.Option(help="postpaid, prepaid, pseudo_prepaid or rated_only.")],
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Say how a subscriber pays from now on for use that other systems count by a tariff.

    Example: tollgate agreement standing A-1001 voice --payment prepaid
    """
    with opened(config) as operator:
        loaded, now = load(operator.settings), operator.clock.now()

        def change(connection: Connection) -> str:
            keep_versions(connection, loaded, now)
            return set_payment(
                connection, loaded.tariffs, operator.settings.operator, operator.keys.signing, subscriber, tariff,
                payment, now, inclusive=loaded.inclusive,
            )  # fmt: skip

        name = changed(
            operator, "agreement.standing", f"subscriber/{subscriber}", change,
            {"tariff": tariff, "payment": payment},
        )  # fmt: skip
    made = {"agreement": name, "subscriber": subscriber, "tariff": tariff, "payment": payment}
    told(made, as_json, f"Agreement {name}: subscriber {subscriber} pays for {tariff} {payment} from now on.")


def _day(value: datetime | None) -> str:
    return "" if value is None else f"{value:%Y-%m-%d}"


def _plain(value: Any) -> str:
    return f"{value:%Y-%m-%d %H:%M} UTC" if isinstance(value, datetime) else str(value)


def _span(charge: dict[str, Any]) -> str:
    return "" if charge["from"] is None else f"{_day(charge['from'])} to {_day(charge['to'])}"
