"""``tollgate account top-up|adjust|pay-out|limit|balance|bar|unbar``: money paid ahead, and barring."""

from __future__ import annotations

from datetime import datetime, tzinfo
from pathlib import Path
from typing import Annotated, Any

import typer
from sqlalchemy import select

from operator_server.balances import barring, buckets, money
from operator_server.balances.barring import Party
from operator_server.balances.once import BalanceError, account_row
from operator_server.cli.common import (
    CONFIG,
    CommandError,
    ConfigOption,
    JsonOption,
    changed,
    opened,
    says_errors,
    show_json,
    show_table,
    told,
)
from operator_server.store.parties import Account, Subscriber
from operator_server.store.rows import table
from operator_server.validation.desk import charges
from signalling.clock import to_micros
from signalling.ids import new_id
from signalling.money import MoneyError, decimal_micros, format_micros

AccountArgument = Annotated[str, typer.Argument(help="Account id.")]
AmountArgument = Annotated[str, typer.Argument(help="In the account's currency, such as 20.00.")]
IdOption = Annotated[str, typer.Option("--id", help="Your name of the operation: the same again is done once.")]
ReasonOption = Annotated[str, typer.Option(help="Why; it is kept.")]


def instant(text: str, zone: tzinfo, option: str) -> datetime | None:
    """A date or an instant; without an offset in the operator's zone. ``None`` for nothing."""
    if not text:
        return None
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        raise CommandError(f"{option}: {text!r} is not a date or instant such as 2026-12-31T18:00") from None
    return value if value.tzinfo else value.replace(tzinfo=zone)


def named(id: str, now: datetime) -> str:
    """The id that was given, or a new one."""
    return id or new_id(to_micros(now))


