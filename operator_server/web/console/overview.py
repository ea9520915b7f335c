"""The overview: what happens now, and what is to be mended. It is live where scripts run, and new at each load."""

from __future__ import annotations

from typing import Any

from operator_server.people.roles import SELF
from operator_server.web.calls import Call
from operator_server.web.console.base import Section, View, show
from operator_server.web.console.charts import Bar, bars, funnel
from operator_server.web.console.overview_data import Charged, Kept, Today, charged, day_begins, fleet
from operator_server.web.console.render import money, number
from operator_server.web.console.troubles_data import Repository, troubles

section = Section("Overview", "/console", needs=SELF)

MODES = {
    "free": "Free", "one_off": "One-off", "per_use": "Per use", "subscription": "Subscription",
    "other": "Other systems' usage",
}  # fmt: skip


@section.page(needs=SELF)
def overview(call: Call) -> View:
    """What happens now."""
    return show("overview.html", **_told(call))


@section.page("/overview/live", needs=SELF)
def live(call: Call) -> View:
    """The part of the overview that changes."""
    return show("overview_live.html", **_told(call))


def _told(call: Call) -> dict[str, Any]:
    state, may = call.request.app.state, call.caller.permissions.__contains__
    if not hasattr(state, "console_today"):
        state.console_fleet, state.console_today = Kept(), Today()
        state.console_repository = Repository(call.operator.repository_dir / "metadata")
    zone = call.operator.settings.operator.time_zone
    day = day_begins(call.now, zone)
    told: dict[str, Any] = {
        "now": call.now, "fleet": None, "tally": None, "funnel": None, "charges": None,
        "troubles": troubles(call.connection, state.console_repository, call.now, may),
    }  # fmt: skip
    if may("terminals.read"):
        told["fleet"] = state.console_fleet.look(lambda: fleet(call.connection, call.now))
    if may("events.read"):
        told["tally"] = tally = state.console_today.tally(call.connection, day)
        steps = [
            ("Menus shown", tally.shown), ("Selected", tally.selected), ("Agreed", tally.agreed),
            ("Delivered", tally.delivered),
        ]  # fmt: skip
        told["funnel"] = funnel("Offers today", steps)
    if may("charges.read"):
        told["charges"] = _charts(charged(call.connection, day))
    return told


def _charts(rows: list[Charged]) -> list[tuple[str, str, Any]]:
    """For each currency its name, the sum and a chart by mode."""
    found = []
    for currency in sorted({row.currency for row in rows}):
        mine = [row for row in rows if row.currency == currency]
        drawn = bars(
            f"Charges today in {currency}",
            [
                Bar(
                    MODES.get(row.mode, row.mode), row.net,
                    f"{money(row.net, currency)}, {number(row.count)} charge{'s' if row.count != 1 else ''}", place + 1,
                )
                for place, row in enumerate(mine)
            ],
        )  # fmt: skip
        found.append((currency, money(sum(row.net for row in mine), currency), drawn))
    return found
