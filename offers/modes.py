"""Charging modes as the catalogue holds them, allocated to their offers (claim 4: the charging mode memory)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from charging.modes import MODE_KINDS, PAYMENTS, ModeKind
from charging.subscriptions import UNITS
from charging.tariffs import TariffBook
from offers.document import ModeTable
from offers.texts import in_language
from signalling.money import format_micros, minor_unit


@dataclass(frozen=True, slots=True)
class TariffPrice:
    """What an offer must know of a tariff: in which currency it prices, and how that is taxed.

    ``versions``: when each of its versions begins, and its id.
    """

    currency: str
    tax_category: str
    versions: tuple[tuple[datetime, str], ...] = ()

    def at(self, instant: datetime) -> str:
        """The id of the version that holds at an instant; empty where none does."""
        return next((id for begin, id in reversed(self.versions) if begin <= instant), "")


def tariff_prices(book: TariffBook) -> dict[str, TariffPrice]:
    """Currency and tax category of each tariff, as its last version has them."""
    return {
        tariff.tariff_id: TariffPrice(
            tariff.versions[-1].currency,
            tariff.versions[-1].tax_category,
            tuple((version.effective_from, version.version_id) for version in tariff.versions),
        )
        for tariff in book
    }


@dataclass(frozen=True, slots=True, eq=False)
class Mode:
    """A charging mode of an offer. Modes are compared and hashed by identity, as their offers are.

    ``amount``: micros net, due once or for each ``period``; 0 for modes that are free or charge by use. ``tax_rate``:
    basis points. ``tariff``: for modes that charge by use, ``priced_by`` it. ``groups``: who may use it, empty for
    everybody. ``spending_limit_min``: micros, the least limit a user may set. ``payment`` and what follows it: as in
    :class:`signalling.messages.ModeTerms`.
    """

    id: str
    kind: str
    labels: Mapping[str, str]
    amount: int
    currency: str
    tax_category: str
    tax_rate: int
    tariff: str
    groups: frozenset[str]
    spending_limit_min: int
    terms: Mapping[str, str]
    payment: str = "postpaid"
    period: str = ""
    charged: str = ""
    pro_rata: bool = False
    minimum_periods: int = 0
    notice_days: int = 0
    trial_days: int = 0
    trial_warning_days: int = 0
    price_change_days: int = 0
    priced_by: TariffPrice | None = None

    def label(self, language: str) -> str:
        """The name of the mode in this language, else in the operator's default language."""
        return in_language(self.labels, language)

    def terms_text(self, language: str) -> str:
        """The terms in this language, else in the operator's default language; may be empty."""
        return in_language(self.terms, language) if self.terms else ""

    def price(self) -> dict[str, Any]:
        """What makes the price: a change of it is a new price, a change of a label is not."""
        return {
            "kind": self.kind,
            "amount": self.amount,
            "currency": self.currency,
            "tax_category": self.tax_category,
            "tax_rate": self.tax_rate,
            "tariff": self.tariff,
            "groups": sorted(self.groups),
            **self._terms(),
        }

    def _terms(self) -> dict[str, Any]:
        """The terms beside the price that are not the usual ones, so that older modes keep their digest."""
        usual = {
            "payment": "postpaid",
            "period": "",
            "charged": "",
            "pro_rata": False,
            "minimum_periods": 0,
            "notice_days": 0,
            "trial_days": 0,
            "price_change_days": 0,
        }
        return {name: value for name, default in usual.items() if (value := getattr(self, name)) != default}


def permitted(modes: Iterable[Mode], groups: Collection[str]) -> tuple[Mode, ...]:
    """The modes that a subscriber of these groups may use."""
    return tuple(mode for mode in modes if not mode.groups or not mode.groups.isdisjoint(groups))


Fault = tuple[str, str]
"""A key of the mode, and what is wrong there."""


