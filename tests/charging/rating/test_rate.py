"""From quantity to micros: increments, terms, discount, included units, rounding, caps."""

from __future__ import annotations

from decimal import ROUND_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, ROUND_UP, Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tariff_maker import make

from charging.rating.rounding import MODES, Mode, round_ratio
from charging.tariffs import (
    RatingError,
    RatingState,
    TariffVersion,
    charged_in_period,
    period_shortfall,
    rate_usage,
)

VOICE = {"model": "per_unit", "amount": "0.006", "unit_size": 60, "increments": {"first": 30, "next": 6}}
CENTS = {"mode": "half_up", "place": "record", "to": "minor"}


def costs(version: TariffVersion, sessions: list[int], state: RatingState | None = None) -> list[int]:
    """The cost of sessions that follow each other within a period."""
    state = state or RatingState()
    result = []
    for quantity in sessions:
        rated = rate_usage(version, quantity, state)
        result.append(rated.cost_micros)
        state = rated.state.next_session()
    return result


@pytest.mark.parametrize(("seconds", "micros"), [(0, 0), (32, 3_600), (57, 6_000), (75, 7_800)])
def test_a_call_in_30_6_at_0_006_a_minute(seconds: int, micros: int) -> None:
    version = make(unit="second", price=VOICE)
    assert rate_usage(version, seconds, RatingState()).cost_micros == micros


@pytest.mark.parametrize("mode", MODES)
@given(numerator=st.integers(-10_000, 10_000), denominator=st.sampled_from([1, 2, 4, 5, 10, 16, 125]))
def test_modes_round_as_decimal_does(mode: Mode, numerator: int, denominator: int) -> None:
    modes = {"half_up": ROUND_HALF_UP, "half_even": ROUND_HALF_EVEN, "up": ROUND_UP, "down": ROUND_DOWN}
    exact = Decimal(numerator) / Decimal(denominator)
    assert round_ratio(numerator, denominator, mode) == int(exact.quantize(Decimal(1), rounding=modes[mode]))


@pytest.mark.parametrize(
    ("currency", "amount", "micros"),
    [("EUR", "0.125", 130_000), ("JPY", "0.5", 1_000_000), ("JPY", "0.4", 0), ("KWD", "0.0125", 13_000)],
)
def test_minor_is_what_can_be_paid_in_the_currency(currency: str, amount: str, micros: int) -> None:
    version = make(currency=currency, rounding=CENTS, price={"model": "per_unit", "amount": amount})
    assert rate_usage(version, 1, RatingState()).cost_micros == micros


def test_rounding_by_record_rounds_each_session_for_itself() -> None:
    version = make(rounding=CENTS, price={"model": "per_unit", "amount": "0.005"})
    assert costs(version, [1, 1, 1]) == [10_000, 10_000, 10_000]


def test_rounding_by_line_keeps_fractions_until_the_invoice() -> None:
    rounding = {"mode": "half_up", "place": "line", "to": "minor"}
    version = make(rounding=rounding, price={"model": "per_unit", "amount": "0.000001", "unit_size": 3})
    assert costs(version, [1, 1, 1]) == [0, 1, 0]
    assert version.rounding.line(14_999) == 10_000
    assert version.rounding.line(15_000) == 20_000


def test_a_line_is_exact_across_destinations_with_other_unit_sizes() -> None:
    prices = [{"model": "per_unit", "amount": "0.000001", "unit_size": size} for size in (2, 3)]
    destinations = [{"name": str(n), "prefixes": [str(n)], "price": price} for n, price in enumerate(prices)]
    rounding = {"mode": "down", "place": "line", "to": "minor"}
    version = make(rounding=rounding, price=None, destination=destinations)
    state, total = RatingState(), 0
    for number in ("0", "1", "1", "0", "1"):
        rated = rate_usage(version, 1, state, destination=number)
        state, total = rated.state.next_session(), total + rated.cost_micros
    assert total == 2


def test_a_session_that_goes_on_in_a_new_period_begins_a_new_line() -> None:
    rounding = {"mode": "down", "place": "line", "to": "minor"}
    price = {"model": "per_unit", "amount": "0.000002", "unit_size": 3, "minimum": "0.000003"}
    version = make(rounding=rounding, price=price)
    first = rate_usage(version, 5, RatingState())
    assert first.cost_micros == 3
    # 5 units cost 10/3, 7 cost 14/3: the new line begins with 4/3, and the minimum is not asked again.
    second = rate_usage(version, 2, first.state.next_period())
    assert second.cost_micros == 1
    assert rate_usage(version, 1, second.state.next_session()).cost_micros == 3


def test_rounding_by_increment_rounds_the_price_of_each() -> None:
    rounding = {"mode": "up", "place": "increment", "to": 1_000}
    version = make(unit="second", rounding=rounding, price=VOICE)
    # 30 s cost 0.003; 6 s cost 0.0006, rounded up to 0.001.
    assert rate_usage(version, 75, RatingState()).cost_micros == 3_000 + 8 * 1_000


def test_an_increment_that_is_partly_included_is_rounded_for_its_rest() -> None:
    rounding = {"mode": "up", "place": "increment", "to": 1_000}
    version = make(unit="second", rounding=rounding, price=VOICE, included=33)
    # 30 s and 3 s of the next increment are included; 3 s and one whole increment are left.
    assert rate_usage(version, 40, RatingState()).cost_micros == 2_000


