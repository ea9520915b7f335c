"""Charging modes: what a kind of mode and a way of paying mean for money (claim 4).

A mode is a kind (what is charged, and when) with a payment (from which money). Both tables are open: a further kind is
one more entry here and, where it charges by use, a tariff.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from charging.invoices.totals import round_to_unit, without_tax
from charging.ledger.operations import Pays
from signalling.messages import ModeTerms

_BASIS_POINTS = 10_000


class ModeError(ValueError):
    """A charging mode that cannot be used; the text says which and why."""


@dataclass(frozen=True)
class ModeKind:
    """A kind of charging mode. ``paid``: its content is sealed. ``by_use``: application counters charge it.

    ``periodic``: each period is charged for as long as the agreement runs.
    """

    name: str
    paid: bool
    by_use: bool
    periodic: bool = False

    @property
    def once(self) -> bool:
        """Whether it is charged once."""
        return self.paid and not self.by_use and not self.periodic

    def due_on_delivery(self, terms: ModeTerms) -> int:
        """Micros net that one delivery costs; nothing where a trial comes first."""
        return terms.amount if self.once and not terms.trial_days else 0

    def runs(self, terms: ModeTerms) -> bool:
        """Whether an agreement in this mode has dates of its own: periods, or a trial that ends."""
        return self.periodic or bool(terms.trial_days)


MODE_KINDS: dict[str, ModeKind] = {
    kind.name: kind
    for kind in (
        ModeKind("free", paid=False, by_use=False),
        ModeKind("one_off", paid=True, by_use=False),
        ModeKind("per_use", paid=True, by_use=True),
        ModeKind("subscription", paid=True, by_use=False, periodic=True),
    )
}


def mode_kind(name: str) -> ModeKind:
    """The kind of this name. Raises :class:`ModeError`."""
    try:
        return MODE_KINDS[name]
    except KeyError:
        raise ModeError(f"charging mode kind {name!r} is not one of {', '.join(MODE_KINDS)}") from None


def first_due(terms: ModeTerms) -> int:
    """Micros net that a mode costs as soon as it begins, at most: nothing in a trial, and by use nothing yet."""
    kind = mode_kind(terms.kind)
    if terms.trial_days or not kind.paid or kind.by_use:
        return 0
    return terms.amount if kind.once or terms.charged == "advance" else 0


Settled = Literal["unbilled", "prepaid", "none"]
"""Where a charge goes: onto the next invoice, out of money paid ahead, or nowhere, because it is only rated."""


@dataclass(frozen=True)
class Payment:
    """A way of paying. ``pays``: how the ledger takes it, ``None`` where nothing is ever charged.

    ``settled``: where a charge goes. ``secured``: what is granted or agreed is reserved first and never exceeds what is
    there. Otherwise, where money is paid ahead, there must be some when use is granted, and what was used may take the
    balance below zero.
    """

    name: str
    pays: Pays | None
    settled: Settled
    secured: bool

    @property
    def ahead(self) -> bool:
        """Whether it is paid from money paid ahead, and its tax with it."""
        return self.settled == "prepaid"


PAYMENTS: dict[str, Payment] = {
    payment.name: payment
    for payment in (
        Payment("postpaid", "unbilled", "unbilled", secured=True),
        Payment("prepaid", "prepaid", "prepaid", secured=True),
        Payment("pseudo_prepaid", "pseudo_prepaid", "prepaid", secured=False),
        Payment("rated_only", None, "none", secured=False),
    )
}


def payment_of(name: str) -> Payment:
    """The way of paying of this name. Raises :class:`ModeError`."""
    try:
        return PAYMENTS[name]
    except KeyError:
        raise ModeError(f"payment {name!r} is not one of {', '.join(PAYMENTS)}") from None


@dataclass(frozen=True, slots=True)
class Owed:
    """What a price comes to: micros net and of tax."""

    net: int
    tax: int

    @property
    def total(self) -> int:
        """What the customer pays."""
        return self.net + self.tax


def owed(price: int, tax_rate: int, tax_included: int = 0, unit: int = 1) -> Owed:
    """What a price of so many micros comes to for a customer who bears ``tax_rate`` basis points.

    ``tax_included``: the basis points that the price contains, 0 where tax comes on top; a customer who bears none pays
    it without them. ``unit``: what amounts are rounded to, as on an invoice with this line alone; a price that is no
    whole number of units keeps its micros.
    """
    unit = unit if price % unit == 0 else 1
    if not tax_included:
        return Owed(price, round_to_unit(price * tax_rate, _BASIS_POINTS, unit))
    net = without_tax(price, tax_included, unit)
    if not tax_rate:
        return Owed(net, 0)
    # Of the nets beside the nearest one may lead to the price exactly.
    step = -unit if price < 0 else unit
    tried = (net, net + step, net - step)
    exact = [each for each in tried if each + round_to_unit(each * tax_rate, _BASIS_POINTS, unit) == price]
    net = exact[0] if exact else net
    return Owed(net, price - net)


def affordable(money: int, tax_rate: int, tax_included: int = 0, unit: int = 1) -> int:
    """The highest price, in whole ``unit`` micros, that can be paid with ``money`` when tax is paid with it."""
    if tax_included:
        price = money if tax_rate else money * (_BASIS_POINTS + tax_included) // _BASIS_POINTS
    else:
        price = money * _BASIS_POINTS // (_BASIS_POINTS + tax_rate)
    price = price if unit == 1 else (price // unit + 2) * unit
    while owed(price, tax_rate, tax_included, unit).total > money:
        price -= unit
    return price
