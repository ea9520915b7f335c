"""``tollgate top``: what happens at this operator now, in the terminal."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text
from sqlalchemy import Connection, func, select

from operator_server.cli.common import (
    CONFIG,
    CommandError,
    ConfigOption,
    JsonOption,
    opened,
    out,
    says_errors,
    show_json,
)
from operator_server.store.configurations import Interrogation
from operator_server.store.parties import Event
from operator_server.store.rows import table
from operator_server.web.console.overview_data import Charged, Fleet, Tally, Today, charged, day_begins, fleet
from operator_server.web.console.troubles_data import Repository, Trouble, troubles
from signalling.clock import to_micros
from signalling.money import format_micros

EVERY = 2.0
"""Seconds from picture to picture."""
RATE_OVER = timedelta(seconds=60)
EVENTS = 10


@dataclass(frozen=True, slots=True)
class Happened:
    """An event of the feed."""

    at: datetime
    kind: str
    about: str


@dataclass(frozen=True, slots=True)
class Picture:
    """What the view shows; ``logons_per_second`` is the mean of the last minute."""

    at: datetime
    fleet: Fleet
    logons_per_second: float
    today: Tally
    charges: list[Charged]
    problems: list[Trouble]
    events: list[Happened]


@says_errors()
def top(
    once: Annotated[bool, typer.Option("--once", help="Print one picture and end.")] = False,
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Watch terminals, logons, offers, charges, open problems and events; new every 2 seconds, until Ctrl-C.

    Example: tollgate top --once --json
    """
    if as_json and not once:
        raise CommandError("--json prints one picture: say --once too")
    with opened(config) as operator:
        zone, today = operator.settings.operator.time_zone, Today()
        repository = Repository(operator.repository_dir / "metadata")

        def look() -> Picture:
            with operator.engine.connect() as connection:
                return picture(connection, operator.clock.now(), zone, today, repository)

        if as_json:
            show_json(_plain(look()))
        elif once:
            out.print(_drawn(look(), zone))
        else:
            _watch(look, zone)


def picture(connection: Connection, now: datetime, zone: str, today: Today, repository: Repository) -> Picture:
    """How things stand now. ``today`` and ``repository`` remember what was read, for the next picture."""
    day = day_begins(now, zone)
    return Picture(
        now, fleet(connection, now), _logons_per_second(connection, now), today.tally(connection, day),
        charged(connection, day), troubles(connection, repository, now, lambda permission: True), _last(connection),
    )  # fmt: skip


def _logons_per_second(connection: Connection, now: datetime) -> float:
    asked, since = table(Interrogation), now - RATE_OVER
    # Ids grow with time: the last minute is at the end of the key.
    begin = f"{to_micros(since) // 1000:012x}"
    count = connection.execute(
        select(func.count())
        .select_from(asked)
        .where(asked.c.id >= f"{begin[:8]}-{begin[8:]}", asked.c.at > since, asked.c.trigger == "logon")
    ).scalar_one()
    return int(count) / RATE_OVER.total_seconds()


def _last(connection: Connection) -> list[Happened]:
    event = table(Event)
    rows = connection.execute(select(event).order_by(event.c.id.desc()).limit(EVENTS))
    return [Happened(row.at, row.kind, row.terminal_id or row.account_id or row.reference) for row in rows]


def _plain(found: Picture) -> dict[str, Any]:
    """For programs: amounts as decimal text, addresses of the console left out."""
    told = asdict(found)
    told["at"] = found.at.isoformat()
    told["charges"] = [
        {"mode": each.mode, "currency": each.currency, "count": each.count,
         "net": format_micros(each.net, each.currency)}
        for each in found.charges
    ]  # fmt: skip
    told["problems"] = [
        {"title": each.title, "count": each.count, "bad": each.bad, "mend": each.mend} for each in found.problems
    ]  # fmt: skip
    told["events"] = [{"at": each.at.isoformat(), "kind": each.kind, "about": each.about} for each in found.events]
    return told


def _watch(look: Callable[[], Picture], zone: str) -> None:
    try:
        with Live(_drawn(look(), zone), console=out, screen=out.is_terminal, auto_refresh=False) as live:
            while True:
                time.sleep(EVERY)
                live.update(_drawn(look(), zone), refresh=True)
    except KeyboardInterrupt:
        return


def _drawn(found: Picture, zone: str) -> Group:
    local, now = ZoneInfo(zone), found.today
    head = Table.grid(padding=(0, 2))
    head.add_row("Time", f"{found.at.astimezone(local):%Y-%m-%d %H:%M:%S %Z}")
    head.add_row("Terminals", f"{found.fleet.online} on line of {found.fleet.active}; {found.fleet.never_asked} never "
                 "answered")  # fmt: skip
    head.add_row("Logons", f"{found.logons_per_second:.1f}/s in the last minute, {now.logons} today")
    head.add_row("Offers today", f"{now.shown} menus shown, {now.selected} selected, {now.agreed} agreed, "
                 f"{now.delivered} delivered; {now.rejected} rejected, {now.failed} failed")  # fmt: skip
    events = _table("Time", "Event", "About")
    for each in found.events:
        events.add_row(f"{each.at.astimezone(local):%Y-%m-%d %H:%M:%S}", Text(each.kind), Text(each.about))
    return Group(
        head, Text("\nCharges today", style="bold"), _charges(found.charges),
        Text("\nOpen problems", style="bold"), _problems(found.problems),
        Text("\nLast events", style="bold"), events if found.events else Text("Nothing has happened yet."),
    )  # fmt: skip


def _charges(rows: list[Charged]) -> Table | Text:
    if not rows:
        return Text("None yet.")
    drawn = _table("Mode", "Charges", "Net")
    for each in rows:
        drawn.add_row(each.mode, str(each.count), f"{format_micros(each.net, each.currency)} {each.currency}")
    return drawn


def _problems(found: list[Trouble]) -> Text:
    if not found:
        return Text("None.", style="green")
    told = Text()
    for place, each in enumerate(found):
        told.append("\n" if place else "")
        told.append(f"{each.count} x {each.title}", style="bold red" if each.bad else "yellow")
        told.append(f"\n  -> {each.mend}")
    return told


def _table(*columns: str) -> Table:
    drawn = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in columns:
        drawn.add_column(column, overflow="fold")
    return drawn
