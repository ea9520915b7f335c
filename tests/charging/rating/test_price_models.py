"""Each price model with a table of cases worked out by hand; costs in micros, exact."""

from __future__ import annotations

from fractions import Fraction

import pytest

from charging.rating import PriceModel
from charging.rating.flat import Flat
from charging.rating.graduated import Graduated
from charging.rating.package import Package
from charging.rating.per_unit import Increments, PerUnit
from charging.rating.percentage import Percentage
from charging.rating.tiers import Tier
from charging.rating.volume import Volume

TIERS = [Tier(0, 100, 100_000), Tier(100, 1000, 50_000), Tier(1000, None, 20_000)]
TIERS_WITH_FEES = [Tier(0, 10, 0, fee=5_000_000), Tier(10, None, 300_000, fee=1_000_000)]


def exact(model: PriceModel, units: int) -> Fraction:
    return Fraction(model.total(units), model.scale)


@pytest.mark.parametrize(("units", "cost"), [(0, 0), (1, 990_000), (1000, 990_000)])
def test_flat_costs_one_amount_from_the_first_unit_on(units: int, cost: int) -> None:
    assert exact(Flat(990_000), units) == cost


@pytest.mark.parametrize(
    ("amount", "unit_size", "units", "cost"),
    [
        (50_000, 1, 3, Fraction(150_000)),
        (6_000, 60, 36, Fraction(3_600)),
        (6_000, 60, 1, Fraction(100)),
        (1, 3, 1, Fraction(1, 3)),
        (1, 3, 3, Fraction(1)),
        (0, 1, 1000, Fraction(0)),
    ],
)
def test_a_price_per_unit_is_in_proportion(amount: int, unit_size: int, units: int, cost: Fraction) -> None:
    assert exact(PerUnit(amount, unit_size), units) == cost


@pytest.mark.parametrize(
    ("first", "following", "quantity", "billed"),
    [
        (30, 6, 0, 0),
        (30, 6, 1, 30),
        (30, 6, 30, 30),
        (30, 6, 31, 36),
        (30, 6, 32, 36),
        (30, 6, 57, 60),
        (30, 6, 75, 78),
        (60, 1, 32, 60),
        (60, 1, 61, 61),
        (60, 60, 61, 120),
        (1, 1, 61, 61),
    ],
)
def test_increments_count_what_was_begun(first: int, following: int, quantity: int, billed: int) -> None:
    assert Increments(first, following).billed(quantity) == billed


@pytest.mark.parametrize(
    ("units", "cost"),
    [
        (0, 0),
        (1, 100_000),
        (100, 10_000_000),
        (101, 10_050_000),
        (1000, 55_000_000),
        (1001, 55_020_000),
        (2500, 85_000_000),
    ],
)
def test_graduated_tiers_price_each_unit_in_its_tier(units: int, cost: int) -> None:
    assert exact(Graduated(TIERS), units) == cost


@pytest.mark.parametrize(("units", "cost"), [(0, 0), (1, 5_000_000), (10, 5_000_000), (11, 6_300_000)])
def test_a_graduated_tier_asks_its_fee_when_it_is_reached(units: int, cost: int) -> None:
    assert exact(Graduated(TIERS_WITH_FEES), units) == cost


@pytest.mark.parametrize(
    ("units", "cost"),
    [
        (0, 0),
        (1, 100_000),
        (100, 10_000_000),
        (101, 5_050_000),
        (1000, 50_000_000),
        (1001, 20_020_000),
    ],
)
def test_volume_tiers_price_all_units_in_the_tier_reached(units: int, cost: int) -> None:
    assert exact(Volume(TIERS), units) == cost


@pytest.mark.parametrize(("units", "cost"), [(1, 5_000_000), (10, 5_000_000), (11, 4_300_000)])
def test_volume_asks_the_fee_of_the_tier_reached_alone(units: int, cost: int) -> None:
    assert exact(Volume(TIERS_WITH_FEES), units) == cost


@pytest.mark.parametrize(
    ("start", "end", "highest"),
    [(0, 50, 5_000_000), (0, 101, 10_000_000), (0, 150, 10_000_000), (101, 150, 7_500_000)],
)
def test_volume_knows_the_highest_total_on_the_way(start: int, end: int, highest: int) -> None:
    assert Volume(TIERS).highest(start, end) == highest


@pytest.mark.parametrize("model", [Graduated(TIERS, 7), Volume(TIERS, 7)])
def test_tiers_may_be_priced_by_more_than_one_unit(model: PriceModel) -> None:
    assert exact(model, 70) == 1_000_000
    assert exact(model, 1) == Fraction(100_000, 7)


@pytest.mark.parametrize(
    "tiers",
    [
        [],
        [Tier(1, None, 1)],
        [Tier(0, 10, 1)],
        [Tier(0, 10, 1), Tier(11, None, 1)],
        [Tier(0, 10, 1), Tier(9, None, 1)],
        [Tier(0, None, 1), Tier(10, None, 1)],
        [Tier(0, 0, 1), Tier(0, None, 1)],
    ],
)
def test_tiers_with_a_gap_an_overlap_or_no_end_are_refused(tiers: list[Tier]) -> None:
    with pytest.raises(ValueError, match="tier"):
        Graduated(tiers)


@pytest.mark.parametrize(
    ("units", "cost"), [(0, 0), (1, 4_990_000), (500, 4_990_000), (501, 9_980_000), (1000, 9_980_000)]
)
def test_packages_are_sold_whole(units: int, cost: int) -> None:
    assert exact(Package(4_990_000, 500), units) == cost


@pytest.mark.parametrize(("units", "cost"), [(0, Fraction(0)), (10_000_000, Fraction(250_000)), (1, Fraction(1, 40))])
def test_a_percentage_is_a_share_of_the_amount(units: int, cost: Fraction) -> None:
    assert exact(Percentage(Fraction(25, 1000)), units) == cost
