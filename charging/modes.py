"""Charging modes: what a kind of mode means for money (claim 4).

The table is open: a further kind is one more entry here and, where it charges by use, a tariff.
"""

from __future__ import annotations

from dataclasses import dataclass

from signalling.messages import ModeTerms


class ModeError(ValueError):
    """A charging mode that cannot be used; the text says which and why."""


@dataclass(frozen=True)
class ModeKind:
    """A kind of charging mode. ``paid``: its content is sealed. ``by_use``: application counters charge it."""

    name: str
    paid: bool
    by_use: bool

    def due_on_delivery(self, terms: ModeTerms) -> int:
        """Micros net that one delivery costs."""
        return terms.amount if self.paid and not self.by_use else 0


MODE_KINDS: dict[str, ModeKind] = {
    kind.name: kind
    for kind in (
        ModeKind("free", paid=False, by_use=False),
        ModeKind("one_off", paid=True, by_use=False),
        ModeKind("per_use", paid=True, by_use=True),
    )
}


def mode_kind(name: str) -> ModeKind:
    """The kind of this name. Raises :class:`ModeError`."""
    try:
        return MODE_KINDS[name]
    except KeyError:
        raise ModeError(f"charging mode kind {name!r} is not one of {', '.join(MODE_KINDS)}") from None


def tax_micros(net: int, basis_points: int) -> int:
    """Tax on ``net`` micros, to the nearest micro, halves away from zero."""
    product = abs(net) * basis_points
    tax = (product * 2 + 10_000) // 20_000
    return tax if net >= 0 else -tax
