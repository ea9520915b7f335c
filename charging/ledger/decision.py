"""Deciding operations against what was read for them: pure, one after another, each seeing those before it.

What a customer can spend is ``credit_limit - (unbilled + receivable + prepaid) - reserved``, where money paid ahead
stands negative in ``prepaid``; what pays from ``prepaid`` must also be there. A declined operation changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, ClassVar

from charging.ledger.operations import (
    Applied,
    Capture,
    Charge,
    Conflict,
    Declined,
    Duplicate,
    Operation,
    Outcome,
    Post,
    Release,
    Reserve,
    Reverse,
    request_digest,
)
from charging.ledger.seal import Leg, leaf
from charging.ledger.tables import OPERATOR, PREPAID, PSEUDO_PREPAID, RECEIVABLE, UNBILLED
from signalling.clock import to_micros
from signalling.money import MAX_MICROS, format_micros

AccountKey = tuple[str, str, str]
"""Owner, kind, currency."""


class AccountState:
    """A ledger account as read, with what this group adds to it."""

    __slots__ = ("added", "balance", "credit_limit", "id", "key", "reserved", "reserved_more")

    def __init__(self, id: int, key: AccountKey, balance: int, reserved: int, credit_limit: int | None) -> None:
        self.id = id
        self.key = key
        self.balance = balance
        self.reserved = reserved
        self.credit_limit = credit_limit
        self.added = 0
        self.reserved_more = 0

    def reserve(self, amount: int) -> None:
        """Set aside (positive) or give back (negative)."""
        self.reserved += amount
        self.reserved_more += amount


@dataclass(slots=True)
class ReservationState:
    """A reservation as read, with what this group does to it."""

    id: str
    account: AccountState
    remaining: int
    agreement_id: str | None
    expires_at: int
    state: str
    changed: bool = False


@dataclass(slots=True)
class ChargedState:
    """A charge or capture that may be reversed: whom it debited and credited, and how much is left of it."""

    id: str
    kind: str
    agreement_id: str | None
    payer: AccountState | None
    earner: AccountState | None
    amount: int
    left: int


def available(unbilled: AccountState, receivable: AccountState, prepaid: AccountState) -> int | None:
    """What a customer can spend in one currency; ``None`` is no limit."""
    if unbilled.credit_limit is None:
        return None
    owed = unbilled.balance + receivable.balance + prepaid.balance
    return unbilled.credit_limit - owed - unbilled.reserved - receivable.reserved - prepaid.reserved


def spendable(unbilled: AccountState, receivable: AccountState, prepaid: AccountState) -> int:
    """What thresholds watch: what is available; without a limit, what would be with a limit of zero."""
    owed = unbilled.balance + receivable.balance + prepaid.balance
    return (unbilled.credit_limit or 0) - owed - unbilled.reserved - receivable.reserved - prepaid.reserved


class Decision:
    """Decides a group of operations; afterwards its lists and changed states are what is to be written.

    Whoever makes it fills ``accounts``, ``reservations``, ``charged`` and ``known`` with all that the operations touch,
    ``barred`` with the reason by owner, and ``watched`` with the bounds of what is available by owner and currency.
    """

    def __init__(self, now_micros: int, ids: Iterator[str]) -> None:
        self.now = now_micros
        self._ids = ids
        self.accounts: dict[AccountKey, AccountState] = {}
        self.reservations: dict[str, ReservationState] = {}
        self.charged: dict[str, ChargedState] = {}
        self.known: dict[tuple[str, str], tuple[str, bytes]] = {}
        self.barred: dict[str, str] = {}
        self.watched: dict[tuple[str, str], tuple[int, int]] = {}
        self.transfers: list[tuple[Any, ...]] = []
        self.postings: list[tuple[str, int, int, str, int]] = []
        self.reserved: list[tuple[Any, ...]] = []
        self.leaves: list[bytes] = []

    def decide(self, operation: Operation) -> Outcome:
        """The outcome of the next operation."""
        digest = request_digest(operation)
        before = self.known.get((operation.source, operation.op_id))
        if before is not None:
            return Duplicate(before[0]) if before[1] == digest else Conflict(before[0])
        outcome = self._DECIDE[type(operation)](self, operation, digest)
        if type(outcome) is Applied:
            self.known[operation.source, operation.op_id] = (outcome.transfer_id, digest)
        return outcome

    def balance_changes(self) -> list[tuple[int, int, int]]:
        """Added, reserved more, account id: for each account that changed, by ascending id.

        Raises ``OverflowError`` when a balance leaves the 64 bits of an amount.
        """
        changes = []
        for account in self.accounts.values():
            if account.added or account.reserved_more:
                if max(abs(account.balance), account.reserved) > MAX_MICROS:
                    raise OverflowError(f"account {account.key}: its balance leaves the range of an amount")
                changes.append((account.added, account.reserved_more, account.id))
        changes.sort(key=itemgetter(2))
        return changes

    def crossings(self) -> list[tuple[str, str, int]]:
        """Owner, currency and what is left, of those whose money has crossed a threshold."""
        found = []
        for (owner, currency), (low, high) in self.watched.items():
            left = spendable(*self._customer(owner, currency))
            if not low <= left < high:
                found.append((owner, currency, left))
        return found

    def _reserve(self, operation: Reserve, digest: bytes) -> Outcome:
        payer = self._payer(operation.owner, operation.pays, operation.currency, operation.amount, checked=True)
        if isinstance(payer, Declined):
            return payer
        transfer_id = self._record(operation, digest, "reserve", self.now, agreement_id=operation.agreement_id)
        payer.reserve(operation.amount)
        self.reserved.append(
            (
                transfer_id,
                payer.id,
                operation.owner,
                operation.currency,
                operation.amount,
                operation.amount,
                operation.agreement_id,
                to_micros(operation.expires_at),
                "open",
            )
        )
        return Applied(transfer_id)

    def _capture(self, operation: Capture, digest: bytes) -> Outcome:
        held = self._open(operation.reservation_id)
        if isinstance(held, Declined):
            return held
        currency = held.account.key[2]
        if operation.amount > held.remaining:
            return Declined(
                "exceeds_reservation",
                f"reservation {held.id}: {format_micros(operation.amount, currency)} {currency} asked, "
                f"{format_micros(held.remaining, currency)} left",
            )
        transfer_id = self._record(
            operation,
            digest,
            "capture",
            to_micros(operation.effective_at),
            pending_id=held.id,
            agreement_id=held.agreement_id,
            tariff_version_id=operation.tariff_version_id,
            legs=((held.account, operation.amount), (self._operator(operation.revenue, currency), -operation.amount)),
        )
        held.remaining -= operation.amount
        held.account.reserve(-operation.amount)
        held.changed = True
        if held.remaining == 0:
            held.state = "captured"
        elif operation.release_rest:
            self._give_back(held)
        return Applied(transfer_id)

    def _release(self, operation: Release, digest: bytes) -> Outcome:
        held = self._open(operation.reservation_id)
        if isinstance(held, Declined):
            return held
        transfer_id = self._record(
            operation, digest, "release", self.now, pending_id=held.id, agreement_id=held.agreement_id
        )
        self._give_back(held)
        return Applied(transfer_id)

    def _charge(self, operation: Charge, digest: bytes) -> Outcome:
        amount, currency = operation.amount, operation.currency
        payer = self._payer(operation.owner, operation.pays, currency, amount, operation.checked)
        if isinstance(payer, Declined):
            return payer
        return Applied(
            self._record(
                operation,
                digest,
                "charge" if operation.checked or operation.pays != PSEUDO_PREPAID else "overdraw",
                to_micros(operation.effective_at),
                agreement_id=operation.agreement_id,
                tariff_version_id=operation.tariff_version_id,
                legs=((payer, amount), (self._operator(operation.revenue, currency), -amount)),
            )
        )

    def _reverse(self, operation: Reverse, digest: bytes) -> Outcome:
        charged = self.charged.get(operation.transfer_id)
        if charged is None:
            return Declined("unknown_transfer", f"transfer {operation.transfer_id}: there is none")
        if charged.payer is None or charged.earner is None:
            return Declined("not_reversible", f"transfer {charged.id}: it is a {charged.kind}, no charge or capture")
        amount = charged.left if operation.amount is None else operation.amount
        currency = charged.payer.key[2]
        used_up = charged.amount > 0 and charged.left == 0
        if amount > charged.left or (used_up and operation.amount is None):
            return Declined(
                "exceeds_charge",
                f"transfer {charged.id}: {format_micros(amount, currency)} {currency} asked back, "
                f"{format_micros(charged.left, currency)} of the charge is left",
            )
        charged.left -= amount
        return Applied(
            self._record(
                operation,
                digest,
                "reverse",
                to_micros(operation.effective_at),
                reverses_id=charged.id,
                agreement_id=charged.agreement_id,
                legs=((charged.payer, -amount), (charged.earner, amount)),
            )
        )

    def _post(self, operation: Post, digest: bytes) -> Outcome:
        legs = []
        for asked in operation.legs:
            account = self.accounts.get((asked.owner, asked.kind, asked.currency))
            if account is None:
                return _no_account(asked.owner, asked.currency)
            legs.append((account, asked.amount))
        beyond = self._takes_too_much_prepaid(legs)
        if beyond is not None:
            return beyond
        return Applied(
            self._record(
                operation,
                digest,
                operation.kind,
                to_micros(operation.effective_at),
                agreement_id=operation.agreement_id,
                legs=legs,
            )
        )

    def _takes_too_much_prepaid(self, legs: list[tuple[AccountState, int]]) -> Declined | None:
        operators = {(OPERATOR, leg.key[2]) for leg, _ in legs}
        for owner, currency in {(leg.key[0], leg.key[2]) for leg, _ in legs if leg.key[1] == PREPAID} - operators:
            trio = self._customer(owner, currency)
            prepaid = trio[2]
            taken = sum(amount for leg, amount in legs if leg is prepaid)
            there = -prepaid.balance - prepaid.reserved
            if taken > 0 and there < taken:
                return _beyond(prepaid, taken, there)
            owed = sum(amount for leg, amount in legs if leg in trio)
            left = available(*trio)
            if taken > 0 and owed > 0 and left is not None and left < owed:
                return _beyond(prepaid, owed, left)
        return None

    _DECIDE: ClassVar[dict[type, Callable[[Any, Any, bytes], Outcome]]] = {
        Reserve: _reserve,
        Capture: _capture,
        Release: _release,
        Charge: _charge,
        Reverse: _reverse,
        Post: _post,
    }

    def _payer(self, owner: str, kind: str, currency: str, amount: int, checked: bool) -> AccountState | Declined:
        unbilled = self.accounts.get((owner, UNBILLED, currency))
        if owner == OPERATOR or unbilled is None:
            return _no_account(owner, currency)
        payer = unbilled if kind == UNBILLED else self.accounts[owner, PREPAID, currency]
        if checked:
            trio = self._customer(owner, currency)
            prepaid = trio[2]
            if owner in self.barred:
                return Declined("barred", f"account {owner} is barred: {self.barred[owner]}")
            if payer is prepaid and -prepaid.balance - prepaid.reserved < amount:
                return _beyond(payer, amount, -prepaid.balance - prepaid.reserved)
            left = available(*trio)
            if left is not None and left < amount:
                return _beyond(payer, amount, left)
        return payer

    def _customer(self, owner: str, currency: str) -> tuple[AccountState, AccountState, AccountState]:
        accounts = self.accounts
        return (
            accounts[owner, UNBILLED, currency],
            accounts[owner, RECEIVABLE, currency],
            accounts[owner, PREPAID, currency],
        )

    def _operator(self, kind: str, currency: str) -> AccountState:
        return self.accounts[OPERATOR, kind, currency]

    def _open(self, reservation_id: str) -> ReservationState | Declined:
        held = self.reservations.get(reservation_id)
        if held is None:
            return Declined("unknown_reservation", f"reservation {reservation_id}: there is none")
        if held.state != "open":
            code = "reservation_expired" if held.state == "expired" else "reservation_closed"
            return Declined(code, f"reservation {reservation_id}: it is {held.state}")
        if held.expires_at <= self.now:
            return Declined("reservation_expired", f"reservation {reservation_id}: its time is over")
        return held

    def _give_back(self, held: ReservationState) -> None:
        held.account.reserve(-held.remaining)
        held.state = "released"
        held.changed = True

    def _record(
        self,
        operation: Operation,
        digest: bytes,
        kind: str,
        effective_at: int,
        *,
        pending_id: str | None = None,
        reverses_id: str | None = None,
        agreement_id: str | None = None,
        tariff_version_id: str | None = None,
        legs: tuple[tuple[AccountState, int], ...] | list[tuple[AccountState, int]] = (),
    ) -> str:
        transfer_id = next(self._ids)
        transfer = (
            transfer_id,
            operation.source,
            operation.op_id,
            digest,
            kind,
            pending_id,
            reverses_id,
            agreement_id,
            tariff_version_id,
            effective_at,
            self.now,
        )
        self.transfers.append(transfer)
        sealed: list[Leg] = []
        for number, (account, amount) in enumerate(legs):
            account.balance += amount
            account.added += amount
            currency = account.key[2]
            self.postings.append((transfer_id, number, account.id, currency, amount))
            sealed.append((account.id, currency, amount))
        self.leaves.append(leaf(transfer, sealed))
        return transfer_id


def _no_account(owner: str, currency: str) -> Declined:
    return Declined("unknown_account", f"account {owner}: it has no {currency} account in the ledger")


def _beyond(account: AccountState, amount: int, left: int) -> Declined:
    owner, kind, currency = account.key
    return Declined(
        "limit",
        f"account {owner}: {format_micros(amount, currency)} {currency} asked from {kind}, "
        f"{format_micros(left, currency)} available",
    )
