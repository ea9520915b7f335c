"""The offer catalogue: every offer of the operator, read from TOML files with all their faults (claims 12 to 14)."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from graphlib import CycleError, TopologicalSorter
from hashlib import sha256
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from charging.tariffs import Problem
from offers.document import WITHOUT_PACKAGE, OfferKind, OfferTable, TextTable
from offers.faults import faulty_place, follows, located, problem_of, without
from offers.modes import Mode, TariffPrice, build_mode
from offers.texts import in_language, with_default
from offers.versions import Requirement


@dataclass(frozen=True, slots=True)
class Target:
    """Which configurations an offer is tuned to; an empty field asks for nothing.

    ``hardware``: fact to patterns (:mod:`fnmatch`), one of which must match. ``minima``: fact to the least number.
    """

    hardware: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    minima: Mapping[str, int] = field(default_factory=dict)
    firmware: tuple[Requirement, ...] = ()
    base_software: tuple[Requirement, ...] = ()
    requires: tuple[Requirement, ...] = ()
    conflicts: tuple[Requirement, ...] = ()


@dataclass(frozen=True, slots=True)
class RejectionPolicy:
    """When a rejection of the offer ends: never, after a time, or at an instant; and what opens it before."""

    until: timedelta | datetime | None = None
    on_new_release: bool = False
    on_new_price: bool = False

    def ends(self, rejected_at: datetime) -> datetime | None:
        """The instant at which a rejection of ``rejected_at`` ends, ``None`` for never.

        Where the policy names an instant that has passed already, it never ends: it would not have been one.
        """
        if isinstance(self.until, timedelta):
            return rejected_at + self.until
        return self.until if self.until is not None and self.until > rejected_at else None


@dataclass(frozen=True, slots=True, eq=False)
class Offer:
    """An offer as the catalogue holds it. Offers are compared and hashed by identity; ``version`` names the content.

    ``release``: ``latest``, an exact version or a specifier. ``package``: the name under which the product stands in
    the base software of a terminal that has it from elsewhere. A higher ``priority`` stands first in the menu.
    ``version``: the id, ``@`` and a digest of the whole content; ``prices``: what makes the prices, as canonical JSON.
    """

    id: str
    product: str
    kind: OfferKind
    release: str
    package: str
    priority: int
    texts: Mapping[str, TextTable]
    valid_from: datetime | None
    valid_until: datetime | None
    target: Target
    include: frozenset[str]
    exclude: frozenset[str]
    depends_on: tuple[Requirement, ...]
    rejection: RejectionPolicy
    modes: tuple[Mode, ...]
    content: Mapping[str, Any]
    version: str
    prices: tuple[str, ...]

    def price_at(self, instant: datetime, prices: Sequence[str] | None = None) -> str:
        """A digest of what the offer costs at an instant: another price, or another version of a tariff, is another.

        ``prices``: of a version of the offer that went before.
        """
        versions = {mode.tariff: mode.priced_by.at(instant) for mode in self.modes if mode.priced_by is not None}
        return _digest([list(self.prices if prices is None else prices), versions])

    def title(self, language: str) -> str:
        """The title in this language, else in the operator's default language."""
        return in_language(self.texts, language).title

    def description(self, language: str) -> str:
        """The description in this language, else in the operator's default language; may be empty."""
        return in_language(self.texts, language).description


