"""Whatever the tariff: pieces cost what the whole costs, steps sum to the cost, budgets reach exactly so far."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tariff_maker import make

from charging.tariffs import (
    MAX_UNITS,
    RatingState,
    Step,
    TariffVersion,
    charged_in_period,
    rate_usage,
    restore_version,
    units_affordable,
)

AT = datetime(2026, 9, 1, 5, 58, 30, tzinfo=UTC)
BANDS = [
    {"name": name, "days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "hours": hours}
    for name, hours in (("a", ["00:00-08:00", "18:00-24:00"]), ("b", ["08:00-08:01", "08:02-18:00"]))
] + [{"name": "free", "days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "hours": ["08:01-08:02"]}]

amounts = st.sampled_from(["0", "0.000001", "0.000007", "0.0033", "0.05", "1.25"])
small_amounts = st.sampled_from(["0", "0.000013", "0.01", "0.777777"])
optional = st.sampled_from


@st.composite
def tiers(draw: st.DrawFn) -> list[dict[str, Any]]:
    ends = sorted(draw(st.sets(st.integers(1, 150), max_size=3)))
    table = [
        {"from": start, "to": end, "amount": draw(amounts), "fee": draw(small_amounts)}
        for start, end in zip([0, *ends], [*ends, 0], strict=True)
    ]
    del table[-1]["to"]
    return table


@st.composite
def prices(draw: st.DrawFn) -> dict[str, Any]:
    model = draw(st.sampled_from(["flat", "per_unit", "banded", "graduated", "volume", "package", "percentage"]))
    price: dict[str, Any] = {"model": model}
    match model:
        case "flat":
            price |= {"amount": draw(amounts)}
        case "package":
            price |= {"amount": draw(amounts), "size": draw(st.integers(1, 40))}
        case "percentage":
            price |= {"percent": draw(st.sampled_from(["0", "2.5", "33.333333", "100"]))}
        case "graduated" | "volume":
            price |= {"tiers": draw(tiers()), "unit_size": draw(st.sampled_from([1, 7, 60]))}
        case "per_unit":
            price |= {"amount": draw(amounts), "unit_size": draw(st.sampled_from([1, 7, 60]))}
        case "banded":
            by_band = {"a": draw(amounts), "b": draw(amounts), "free": "0"}
            price |= {"model": "per_unit", "amounts": by_band, "unit_size": draw(st.sampled_from([1, 60]))}
    if model in ("flat", "graduated", "volume", "package") and draw(st.booleans()):
        price["per"] = draw(st.sampled_from(["session", "period"]))
    if model not in ("flat", "percentage") and draw(st.booleans()):
        price["increments"] = {"first": draw(st.integers(1, 40)), "next": draw(st.integers(1, 40))}
    if draw(st.booleans()):
        low, high = sorted([draw(small_amounts), draw(small_amounts)])
        price |= {"connect_fee": draw(small_amounts), "minimum": low, "maximum": high}
    return price


@st.composite
def versions(draw: st.DrawFn) -> TariffVersion:
    price = draw(prices())
    places = ["record", "line"]
    if price["model"] == "per_unit" and "increments" in price:
        places.append("increment")
    mode = draw(st.sampled_from(["half_up", "half_even", "up", "down"]))
    keys: dict[str, Any] = {
        "price": price,
        "currency": draw(st.sampled_from(["EUR", "JPY", "KWD"])),
        "rounding": {
            "mode": mode,
            "place": draw(st.sampled_from(places)),
            "to": draw(st.sampled_from(["minor", 1, 250])),
        },
        "included": draw(st.sampled_from([0, 1, 10, 55])),
        "discount": draw(st.sampled_from(["0", "10", "33.333333", "100"])),
        "unit": "amount" if price["model"] == "percentage" else "second",
    }
    if "amounts" in price:
        keys["band"] = BANDS
    if draw(st.booleans()):
        keys |= {"discount_amount": draw(small_amounts), "spending_cap": draw(small_amounts)}
    return make(**keys)


quantities = st.integers(0, 120)


def after_earlier_sessions(version: TariffVersion, earlier: list[int]) -> RatingState:
    state = RatingState()
    for quantity in earlier:
        state = rate_usage(version, quantity, state, at=AT).state.next_session()
    return state


@settings(max_examples=300)
@given(version=versions(), earlier=st.lists(quantities, max_size=3), cuts=st.lists(quantities, max_size=6))
def test_pieces_cost_what_the_whole_costs_and_lead_to_the_same_state(
    version: TariffVersion, earlier: list[int], cuts: list[int]
) -> None:
    begin = after_earlier_sessions(version, earlier)
    whole = rate_usage(version, sum(cuts), begin, at=AT)
    state, total, at = begin, 0, AT
    for piece in cuts:
        rated = rate_usage(version, piece, state, at=at)
        state, total, at = rated.state, total + rated.cost_micros, at + timedelta(seconds=piece)
    assert total == whole.cost_micros
    assert state == whole.state


@settings(max_examples=300)
@given(version=versions(), sessions=st.lists(quantities, max_size=5))
def test_the_costs_of_a_period_sum_to_what_it_was_charged(version: TariffVersion, sessions: list[int]) -> None:
    state, total = RatingState(), 0
    for quantity in sessions:
        rated = rate_usage(version, quantity, state, at=AT)
        state, total = rated.state.next_session(), total + rated.cost_micros
    assert charged_in_period(version, state) == total


@settings(max_examples=300)
@given(version=versions(), earlier=st.lists(quantities, max_size=2), first=quantities, second=quantities)
def test_the_steps_sum_to_the_cost_and_change_nothing(
    version: TariffVersion, earlier: list[int], first: int, second: int
) -> None:
    begin = rate_usage(version, first, after_earlier_sessions(version, earlier), at=AT).state
    steps: list[Step] = []
    at = AT + timedelta(seconds=first)
    rated = rate_usage(version, second, begin, at=at, steps=steps)
    assert rated == rate_usage(version, second, begin, at=at)
    assert sum(step.cost for step in steps) == rated.cost_micros
    assert all(step.text for step in steps)


@settings(max_examples=200)
@given(
    version=versions(),
    earlier=st.lists(quantities, max_size=2),
    begun=quantities,
    budget=st.one_of(st.integers(0, 3_000_000), st.integers(0, 200)),
    limit=st.integers(0, 200),
)
def test_so_many_units_are_within_the_budget_and_one_more_is_not(
    version: TariffVersion, earlier: list[int], begun: int, budget: int, limit: int
) -> None:
    state = rate_usage(version, begun, after_earlier_sessions(version, earlier), at=AT).state
    at = AT + timedelta(seconds=begun)
    affordable = 0
    while affordable < limit and rate_usage(version, affordable + 1, state, at=at).cost_micros <= budget:
        affordable += 1
    assert units_affordable(version, state, budget, at=at, limit=limit) == affordable


def test_units_that_cost_nothing_are_affordable_without_limit() -> None:
    free = make(price={"model": "per_unit", "amount": "0"})
    assert units_affordable(free, RatingState(), 0) == MAX_UNITS
    assert units_affordable(free, RatingState(), -1) == 0
    assert units_affordable(make(spending_cap="1.00"), RatingState(), 1_000_000) == MAX_UNITS


def test_included_units_are_affordable_with_nothing() -> None:
    version = make(included=10)
    assert units_affordable(version, RatingState(), 0) == 10
    assert units_affordable(version, rate_usage(version, 4, RatingState()).state, 100_000) == 8


def test_a_budget_covers_every_part_of_what_it_affords_where_totals_fall() -> None:
    tiers = [{"from": 0, "to": 100, "amount": "0.10"}, {"from": 100, "amount": "0.05"}]
    version = make(price={"model": "volume", "tiers": tiers})
    # 110 units cost 5.50, but on the way 61 to 100 units cost more than 6.00.
    assert rate_usage(version, 110, RatingState()).cost_micros == 5_500_000
    assert units_affordable(version, RatingState(), 6_000_000, limit=110) == 60
    assert units_affordable(version, RatingState(), 10_000_000, limit=110) == 110


def test_with_time_bands_no_more_than_366_days_are_looked_at() -> None:
    price = {"model": "per_unit", "amounts": {"a": "0", "b": "0", "free": "0"}}
    version = make(unit="second", price=price, band=BANDS)
    day = 24 * 3600
    begun = rate_usage(version, 2 * day, RatingState(), at=AT).state
    assert units_affordable(version, begun, 0, at=AT + timedelta(days=2)) == 364 * day


def test_a_large_budget_reaches_exactly_so_far() -> None:
    version = make(price={"model": "per_unit", "amount": "0.000001", "unit_size": 7})
    # Rounded half up, n/7 micros stay within the budget up to budget + 3/7.
    assert units_affordable(version, RatingState(), 10**15) == 7 * 10**15 + 3


@given(version=versions(), quantity=quantities)
def test_a_version_made_again_from_its_content_is_the_same(version: TariffVersion, quantity: int) -> None:
    again = restore_version(version.tariff_id, version.content)
    assert (again.version_id, again.effective_from) == (version.version_id, version.effective_from)
    assert rate_usage(again, quantity, RatingState(), at=AT) == rate_usage(version, quantity, RatingState(), at=AT)