def test_fee_minimum_and_maximum_apply_once_a_session() -> None:
    price = {"model": "per_unit", "amount": "0.10", "connect_fee": "0.20", "minimum": "0.50", "maximum": "1"}
    version = make(price=price)
    assert costs(version, [1, 4, 8, 9, 0]) == [500_000, 600_000, 1_000_000, 1_000_000, 0]


def test_a_session_of_included_units_costs_nothing_not_even_the_fee() -> None:
    version = make(included=10, price={"model": "per_unit", "amount": "0.05", "connect_fee": "0.20"})
    assert costs(version, [4, 7, 2]) == [0, 250_000, 300_000]


def test_included_units_count_over_the_period() -> None:
    version = make(included=10)
    assert costs(version, [9, 3]) == [0, 100_000]
    state = rate_usage(version, 12, RatingState()).state
    assert rate_usage(version, 5, state.next_period()).cost_micros == 0
    assert rate_usage(version, 5, state.next_session()).cost_micros == 250_000
    assert rate_usage(version, 5, state.next_version()).cost_micros == 250_000


def test_tiers_count_over_the_period_or_within_the_session() -> None:
    price: dict[str, Any] = {
        "model": "graduated",
        "tiers": [{"from": 0, "to": 2, "amount": "1"}, {"from": 2, "amount": "0.10"}],
    }
    assert costs(make(price=price), [2, 2]) == [2_000_000, 200_000]
    assert costs(make(price=price | {"per": "session"}), [2, 2]) == [2_000_000, 2_000_000]


def test_volume_credits_the_units_before_when_a_cheaper_tier_is_reached() -> None:
    tiers = [{"from": 0, "to": 100, "amount": "0.10"}, {"from": 100, "amount": "0.05"}]
    assert costs(make(price={"model": "volume", "tiers": tiers}), [100, 1]) == [10_000_000, -4_950_000]


def test_a_discount_is_taken_off_before_rounding() -> None:
    version = make(discount="12.5", rounding=CENTS, price={"model": "per_unit", "amount": "0.10"})
    assert costs(version, [1, 4]) == [90_000, 350_000]


def test_amount_off_and_cap_count_over_the_period() -> None:
    version = make(discount_amount="0.20", spending_cap="0.30")
    assert costs(version, [3, 3, 3, 3]) == [0, 100_000, 150_000, 50_000]


def test_the_commitment_is_filled_up_when_the_period_closes() -> None:
    version = make(commitment="1.00")
    assert period_shortfall(version, 0) == 1_000_000
    state = rate_usage(version, 4, RatingState()).state
    assert charged_in_period(version, state) == 200_000
    assert period_shortfall(version, charged_in_period(version, state)) == 800_000
    assert period_shortfall(version, charged_in_period(version, rate_usage(version, 40, state).state)) == 0


@pytest.mark.parametrize("quantity", [-1, 1.0, float("nan"), True, "3"])
def test_what_is_no_quantity_is_refused(quantity: Any) -> None:
    with pytest.raises(RatingError, match="quantity"):
        rate_usage(make(), quantity, RatingState())


def test_a_cost_beyond_the_ledger_is_refused() -> None:
    with pytest.raises(RatingError, match="more than a ledger amount"):
        rate_usage(make(), 2**62, RatingState())


def test_a_number_is_priced_by_its_longest_prefix() -> None:
    def destination(name: str, prefixes: list[str], amount: str) -> dict[str, Any]:
        return {"name": name, "prefixes": prefixes, "price": {"model": "per_unit", "amount": amount}}

    both = [destination("Germany", ["49"], "0.01"), destination("mobile", ["4915", "4917"], "0.02")]
    version = make(destination=both, price={"model": "per_unit", "amount": "0.50"})
    numbers = {"+49301234": 10_000, "4915112": 20_000, "491": 10_000, "4": 500_000, "33": 500_000, "": 500_000}
    for number, micros in numbers.items():
        assert rate_usage(version, 1, RatingState(), destination=number).cost_micros == micros
    with pytest.raises(RatingError, match="no price for destination '33'"):
        rate_usage(make(destination=both, price=None), 1, RatingState(), destination="33")


def test_the_state_goes_through_a_small_dict() -> None:
    state = rate_usage(make(included=10), 12, RatingState()).state
    kept = msgspec.to_builtins(state)
    assert kept == {"quantity": 12, "units": 2, "exact": 100_000, "cost": 100_000, "used": 12, "due": 100_000}
    assert msgspec.convert(kept, RatingState) == state


def test_the_steps_tell_how_the_cost_comes_about() -> None:
    price = VOICE | {"connect_fee": "0.10"}
    version = make(unit="second", price=price, rounding=CENTS, included=12, spending_cap="0.09")
    steps: list[Any] = []
    rate_usage(version, 32, RatingState(), steps=steps)
    assert [(step.text, step.quantity, step.cost) for step in steps] == [
        ("32 measured, billed in increments 30/6", 36, 0),
        ("12 of 12 included units", 12, 0),
        ("24 x 0.006 per 60", 24, 2_400),
        ("connect fee 0.1", 0, 100_000),
        ("rounding half_up to 0.01", 0, -2_400),
        ("spending cap", 0, -10_000),
    ]