class Catalogue:
    """The operator's offers in the order of menus: by priority, highest first, then by id. Immutable."""

    def __init__(self, offers: Sequence[Offer] = ()) -> None:
        self.offers: tuple[Offer, ...] = tuple(sorted(offers, key=lambda offer: (-offer.priority, offer.id)))
        self._by_id = {offer.id: offer for offer in self.offers}
        self.products: frozenset[str] = frozenset(offer.product for offer in offers)

    def __iter__(self) -> Iterator[Offer]:
        return iter(self.offers)

    def __len__(self) -> int:
        return len(self.offers)

    def get(self, offer_id: str) -> Offer | None:
        """The offer of this id."""
        return self._by_id.get(offer_id)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an offer stands: its file, and the key before its own (``offer[2].`` in a file of several)."""

    file: str
    prefix: str
    raw: Mapping[str, Any]

    def problem(self, loc: Sequence[int | str], reason: str) -> Problem:
        key, value = located(loc, self.raw)
        return Problem(self.file, self.prefix + key, value, reason)


def load_catalogue(
    directory: Path, *, tariffs: Mapping[str, TariffPrice], tax_rates: Mapping[str, int], default_language: str
) -> tuple[Catalogue, list[Problem]]:
    """The catalogue of all ``*.toml`` in ``directory``, and every problem there is.

    Offers that have one of their own are left out; whoever serves offers begins only where there is none.

    ``tariffs``: what :func:`offers.modes.tariff_prices` makes of the tariff book. ``tax_rates``: tax category to basis
    points. ``default_language``: the language in which every text must exist.
    """
    if not directory.is_dir():
        return Catalogue(), [Problem(str(directory), "", "", "no such directory")]
    problems: list[Problem] = []
    places = [place for path in sorted(directory.glob("*.toml")) for place in _places(path, problems)]
    offers: list[Offer] = []
    tables: list[tuple[OfferTable, _Place]] = []
    files: dict[str, str] = {}
    for place in places:
        table, found = _read(place, tariffs, tax_rates, default_language)
        if table is not None:
            tables.append((table, place))
        if isinstance(found, list):
            problems += found
        elif found.id in files:
            problems.append(place.problem(["id"], f"{files[found.id]} has an offer of the same id"))
        else:
            files[found.id] = place.file
            offers.append(found)
    problems += _dependency_problems(tables, {str(place.raw.get("product")) for place in places})
    return Catalogue(offers), problems


def _places(path: Path, problems: list[Problem]) -> Iterator[_Place]:
    try:
        # Editors of Windows begin a file with a mark of byte order.
        raw = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        problems.append(Problem(str(path), "", "", f"cannot be read as TOML: {error}"))
        return
    except RecursionError:
        problems.append(Problem(str(path), "", "", "cannot be read as TOML: its values are nested too deep"))
        return
    tables = raw.get("offer")
    if tables is None:
        yield _Place(str(path), "", raw)
    elif len(raw) > 1 or not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        problems.append(Problem(str(path), "offer", "", "a file is one offer, or has nothing but [[offer]] tables"))
    else:
        for number, table in enumerate(tables):
            yield _Place(str(path), f"offer[{number}].", table)


def _read(
    place: _Place, tariffs: Mapping[str, TariffPrice], tax_rates: Mapping[str, int], default_language: str
) -> tuple[OfferTable | None, Offer | list[Problem]]:
    """The table of an offer as far as it can be read, and the offer or everything that is wrong with it."""
    problems: list[Problem] = []
    faulty: frozenset[tuple[int | str, ...]] = frozenset()
    try:
        table = OfferTable.model_validate(place.raw)
    except ValidationError as error:
        problems = [_from_pydantic(place, detail) for detail in error.errors()]
        faulty = frozenset(faulty_place(detail["loc"]) for detail in error.errors())
        try:
            table = OfferTable.model_validate(without(place.raw, faulty, default_language))
        except ValidationError:
            return None, problems
    faults = list(_offer_faults(table, default_language))
    modes: list[Mode] = []
    for number, entry in enumerate(table.mode):
        mode, wrong = build_mode(entry, tariffs, tax_rates)
        faults += [(["mode", number, key], reason) for key, reason in wrong]
        if mode is not None:
            modes.append(mode)
    problems += [place.problem(loc, reason) for loc, reason in faults if not follows(loc, faulty)]
    return table, problems or build_offer(table, modes, default_language)


def _from_pydantic(place: _Place, detail: ErrorDetails) -> Problem:
    problem = problem_of(detail, OfferTable, place.raw)
    return replace(problem, file=place.file, key=place.prefix + problem.key)


def _offer_faults(table: OfferTable, default_language: str) -> Iterator[tuple[list[int | str], str]]:
    """What is wrong between the keys of one offer."""
    texts: list[tuple[list[int | str], Mapping[str, Any]]] = [(["text"], table.text)]
    seen: set[str] = set()
    for number, mode in enumerate(table.mode):
        texts.append((["mode", number, "label"], mode.label))
        texts.append((["mode", number, "terms"], mode.terms))
        if mode.id in seen:
            yield ["mode", number, "id"], "another mode of the offer has the same id"
        seen.add(mode.id)
    for loc, by_language in texts:
        try:
            if by_language or loc[-1] != "terms":
                with_default(by_language, default_language)
        except ValueError as error:
            yield loc, str(error)
    valid = table.valid
    if valid.start is not None and valid.end is not None and valid.end <= valid.start:
        yield ["valid", "until"], "ends before it begins"
    if table.kind in WITHOUT_PACKAGE and any(letter in table.release for letter in "<>=~!"):
        yield ["release"], "nothing is published for a service: a version of its own or none is needed, no specifier"


def build_offer(table: OfferTable, modes: Sequence[Mode], default_language: str) -> Offer:
    """The offer of a table that has no faults."""
    prices = tuple(sorted(json.dumps(mode.price(), sort_keys=True) for mode in modes))
    content = table.model_dump(mode="json", by_alias=True)
    for entry, mode in zip(content["mode"], modes, strict=True):
        entry.update(mode.price())
    target = table.target
    hardware = {"model": target.model, "manufacturer": target.manufacturer, "architecture": target.architecture}
    languages = [
        replace(
            mode,
            labels=with_default(mode.labels, default_language),
            terms=with_default(mode.terms, default_language) if mode.terms else {},
        )
        for mode in modes
    ]
    return Offer(
        id=table.id,
        product=table.product,
        kind=table.kind,
        release=table.release,
        package=table.package or "",
        priority=table.priority,
        texts=with_default(table.text, default_language),
        valid_from=table.valid.start,
        valid_until=table.valid.end,
        target=Target(
            hardware={key: tuple(patterns) for key, patterns in hardware.items() if patterns},
            minima=target.minima,
            firmware=tuple(target.firmware),
            base_software=tuple(target.base_software),
            requires=tuple(target.requires),
            conflicts=tuple(target.conflicts),
        ),
        include=frozenset(table.subscribers.include),
        exclude=frozenset(table.subscribers.exclude),
        depends_on=tuple(table.depends_on),
        rejection=RejectionPolicy(
            table.rejection.until, "new_release" in table.rejection.reopen_on, "new_price" in table.rejection.reopen_on
        ),
        modes=tuple(languages),
        content={**content, "prices": list(prices)},
        version=f"{table.id}@{_digest(content)}",
        prices=prices,
    )


def _digest(content: object) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return sha256(canonical.encode()).hexdigest()[:12]


def _dependency_problems(offers: Sequence[tuple[OfferTable, _Place]], products: set[str]) -> list[Problem]:
    problems = []
    graph: dict[str, set[str]] = {}
    for offer, place in offers:
        for number, need in enumerate(offer.depends_on):
            graph.setdefault(offer.product, set()).add(need.name)
            if need.name not in products:
                problems.append(place.problem(["depends_on", number], "no offer in the catalogue has this product"))
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        cycle: list[str] = error.args[1]
        first = next(place for offer, place in offers if offer.product in cycle and offer.depends_on)
        # The sorter names a cycle from the need to what needs it.
        problems.append(first.problem(["depends_on"], f"products need each other: {' -> '.join(reversed(cycle))}"))
    return problems
