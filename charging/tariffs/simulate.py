"""What past use would have cost by another tariff: rated again by account, nothing is charged."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from charging.rating import RatingError
from charging.tariffs.explain import Use, costs
from charging.tariffs.version import TariffVersion


@dataclass(frozen=True, slots=True)
class Charged:
    """A use and the micros net that were charged for it. ``counts``: it lies in the month that is looked at.

    Others of the agreement only lead to its state, where a tariff counts over the life of the agreement.
    """

    use: Use
    net: int
    counts: bool = True


@dataclass(frozen=True, slots=True)
class History:
    """What an agreement of ``account`` was charged for over one rating period, in order."""

    account: str
    agreement: str
    charged: Sequence[Charged]


@dataclass(slots=True)
class Bill:
    """What an account pays for the tariff's use: micros net as charged, and as the new tariff has it."""

    account: str
    uses: int = 0
    quantity: int = 0
    now: int = 0
    then: int = 0

    @property
    def difference(self) -> int:
        """Micros more, or less, than now."""
        return self.then - self.now


@dataclass(slots=True)
class Simulation:
    """The accounts' bills, their sum, and the agreements that the new tariff cannot rate, with the reason."""

    version: TariffVersion
    bills: list[Bill] = field(default_factory=list)
    unrated: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def total(self) -> Bill:
        """All bills together."""
        whole = Bill("")
        for bill in self.bills:
            whole.uses += bill.uses
            whole.quantity += bill.quantity
            whole.now += bill.now
            whole.then += bill.then
        return whole


def simulate(histories: Iterable[History], version: TariffVersion) -> Simulation:
    """Rate every use with ``version`` in place of its own; each agreement's sum is rounded as its line would be.

    An agreement that the new version cannot rate, say for a destination without a price, is named and left out of
    both sums.
    """
    result = Simulation(version)
    bills: dict[str, Bill] = {}
    for history in histories:
        charged = [each for each in history.charged if each.counts or version.included_per == "agreement"]
        try:
            then = costs([replace(each.use, version=version) for each in charged])
        except RatingError as error:
            result.unrated.append((history.account, history.agreement, str(error)))
            continue
        bill = bills.setdefault(history.account, Bill(history.account))
        counted = [(each, cost) for each, cost in zip(charged, then, strict=True) if each.counts]
        bill.uses += len(counted)
        bill.quantity += sum(each.use.quantity for each, _ in counted)
        bill.now += _lines((each.use.version, each.net) for each, _ in counted)
        bill.then += version.rounding.line(sum(cost for _, cost in counted))
    result.bills = sorted(bills.values(), key=lambda bill: bill.account)
    return result


def _lines(charged: Iterable[tuple[TariffVersion, int]]) -> int:
    """The sum of the lines, one for each version."""
    sums: dict[str, tuple[TariffVersion, int]] = {}
    for version, net in charged:
        _, before = sums.get(version.version_id, (version, 0))
        sums[version.version_id] = version, before + net
    return sum(version.rounding.line(total) for version, total in sums.values())
