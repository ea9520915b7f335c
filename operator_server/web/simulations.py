"""What a simulation came to, as it is kept and told: sums and counts of all accounts, the largest differences."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from charging.tariffs.simulate import Bill, Simulation

MOST_BILLS = 1_000
MOST_UNRATED = 1_000


class AccountBill(msgspec.Struct, frozen=True, array_like=True):
    """What an account pays: micros net as charged, and as the other version has it."""

    account: str
    uses: int
    quantity: int
    now: int
    then: int

    @property
    def difference(self) -> int:
        """Micros more, or less, than now."""
        return self.then - self.now


class Outcome(msgspec.Struct, frozen=True):
    """A month's use by another tariff version. ``more``, ``less`` and ``same``: how many accounts pay so.

    ``bills``: at most :data:`MOST_BILLS`, the largest differences first; ``unrated``: account, agreement and reason.
    """

    tariff: str
    version: str
    month: str
    currency: str
    unit: str
    total: AccountBill
    more: int
    less: int
    same: int
    bills: Sequence[AccountBill]
    unrated: Sequence[tuple[str, str, str]]
    unrated_count: int

    @property
    def accounts(self) -> int:
        """How many accounts there are."""
        return self.more + self.less + self.same

    def encoded(self) -> bytes:
        """As it is kept."""
        return msgspec.json.encode(self)


decode_outcome = msgspec.json.Decoder(Outcome).decode


def summarised(simulation: Simulation, month: str) -> Outcome:
    """The part of a simulation that is kept."""
    version, bills = simulation.version, simulation.bills
    more = sum(bill.difference > 0 for bill in bills)
    less = sum(bill.difference < 0 for bill in bills)
    largest = sorted(bills, key=lambda bill: (-abs(bill.difference), bill.account))[:MOST_BILLS]
    return Outcome(
        version.tariff_id, version.version_id, month, version.currency, version.unit, _bill(simulation.total), more,
        less, len(bills) - more - less, [_bill(bill) for bill in largest], simulation.unrated[:MOST_UNRATED],
        len(simulation.unrated),
    )  # fmt: skip


def _bill(bill: Bill) -> AccountBill:
    return AccountBill(bill.account, bill.uses, bill.quantity, bill.now, bill.then)