def build_mode(
    table: ModeTable, tariffs: Mapping[str, TariffPrice], tax_rates: Mapping[str, int]
) -> tuple[Mode | None, list[Fault]]:
    """The mode of a table, or every fault it has beside its kind of price, its tariff and its tax."""
    kind = MODE_KINDS.get(table.kind)
    if kind is None:
        return None, [("kind", f"no such kind of charging mode; there are: {', '.join(MODE_KINDS)}")]
    tariff = tariffs.get(table.tariff) if table.tariff is not None else None
    currency = table.currency or (tariff.currency if tariff else None)
    category = table.tax_category or (tariff.tax_category if tariff else None)
    faults = [
        *_price_faults(table, kind, tariffs),
        *_tax_faults(category, tariff, kind, tax_rates),
        *_term_faults(table, kind),
    ]
    if currency is None and not (kind.by_use and tariff is None):
        faults.append(("currency", "missing: the currency of the price (ISO 4217)"))
    if tariff is not None and currency != tariff.currency:
        faults.append(("currency", f"tariff {table.tariff!r} prices in {tariff.currency}; leave the key out"))
    if faults or currency is None or category is None:
        return None, faults
    mode = Mode(
        id=table.id,
        kind=table.kind,
        labels=table.label,
        amount=table.amount or 0,
        currency=currency,
        tax_category=category,
        tax_rate=tax_rates[category],
        tariff=table.tariff or "",
        groups=frozenset(table.groups),
        spending_limit_min=table.spending_limit_min or 0,
        terms=table.terms,
        payment=table.payment,
        period=table.period or "",
        charged=(table.charged or "advance") if kind.periodic else "",
        pro_rata=table.pro_rata,
        minimum_periods=table.minimum_periods,
        notice_days=table.notice,
        trial_days=table.trial,
        trial_warning_days=table.trial_warning,
        price_change_days=table.price_change,
        priced_by=tariff,
    )
    return mode, []


def _price_faults(table: ModeTable, kind: ModeKind, tariffs: Mapping[str, TariffPrice]) -> Iterator[Fault]:
    if kind.by_use:
        if table.tariff is None:
            yield "tariff", f"missing: a mode of kind {kind.name} charges by a tariff"
        elif table.tariff not in tariffs:
            yield "tariff", f"no such tariff; there are: {', '.join(sorted(tariffs)) or 'none'}"
        if table.amount is not None:
            yield "amount", f"a mode of kind {kind.name} is priced by its tariff; leave the key out"
        return
    if table.tariff is not None:
        yield "tariff", f"a mode of kind {kind.name} has no tariff; leave the key out"
    if table.spending_limit_min is not None:
        yield "spending_limit_min", f"a mode of kind {kind.name} is not limited by spending; leave the key out"
    if not kind.paid:
        if table.amount is not None:
            yield "amount", f"a mode of kind {kind.name} costs nothing; leave the key out"
    elif table.amount is None:
        yield "amount", f"missing: a mode of kind {kind.name} has a price"
    elif table.amount == 0:
        yield "amount", "a price of nothing is a mode of kind free"
    elif table.currency is not None and table.amount % minor_unit(table.currency):
        step = format_micros(minor_unit(table.currency), table.currency)
        yield "amount", f"cannot be paid: the smallest step of {table.currency} is {step}"


def _term_faults(table: ModeTable, kind: ModeKind) -> Iterator[Fault]:
    """What is wrong with payment, periods and trial."""
    payment = PAYMENTS.get(table.payment)
    if payment is None:
        yield "payment", f"no such way of paying; there are: {', '.join(PAYMENTS)}"
    elif not kind.paid and table.payment != "postpaid":
        yield "payment", f"a mode of kind {kind.name} costs nothing; leave the key out"
    elif payment.pays is None and not kind.by_use:
        yield "payment", f"only use is rated and not charged; a mode of kind {kind.name} that costs nothing is free"
    if kind.periodic:
        if table.period is None:
            yield "period", f"missing: what the amount is for; one of {', '.join(UNITS)}"
    else:
        for key in ("period", "charged", "pro_rata", "minimum_periods"):
            if getattr(table, key):
                yield key, f"a mode of kind {kind.name} has no periods; leave the key out"
        if table.notice:
            yield "notice", f"a mode of kind {kind.name} can be cancelled at any time; leave the key out"
        if kind.once and table.price_change:
            yield "price_change", "what is paid once has no later price; leave the key out"
    if not kind.paid:
        for key in ("trial", "price_change"):
            if getattr(table, key):
                yield key, f"a mode of kind {kind.name} costs nothing; leave the key out"
    if table.trial_warning and not table.trial:
        yield "trial_warning", "there is no trial that could end"
    elif table.trial_warning > table.trial:
        yield "trial_warning", f"it would come before the trial, which has {table.trial} days"


def _tax_faults(
    category: str | None, tariff: TariffPrice | None, kind: ModeKind, tax_rates: Mapping[str, int]
) -> Iterator[Fault]:
    if category is None:
        if not (kind.by_use and tariff is None):
            yield "tax_category", "missing: the tax category of the price"
        return
    if category not in tax_rates:
        known = ", ".join(sorted(tax_rates)) or "none"
        yield "tax_category", f"the operator has no tax rate for category {category!r}; there are: {known}"
    if tariff is not None and category != tariff.tax_category:
        yield "tax_category", f"the tariff has tax category {tariff.tax_category!r}; leave the key out"
