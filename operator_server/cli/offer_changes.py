"""``tollgate offer preview|publish|schedule|withdraw|history|roll-back``: offers changed, as console and API do it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, TypeVar
from zoneinfo import ZoneInfo

import typer
from sqlalchemy import Connection

from offers.catalogue import Offer
from operator_server.audit import cli_actor
from operator_server.cli.common import (
    CONFIG,
    CommandError,
    ConfigOption,
    JsonOption,
    opened,
    out,
    reading,
    says_errors,
    show_json,
    show_table,
)
from operator_server.context import Operator
from operator_server.offering import history, publishing
from operator_server.offering.loading import BrokenCatalogue, load
from operator_server.offering.preview import preview
from operator_server.offering.publishing import BadOffer, OfferFileError
from operator_server.offering.toml_text import line_of, line_of_fault
from operator_server.store.store import transact

T = TypeVar("T")
OfferArgument = Annotated[str, typer.Argument(help="Offer id, from `tollgate offer list`.")]
SourceArgument = Annotated[Path, typer.Argument(help="File with one offer as TOML; - for standard input.")]


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command("preview")(preview_)
    app.command("publish")(publish)
    app.command("schedule")(schedule)
    app.command("withdraw")(withdraw)
    app.command("history")(history_)
    app.command("roll-back")(roll_back)


@says_errors(BrokenCatalogue, OfferFileError)
def preview_(
    offer: Annotated[str, typer.Argument(help="File with one offer as TOML, - for standard input; or an offer's id.")],
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Say whom an offer reaches, before it is published: terminals by model, and who rejected it.

    Example: tollgate offer preview maps.toml
    """
    with opened(config) as operator:
        if offer == "-" or Path(offer).is_file():
            found = _checked(operator, _read(Path(offer)))
        else:
            live = load(operator.settings).catalogue.get(offer)
            if live is None:
                raise CommandError(f"{offer}: neither a file nor an offer of the catalogue")
            found = live
        with operator.engine.connect() as connection:
            seen = preview(connection, found, operator.clock.now())
    if as_json:
        show_json({
            "offer": found.id, "version": found.version, "terminals": seen.terminals, "matching": seen.matching,
            "reached": seen.reached, "models": seen.models, "rejected": seen.rejected, "hidden": seen.hidden,
            "release": seen.release,
        })  # fmt: skip
        return
    out.print(f"{found.id} fits {seen.matching} of {seen.terminals} terminals that were interrogated so far.")
    if seen.reached != seen.matching:
        out.print(f"The groups of their users let it be shown on {seen.reached} of them.")
    if not seen.release:
        out.print(f"No release of {found.product} is published, so nobody is shown it; see `tollgate publish --help`.")
    out.print(f"{seen.rejected} users rejected it; it stays hidden from {seen.hidden}.")
    if seen.models:
        rows = [(model or "not known", count) for model, count in seen.models.items()]
        show_table("Terminals by model", ["Model", "Terminals"], rows, empty="")


@says_errors(OfferFileError)
def publish(file: SourceArgument, as_json: JsonOption = False, config: ConfigOption = CONFIG) -> None:
    """Put an offer live, in place of the one of the same id; all offers are checked before anything changes.

    Example: tollgate offer publish maps.toml
    """
    source = _read(file)
    with opened(config) as operator:
        _checked(operator, source)
        now = operator.clock.now()
        made = _change(
            operator,
            lambda c, actor: publishing.publish_offer(c, operator.settings, source, now, actor=actor),
        )
    _told(made, as_json, "is published; running servers take it over in a second")


