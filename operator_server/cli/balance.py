"""``tollgate account top-up|balance|...``: money paid ahead, buckets, shares, thresholds, barring."""

from __future__ import annotations

from datetime import datetime, tzinfo
from typing import Annotated, Any

import typer
from sqlalchemy import select

from charging.balances.levels import PERCENT, Sense
from operator_server.balances import barring, buckets, money, thresholds
from operator_server.balances.barring import Party
from operator_server.balances.once import BalanceError, account_row
from operator_server.cli.common import (
    CONFIG,
    CommandError,
    ConfigOption,
    JsonOption,
    opened,
    out,
    recorded,
    says_errors,
    show_json,
    show_table,
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

bucket = typer.Typer(no_args_is_help=True, help="Buckets of units: bytes, seconds, events or any other unit.")
share = typer.Typer(no_args_is_help=True, help="Balances that others may draw on.")
threshold = typer.Typer(no_args_is_help=True, help="Thresholds that are told in the feed as soon as they are crossed.")


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


def told(answer: dict[str, Any], as_json: bool, text: str) -> None:
    """Show an answer as JSON or as a sentence."""
    if as_json:
        show_json(answer)
    else:
        out.print(text)


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
        answer = recorded(
            operator,
            lambda c: money.top_up(c, account, micros, id=name, valid_until=until, reason=reason, now=now),
        )
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
        answer = recorded(operator, lambda c: money.adjust(c, account, micros, id=name, reason=reason, now=now))
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
        answer = recorded(operator, lambda c: money.pay_out(c, account, micros, id=name, reason=reason, now=now))
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
        recorded(operator, lambda c: money.set_limit(c, account, micros, now))
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
            "buckets": [_bucket_facts(each) for each in buckets.buckets_of(connection, account)],
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
    _show_buckets(found["buckets"])


@says_errors(BalanceError)
def bar(
    party: Annotated[str, typer.Argument(help="Account or subscriber id.")],
    reason: ReasonOption,
    subscriber: Annotated[bool, typer.Option(help="Only the subscriber of this id, not the account.")] = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Let an account with all its subscribers, or one subscriber, agree to and spend nothing more.

    Example: tollgate account bar A-1001 --reason "unpaid since July"
    """
    with opened(config) as operator:
        now = operator.clock.now()

        def do(connection: Any) -> tuple[Party, bool]:
            kind = _party(connection, party, subscriber)
            return kind, barring.bar(connection, kind, party, reason, now)

        kind, done = recorded(operator, do)
    out.print(f"{kind.capitalize()} {party} is barred." if done else f"{kind.capitalize()} {party} was barred already.")


@says_errors(BalanceError)
def unbar(
    party: Annotated[str, typer.Argument(help="Account or subscriber id.")],
    reason: ReasonOption = "",
    subscriber: Annotated[bool, typer.Option(help="Only the subscriber of this id, not the account.")] = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Lift a barring.

    Example: tollgate account unbar A-1001 --reason paid
    """
    with opened(config) as operator:
        now = operator.clock.now()

        def do(connection: Any) -> tuple[Party, bool]:
            kind = _party(connection, party, subscriber)
            return kind, barring.unbar(connection, kind, party, reason, now)

        kind, done = recorded(operator, do)
    out.print(f"{kind.capitalize()} {party} is not barred." if done else f"{kind.capitalize()} {party} was not barred.")


def _party(connection: Any, id: str, subscriber: bool) -> Party:
    accounts, subscribers = table(Account), table(Subscriber)
    if not subscriber and connection.execute(select(accounts.c.id).where(accounts.c.id == id)).first():
        return "account"
    if connection.execute(select(subscribers.c.id).where(subscribers.c.id == id)).first():
        return "subscriber"
    raise CommandError(f"{id}: neither an account nor a subscriber has this id")


@bucket.command("add")
@says_errors(BalanceError)
def bucket_add(
    account: AccountArgument,
    unit: Annotated[str, typer.Argument(help="What it holds, such as byte, second or event.")],
    quantity: Annotated[int, typer.Argument(help="How many.")],
    id: IdOption = "",
    valid_from: Annotated[str, typer.Option(help="A date or an instant; now if not said.")] = "",
    valid_until: Annotated[str, typer.Option(help="A date or an instant (exclusive); for good if not said.")] = "",
    priority: Annotated[int, typer.Option(help="The smallest is used first.")] = 100,
    name: Annotated[str, typer.Option(help="What the customer knows it by.")] = "",
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Give an account units; use is taken from them before it costs money.

    Example: tollgate account bucket add A-1001 second 6000 --id minutes-11 --valid-until 2026-12-01
    """
    with opened(config) as operator:
        now, zone = operator.clock.now(), operator.settings.operator.zone
        begins, ends = instant(valid_from, zone, "--valid-from"), instant(valid_until, zone, "--valid-until")
        bucket_id = named(id, now)
        answer = recorded(
            operator,
            lambda c: buckets.add_bucket(
                c, account, unit, quantity, id=bucket_id, valid_from=begins, valid_until=ends, priority=priority,
                name=name, now=now,
            ),
        )  # fmt: skip
    told(answer, as_json, f"Bucket {bucket_id} of account {account} has {answer['remaining']} {unit}.")


@bucket.command("adjust")
@says_errors(BalanceError)
def bucket_adjust(
    bucket_id: Annotated[str, typer.Argument(help="Bucket id.")],
    quantity: Annotated[int, typer.Argument(help="Units to add, or with a minus to take.")],
    reason: ReasonOption,
    id: IdOption = "",
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Put units into a bucket, or take some that are there and free.

    Example: tollgate account bucket adjust minutes-11 --reason "counted twice" 60
    """
    with opened(config) as operator:
        now = operator.clock.now()
        name = named(id, now)
        answer = recorded(
            operator, lambda c: buckets.adjust_bucket(c, bucket_id, quantity, id=name, reason=reason, now=now)
        )
    told(answer, as_json, f"Bucket {bucket_id} has {answer['remaining']} left.")


@bucket.command("list")
@says_errors(BalanceError)
def bucket_list(account: AccountArgument, as_json: JsonOption = False, config: ConfigOption = CONFIG) -> None:
    """List an account's buckets in the order of their use."""
    with opened(config) as operator, operator.engine.connect() as connection:
        account_row(connection, account)
        found = [_bucket_facts(row) for row in buckets.buckets_of(connection, account)]
    if as_json:
        show_json(found)
    else:
        _show_buckets(found)


def _bucket_facts(row: Any) -> dict[str, Any]:
    names = ("id", "name", "unit", "granted", "remaining", "reserved", "priority", "valid_from", "valid_until")
    return {name: getattr(row, name) for name in names}


def _show_buckets(found: list[dict[str, Any]]) -> None:
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


@share.command("add")
@says_errors(BalanceError, MoneyError)
def share_add(
    account: AccountArgument,
    user: Annotated[str, typer.Argument(help="The account or subscriber that may draw on it.")],
    bucket_id: Annotated[str, typer.Option("--bucket", help="A bucket; without it, the account's money.")] = "",
    most: Annotated[str, typer.Option(help="Units, or an amount, that it may use in all; without it, no limit.")] = "",
    id: IdOption = "",
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Let another account, or a subscriber, draw on a bucket or on the money of an account.

    Example: tollgate account share add A-1001 A-1002 --bucket minutes-11 --most 600
    """
    with opened(config) as operator:
        now = operator.clock.now()
        try:
            allowed = None if not most else int(most) if bucket_id else decimal_micros(most)
        except ValueError:
            raise CommandError(f"--most: {most!r} is not a number of units") from None
        name = named(id, now)
        answer = recorded(
            operator,
            lambda c: buckets.share(c, account, user, id=name, bucket=bucket_id or None, most=allowed, now=now),
        )
    told(answer, as_json, f"{user} may draw on {bucket_id or 'the money'} of account {account} (share {name}).")


@share.command("list")
@says_errors(BalanceError)
def share_list(account: AccountArgument, as_json: JsonOption = False, config: ConfigOption = CONFIG) -> None:
    """List who may draw on an account's balances, and how much they did; money in micros."""
    with opened(config) as operator, operator.engine.connect() as connection:
        account_row(connection, account)
        rows = buckets.shares_of(connection, account)
    names = ("id", "user_id", "bucket_id", "currency", "most", "used", "reserved", "ended_at")
    if as_json:
        show_json([{name: getattr(row, name) for name in names} for row in rows])
        return
    show_table(
        "Shares", ["Share", "User", "Of", "Most", "Used", "Reserved"],
        [(r.id, r.user_id, r.bucket_id or r.currency, r.most, r.used, r.reserved) for r in rows if not r.ended_at],
        empty="Nobody else draws on this account's balances.",
    )  # fmt: skip


@share.command("end")
@says_errors(BalanceError)
def share_end(id: Annotated[str, typer.Argument(help="Share id.")], config: ConfigOption = CONFIG) -> None:
    """Let nothing more be drawn by a share."""
    with opened(config) as operator:
        now = operator.clock.now()
        recorded(operator, lambda c: buckets.end_share(c, id, now))
    out.print(f"Share {id} has ended.")


@threshold.command("add")
@says_errors(BalanceError, MoneyError)
def threshold_add(
    account: AccountArgument,
    below: Annotated[str, typer.Option(help="Tell when less is left: an amount, units, or a percentage.")] = "",
    above: Annotated[str, typer.Option(help="Tell when more is used: an amount, units, or a percentage.")] = "",
    bucket_id: Annotated[str, typer.Option("--bucket", help="A bucket; without it, the account's money.")] = "",
    id: IdOption = "",
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Tell in the feed, once a crossing, when a balance runs low.

    Example: tollgate account threshold add A-1001 --below 20%
    """
    if bool(below) == bool(above):
        raise CommandError("say either --below or --above")
    sense: Sense = "below" if below else "above"
    value, percent = _value(below or above, units=bool(bucket_id))
    with opened(config) as operator:
        now = operator.clock.now()
        name = named(id, now)
        answer = recorded(
            operator,
            lambda c: thresholds.add_threshold(
                c, account, id=name, sense=sense, value=value, percent=percent, bucket=bucket_id or None, now=now
            ),
        )
    told(answer, as_json, f"Threshold {name}: told when {sense} {below or above}.")


def _value(text: str, *, units: bool) -> tuple[int, bool]:
    if text.endswith("%"):
        return decimal_micros(text[:-1].strip()) * PERCENT // 1_000_000, True
    if not units:
        return decimal_micros(text), False
    if not text.isdecimal():
        raise CommandError(f"{text!r} is not a number of units or a percentage")
    return int(text), False


@threshold.command("list")
@says_errors(BalanceError)
def threshold_list(account: AccountArgument, as_json: JsonOption = False, config: ConfigOption = CONFIG) -> None:
    """List an account's thresholds."""
    with opened(config) as operator, operator.engine.connect() as connection:
        account_row(connection, account)
        rows = thresholds.thresholds_of(connection, account)
    names = ("id", "bucket_id", "currency", "sense", "value", "percent", "level", "crossed")
    if as_json:
        show_json([{name: getattr(row, name) for name in names} for row in rows])
        return
    show_table(
        "Thresholds", ["Threshold", "Of", "When", "Crossed"],
        [(r.id, r.bucket_id or r.currency, f"{r.sense} {_shown(r)}", "yes" if r.crossed else "no") for r in rows],
        empty="No thresholds; `tollgate account threshold add` makes one.",
    )  # fmt: skip


def _shown(row: Any) -> str:
    if row.percent:
        return f"{row.value / PERCENT:g} %"
    return str(row.value) if row.bucket_id else format_micros(row.value, row.currency)


@threshold.command("remove")
@says_errors(BalanceError)
def threshold_remove(id: Annotated[str, typer.Argument(help="Threshold id.")], config: ConfigOption = CONFIG) -> None:
    """Remove a threshold."""
    with opened(config) as operator:
        recorded(operator, lambda c: thresholds.remove_threshold(c, id))
    out.print(f"Threshold {id} is removed.")
