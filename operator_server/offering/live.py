"""The offers of a running server: the offer memory kept up to date, and menus ready to be sent.

All look-ups are in memory. Changed files and releases are taken over beside the index in force; a folder with a fault
is told and changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import msgspec
from sqlalchemy import Connection, func, select

from charging.agreements import AllowedMode
from charging.modes import mode_kind
from charging.price_text import price_text
from charging.tariffs import TariffBook
from charging.tariffs.headline import headline
from offers.catalogue import Offer
from offers.index import Current, OfferRef
from offers.memory import OfferMemory, UnknownCode
from offers.modes import Mode, permitted
from offers.rejections import RejectionRecord, hidden_products, stands
from offers.selection import select as select_offers
from operator_server.delivery.publishing import valid_releases
from operator_server.desk import Visitor
from operator_server.offering.loading import Loaded
from operator_server.offering.menus import LogonContext, Menu
from operator_server.store.configurations import ConfigurationRow, Section
from operator_server.store.dealings import Release
from operator_server.store.rows import table
from operator_server.validation.comparison import ReleaseValidity
from signalling.clock import Clock, from_micros, to_micros
from signalling.configuration import SECTIONS, Configuration, decode_section
from signalling.messages import ModeTerms, OfferEntry

_encode = msgspec.msgpack.Encoder().encode
_NOTHING = Menu((), "")
_NEVER = 2**62


@dataclass(frozen=True, slots=True)
class OpenOffer:
    """An offer that is open to a subscriber on a terminal now. ``needs``: offers that must be taken before it."""

    offer: Offer
    release: str
    needs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Supply:
    """What the store says of releases: what may be offered, and what became of everything published."""

    releases: Mapping[str, Collection[str]]
    validity: Mapping[tuple[str, str], ReleaseValidity]
    lengths: Mapping[tuple[str, str], int]
    stamp: tuple[object, ...]


def read_supply(connection: Connection, now: datetime) -> Supply:
    """The releases as they are now."""
    release = table(Release)
    rows = connection.execute(select(release)).all()
    return Supply(
        valid_releases(connection, now),
        {(row.product, row.version): ReleaseValidity(row.status, row.valid_until, row.reason) for row in rows},
        {(row.product, row.version): row.length for row in rows},
        supply_stamp(connection, now),
    )


def supply_stamp(connection: Connection, now: datetime) -> tuple[object, ...]:
    """Changes whenever :func:`read_supply` would give something else."""
    release = table(Release)
    row = connection.execute(
        select(
            func.count(),
            func.max(release.c.published_at),
            func.count().filter(release.c.status == "valid"),
            func.count().filter(release.c.status == "revoked"),
            func.count().filter(release.c.valid_until <= now),
        )
    ).one()
    return tuple(row)


def read_configurations(connection: Connection) -> Iterable[tuple[bytes, Configuration]]:
    """Every configuration that a terminal ever had, decoded."""
    section, configuration = table(Section), table(ConfigurationRow)
    rows = connection.execute(select(section.c.digest, section.c.name, section.c.canonical))
    sections = {row.digest: decode_section(row.name, row.canonical) for row in rows}
    for row in connection.execute(select(configuration)).all():
        yield row.code, Configuration(**{name: sections[getattr(row, name)] for name in SECTIONS})


def read_configuration(connection: Connection, code: bytes) -> Configuration:
    """The configuration behind one code. Raises ``LookupError`` for a code that was never stored."""
    section, configuration = table(Section), table(ConfigurationRow)
    row = connection.execute(select(configuration).where(configuration.c.code == code)).first()
    if row is None:
        raise LookupError(f"configuration code {code.hex()[:16]}... is not stored")
    digests = {getattr(row, name) for name in SECTIONS}
    rows = connection.execute(select(section.c.digest, section.c.canonical).where(section.c.digest.in_(list(digests))))
    canonical = {each.digest: each.canonical for each in rows}
    return Configuration(**{name: decode_section(name, canonical[getattr(row, name)]) for name in SECTIONS})


@dataclass(frozen=True, slots=True)
class _Ready:
    """Menus and their entries by language and currency, encoded; good until a tariff's next version (microseconds)."""

    until: int
    menus: dict[tuple[int, str, str], tuple[tuple[OfferRef, ...], Menu]] = field(default_factory=dict)
    entries: dict[tuple[int, str, str], tuple[OfferRef, msgspec.Raw]] = field(default_factory=dict)


