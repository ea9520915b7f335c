"""``tollgate tariff``: what is charged by which tariff, how a cost came about, and what another tariff would cost."""

from __future__ import annotations

import json
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer

from charging.rating import RatingError, decimal_text
from charging.tariffs import Tariff, TariffBook, TariffError, TariffVersion, read_tariff
from charging.tariffs.csv_import import convert
from charging.tariffs.csv_import.writing import write_tariffs
from charging.tariffs.explain import Explanation, explain
from charging.tariffs.headline import headline
from charging.tariffs.simulate import Bill, Simulation
from operator_server.audit import cli_actor
from operator_server.cli.common import (
    CONFIG,
    CommandError,
    ConfigOption,
    JsonOption,
    fail,
    opened,
    out,
    says_errors,
    show_json,
    show_table,
    told,
)
from operator_server.counting.tariffs import TariffVersions
from operator_server.offering.tariff_publishing import (
    TariffFileError,
    publish_tariff,
    schedule_version,
    withdraw_version,
)
from operator_server.settings import load_settings
from operator_server.store.store import transact
from operator_server.usage.history import ChargedUse, UnknownUse, find_use
from operator_server.usage.simulation import NothingToCompare, simulate_month
from signalling.money import format_micros

app = typer.Typer(no_args_is_help=True, help="Tariffs: look at them, explain a cost, try a new one on past use.")


def _book(config: Path) -> TariffBook:
    folder = load_settings(config).config_dir / "tariffs"
    book, problems = TariffBook.load(folder)
    if book is None:
        raise CommandError("\n".join(str(problem) for problem in problems))
    return book


def _kept() -> TariffVersions:
    """The versions as the database keeps them; what the files say by now does not matter."""
    return TariffVersions(lambda: TariffBook([]))


def _text(version: TariffVersion) -> str:
    price = headline(version)
    size = f"{price.size} " if price.size > 1 else ""
    amount = f"{format_micros(price.amount, version.currency)} {version.currency}"
    text = f"{'' if price.exact else 'up to '}{amount} per {size}{version.unit}"
    return f"{text}, {version.included} included per {version.included_per}" if version.included else text


@app.command("list")
@says_errors()
def list_(as_json: JsonOption = False, config: ConfigOption = CONFIG) -> None:
    """List the tariffs of the configuration folder and the versions of each.

    Example: tollgate tariff list
    """
    rows = [(tariff, version) for tariff in _book(config) for version in tariff.versions]
    if as_json:
        show_json([_facts(tariff, version) for tariff, version in rows])
        return
    show_table(
        "Tariffs",
        ["Tariff", "Name", "From", "Price"],
        [
            (
                tariff.tariff_id, _name(tariff),
                f"{version.effective_from.astimezone(ZoneInfo(version.zone)):%Y-%m-%d %H:%M}", _text(version),
            )
            for tariff, version in rows
        ],
        empty="There is no tariff yet; write one into the folder tariffs/ or import some.",
    )  # fmt: skip


