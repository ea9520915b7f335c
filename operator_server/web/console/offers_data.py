"""What the pages of offers show: the catalogue as its files are now, reach, acceptance, changes line by line."""

from __future__ import annotations

import difflib
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from charging.tariffs import Problem, TariffError
from offers.audience import reach
from offers.catalogue import Offer
from operator_server.delivery.publishing import valid_releases
from operator_server.offering.acceptance import Acceptance, acceptance
from operator_server.offering.live import LiveOffers
from operator_server.offering.loading import BrokenCatalogue, Loaded, load
from operator_server.offering.population import Population
from operator_server.offering.preview import Audience
from operator_server.offering.refresh import folder_stamp
from operator_server.offering.toml_text import line_of, line_of_fault
from operator_server.settings import Settings
from operator_server.web.console.charts import Bar, bars

DAYS = 30
"""Acceptance is counted over so many days."""
HOLDS = 15.0
"""Seconds for which a count of all offers is shown again: counting costs more than the page."""
MOST_MODELS = 12


@dataclass(frozen=True, slots=True)
class Figures:
    """``terminals``: of those interrogated so far, ``reach`` has how many each offer fits; ``taken``: by offer id."""

    terminals: int
    reach: dict[str, int]
    taken: dict[str, Acceptance]

    def of(self, offer: str) -> Acceptance:
        """How an offer was taken."""
        return self.taken.get(offer, Acceptance())


class OfferDesk:
    """What is kept between pages: the files as they were read, what terminals are made of, the last count."""

    def __init__(self, settings: Settings) -> None:
        self.population = Population()
        self._settings = settings
        self._lock = threading.Lock()
        self._loaded: tuple[object, Loaded | None, list[Problem]] | None = None
        self._figures: tuple[float, object, Figures] | None = None

    def loaded(self) -> tuple[Loaded | None, list[Problem]]:
        """The offers and tariffs as the files have them now, or what is wrong in them."""
        stamp = folder_stamp(self._settings.config_dir)
        with self._lock:
            if self._loaded is None or self._loaded[0] != stamp:
                try:
                    self._loaded = stamp, load(self._settings), []
                except BrokenCatalogue as broken:
                    self._loaded = stamp, None, broken.problems
            return self._loaded[1], self._loaded[2]

    def figures(self, connection: Connection, loaded: Loaded, now: datetime) -> Figures:
        """Reach and acceptance of all offers."""
        kept, instant = self._figures, time.monotonic()
        if kept is not None and kept[0] > instant and kept[1] is loaded:
            return kept[2]
        people = self.population.read(connection)
        found = Figures(
            sum(count for _, _, count in people),
            reach(loaded.catalogue, valid_releases(connection, now), people),
            acceptance(connection, now - timedelta(days=DAYS)),
        )
        self._figures = instant + HOLDS, loaded, found
        return found


def state_of(offer: Offer, now: datetime, *, released: bool = True) -> tuple[str, str]:
    """The state of an offer of the catalogue, and the kind of its badge."""
    if offer.valid_from is not None and now < offer.valid_from:
        return "scheduled", "warn"
    if offer.valid_until is not None and now >= offer.valid_until:
        return "ended", "plain"
    return ("live", "good") if released else ("no release", "bad")


def prices(offers: LiveOffers, offer: Offer, language: str, now: datetime) -> list[tuple[str, str, str]]:
    """Each mode's id, label and price as users read it."""
    found = []
    for mode in offer.modes:
        try:
            text = offers.terms(mode, language, now).price_text
        except TariffError as error:
            text = str(error)
        found.append((mode.id, mode.label(language), text))
    return found


def asks(offer: Offer) -> list[tuple[str, str]]:
    """What the offer asks of a terminal and its user, in words."""
    target = offer.target
    found: list[tuple[str, str]] = [
        (fact.capitalize(), " or ".join(patterns)) for fact, patterns in target.hardware.items()
    ]
    found += [(fact, f"at least {least}") for fact, least in target.minima.items()]
    for name, needs in (
        ("Firmware", target.firmware), ("Base software", target.base_software), ("Installed", target.requires),
        ("Not installed", target.conflicts), ("Depends on", offer.depends_on),
    ):  # fmt: skip
        if needs:
            found.append((name, ", ".join(map(str, needs))))
    if offer.include:
        found.append(("Users in groups", ", ".join(sorted(offer.include))))
    if offer.exclude:
        found.append(("Users not in groups", ", ".join(sorted(offer.exclude))))
    return found


def models_chart(seen: Audience) -> Any:
    """The terminals that an offer fits, by model."""
    rows = list(seen.models.items())
    shown = [Bar(model or "model not known", count, f"{count:,}".replace(",", "\u202f")) for model, count in rows]
    rest = sum(count for _, count in rows[MOST_MODELS:])
    if rest:
        more = len(rows) - MOST_MODELS
        shown[MOST_MODELS:] = [Bar(f"{more} other models", rest, f"{rest:,}".replace(",", "\u202f"), 6)]
    return bars("Terminals that the offer fits, by model", shown)


@dataclass(frozen=True, slots=True)
class Told:
    """A fault as it is shown: where it is, and why. ``line`` 0: it has none, or lies in another file."""

    line: int
    key: str
    value: str
    reason: str
    file: str = ""


def told(problems: Sequence[Problem], source: str, file: str, prefix: str = "") -> list[Told]:
    """The faults of ``source``, each with its line; those of other files with their names.

    ``prefix``: of keys, where ``source`` is a part of the file.
    """
    found = []
    for each in problems:
        mine = each.file in (file, "offer", "tariff", f"own-{file}") and each.key.startswith(prefix)
        key = each.key.removeprefix(prefix) if mine else each.key
        line = (line_of(source, key) if key else line_of_fault(each.reason)) if mine else 0
        found.append(Told(line, key, each.value, each.reason, "" if mine else each.file))
    return found


def changed_lines(before: str, after: str) -> list[tuple[str, str]]:
    """Pairs of what becomes of a line (gone, new, same, or cut where many are the same) and the line."""
    return list(_changed(before.splitlines(), after.splitlines()))


def _changed(before: Sequence[str], after: Sequence[str]) -> Iterator[tuple[str, str]]:
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    for number, group in enumerate(matcher.get_grouped_opcodes(2)):
        if number:
            yield "cut", "\u2026"
        for tag, i1, i2, j1, j2 in group:
            if tag == "equal":
                yield from (("same", line) for line in before[i1:i2])
                continue
            yield from (("gone", line) for line in before[i1:i2])
            yield from (("new", line) for line in after[j1:j2])
