"""``tollgate tariff``: what is charged by which tariff, how a cost came about, and what another tariff would cost."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import typer

from charging.rating import RatingError
from charging.tariffs import TariffBook, TariffError, read_tariff
from charging.tariffs.csv_import import convert
from charging.tariffs.csv_import.writing import write_tariffs
from charging.tariffs.explain import explain
from operator_server.audit import cli_actor
from operator_server.cli.common import (
    CONFIG,
    CommandError,
    ConfigOption,
    JsonOption,
    fail,
    opened,
    out,
    reading,
    says_errors,
    show_json,
    show_table,
    told,
    working,
)
from operator_server.cli.tariff_shown import (
    content_of,
    explanation,
    name_of,
    price_text,
    print_explanation,
    print_simulation,
    print_tables,
    simulation_facts,
    version_facts,
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
from operator_server.usage.history import UnknownUse, find_use
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


@app.command("list")
@says_errors()
def list_(as_json: JsonOption = False, config: ConfigOption = CONFIG) -> None:
    """List the tariffs of the configuration folder and the versions of each.

    Example: tollgate tariff list
    """
    rows = [(tariff, version) for tariff in _book(config) for version in tariff.versions]
    if as_json:
        show_json([version_facts(tariff, version) for tariff, version in rows])
        return
    show_table(
        "Tariffs",
        ["Tariff", "Name", "From", "Price"],
        [
            (
                tariff.tariff_id, name_of(tariff),
                f"{version.effective_from.astimezone(ZoneInfo(version.zone)):%Y-%m-%d %H:%M}", price_text(version),
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
        show_json([version_facts(found, version) for version in found.versions])
        return
    out.print(f"{found.tariff_id}: {name_of(found)}")
    for version in found.versions:
        out.print(f"\n{version.version_id}\nfrom {version.effective_from:%Y-%m-%d %H:%M} UTC: {price_text(version)}")
        print_tables(content_of(version), "  ")


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
    with reading(config) as connection:
        found = find_use(connection, _kept(), usage)
    explained = explain(found.uses)
    agrees = found.agrees(explained)
    if as_json:
        show_json(explanation(found, explained, agrees))
    else:
        print_explanation(found, explained)
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
    with opened(config) as operator, operator.engine.connect() as connection, working("Rating again"):
        simulation = simulate_month(connection, version, on, operator.settings.operator.zone)
    if as_json:
        show_json(simulation_facts(simulation, on))
    else:
        print_simulation(simulation, tariff, on, limit)
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
        show_json([version_facts(made, version) for version in made.versions])
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
        show_json([version_facts(made, version) for version in made.versions])
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
