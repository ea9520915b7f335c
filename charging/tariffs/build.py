"""From the tables of a tariff file to tariff versions: checks across keys, then the rates."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from math import lcm
from typing import Any

from charging.rating import BandPrices, PriceModel, Rate
from charging.rating.destination import Destinations
from charging.rating.flat import Flat
from charging.rating.graduated import Graduated
from charging.rating.included import Included
from charging.rating.modifiers import (
    AmountOff,
    Commitment,
    Discount,
    PeriodModifier,
    SessionTerms,
    SpendingCap,
)
from charging.rating.package import Package
from charging.rating.per_unit import Increments, PerUnit
from charging.rating.percentage import Percentage
from charging.rating.rounding import Rounding
from charging.rating.tiers import Tier
from charging.rating.timeband import HOLIDAY, BandError, Hours, TimeBands
from charging.rating.volume import Volume
from charging.tariffs.document import (
    FlatTable,
    PackageTable,
    PercentageTable,
    PerUnitTable,
    Price,
    TieredTable,
    VersionTable,
)
from charging.tariffs.version import TariffVersion
from signalling.money import minor_unit

LONGEST_TIMED_INCREMENT = 24 * 3600
"""Seconds of the longest increment where time bands split a session."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What does not fit together in a version, at ``key``; ``value`` where that is not what stands at the key."""

    key: str
    reason: str
    value: object = None


def build_version(tariff_id: str, raw: Mapping[str, Any], table: VersionTable) -> TariffVersion | list[Fault]:
    """The version that ``table``, read from ``raw``, describes; or everything that does not fit together in it."""
    faults = list(_faults(table))
    if faults:
        return faults
    start = _effective_from(table)
    content = json.dumps(raw, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_iso)
    digest = hashlib.sha256(f"{tariff_id}\n{content}".encode()).hexdigest()[:12]
    local_day = start.astimezone(table.zone).date()
    step = minor_unit(table.currency) if table.rounding.to == "minor" else table.rounding.to
    rounding = Rounding(table.rounding.mode, table.rounding.place, step)
    bands = _bands(table) if table.band else None
    discount = Discount(table.discount) if table.discount else None
    modifiers = _period_modifiers(table)
    prices = [price for _, price in _prices(table)]
    models = [_model(table, price, bands) for price in prices]
    # Where rounding is by line, sessions to different destinations add up exactly, so they share one scale.
    common = lcm(*(_scale(model) for model in models))
    rates = [
        Rate(
            model,
            rounding,
            per_session=not hasattr(price, "per") or price.per == "session",
            increments=_increments(price),
            included=Included(table.included) if table.included else None,
            terms=_terms(price),
            discount=discount,
            period_modifiers=modifiers,
            line_scale=common // _scale(model),
        )
        for price, model in zip(prices, models, strict=True)
    ]
    default = rates.pop(0) if table.price else None
    prefixes = {
        prefix: rate
        for destination, rate in zip(table.destination, rates, strict=True)
        for prefix in destination.prefixes
    }
    return TariffVersion(
        tariff_id=tariff_id,
        version_id=f"{tariff_id}@{local_day.isoformat()}~{digest}",
        content=content,
        effective_from=start,
        currency=table.currency,
        tax_category=table.tax_category,
        unit=table.unit,
        zone=table.zone.key,
        included=table.included,
        included_per=table.included_per,
        grant_units=table.grant_units,
        rounding=rounding,
        default=default,
        destinations=Destinations(prefixes),
        period_modifiers=modifiers,
        commitment=Commitment(table.commitment) if table.commitment else None,
        timed=bands is not None,
    )


def _iso(value: object) -> str:
    if isinstance(value, date | time):
        return value.isoformat()
    raise TypeError(f"{value!r} cannot stand in a tariff")


def _effective_from(table: VersionTable) -> datetime:
    start = table.effective_from
    if not isinstance(start, datetime):
        start = datetime.combine(start, time(), table.zone)
    return start.astimezone(UTC)


def _prices(table: VersionTable) -> list[tuple[str, Price]]:
    default = [("price", table.price)] if table.price else []
    return default + [(f"destination[{n}].price", item.price) for n, item in enumerate(table.destination)]


def _scale(model: PriceModel | BandPrices) -> int:
    return next(iter(model.prices.values())).scale if isinstance(model, BandPrices) else model.scale


def _model(table: VersionTable, price: Price, bands: TimeBands | None) -> PriceModel | BandPrices:
    match price:
        case FlatTable():
            return Flat(price.amount)
        case PackageTable():
            return Package(price.amount, price.size)
        case PercentageTable():
            return Percentage(price.percent)
        case TieredTable():
            tiers = [Tier(tier.start, tier.end, tier.amount, tier.fee) for tier in price.tiers]
            return (Graduated if price.model == "graduated" else Volume)(tiers, price.unit_size)
        case PerUnitTable():
            if bands is None or price.amounts is None:
                return PerUnit(price.amount or 0, price.unit_size)
            amounts = {band: PerUnit(amount, price.unit_size) for band, amount in price.amounts.items()}
            return BandPrices(bands, amounts, by_second=table.unit == "second")


