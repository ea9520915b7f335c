"""``tollgate account threshold``: who is told when a balance runs low."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from charging.balances.levels import PERCENT, Sense
from operator_server.balances import thresholds
from operator_server.balances.once import BalanceError, account_row
from operator_server.cli.balance import AccountArgument, IdOption, named
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
from signalling.money import MoneyError, decimal_micros, format_micros

threshold = typer.Typer(no_args_is_help=True, help="Thresholds that are told in the feed as soon as they are crossed.")


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
        answer = changed(
            operator, "threshold.add", f"threshold/{name}",
            lambda c: thresholds.add_threshold(
                c, account, id=name, sense=sense, value=value, percent=percent, bucket=bucket_id or None, now=now
            ),
        )  # fmt: skip
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
    """List an account's thresholds.

    Example: tollgate account threshold list A-1001
    """
    with reading(config) as connection:
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
def threshold_remove(
    id: Annotated[str, typer.Argument(help="Threshold id.")], as_json: JsonOption = False, config: ConfigOption = CONFIG
) -> None:
    """Remove a threshold.

    Example: tollgate account threshold remove low-1
    """
    with opened(config) as operator:
        changed(operator, "threshold.remove", f"threshold/{id}", lambda c: thresholds.remove_threshold(c, id), {})
    told({"threshold": id, "removed": True}, as_json, f"Threshold {id} is removed.")
