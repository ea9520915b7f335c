"""Reading the operator's configuration folder whole: settings, tariffs, offers, or every fault there is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql, sqlite

from charging.billing.tax import TaxError, load_taxes
from charging.tariffs import Problem, TariffBook
from offers.catalogue import Catalogue, load_catalogue
from offers.modes import tariff_prices
from operator_server.settings import Settings
from operator_server.store.dealings import OfferVersion, TariffVersionRow
from operator_server.store.rows import table


class BrokenCatalogue(ValueError):
    """Offers or tariffs that cannot be used. ``problems`` names file, key and reason of each fault."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


@dataclass(frozen=True)
class Loaded:
    """Tariffs and offers of a configuration folder. ``inclusive``: tax categories whose prices contain their tax."""

    tariffs: TariffBook
    catalogue: Catalogue
    inclusive: frozenset[str] = frozenset()


def load(settings: Settings) -> Loaded:
    """Read tariffs and offers. Raises :class:`BrokenCatalogue` with every fault in the folder."""
    folder = settings.config_dir
    tariffs, problems = TariffBook.load(folder / "tariffs")
    rates = settings.operator.tax_basis_points()
    if tariffs is not None:
        problems += _unknown_categories(tariffs, rates, folder / "tariffs")
        problems += _changed_money(tariffs, folder / "tariffs")
    prices = {} if tariffs is None else tariff_prices(tariffs)
    catalogue, faults = load_catalogue(
        folder / "offers", tariffs=prices, tax_rates=rates, default_language=settings.operator.language
    )
    if tariffs is None:
        # Without tariffs each offer that names one would be reported for a fault that is not its own.
        faults = [fault for fault in faults if not fault.key.endswith("tariff")]
    problems += faults
    if problems or tariffs is None:
        raise BrokenCatalogue(problems)
    loaded = Loaded(tariffs, catalogue, _inclusive(settings))
    if problems := _uncountable(loaded, folder / "tariffs"):
        raise BrokenCatalogue(problems)
    return loaded


def _inclusive(settings: Settings) -> frozenset[str]:
    """Tax categories whose prices contain their tax. Raises :class:`BrokenCatalogue`."""
    path = settings.config_dir / "tax.toml"
    try:
        taxes = load_taxes(path)
    except TaxError as error:
        raise BrokenCatalogue([Problem(str(path), "", "", str(error).removeprefix(f"{path}: "))]) from None
    known = taxes.categories | settings.operator.tax_rates.keys()
    if unknown := sorted(taxes.inclusive - known):
        reason = f"no rate has this category, here or in operator.toml, tax_rates: {', '.join(sorted(known))}"
        raise BrokenCatalogue([Problem(str(path), "inclusive", repr(unknown[0]), reason)])
    return taxes.inclusive


def _uncountable(loaded: Loaded, folder: Path) -> list[Problem]:
    """What a tariff may say of sessions, times and destinations, but counters of installed items cannot tell."""
    used = {mode.tariff for offer in loaded.catalogue for mode in offer.modes if mode.tariff}
    problems = []
    for tariff in loaded.tariffs:
        for version in tariff.versions if tariff.tariff_id in used else ():
            faults = {
                "grant_units": "0, so no use could ever be granted ahead" if not version.grant_units else "",
                "band": "a counter does not tell when a use began" if version.timed else "",
                "price": "missing; a counter has no destination" if version.default is None else "",
                "commitment": "not billed for offers that charge by counter" if version.commitment else "",
            }
            problems += [
                Problem(str(folder), f"{tariff.tariff_id}.{key}", "", f"{reason} (an offer charges by this tariff)")
                for key, reason in faults.items()
                if reason
            ]
    return problems


def _unknown_categories(book: TariffBook, rates: dict[str, int], folder: Path) -> list[Problem]:
    known = ", ".join(sorted(rates))
    return [
        Problem(
            str(folder), f"{tariff.tariff_id}.tax_category", repr(version.tax_category),
            f"not one of the categories in operator.toml, tax_rates: {known}",
        )
        for tariff in book
        for version in tariff.versions
        if version.tax_category not in rates
    ]  # fmt: skip


def _changed_money(book: TariffBook, folder: Path) -> list[Problem]:
    """An offer has its currency and tax from its tariff, whichever version holds; so no version may change them."""
    return [
        Problem(
            str(folder), f"{tariff.tariff_id}.{key}", repr(getattr(version, key)),
            f"the version before has {getattr(before, key)!r}; make another tariff and another offer of it",
        )
        for tariff in book
        for before, version in pairwise(tariff.versions)
        for key in ("currency", "tax_category")
        if getattr(before, key) != getattr(version, key)
    ]  # fmt: skip


def keep_versions(connection: Connection, loaded: Loaded, now: datetime) -> None:
    """Store the versions of offers and tariffs, so that what was shown and agreed can be read when files change."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    offers = [
        {
            "id": offer.version,
            "offer_id": offer.id,
            "product": offer.product,
            "content": dict(offer.content),
            "first_loaded_at": now,
        }
        for offer in loaded.catalogue
    ]
    tariffs = [
        {
            "id": version.version_id,
            "tariff_id": tariff.tariff_id,
            "content": version.content,
            "effective_from": version.effective_from,
            "first_loaded_at": now,
        }
        for tariff in loaded.tariffs
        for version in tariff.versions
    ]
    for model, rows in ((OfferVersion, offers), (TariffVersionRow, tariffs)):
        if rows:
            connection.execute(dialect.insert(table(model)).on_conflict_do_nothing(), rows)
