"""``tollgate visited settle|report|reconcile|disputes``: what operators owe each other."""

from __future__ import annotations

from datetime import UTC
from pathlib import Path
from typing import Annotated, Literal

import typer

from charging.periods import period_of
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
)
from operator_server.visited import reconciling, records
from operator_server.visited.faults import VisitedError
from operator_server.visited.partners import partner_row
from operator_server.visited.settling import settle_due
from signalling.money import format_micros

NetworkArgument = Annotated[str, typer.Argument(help="The partner's server id.")]
MonthOption = Annotated[str, typer.Option(help="Such as 2026-11, in UTC; default: this month.")]
DirectionOption = Annotated[str, typer.Option(help="receivable (they owe us) or payable (we owe them).")]


@says_errors()
def settle(as_json: JsonOption = False, config: ConfigOption = CONFIG) -> None:
    """Hand over to home networks at once what they have not acknowledged; the worker does so by itself.

    Example: tollgate visited settle
    """
    with opened(config) as operator:
        changed(operator, "settlement.hand_over", "settlement/all", lambda c: None, {"all": True})
        counts = settle_due(operator, most=10_000, all_=True)
    if as_json:
        show_json(counts)
        return
    out.print(", ".join(f"{count} {state}" for state, count in sorted(counts.items())) or "Nothing waits.")


@says_errors(VisitedError)
def report(
    network: NetworkArgument,
    month: MonthOption = "",
    direction: DirectionOption = "receivable",
    file: Annotated[Path | None, typer.Option("--out", help="Write the settlement file, in CSV.")] = None,
    against: Annotated[Path | None, typer.Option(help="The partner's settlement file, to compare.")] = None,
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Report what a month is settled at; write the file for the partner, or compare with the partner's. Exit 1 differs.

    Example: tollgate visited report north.example --month 2026-11 --direction payable --against north-2026-11.csv
    """
    with opened(config) as operator, operator.engine.connect() as connection:
        if partner_row(connection, network) is None:
            raise CommandError(f"network {network}: roaming with it was never agreed")
        named = month or period_of(operator.clock.now(), UTC)
        rows = records.month_records(connection, network, _direction(direction), named)
    lines, totals = records.lines_of(rows), records.totals_of(rows)
    states: dict[str, int] = {}
    for row in rows:
        states[row.state] = states.get(row.state, 0) + 1
    if file is not None:
        file.write_text(records.write_file(lines), encoding="utf-8")
    found = [] if against is None else records.compare(lines, records.read_file(against.read_text(encoding="utf-8")))
    sums = {currency: format_micros(total, currency) for currency, total in sorted(totals.items())}
    if as_json:
        told = {"network": network, "month": named, "direction": direction, "totals": sums, "records": states}
        show_json(told | ({"differences": [vars(each) for each in found]} if against else {}))
    else:
        show_table(
            f"{network}, {named}, {direction}",
            ["Record", "Terminal", "Feature", "Amount", "State"],
            [
                (row.id, row.terminal, row.feature, f"{format_micros(row.amount, row.currency)} {row.currency}",
                 f"{row.state}: {row.reason}" if row.reason else row.state)
                for row in rows
            ],
            empty=f"Nothing was settled with {network} in {named}.",
        )  # fmt: skip
        for currency, total in sums.items():
            out.print(f"Total {total} {currency}")
        for each in found:
            out.print(f"{each.id}: {each.what}")
        if against is not None and not found:
            out.print("Both sides hold the same.")
    if found:
        raise typer.Exit(1)


@says_errors(VisitedError)
def reconcile(
    network: NetworkArgument, month: MonthOption = "", as_json: JsonOption = False, config: ConfigOption = CONFIG
) -> None:
    """Compare a month with what the partner holds, in both directions; differences are kept as disputes on both sides.

    Exit 1 where something differs. Example: tollgate visited reconcile north.example --month 2026-11
    """
    with opened(config) as operator:
        named = month or period_of(operator.clock.now(), UTC)
        found = reconciling.reconcile(operator, network, named)
        after = {"month": named} | {each.direction: len(each.differences) for each in found}
        changed(operator, "settlement.reconcile", f"roaming_partner/{network}", lambda c: None, after)
    if as_json:
        told = [
            {"direction": each.direction, "alike": each.alike, "differences": [vars(d) for d in each.differences]}
            for each in found
        ]
        show_json({"network": network, "month": named, "compared": told})
    else:
        for each in found:
            out.print(f"{each.direction}: {each.alike} alike, {len(each.differences)} differ")
            for difference in each.differences:
                out.print(f"{difference.id}: {difference.what}", markup=False, soft_wrap=True)
    if any(each.differences for each in found):
        raise typer.Exit(1)


@says_errors()
def disputes(
    network: Annotated[str, typer.Argument(help="Only of this partner.")] = "",
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """List the records on which we and a partner differ, whoever found it.

    Example: tollgate visited disputes north.example
    """
    with reading(config) as connection:
        rows = reconciling.open_disputes(connection, network)
    if as_json:
        show_json([dict(row._mapping) for row in rows])
        return
    show_table(
        "Disputes",
        ["Partner", "Month", "Direction", "Record", "Raised by", "What differs"],
        [(row.network, row.month, row.direction, row.record_id, row.raised_by, row.what) for row in rows],
        empty="Nothing is disputed.",
    )


def _direction(text: str) -> Literal["receivable", "payable"]:
    if text == "receivable":
        return "receivable"
    if text == "payable":
        return "payable"
    raise CommandError(f"--direction {text}: receivable or payable")
