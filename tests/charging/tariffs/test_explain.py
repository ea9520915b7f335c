"""How a cost came about, and what another tariff would make of past use."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tariff_maker import make

from charging.rating import RatingState
from charging.tariffs import TariffVersion, rate_usage
from charging.tariffs.explain import Use, costs, explain
from charging.tariffs.simulate import Charged, History, simulate

AT = datetime(2026, 10, 5, 9, tzinfo=UTC)
GRADUATED: dict[str, Any] = {
    "included": 5,
    "rounding": {"mode": "half_up", "place": "line", "to": "minor"},
    "price": {
        "model": "graduated",
        "unit_size": 3,
        "tiers": [{"from": 0, "to": 10, "amount": "0.01"}, {"from": 10, "amount": "0.004", "fee": "0.5"}],
    },
}
CALLS: dict[str, Any] = {
    "unit": "second",
    "rounding": {"mode": "up", "place": "record", "to": 100},
    "included": 40,
    "spending_cap": "0.02",
    "price": {
        "model": "per_unit", "amount": "0.006", "unit_size": 60, "increments": {"first": 30, "next": 6},
        "connect_fee": "0.001",
    },
}  # fmt: skip


def uses(version: TariffVersion, *quantities: int, session: bool = False) -> list[Use]:
    return [Use(f"use-{n}", version, quantity, AT, session=session) for n, quantity in enumerate(quantities)]


@given(
    keys=st.sampled_from([GRADUATED, CALLS, {}]),
    quantities=st.lists(st.integers(0, 60), min_size=1, max_size=8),
    session=st.booleans(),
)
def test_the_steps_of_an_explanation_sum_to_the_cost(keys: Any, quantities: list[int], session: bool) -> None:
    past = uses(make(**keys), *quantities, session=session)
    explained = explain(past)
    assert sum(step.cost for step in explained.steps) == explained.cost_micros == costs(past)[-1]
    assert explained.earlier == len(quantities) - 1


@given(quantities=st.lists(st.integers(0, 60), min_size=1, max_size=8))
def test_uses_of_one_session_cost_what_carried_state_makes_them_cost(quantities: list[int]) -> None:
    version, state, expected = make(**CALLS), RatingState(), []
    for quantity in quantities:
        rated = rate_usage(version, quantity, state)
        state = rated.state
        expected.append(rated.cost_micros)
    assert costs(uses(version, *quantities)) == expected


def test_each_call_has_its_own_increments_and_fee_but_shares_the_included_units() -> None:
    # 32 s are billed as 36, all of them included; then 4 of 36 are, and 32 cost a tenth of a mill each, and the fee.
    assert costs(uses(make(**CALLS), 32, 32, session=True)) == [0, 4200]


def test_a_new_version_keeps_what_was_used_in_the_period() -> None:
    old, new = make(included=10), make(included=10, effective_from="2026-10-05")
    [first, second] = uses(old, 8)[:1] + uses(new, 8)[:1]
    assert costs([first, second]) == [0, 6 * 50_000]


def test_nothing_is_not_explained() -> None:
    with pytest.raises(ValueError, match="no use"):
        explain([])


def history(version: TariffVersion, account: str, *charged: tuple[int, int]) -> History:
    past = [Charged(Use("u", version, quantity, AT + timedelta(hours=n)), net) for n, (quantity, net) in
            enumerate(charged)]  # fmt: skip
    return History(account, f"agreement-{account}", past)


def test_accounts_pay_by_the_new_tariff_what_it_makes_of_their_use() -> None:
    old, new = make(), make(price={"model": "per_unit", "amount": "0.03"}, included=1)
    result = simulate([history(old, "b", (10, 500_000)), history(old, "a", (1, 50_000), (2, 100_000))], new)
    assert [(bill.account, bill.quantity, bill.now, bill.then) for bill in result.bills] == [
        ("a", 3, 150_000, 60_000),
        ("b", 10, 500_000, 270_000),
    ]
    assert (result.total.now, result.total.then, result.total.difference) == (650_000, 330_000, -320_000)


def test_the_same_tariff_costs_the_same() -> None:
    version = make(**GRADUATED)
    past = uses(version, 3, 9, 14, 2)
    charged = [Charged(use, net) for use, net in zip(past, costs(past), strict=True)]
    result = simulate([History("a", "x", charged)], version)
    assert result.total.now == result.total.then != 0


def test_what_the_new_tariff_cannot_rate_is_named_and_left_out() -> None:
    price = {"model": "per_unit", "amount": "0.03"}
    new = make(price=None, destination=[{"name": "Germany", "prefixes": ["49"], "price": price}])
    result = simulate([history(make(), "a", (1, 50_000))], new)
    assert result.bills == []
    [(account, agreement, reason)] = result.unrated
    assert (account, agreement) == ("a", "agreement-a")
    assert "destination" in reason


def test_months_before_count_only_where_the_new_tariff_counts_over_the_agreement() -> None:
    old = make()
    past = [Charged(use, 50_000 * use.quantity, counts=index == 1) for index, use in enumerate(uses(old, 8, 8))]
    monthly, for_life = make(included=10), make(included=10, included_per="agreement")
    assert simulate([History("a", "x", past)], monthly).total.then == 0
    assert simulate([History("a", "x", past)], for_life).total.then == 6 * 50_000
