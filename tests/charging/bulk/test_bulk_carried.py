"""Portions rated by columns leave the costs and the states that rating one by one leaves."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tariff_maker import make
from test_bulk_rating import FIRST, Record, records, tariffs

from charging.bulk import NotByColumns, Portion, PortionRater
from charging.rating import RatingError, RatingState
from charging.tariffs import TariffVersion, rate_usage
from charging.tariffs.explain import carry
from signalling.clock import to_micros

Outcome = tuple[list[tuple[int, int] | None], dict[str, RatingState]]


def one_by_one(version: TariffVersion, uses: list[Record], states: dict[str, RatingState]) -> Outcome:
    """Cost and included units of each use, and the states left."""
    done: list[tuple[int, int] | None] = []
    states = dict(states)
    for account, quantity, at, destination in uses:
        before = carry(states.get(account, RatingState()), version.version_id, version, session=True)
        try:
            rated = rate_usage(version, quantity, before, at=at, destination=destination or None)
        except RatingError:
            done.append(None)
            continue
        states[account] = rated.state
        done.append((rated.cost_micros, rated.state.used - before.used - rated.state.units))
    return done, states


def by_columns(
    rater: PortionRater, version: TariffVersion, uses: list[Record], states: dict[str, RatingState]
) -> Outcome:
    """The same by columns."""
    accounts = sorted({use[0] for use in uses})
    openings = [carry(states.get(name, RatingState()), version.version_id, version, session=True) for name in accounts]
    portion = Portion(
        openings, [accounts.index(use[0]) for use in uses], [use[1] for use in uses],
        [to_micros(use[2]) for use in uses], [use[3] or "" for use in uses],
    )  # fmt: skip
    left = rater.rate(version, portion)
    rated = {accounts[account] for account, use in zip(portion.accounts, left.uses, strict=True) if use is not None}
    after = {name: state for name, state in zip(accounts, left.states, strict=True) if name in rated}
    return left.uses, states | after


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(version=tariffs(), portions=st.lists(records, min_size=1, max_size=3))
def test_portions_leave_what_uses_one_by_one_leave(version: TariffVersion, portions: list[list[Record]]) -> None:
    rater, states = PortionRater(), dict[str, RatingState]()
    for uses in portions:
        expected = one_by_one(version, uses, states)
        assert by_columns(rater, version, uses, states) == expected
        states = expected[1]
    rater.close()


@pytest.mark.parametrize("before", [RatingState(), RatingState(used=10**13, due=5 * 10**18)])
def test_free_use_of_any_length_is_rated(before: RatingState) -> None:
    price: dict[str, Any] = {"model": "graduated", "tiers": [{"from": 0, "amount": "0"}]}
    version, rater = make(price=price, spending_cap="1.00"), PortionRater()
    uses: list[Record] = [("a", 5 * 10**9, FIRST, None), ("a", 0, FIRST, None)]
    states = {"a": before}
    assert by_columns(rater, version, uses, states) == one_by_one(version, uses, states)
    rater.close()


def test_a_long_session_in_free_bands_is_rated() -> None:
    days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
    version = make(
        unit="second", price={"model": "per_unit", "amounts": {"day": "0", "night": "0"}},
        band=[{"name": "night", "days": days, "hours": ["00:00-12:00"]},
              {"name": "day", "days": days, "hours": ["12:00-24:00"]}],
    )  # fmt: skip
    uses: list[Record] = [("a", 40_000, FIRST, None)]
    rater = PortionRater()
    assert by_columns(rater, version, uses, {}) == one_by_one(version, uses, {})
    rater.close()


def test_what_cannot_be_rated_by_columns_is_said_and_later_portions_still_are() -> None:
    version, rater = make(price={"model": "per_unit", "amount": "99999"}), PortionRater()
    with pytest.raises(NotByColumns):
        by_columns(rater, version, [("a", 10**15, FIRST, None)], {})
    with pytest.raises(NotByColumns):
        by_columns(rater, version, [("a", 1, FIRST, None)], {"a": RatingState(due=2**120)})
    uses: list[Record] = [("a", 1000, FIRST, None), ("b", 1, FIRST, None)]
    assert by_columns(rater, version, uses, {}) == one_by_one(version, uses, {})
    rater.close()