class LiveOffers:
    """The offer memory of a server with its tariffs and releases; what interrogation calls the offering."""

    def __init__(self, loaded: Loaded, supply: Supply, clock: Clock) -> None:
        self._memory = OfferMemory(loaded.catalogue, supply.releases)
        self._tariffs = loaded.tariffs
        self._inclusive = loaded.inclusive
        self._supply = supply
        self._clock = clock
        self._items: dict[bytes, Mapping[str, str]] = {}
        self._forget_menus()

    @property
    def memory(self) -> OfferMemory:
        """The offer memory."""
        return self._memory

    @property
    def tariffs(self) -> TariffBook:
        """The tariffs in force."""
        return self._tariffs

    @property
    def supply(self) -> Supply:
        """The releases in force."""
        return self._supply

    def take_over(self, loaded: Loaded, supply: Supply, configurations: Iterable[tuple[bytes, Configuration]]) -> None:
        """Put changed offers, tariffs and releases in force. May run on another thread than the look-ups."""
        for _ in self._memory.rebuild(loaded.catalogue, supply.releases, self._with_items(configurations)):
            pass
        self._tariffs, self._supply, self._inclusive = loaded.tariffs, supply, loaded.inclusive
        self._forget_menus()

    def knows(self, code: bytes) -> bool:
        """Whether the code has an offer class."""
        return self._memory.knows(code)

    def learn(self, code: bytes, configuration: Configuration) -> None:
        """Find the class of a new code."""
        self._keep_items(code, configuration)
        self._memory.learn(code, configuration)

    def _with_items(
        self, configurations: Iterable[tuple[bytes, Configuration]]
    ) -> Iterator[tuple[bytes, Configuration]]:
        # The memory knows these codes afterwards, so nobody will have it learn them again.
        for code, configuration in configurations:
            self._keep_items(code, configuration)
            yield code, configuration

    def _keep_items(self, code: bytes, configuration: Configuration) -> None:
        if configuration.catalogue_items:
            self._items[code] = configuration.catalogue_items

    def items(self, code: bytes) -> Mapping[str, str]:
        """Product to version of what we installed on terminals of this code."""
        return self._items.get(code, {})

    def menu(self, code: bytes, visitor: Visitor, context: LogonContext) -> Menu:
        """What fits the code, is not present and not rejected (claims 2 and 3)."""
        now = self._clock.now()
        if to_micros(now) >= self._ready.until:
            self._forget_menus()
        # What is made from here on goes where a change that comes meanwhile throws it away.
        ready = self._ready
        try:
            area = self._memory.lookup(code)
        except UnknownCode:
            return _NOTHING
        hidden = self._hidden(context, now)
        whole = not hidden and not visitor.groups and visitor.takes_packages and all(ref.plain for ref in area)
        if whole:
            known = ready.menus.get((id(area), visitor.language, visitor.currency))
            if known is not None and known[0] is area:
                return known[1]
        refs = self._select(code, hidden, visitor, now)
        entries = [self._entry(ready, ref, visitor, now) for ref in refs]
        menu = Menu(entries, " ".join(ref.offer.version for ref in refs))
        if whole:
            ready.menus[id(area), visitor.language, visitor.currency] = (area, menu)
        return menu

    def current(self, offer: str) -> Current | None:
        """The offer of this id and the release it offers now."""
        return self._memory.current.get(offer)

    def product_of(self, offer: str) -> str:
        """The product of an offer of the catalogue."""
        return self._memory.current[offer].offer.product

    def standing(self, rejections: Iterable[RejectionRecord], now: datetime) -> list[RejectionRecord]:
        """Those of the rejections that still hide their product."""
        return [each for each in rejections if stands(each, self._memory.current, now)]

    def open_offer(
        self, offer: str, code: bytes | None, visitor: Visitor, rejections: Iterable[RejectionRecord], now: datetime
    ) -> OpenOffer | None:
        """The offer, if it stands in this subscriber's menu on a terminal of this code."""
        return next((each for each in self.open_offers(code, visitor, rejections, now) if each.offer.id == offer), None)

    def open_offers(
        self, code: bytes | None, visitor: Visitor, rejections: Iterable[RejectionRecord], now: datetime
    ) -> list[OpenOffer]:
        """The offers of this subscriber's menu on a terminal of this code, in order."""
        if code is None or not self._memory.knows(code):
            return []
        hidden = hidden_products(rejections, self._memory.current, now)
        return [OpenOffer(ref.offer, ref.release, ref.needs) for ref in self._select(code, hidden, visitor, now)]

    def allowed_modes(
        self, offer: Offer, groups: Collection[str], language: str, currency: str = ""
    ) -> dict[str, AllowedMode]:
        """The modes of an offer that a subscriber of these groups may use, with their prices now.

        ``currency``: of the account that pays; empty for all.
        """
        now = self._clock.now()
        return {
            mode.id: AllowedMode(self.terms(mode, language, now), mode.spending_limit_min, mode.terms_text(language))
            for mode in permitted(offer.modes, groups)
            if self._is_open(mode, currency, now)
        }

    def _select(self, code: bytes, hidden: frozenset[str], visitor: Visitor, now: datetime) -> list[OfferRef]:
        """The menu, without offers none of whose modes has a price yet."""
        refs = select_offers(
            self._memory, code, hidden_products=hidden, groups=visitor.groups, now=now,
            takes_packages=visitor.takes_packages,
        )  # fmt: skip
        kept = [ref for ref in refs if any(self._is_open(mode, visitor.currency, now) for mode in ref.modes)]
        while True:
            # What is needed stands before what needs it, unless it just went.
            ids = {ref.offer.id for ref in kept}
            served = [ref for ref in kept if ids.issuperset(ref.needs)]
            if len(served) == len(kept):
                return kept
            kept = served

    def _is_open(self, mode: Mode, currency: str, now: datetime) -> bool:
        """Whether the mode has a price now (its tariff may begin later) that an account in this currency can pay."""
        if currency and mode.currency != currency and mode_kind(mode.kind).paid:
            return False
        return not mode.tariff or self._tariffs.tariff(mode.tariff).versions[0].effective_from <= now

    def closed(self, mode: Mode, currency: str, now: datetime) -> str:
        """Why nobody whose account is in this currency can take the mode now; empty where it is open."""
        if self._is_open(mode, currency, now):
            return ""
        if currency and mode.currency != currency and mode_kind(mode.kind).paid:
            return f"mode {mode.id} is priced in {mode.currency}, the account is in {currency}"
        begins = self._tariffs.tariff(mode.tariff).versions[0].effective_from
        return f"mode {mode.id} has no price before {begins:%Y-%m-%d %H:%M} UTC, when tariff {mode.tariff} begins"

    def _hidden(self, context: LogonContext, now: datetime) -> frozenset[str]:
        if not context.rejections:
            return frozenset()
        return hidden_products(
            (
                RejectionRecord(
                    each.product, each.offer, each.offer_version, each.price_digest, each.release,
                    None if each.until is None else from_micros(each.until), now,
                )
                for each in context.rejections
            ),
            self._memory.current,
            now,
        )  # fmt: skip

    def _forget_menus(self) -> None:
        now = self._clock.now()
        later = [v.effective_from for tariff in self._tariffs for v in tariff.versions if v.effective_from > now]
        self._ready = _Ready(to_micros(min(later)) if later else _NEVER)

    def _entry(self, ready: _Ready, ref: OfferRef, visitor: Visitor, now: datetime) -> msgspec.Raw:
        key = (id(ref), visitor.language, visitor.currency)
        known = ready.entries.get(key)
        if known is not None and known[0] is ref:
            return known[1]
        offer, language = ref.offer, visitor.language
        entry = OfferEntry(
            offer=offer.id,
            version=offer.version,
            product=ref.product,
            release=ref.release,
            kind=offer.kind,
            title=offer.title(language),
            text=offer.description(language),
            size=self._supply.lengths.get((ref.product, ref.release), 0),
            modes=[self.terms(mode, language, now) for mode in ref.modes if self._is_open(mode, visitor.currency, now)],
            needs=list(ref.needs),
            replaces=ref.replaces,
        )
        raw = msgspec.Raw(_encode(entry))
        if ref.plain:
            ready.entries[key] = (ref, raw)
        return raw

    def terms(self, mode: Mode, language: str, now: datetime) -> ModeTerms:
        """The mode as it is offered now, in a language."""
        terms = ModeTerms(
            mode=mode.id,
            kind=mode.kind,
            label=mode.label(language),
            price_text="",
            currency=mode.currency,
            amount=mode.amount,
            tax_category=mode.tax_category,
            tax_rate=mode.tax_rate,
            payment=mode.payment,
            period=mode.period,
            charged=mode.charged,
            pro_rata=mode.pro_rata,
            minimum_periods=mode.minimum_periods,
            notice_days=mode.notice_days,
            trial_days=mode.trial_days,
            trial_warning_days=mode.trial_warning_days,
            price_change_days=mode.price_change_days,
            tax_included=mode.tax_rate if mode.tax_category in self._inclusive else 0,
        )
        exact = True
        if mode_kind(mode.kind).by_use:
            version = self._tariffs.at(mode.tariff, now)
            price = headline(version)
            exact = price.exact
            terms = msgspec.structs.replace(
                terms,
                amount=price.amount,
                unit=version.unit,
                unit_size=price.size,
                included=version.included,
                included_per=version.included_per if version.included else "",
                counter=version.unit,
                tariff_version=version.version_id,
            )
        return msgspec.structs.replace(terms, price_text=price_text(terms, language, exact=exact))