@says_errors(BalanceError, MoneyError)
def top_up(
    account: AccountArgument,
    amount: AmountArgument,
    id: IdOption = "",
    valid_until: Annotated[str, typer.Option(help="When it expires, if it does: a date or an instant.")] = "",
    reason: ReasonOption = "",
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Credit money that was paid ahead.

    Example: tollgate account top-up A-1001 20.00 --id voucher-4711 --valid-until 2027-03-31
    """
    with opened(config) as operator:
        now = operator.clock.now()
        until = instant(valid_until, operator.settings.operator.zone, "--valid-until")
        micros, name = decimal_micros(amount), named(id, now)
        answer = changed(
            operator, "balance.top_up", f"account/{account}",
            lambda c: money.top_up(c, account, micros, id=name, valid_until=until, reason=reason, now=now),
        )  # fmt: skip
    _told_money(answer, as_json)


@says_errors(BalanceError, MoneyError)
def adjust(
    account: AccountArgument,
    amount: AmountArgument,
    reason: ReasonOption,
    id: IdOption = "",
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Add to what is paid ahead, or take from it with a minus; never below zero.

    Example: tollgate account adjust A-1001 --reason goodwill --id case-12 -- -2.50
    """
    with opened(config) as operator:
        now = operator.clock.now()
        micros, name = decimal_micros(amount), named(id, now)
        answer = changed(
            operator, "balance.adjust", f"account/{account}",
            lambda c: money.adjust(c, account, micros, id=name, reason=reason, now=now),
        )  # fmt: skip
    _told_money(answer, as_json)


@says_errors(BalanceError, MoneyError)
def pay_out(
    account: AccountArgument,
    amount: AmountArgument,
    id: IdOption = "",
    reason: ReasonOption = "",
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Book that money paid ahead is given back to the customer, at most what is there and free.

    Example: tollgate account pay-out A-1001 5.00 --id payout-7 --reason "contract ended"
    """
    with opened(config) as operator:
        now = operator.clock.now()
        micros, name = decimal_micros(amount), named(id, now)
        answer = changed(
            operator, "balance.pay_out", f"account/{account}",
            lambda c: money.pay_out(c, account, micros, id=name, reason=reason, now=now),
        )  # fmt: skip
    _told_money(answer, as_json)


def _told_money(answer: dict[str, Any], as_json: bool) -> None:
    currency = answer["currency"]
    shown = answer | {key: format_micros(answer[key], currency) for key in ("amount", "prepaid")}
    text = f"Account {answer['account']} has {shown['prepaid']} {currency} paid ahead ({answer['id']})."
    told(shown, as_json, text)


@says_errors(BalanceError, MoneyError)
def limit(
    account: AccountArgument,
    amount: AmountArgument,
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Set the credit limit.

    Example: tollgate account limit A-1001 200.00
    """
    with opened(config) as operator:
        now, micros = operator.clock.now(), decimal_micros(amount)
        changed(
            operator, "account.change", f"account/{account}", lambda c: money.set_limit(c, account, micros, now), {}
        )
    told({"account": account, "limit": amount}, as_json, f"Account {account} has a credit limit of {amount}.")


@says_errors(BalanceError)
def balance(account: AccountArgument, as_json: JsonOption = False, config: ConfigOption = CONFIG) -> None:
    """Show what an account can spend: money, prepaid credit and when it expires, buckets. Nothing is changed.

    Example: tollgate account balance A-1001
    """
    with opened(config) as operator, operator.engine.connect() as connection:
        now = operator.clock.now()
        row = account_row(connection, account)
        currency = row.currency
        credits: list[dict[str, Any]] = [
            {"id": credit.id, "left": format_micros(credit.remaining, currency), "until": credit.valid_until}
            for credit in money.credits_of(connection, account, currency, now)
        ]
        found: dict[str, Any] = {
            "account": account, "status": row.status, "currency": currency,
            "credit_limit": format_micros(row.credit_limit, currency),
            "money": [
                {"currency": each.currency}
                | {
                    name: format_micros(getattr(each, name), each.currency)
                    for name in ("unbilled", "open", "reserved", "available")
                }
                for each in charges(connection, account)
            ],
            "credits": credits,
            "buckets": [bucket_facts(each) for each in buckets.buckets_of(connection, account)],
        }  # fmt: skip
    if as_json:
        show_json(found)
        return
    columns = ("currency", "unbilled", "open", "reserved", "available")
    rows = [[each[key] for key in columns] for each in found["money"]]
    show_table("Money", ["Currency", "Not yet billed", "Billed and open", "Reserved", "Available"], rows, empty="")
    show_table(
        "Paid ahead", ["Left", "Until", "Credit"],
        [(each["left"], _day(each["until"]), each["id"]) for each in credits], empty="Nothing is paid ahead.",
    )  # fmt: skip
    show_buckets(found["buckets"])


OnlySubscriber = Annotated[bool, typer.Option("--subscriber", help="Only the subscriber of this id, not the account.")]
PartyArgument = Annotated[str, typer.Argument(help="Account or subscriber id.")]


@says_errors(BalanceError)
def bar(
    party: PartyArgument,
    reason: ReasonOption,
    subscriber: OnlySubscriber = False,
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Let an account with all its subscribers, or one subscriber, agree to and spend nothing more.

    Example: tollgate account bar A-1001 --reason "unpaid since July"
    """
    kind, done = _barring(config, "bar", party, reason, subscriber)
    text = f"{kind.capitalize()} {party} is barred." if done else f"{kind.capitalize()} {party} was barred already."
    told({kind: party, "barred": True, "changed": done}, as_json, text)


@says_errors(BalanceError)
def unbar(
    party: PartyArgument,
    reason: ReasonOption = "",
    subscriber: OnlySubscriber = False,
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Lift a barring.

    Example: tollgate account unbar A-1001 --reason paid
    """
    kind, done = _barring(config, "unbar", party, reason, subscriber)
    text = f"{kind.capitalize()} {party} is not barred." if done else f"{kind.capitalize()} {party} was not barred."
    told({kind: party, "barred": False, "changed": done}, as_json, text)


def _barring(config: Path, what: str, party: str, reason: str, subscriber: bool) -> tuple[Party, bool]:
    do = barring.bar if what == "bar" else barring.unbar
    with opened(config) as operator:
        now = operator.clock.now()
        with operator.engine.connect() as connection:
            kind = _party(connection, party, subscriber)
        done = changed(
            operator, f"{kind}.{what}", f"{kind}/{party}", lambda c: do(c, kind, party, reason, now), {"reason": reason}
        )
    return kind, done


def _party(connection: Any, id: str, subscriber: bool) -> Party:
    accounts, subscribers = table(Account), table(Subscriber)
    if not subscriber and connection.execute(select(accounts.c.id).where(accounts.c.id == id)).first():
        return "account"
    if connection.execute(select(subscribers.c.id).where(subscribers.c.id == id)).first():
        return "subscriber"
    raise CommandError(f"{id}: neither an account nor a subscriber has this id")


def bucket_facts(row: Any) -> dict[str, Any]:
    """What is shown of a bucket."""
    names = ("id", "name", "unit", "granted", "remaining", "reserved", "priority", "valid_from", "valid_until")
    return {name: getattr(row, name) for name in names}


def show_buckets(found: list[dict[str, Any]]) -> None:
    """A table of buckets."""
    show_table(
        "Buckets",
        ["Bucket", "Unit", "Left", "Reserved", "Of", "Priority", "From", "Until"],
        [
            (
                each["name"] or each["id"], each["unit"], each["remaining"], each["reserved"], each["granted"],
                each["priority"], _day(each["valid_from"]), _day(each["valid_until"]),
            )
            for each in found
        ],
        empty="No buckets; `tollgate account bucket add` makes one.",
    )  # fmt: skip


def _day(at: datetime | None) -> str:
    return "for good" if at is None else f"{at:%Y-%m-%d %H:%M} UTC"