@app.command()
@says_errors(TariffError)
def show(
    tariff: Annotated[str, typer.Argument(help="Tariff id.")],
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Show all versions of a tariff, whole.

    Example: tollgate tariff show voice
    """
    found = _book(config).tariff(tariff)
    if as_json:
        show_json([_facts(found, version) for version in found.versions])
        return
    out.print(f"{found.tariff_id}: {_name(found)}")
    for version in found.versions:
        out.print(f"\n{version.version_id}\nfrom {version.effective_from:%Y-%m-%d %H:%M} UTC: {_text(version)}")
        _print_tables(_content(version), "  ")


@app.command("explain")
@says_errors(UnknownUse, TariffError, RatingError)
def explain_(
    usage: Annotated[str, typer.Argument(help="Id of a charge or of a usage record (or its source/id).")],
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Show step by step how a cost came about, by the tariff as it was; exit 1 if that is not what was charged.

    The uses before it in its period are rated again, so the explanation is a second computation of the charge.

    Example: tollgate tariff explain 0199f3c2-7a10-7c41-a3b5-5d2f3c1e9a77
    """
    with opened(config) as operator, operator.engine.connect() as connection:
        found = find_use(connection, _kept(), usage)
    explained = explain(found.uses)
    charged = explained.cost_micros if found.price is None else found.price
    agrees = explained.cost_micros == charged and sum(s.cost for s in explained.steps) == charged
    if as_json:
        show_json(_explanation(found, explained, agrees))
    else:
        _print_explanation(found, explained)
    if not agrees:
        currency = found.charge.currency
        raise fail(
            f"charge {found.charge.id}: {format_micros(found.charge.net, currency)} {currency} was charged, "
            f"but its tariff makes {format_micros(explained.cost_micros, currency)} {currency} of it"
        )


@app.command("simulate")
@says_errors(TariffError, NothingToCompare)
def simulate_(
    new: Annotated[Path, typer.Argument(help="Tariff file; its id says which tariff's use is rated again.")],
    on: Annotated[str, typer.Option("--on", help="Month of use in the operator's time zone, such as 2026-10.")],
    limit: Annotated[int, typer.Option(min=0, help="Most accounts shown, the largest differences first; 0: all.")] = 0,
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Rate a month's past use with another tariff file and show who would pay what. Nothing is charged.

    The newest version in the file rates the whole month, whatever its date. Amounts are net.

    Example: tollgate tariff simulate voice-2027.toml --on 2026-10
    """
    tariff, problems = read_tariff(new)
    if tariff is None:
        raise CommandError("\n".join(str(problem) for problem in problems))
    version = tariff.versions[-1]
    with opened(config) as operator, operator.engine.connect() as connection:
        simulation = simulate_month(connection, version, on, operator.settings.operator.zone)
    if as_json:
        show_json(_simulation(simulation, on))
    else:
        _print_simulation(simulation, tariff, on, limit)
    if simulation.unrated:
        raise fail(f"{len(simulation.unrated)} agreement(s) cannot be rated by {version.version_id}; left out above")


@app.command("publish")
@says_errors(TariffFileError)
def publish(
    file: Annotated[Path, typer.Argument(help="Tariff file with all its versions.")],
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Put a tariff file in force, in place of the one of the same id; running servers take it over.

    Versions in force stay as they are; new ones begin at a time to come. All offers are checked before.

    Example: tollgate tariff publish voice.toml
    """
    source = file.read_text(encoding="utf-8")
    with opened(config) as operator:
        now = operator.clock.now()
        made = transact(operator.engine, lambda c: publish_tariff(c, operator.settings, source, now, actor=cli_actor()))
    if as_json:
        show_json([_facts(made, version) for version in made.versions])
    else:
        out.print(f"{made.tariff_id} is published with {len(made.versions)} version(s).")


@app.command("schedule")
@says_errors(TariffFileError)
def schedule(
    tariff: Annotated[str, typer.Argument(help="Tariff id.")],
    file: Annotated[Path, typer.Argument(help="A version's keys, without its header and effective_from.")],
    begin: Annotated[str, typer.Option("--from", help="A day, or a time on the operator's clock, to come.")],
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Put a further version beside those of a tariff, which holds from a time to come.

    Example: tollgate tariff schedule voice new-prices.toml --from 2027-01-01
    """
    source = file.read_text(encoding="utf-8")
    with opened(config) as operator:
        now, begins = operator.clock.now(), _begin(begin, operator.settings.operator.zone)
        made = transact(
            operator.engine,
            lambda c: schedule_version(c, operator.settings, tariff, source, begins, now, actor=cli_actor()),
        )
    if as_json:
        show_json([_facts(made, version) for version in made.versions])
    else:
        out.print(f"{made.tariff_id} has {len(made.versions)} version(s); the new one holds from {begin}.")


@app.command("withdraw")
@says_errors(TariffFileError)
def withdraw(
    tariff: Annotated[str, typer.Argument(help="Tariff id.")],
    version: Annotated[str, typer.Argument(help="Id of the version, from `tollgate tariff show`.")],
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Take away a version that is not in force yet; with its only one goes the tariff.

    Example: tollgate tariff withdraw voice voice@2027-01-01~1f2e3d4c5b6a
    """
    with opened(config) as operator:
        now = operator.clock.now()
        transact(
            operator.engine,
            lambda c: withdraw_version(c, operator.settings, tariff, version, now, actor=cli_actor()),
        )
    if as_json:
        show_json({"tariff": tariff, "version": version, "withdrawn": True})
    else:
        out.print(f"{version} is withdrawn.")


def _begin(text: str, zone: ZoneInfo) -> date | datetime:
    try:
        if "T" not in text:
            return date.fromisoformat(text)
        at = datetime.fromisoformat(text)
    except ValueError:
        raise CommandError(f"--from {text!r}: write a day, such as 2027-01-01, or 2027-01-01T06:00") from None
    return at if at.tzinfo is not None else at.replace(tzinfo=zone)


@app.command("import-csv")
@says_errors()
def import_csv(
    folder: Annotated[Path, typer.Argument(help="Folder with Destinations.csv, Rates.csv, ..., RatingProfiles.csv.")],
    out_dir: Annotated[
        Path | None, typer.Option("--out", help="Folder for the tariff files; default: tariffs/ of the configuration.")
    ] = None,
    currency: Annotated[str, typer.Option(help="Of the amounts; default: the operator's.")] = "",
    zone: Annotated[str, typer.Option(help="Of the timings, IANA; default: the operator's.")] = "",
    tax_category: Annotated[str, typer.Option("--tax-category", help="One of the operator's tax_rates.")] = "S",
    skip_unsupported: Annotated[
        bool, typer.Option("--skip-unsupported", help="Write the tariffs that are supported, leave out the others.")
    ] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Write over tariff files that are there.")] = False,
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Make tariffs of the CSV set that the field knows, in the columns that CGRateS documents.

    Each rating profile becomes a tariff, each activation a version. What is not supported is named with file and
    line; then nothing is written.

    Example: tollgate tariff import-csv plans/ --out configs/tariffs
    """
    operator = load_settings(config).operator
    target = out_dir or config / "tariffs"
    imported = convert(
        folder,
        currency=currency or operator.currency,
        zone=zone or operator.time_zone,
        tax_category=tax_category,
    )
    faults = [str(fault) for fault in imported.unsupported]
    blocked = bool(faults) and not skip_unsupported
    problems = [] if blocked else [str(each) for each in write_tariffs(imported.files, target, replace=replace)]
    written = 0 if blocked or problems else len(imported.files)
    notes = [f"note: {note}" for note in imported.not_used]
    last = (
        [f"{written} tariffs are written to {target}; `tollgate check` reads them with the offers."] if written else []
    )
    facts = {"written": written, "folder": str(target), "notes": imported.not_used, "faults": faults + problems}
    told(facts, as_json, *notes, *faults, *problems, *last)
    if blocked:
        raise fail(f"{len(faults)} fault(s) in {folder}; nothing is written")
    if problems:
        raise fail(f"{len(problems)} fault(s); nothing is written")
    if faults:
        raise fail(f"{len(faults)} fault(s) in {folder}; the tariffs they concern are left out")


def _name(tariff: Tariff) -> str:
    return tariff.names.get("en") or next(iter(tariff.names.values()), "")


def _content(version: TariffVersion) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(version.content)
    return content


def _facts(tariff: Tariff, version: TariffVersion) -> dict[str, Any]:
    return {
        "tariff": tariff.tariff_id,
        "names": dict(tariff.names),
        "version": version.version_id,
        "effective_from": version.effective_from,
        "price": _text(version),
        "content": _content(version),
    }


def _print_tables(value: Any, indent: str) -> None:
    """Keys and values, a line each, tables indented."""
    for key, entry in value.items():
        if isinstance(entry, dict):
            out.print(f"{indent}{key}:")
            _print_tables(entry, indent + "  ")
        elif isinstance(entry, list) and entry and isinstance(entry[0], dict):
            for number, item in enumerate(entry, 1):
                out.print(f"{indent}{key} {number}:")
                _print_tables(item, indent + "  ")
        else:
            out.print(f"{indent}{key} = {', '.join(map(str, entry)) if isinstance(entry, list) else entry}")


def _print_explanation(found: ChargedUse, explained: Explanation) -> None:
    charge, use = found.charge, explained.use
    to = f" to {use.destination}" if use.destination else ""
    out.print(f"Charge {charge.id} of account {charge.account_id}, agreement {charge.agreement_id}")
    out.print(f"{use.quantity} {use.version.unit}{to}, used {use.at:%Y-%m-%d %H:%M:%S} UTC, period {charge.period}")
    out.print(f"Tariff version {use.version.version_id}, as it was kept")
    before = explained.before
    out.print(
        f"Before it: {explained.earlier} earlier uses of the period, {before.used} units, "
        f"{decimal_text(before.due)} {charge.currency} due"
    )
    show_table(
        "Steps",
        ["Step", "Units", charge.currency],
        [(step.text, step.quantity or "", decimal_text(step.cost)) for step in explained.steps]
        + [("cost", use.quantity, decimal_text(explained.cost_micros))],
        empty="",
    )
    out.print(f"Charged: {format_micros(charge.net, charge.currency)} {charge.currency} net")


def _explanation(found: ChargedUse, explained: Explanation, agrees: bool) -> dict[str, Any]:
    charge, use, before = found.charge, explained.use, explained.before
    return {
        "charge": charge.id,
        "account": charge.account_id,
        "agreement": charge.agreement_id,
        "period": charge.period,
        "tariff_version": use.version.version_id,
        "quantity": use.quantity,
        "unit": use.version.unit,
        "destination": use.destination,
        "at": use.at,
        "earlier_uses": explained.earlier,
        "units_before": before.used,
        "due_before": decimal_text(before.due),
        "steps": [
            {"step": step.text, "units": step.quantity, "cost": decimal_text(step.cost)} for step in explained.steps
        ],
        "cost": format_micros(explained.cost_micros, charge.currency),
        "charged": format_micros(charge.net, charge.currency),
        "currency": charge.currency,
        "agrees": agrees,
    }


def _print_simulation(simulation: Simulation, tariff: Tariff, on: str, limit: int) -> None:
    version = simulation.version
    out.print(f"{tariff.tariff_id} in {on}, net, as charged and by {version.version_id}; nothing is charged")
    bills = simulation.bills
    if limit:
        bills = sorted(bills, key=lambda bill: -abs(bill.difference))[:limit]

    def cells(name: str, bill: Bill) -> tuple[Any, ...]:
        amounts = (format_micros(micros, version.currency) for micros in (bill.now, bill.then, bill.difference))
        return name, bill.uses, bill.quantity, *amounts

    show_table(
        f"Accounts ({len(bills)} of {len(simulation.bills)})",
        ["Account", "Uses", version.unit, f"Now {version.currency}", f"Then {version.currency}", "Difference"],
        [*(cells(bill.account, bill) for bill in bills), cells("all", simulation.total)],
        empty="",
    )
    for account, agreement, reason in simulation.unrated:
        out.print(f"account {account}, agreement {agreement}: {reason}")


def _simulation(simulation: Simulation, on: str) -> dict[str, Any]:
    version = simulation.version

    def figures(bill: Bill) -> dict[str, Any]:
        return {
            "uses": bill.uses,
            "quantity": bill.quantity,
            "now": format_micros(bill.now, version.currency),
            "then": format_micros(bill.then, version.currency),
            "difference": format_micros(bill.difference, version.currency),
        }

    return {
        "period": on,
        "tariff": version.tariff_id,
        "version": version.version_id,
        "currency": version.currency,
        "unit": version.unit,
        "accounts": [{"account": bill.account, **figures(bill)} for bill in simulation.bills],
        "total": figures(simulation.total),
        "unrated": [
            {"account": account, "agreement": agreement, "reason": reason}
            for account, agreement, reason in simulation.unrated
        ],
    }
