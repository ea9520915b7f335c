"""Any sequence of operations, in any groups, against a plain model of what a customer may do."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from ledger_samples import Ledger, capture, charge, post, release, reserve, reverse, top_up

from charging.ledger.operations import Applied, Declined, Duplicate, Operation
from charging.ledger.tables import CASH, OPERATOR, PREPAID, RECEIVABLE, REVENUE, UNBILLED

LIMIT = 1000
OWNERS = ("ada", "bob")
amounts = st.integers(0, 700)
owners = st.sampled_from(OWNERS)
pays = st.sampled_from(("unbilled", "prepaid"))
picks = st.integers(0, 10**6)


class LedgerMachine(RuleBasedStateMachine):
    """``group`` collects operations until it holds ``size``; then they are applied together."""

    @initialize(size=st.integers(1, 6))
    def start(self, size: int) -> None:
        self.size = size
        self.ledger = Ledger()
        for owner in OWNERS:
            self.ledger.open(owner, LIMIT)
        self.group: list[Operation] = []
        self.done: list[Operation] = []
        self.reservations: list[str] = []
        self.charges: dict[str, int] = {}
        self.taken_back: dict[str, int] = {}
        self.paid_in = 0
        self.count = 0

    def _add(self, make: Any, *arguments: Any, **more: Any) -> None:
        self.count += 1
        self.group.append(make(f"op-{self.count}", *arguments, **more))
        if len(self.group) >= self.size:
            self._apply()

    @rule(owner=owners, amount=amounts, how=pays)
    def charge(self, owner: str, amount: int, how: str) -> None:
        self._add(charge, amount, owner, pays=how)

    @rule(owner=owners, amount=amounts, how=pays, hours=st.integers(1, 3))
    def reserve(self, owner: str, amount: int, how: str, hours: int) -> None:
        self._add(reserve, amount, owner, hours=hours, pays=how)

    @precondition(lambda self: self.reservations)
    @rule(pick=picks, amount=amounts, rest=st.booleans())
    def capture(self, pick: int, amount: int, rest: bool) -> None:
        self._add(capture, self.reservations[pick % len(self.reservations)], amount, release_rest=rest)

    @precondition(lambda self: self.reservations)
    @rule(pick=picks)
    def release(self, pick: int) -> None:
        self._add(release, self.reservations[pick % len(self.reservations)])

    @precondition(lambda self: self.charges)
    @rule(pick=picks, amount=st.none() | amounts)
    def reverse(self, pick: int, amount: int | None) -> None:
        self._add(reverse, list(self.charges)[pick % len(self.charges)], amount)

    @rule(owner=owners, amount=amounts)
    def top_up(self, owner: str, amount: int) -> None:
        self._add(top_up, amount, owner)

    @rule(owner=owners, amount=amounts)
    def pay_out(self, owner: str, amount: int) -> None:
        self._add(post, "pay-out", (owner, PREPAID, amount), (OPERATOR, CASH, -amount))

    @rule(owner=owners, amount=amounts)
    def invoice(self, owner: str, amount: int) -> None:
        self._add(post, "invoice", (owner, UNBILLED, -amount), (owner, RECEIVABLE, amount))

    @rule(pick=picks)
    def send_again(self, pick: int) -> None:
        sent = self.done + self.group
        if sent:
            self.group.append(sent[pick % len(sent)])

    def _apply(self) -> None:
        group, self.group = self.group, []
        for operation, outcome in zip(group, self.ledger.do(*group), strict=True):
            assert isinstance(outcome, Applied | Duplicate | Declined)
            if isinstance(outcome, Applied):
                assert operation not in self.done, "it was done before"
                self.done.append(operation)
                self._remember(operation, outcome.transfer_id)
            elif isinstance(outcome, Duplicate):
                assert operation in self.done, "it was never done"

    def _remember(self, operation: Any, transfer: str) -> None:
        kind = type(operation).__name__
        if kind == "Reserve":
            self.reservations.append(transfer)
        elif kind in ("Charge", "Capture"):
            self.charges[transfer] = operation.amount
        elif kind == "Reverse":
            left = self.charges[operation.transfer_id] - self.taken_back.get(operation.transfer_id, 0)
            amount = left if operation.amount is None else operation.amount
            self.taken_back[operation.transfer_id] = self.taken_back.get(operation.transfer_id, 0) + amount
        elif kind == "Post" and operation.kind in ("top-up", "pay-out"):
            self.paid_in += operation.legs[0].amount if operation.kind == "top-up" else operation.legs[1].amount

    @rule()
    def replay(self) -> None:
        before = self.ledger.rows()
        assert all(isinstance(outcome, Duplicate) for outcome in self.ledger.do(*self.done))
        assert self.ledger.rows() == before

    @rule(minutes=st.integers(1, 90))
    def wait(self, minutes: int) -> None:
        self.ledger.now += timedelta(minutes=minutes)
        self.ledger.expire()

    @invariant()
    def nobody_owes_more_than_allowed(self) -> None:
        for owner in OWNERS:
            available = self.ledger.available(owner)
            assert available is not None
            assert available >= 0
            assert self.ledger.balance(owner, PREPAID) <= 0

    @invariant()
    def money_is_kept(self) -> None:
        owners = [sum(self.ledger.balance(owner, kind) for kind in (UNBILLED, RECEIVABLE, PREPAID)) for owner in OWNERS]
        spent = sum(self.charges.values()) - sum(self.taken_back.values())
        assert sum(owners) == spent - self.paid_in
        available = sum(self.ledger.available(owner) or 0 for owner in OWNERS)
        reserved = sum(self.ledger.reserved(owner) for owner in OWNERS)
        assert reserved + available + spent == len(OWNERS) * LIMIT + self.paid_in
        if self.charges:
            assert self.ledger.balance(OPERATOR, REVENUE) == -spent

    @invariant()
    def no_charge_is_taken_back_twice(self) -> None:
        assert all(taken <= self.charges[transfer] for transfer, taken in self.taken_back.items())

    def teardown(self) -> None:
        if hasattr(self, "ledger"):
            assert self.ledger.findings() == []
            self.ledger.connection.close()


TestLedgerMachine = LedgerMachine.TestCase
TestLedgerMachine.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)
