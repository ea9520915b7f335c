"""What the pages of tariffs show: versions, a cost step by step, simulations in the background."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from charging.rating import decimal_text
from charging.tariffs import Tariff, TariffVersion, restore_version
from charging.tariffs.document import VersionTable
from charging.tariffs.explain import Explanation, Use, explain
from charging.tariffs.headline import headline
from operator_server.offering.toml_text import toml_text
from operator_server.store.dealings import TariffVersionRow
from operator_server.store.rows import table
from operator_server.web.console.charts import Bar, bars
from operator_server.web.console.render import money
from operator_server.web.jobs import Job, Jobs
from operator_server.web.simulations import AccountBill, Outcome, decode_outcome
from operator_server.web.works import SIMULATION

MOST_SHOWN = 200
MOST_BARS = 8
MOST_UNITS = 2**53


@dataclass(frozen=True, slots=True)
class Listed:
    """A version with its state: now, to come, past, or kept (no longer in the files)."""

    version: TariffVersion
    state: str
    badge: str


def name_of(tariff: Tariff, language: str) -> str:
    """The tariff's name in a language, else in any."""
    return tariff.names.get(language) or next(iter(tariff.names.values()), tariff.tariff_id)


def price_in_short(version: TariffVersion) -> str:
    """The price in one figure, as ``tollgate tariff list`` has it."""
    price = headline(version)
    size = f"{price.size} " if price.size > 1 else ""
    text = f"{'' if price.exact else 'up to '}{money(price.amount, version.currency)} per {size}{version.unit}"
    return f"{text}, {version.included} included per {version.included_per}" if version.included else text


def versions_of(connection: Connection, tariff: Tariff, now: datetime) -> list[Listed]:
    """All versions, the newest first; those that only the database has too."""
    begun = [version for version in tariff.versions if version.effective_from <= now]
    live = begun[-1].version_id if begun else ""
    found = []
    for version in tariff.versions:
        state = ("now", "good") if version.version_id == live else ("past", "plain")
        found.append(Listed(version, *(("to come", "warn") if version.effective_from > now else state)))
    rows = table(TariffVersionRow)
    known = {version.version_id for version in tariff.versions}
    for row in connection.execute(select(rows).where(rows.c.tariff_id == tariff.tariff_id)):
        if row.id not in known:
            try:
                found.append(Listed(restore_version(row.tariff_id, row.content), "not in the files", "plain"))
            except ValueError:
                continue
    return sorted(found, key=lambda each: each.version.effective_from, reverse=True)


def version_text(version: TariffVersion) -> str:
    """A version as TOML without header and begin, to write the next one from."""
    content: dict[str, Any] = json.loads(version.content)
    in_order = [key for key in VersionTable.model_fields if key in content and key != "effective_from"]
    return toml_text({key: content[key] for key in in_order}).lstrip("\n")


def cost_of(version: TariffVersion, quantity: int, at: datetime, destination: str, before: int) -> Explanation:
    """What a use costs, step by step, after ``before`` units of the same period. Raises ``RatingError``."""
    uses = [Use("before", version, before, at, destination or None, session=True)] if before else []
    return explain([*uses, Use("use", version, quantity, at, destination or None, session=True)])


def steps_of(explained: Explanation) -> list[tuple[str, int, str]]:
    """The steps as ``tollgate tariff explain`` prints them."""
    return [(step.text, step.quantity, decimal_text(step.cost)) for step in explained.steps]


@dataclass(frozen=True, slots=True)
class Tried:
    """A simulation that is done or under way; ``typed``: its version is in no file."""

    job: Job
    tariff: str
    month: str
    version: TariffVersion
    typed: bool
    result: Outcome | None


def tried(jobs: Jobs, job: str) -> Tried | None:
    """The simulation of this id."""
    found, kept = jobs.find(job), jobs.given(job, SIMULATION)
    if found is None or kept is None:
        return None
    given, result = kept
    version = restore_version(given["tariff"], given["content"])
    outcome = None if result is None else decode_outcome(result)
    return Tried(found, given["tariff"], given["month"], version, given["typed"], outcome)


@dataclass(frozen=True, slots=True)
class Compared:
    """Who pays more and who less: how many, the sums, the accounts with the largest differences, and charts."""

    more: int
    less: int
    same: int
    now: str
    then: str
    difference: str
    rows: list[tuple[str, int, int, str, str, str]]
    chart: Any
    counts: Any


def compared(outcome: Outcome) -> Compared:
    """A simulation as it is shown."""
    currency, bills, total = outcome.currency, outcome.bills, outcome.total
    ends = _bars([bill for bill in bills if bill.difference > 0], currency, 2)
    ends += _bars([bill for bill in bills if bill.difference < 0], currency, 3)
    return Compared(
        outcome.more, outcome.less, outcome.same, money(total.now, currency), money(total.then, currency),
        _signed(total.difference, currency),
        [
            (bill.account, bill.uses, bill.quantity, money(bill.now, currency), money(bill.then, currency),
             _signed(bill.difference, currency))
            for bill in bills[:MOST_SHOWN]
        ],
        bars("The largest differences", ends) if ends else None,
        bars(
            "Accounts",
            [
                Bar("pay more", outcome.more, series=2), Bar("pay less", outcome.less, series=3),
                Bar("pay the same", outcome.same),
            ],
        ),
    )  # fmt: skip


def _bars(bills: Sequence[AccountBill], currency: str, series: int) -> list[Bar]:
    return [
        Bar(bill.account, abs(bill.difference), _signed(bill.difference, currency), series)
        for bill in bills[:MOST_BARS]
    ]


def _signed(micros: int, currency: str) -> str:
    return ("+" if micros > 0 else "") + money(micros, currency)
