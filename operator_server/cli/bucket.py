"""``tollgate account bucket`` and ``tollgate account share``: units given ahead, and balances that others draw on."""

from __future__ import annotations

from typing import Annotated

import typer

from operator_server.balances import buckets
from operator_server.balances.once import BalanceError, account_row
from operator_server.cli.balance import (
    AccountArgument,
    IdOption,
    ReasonOption,
    bucket_facts,
    instant,
    named,
    show_buckets,
)
from operator_server.cli.common import (
    CONFIG,
    CommandError,
    ConfigOption,
    JsonOption,
    changed,
    opened,
    reading,
    says_errors,
    show_json,
    show_table,
    told,
)
from signalling.money import MoneyError, decimal_micros

bucket = typer.Typer(no_args_is_help=True, help="Buckets of units: bytes, seconds, events or any other unit.")
share = typer.Typer(no_args_is_help=True, help="Balances that others may draw on.")


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
        answer = changed(
            operator, "bucket.add", f"bucket/{bucket_id}",
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
        answer = changed(
            operator, "bucket.adjust", f"bucket/{bucket_id}",
            lambda c: buckets.adjust_bucket(c, bucket_id, quantity, id=name, reason=reason, now=now),
        )  # fmt: skip
    told(answer, as_json, f"Bucket {bucket_id} has {answer['remaining']} left.")


@bucket.command("list")
@says_errors(BalanceError)
def bucket_list(account: AccountArgument, as_json: JsonOption = False, config: ConfigOption = CONFIG) -> None:
    """List an account's buckets in the order of their use.

    Example: tollgate account bucket list A-1001
    """
    with reading(config) as connection:
        account_row(connection, account)
        found = [bucket_facts(row) for row in buckets.buckets_of(connection, account)]
    if as_json:
        show_json(found)
    else:
        show_buckets(found)


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
        answer = changed(
            operator, "share.add", f"share/{name}",
            lambda c: buckets.share(c, account, user, id=name, bucket=bucket_id or None, most=allowed, now=now),
        )  # fmt: skip
    told(answer, as_json, f"{user} may draw on {bucket_id or 'the money'} of account {account} (share {name}).")


@share.command("list")
@says_errors(BalanceError)
def share_list(account: AccountArgument, as_json: JsonOption = False, config: ConfigOption = CONFIG) -> None:
    """List who may draw on an account's balances, and how much they did; money in micros.

    Example: tollgate account share list A-1001
    """
    with reading(config) as connection:
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
def share_end(
    id: Annotated[str, typer.Argument(help="Share id.")], as_json: JsonOption = False, config: ConfigOption = CONFIG
) -> None:
    """Let nothing more be drawn by a share.

    Example: tollgate account share end family-minutes
    """
    with opened(config) as operator:
        now = operator.clock.now()
        changed(operator, "share.end", f"share/{id}", lambda c: buckets.end_share(c, id, now), {})
    told({"share": id, "ended": True}, as_json, f"Share {id} has ended.")