@says_errors(OfferFileError)
def schedule(
    offer: OfferArgument,
    begin: Annotated[str, typer.Option("--from", help="Shown from, such as 2026-12-01 or 2026-12-01T18:00.")] = "",
    end: Annotated[str, typer.Option("--until", help="Shown until; without it there is no end.")] = "",
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Let an offer be shown in a time alone; without times it is shown always. On the operator's clock.

    Example: tollgate offer schedule ringtones-winter --from 2026-11-15 --until 2027-01-07
    """
    with opened(config) as operator:
        zone, now = operator.settings.operator.zone, operator.clock.now()
        start, stop = _instant(begin, zone, "--from"), _instant(end, zone, "--until")
        made = _change(
            operator,
            lambda c, actor: publishing.schedule_offer(c, operator.settings, offer, start, stop, now, actor=actor),
        )
    _told(made, as_json, "has its times")


@says_errors(OfferFileError)
def withdraw(offer: OfferArgument, as_json: JsonOption = False, config: ConfigOption = CONFIG) -> None:
    """Take an offer out of the catalogue; agreements on it stay.

    Example: tollgate offer withdraw ringtones-winter
    """
    with opened(config) as operator:
        now = operator.clock.now()
        _change(operator, lambda c, actor: publishing.withdraw_offer(c, operator.settings, offer, now, actor=actor))
    if as_json:
        show_json({"offer": offer, "withdrawn": True})
    else:
        out.print(f"{offer} is withdrawn; `tollgate offer history {offer}` has what it was.")


@says_errors()
def history_(offer: OfferArgument, as_json: JsonOption = False, config: ConfigOption = CONFIG) -> None:
    """List the versions of an offer and what was done to it, newest first.

    Example: tollgate offer history chess
    """
    with reading(config) as connection:
        versions, changes = history.versions(connection, offer), history.changes(connection, offer)
    if as_json:
        show_json({
            "versions": [{"version": v.id, "since": v.since, "toml": v.source} for v in versions],
            "changes": [
                {"at": c.at, "actor": c.actor, "action": c.action, "version": c.version} for c in changes
            ],
        })  # fmt: skip
        return
    show_table(
        f"Versions of {offer}", ["Version", "First in force"],
        [(v.id, f"{v.since:%Y-%m-%d %H:%M}") for v in versions],
        empty=f"{offer} has no versions: none of this id was ever loaded by a server or published.",
    )  # fmt: skip
    if changes:
        rows = [(f"{c.at:%Y-%m-%d %H:%M}", c.action, c.version, c.actor) for c in changes]
        show_table("Changes", ["When", "What", "Version", "By"], rows, empty="")


@says_errors(OfferFileError)
def roll_back(
    offer: OfferArgument,
    version: Annotated[str, typer.Argument(help="Version from `tollgate offer history`.")],
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Put a version of an offer live again, also after it was withdrawn.

    Example: tollgate offer roll-back chess chess@3f0c92ab11de
    """
    with opened(config) as operator:
        now = operator.clock.now()
        made = _change(
            operator,
            lambda c, actor: history.roll_back_offer(c, operator.settings, offer, version, now, actor=actor),
        )
    _told(made, as_json, "is live again")


def _read(file: Path) -> str:
    return sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8-sig")


def _checked(operator: Operator, source: str) -> Offer:
    """The offer of a text; its faults are told with their lines."""
    try:
        return publishing.check_offer(operator.settings, source).offer
    except BadOffer as bad:
        lines = [
            (line_of(source, each.key) if each.key else line_of_fault(each.reason), str(each)) for each in bad.problems
        ]
        raise CommandError("\n".join(f"line {n}: {text}" if n else text for n, text in lines)) from None


def _change(operator: Operator, work: Callable[[Connection, str], T]) -> T:
    return transact(operator.engine, lambda connection: work(connection, cli_actor()))


def _instant(text: str, zone: ZoneInfo, option: str) -> datetime | None:
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise CommandError(f"{option} {text}: is no time; write it as 2026-12-01 or 2026-12-01T18:00") from None
    return at if at.tzinfo else at.replace(tzinfo=zone)


def _told(offer: Offer, as_json: bool, what: str) -> None:
    if as_json:
        show_json({
            "offer": offer.id, "version": offer.version, "valid_from": offer.valid_from,
            "valid_until": offer.valid_until,
        })  # fmt: skip
    else:
        out.print(f"{offer.version} {what}.")
