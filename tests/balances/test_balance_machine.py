"""Any sequence of operations on balances keeps money and units, and the same again changes nothing."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any

from balance_samples import HOUR, Purse, use
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from charging.balances.tables import BalanceMovement, BalanceShare, PrepaidCredit, UnitBucket
from charging.ledger.tables import Posting, Transfer
from operator_server.balances.buckets import add_bucket, share
from operator_server.balances.money import adjust, pay_out, top_up
from operator_server.balances.once import BalanceError
from operator_server.balances.refunds import refund
from operator_server.store.accounting import Charge

amounts = st.integers(1, 60_000)
units = st.integers(1, 400)
picks = st.integers(0, 10**6)
subscribers = st.sampled_from(("acc-1", "kid", "acc-2"))
ACCOUNTS = ("acc-1", "acc-2")
TABLES = (BalanceMovement, BalanceShare, UnitBucket, PrepaidCredit, Transfer, Posting, Charge)
REFUSED = {"limit", "exceeds_share", "reservation_closed", "exceeds_reservation", "exceeds_charge", "bad_amount"}


class BalanceMachine(RuleBasedStateMachine):
    """Everything is paid from prepaid money; ``done`` is what took effect, with its answer, to be sent again."""

    @initialize()
    def start(self) -> None:
        self.purse = Purse()
        self.count = 0
        self.done: list[tuple[Any, Any]] = []
        self.reservations: list[str] = []
        self.charged: dict[str, int] = {}
        self.refunded: dict[str, int] = {}
        self.expired = 0

    def _id(self) -> str:
        self.count += 1
        return f"op-{self.count}"

    def _do(self, call: Any) -> Any:
        try:
            answer = call()
        except BalanceError as error:
            if error.code in REFUSED:
                return None
            raise
        self.done.append((call, answer))
        if isinstance(answer, dict) and answer.get("charged") and answer.get("charge"):
            self.charged[answer["charge"]] = answer["charged"]
        return answer

    @rule(amount=amounts, account=st.sampled_from(ACCOUNTS), days=st.none() | st.integers(1, 3))
    def top_up(self, amount: int, account: str, days: int | None) -> None:
        until = None if days is None else self.purse.now + timedelta(days=days)
        self._do(self._at(top_up, account, amount, id=self._id(), valid_until=until))

    @rule(amount=st.integers(-60_000, 60_000))
    def adjust(self, amount: int) -> None:
        self._do(self._at(adjust, "acc-1", amount, id=self._id(), reason="test"))

    @rule(amount=amounts)
    def pay_out(self, amount: int) -> None:
        self._do(self._at(pay_out, "acc-1", amount, id=self._id()))

    @rule(quantity=units, days=st.none() | st.integers(1, 3), priority=st.integers(1, 3))
    def bucket(self, quantity: int, days: int | None, priority: int) -> None:
        until = None if days is None else self.purse.now + timedelta(days=days)
        id = self._id()
        self._do(self._at(add_bucket, "acc-1", "second", quantity, id=id, valid_until=until, priority=priority))
        if priority == 1:
            self._do(self._at(share, "acc-1", "acc-2", id=f"s-{id}", bucket=id, most=quantity // 2 + 1))

    @rule(most=amounts)
    def share_money(self, most: int) -> None:
        self._do(self._at(share, "acc-1", "acc-2", id=self._id(), most=most))

    @rule(subscriber=subscribers, quantity=units)
    def consume(self, subscriber: str, quantity: int) -> None:
        used = use(quantity, subscriber=subscriber, at=self.purse.now)
        self._do(self._at(self.purse.desk.consume, self._id(), used))

    @rule(subscriber=subscribers, quantity=units, hours=st.integers(1, 30))
    def reserve(self, subscriber: str, quantity: int, hours: int) -> None:
        used, id = use(quantity, subscriber=subscriber, at=self.purse.now), self._id()
        if self._do(self._at(self.purse.desk.reserve_usage, id, used, hours * HOUR)) is not None:
            self.reservations.append(id)

    @precondition(lambda self: self.reservations)
    @rule(pick=picks, quantity=st.none() | units)
    def commit(self, pick: int, quantity: int | None) -> None:
        reservation = self.reservations[pick % len(self.reservations)]
        self._do(self._at(self.purse.desk.commit_usage, self._id(), reservation, quantity))

    @precondition(lambda self: self.reservations)
    @rule(pick=picks)
    def release(self, pick: int) -> None:
        self._do(self._at(self.purse.desk.release_usage, self._id(), self.reservations[pick % len(self.reservations)]))

    @precondition(lambda self: self.charged)
    @rule(pick=picks, amount=st.none() | amounts)
    def refund(self, pick: int, amount: int | None) -> None:
        charge = list(self.charged)[pick % len(self.charged)]
        answer = self._do(self._at(refund, charge, id=self._id(), amount=amount, reason="test"))
        if answer is not None:
            self.refunded[charge] = self.refunded.get(charge, 0) + answer["amount"]

    @rule(hours=st.integers(1, 30))
    def wait(self, hours: int) -> None:
        self.purse.now += hours * HOUR
        before = sum(self.purse.prepaid(account) for account in ACCOUNTS)
        self.purse.expire()
        self.expired += before - sum(self.purse.prepaid(account) for account in ACCOUNTS)
        assert not any(self.purse.expire().values()), "what is over has ended once"

    @rule(length=st.integers(1, 30))
    def replay(self, length: int) -> None:
        before = [self.purse.rows(model) for model in TABLES]
        for call, answer in self.done[:length]:
            assert call() == answer
        assert [self.purse.rows(model) for model in TABLES] == before

    def _at(self, function: Any, *arguments: Any, **named: Any) -> Any:
        return partial(self.purse.do, function, *arguments, **named)

    @invariant()
    def money_is_kept(self) -> None:
        for account in ACCOUNTS:
            assert self.purse.prepaid(account) >= 0
            assert self.purse.available(account) >= 0
        spent = sum(self.charged.values()) - sum(self.refunded.values())
        credits = paid_out = 0
        for _, answer in self.done:
            if "prepaid" in answer:
                credits += max(0, answer["amount"])
                paid_out += max(0, -answer["amount"])
        available = sum(self.purse.available(account) for account in ACCOUNTS)
        reserved = sum(self.purse.prepaid(account) for account in ACCOUNTS) - available
        assert reserved >= 0
        assert reserved + available + spent == credits - paid_out - self.expired

    @invariant()
    def no_refund_exceeds_its_charge(self) -> None:
        assert all(amount <= self.charged[charge] for charge, amount in self.refunded.items())

    def teardown(self) -> None:
        if hasattr(self, "purse"):
            assert self.purse.findings() == []
            self.purse.engine.dispose()


TestBalanceMachine = BalanceMachine.TestCase
TestBalanceMachine.settings = settings(
    max_examples=15, stateful_step_count=25, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate)
)