def _increments(price: Price) -> Increments | None:
    if isinstance(price, FlatTable | PercentageTable) or price.increments is None:
        return None
    return Increments(price.increments.first, price.increments.next)


def _terms(price: Price) -> SessionTerms | None:
    terms = SessionTerms(price.connect_fee, price.minimum, price.maximum)
    return None if terms == SessionTerms() else terms


def _period_modifiers(table: VersionTable) -> tuple[PeriodModifier, ...]:
    modifiers: list[PeriodModifier] = []
    if table.discount_amount:
        modifiers.append(AmountOff(table.discount_amount))
    if table.spending_cap is not None:
        modifiers.append(SpendingCap(table.spending_cap))
    return tuple(modifiers)


def _bands(table: VersionTable) -> TimeBands:
    week: dict[str, list[Hours]] = {}
    for band in table.band:
        for day, hours in band.week():
            week.setdefault(day, []).append(hours)
    return TimeBands(table.zone, week, table.holidays)


def _faults(table: VersionTable) -> Iterator[Fault]:
    if table.price is None and not table.destination:
        yield Fault("price", "missing: a version has a [version.price], or a price for each destination")
    if table.commitment and table.spending_cap is not None and table.commitment > table.spending_cap:
        yield Fault("commitment", "the commitment is more than the spending cap")
    yield from _band_faults(table)
    yield from _destination_faults(table)
    for key, price in _prices(table):
        yield from _price_faults(table, key, price)
        if isinstance(price, PerUnitTable):
            yield from _per_unit_faults(table, key, price)
        elif table.band:
            yield Fault(f"{key}.model", "time bands need a price per unit")
        if isinstance(price, TieredTable):
            yield from _tier_faults(key, price)


def _band_faults(table: VersionTable) -> Iterator[Fault]:
    if table.holidays and not any(HOLIDAY in band.days for band in table.band):
        yield Fault("holidays", 'no band has the day "holiday", so holidays have no effect')
    if table.band:
        try:
            _bands(table)
        except BandError as error:
            yield Fault("band", str(error), sorted({band.name for band in table.band}))


def _destination_faults(table: VersionTable) -> Iterator[Fault]:
    seen: set[str] = set()
    for number, destination in enumerate(table.destination):
        for place, prefix in enumerate(destination.prefixes):
            if prefix in seen:
                key = f"destination[{number}].prefixes[{place}]"
                yield Fault(key, "this prefix stands twice in the version")
            seen.add(prefix)


def _price_faults(table: VersionTable, key: str, price: Price) -> Iterator[Fault]:
    if price.minimum is not None and price.maximum is not None and price.minimum > price.maximum:
        yield Fault(f"{key}.minimum", "the minimum is more than the maximum")
    increments = _increments(price)
    if table.rounding.place == "increment" and not (increments and isinstance(price, PerUnitTable)):
        yield Fault("rounding.place", f"{key} is no price per unit with increments")
    if (price.model == "percentage") != (table.unit == "amount"):
        yield Fault(f"{key}.model", f'a percentage goes with unit "amount", not {table.unit!r}')
    if increments and table.band and max(increments.first, increments.next) > LONGEST_TIMED_INCREMENT:
        yield Fault(f"{key}.increments", "with time bands an increment is at most a day")


def _per_unit_faults(table: VersionTable, key: str, price: PerUnitTable) -> Iterator[Fault]:
    if not table.band:
        if price.amounts is not None:
            yield Fault(f"{key}.amounts", "the version has no [[version.band]]; write amount")
        elif price.amount is None:
            yield Fault(f"{key}.amount", "missing")
        return
    if price.amount is not None:
        yield Fault(f"{key}.amount", "the version has time bands; write amounts, one for each")
    amounts = price.amounts or {}
    names = {band.name for band in table.band}
    for name in sorted(names - amounts.keys()):
        yield Fault(f"{key}.amounts.{name}", "missing: a band of the version without a price")
    for name in sorted(amounts.keys() - names):
        yield Fault(f"{key}.amounts.{name}", "the version has no band of this name")


def _tier_faults(key: str, price: TieredTable) -> Iterator[Fault]:
    if not price.tiers:
        yield Fault(f"{key}.tiers", "a tiered price has one tier or more")
    reached: int | None = 0
    for number, tier in enumerate(price.tiers):
        place = f"{key}.tiers[{number}]"
        if reached is None:
            yield Fault(f"{place}.from", "the tier before has no end, so none can follow")
        elif tier.start > reached:
            yield Fault(f"{place}.from", f"gap in tiers: the tier before ends at {reached}")
        elif tier.start < reached:
            yield Fault(f"{place}.from", f"overlapping tiers: the tier before ends at {reached}")
        if tier.end is not None and tier.end <= tier.start:
            yield Fault(f"{place}.to", f"the tier ends before it begins, at {tier.start}")
        reached = tier.end
    if price.tiers and reached is not None:
        reason = f"gap in tiers: there is none for more than {reached}; the last tier has no to"
        yield Fault(f"{key}.tiers[{len(price.tiers) - 1}].to", reason)
