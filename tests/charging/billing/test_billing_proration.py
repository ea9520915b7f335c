"""Parts of a period cost what the whole costs, to the last micro."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charging.billing.commitment import carried_forward, true_up
from charging.billing.cycle import cycle
from charging.billing.proration import Part, parts, prorated

BERLIN = ZoneInfo("Europe/Berlin")
OCTOBER = cycle("2026-10", 1, BERLIN)
EURO = 1_000_000
ZONES = st.sampled_from([None, BERLIN, ZoneInfo("America/New_York"), ZoneInfo("Australia/Lord_Howe"), UTC])


def local(month: int, day: int, hour: int = 0) -> datetime:
    return datetime(2026, month, day, hour, tzinfo=BERLIN).astimezone(UTC)


def test_days_count_alike_though_the_clocks_change() -> None:
    assert prorated(31 * EURO, OCTOBER, local(10, 25), local(10, 26), BERLIN) == EURO
    assert prorated(31 * EURO, OCTOBER, local(10, 1), local(10, 2), BERLIN) == EURO
    assert prorated(31 * EURO, OCTOBER, local(10, 25), local(10, 26)) > EURO
    assert prorated(31 * EURO, OCTOBER, local(10, 20, 17), local(11, 20), BERLIN) == 12 * EURO
    assert prorated(31 * EURO, OCTOBER, local(9, 1), local(10, 1), BERLIN) == 0
    assert prorated(31 * EURO, OCTOBER, local(10, 9), local(10, 9), BERLIN) == 0


@given(
    st.integers(-(10**12), 10**12),
    st.lists(st.integers(0, 31 * 24 * 3600 * 10**6), max_size=8),
    st.sampled_from(["2026-02", "2026-03", "2026-10", "2028-02"]),
    st.integers(1, 31),
    ZONES,
)
def test_parts_sum_to_the_whole(price: int, cuts: list[int], name: str, day: int, zone: ZoneInfo | None) -> None:
    whole = cycle(name, day, zone or BERLIN)
    edges = sorted(
        {whole.start, whole.end, *(min(whole.start + timedelta(microseconds=cut), whole.end) for cut in cuts)}
    )
    amounts = [prorated(price, whole, start, end, zone) for start, end in pairwise(edges)]
    assert sum(amounts) == price
    assert all(amount * price >= 0 for amount in amounts)


def test_a_price_that_changes_within_the_period() -> None:
    found = parts(OCTOBER, [(local(8, 1), 31 * EURO), (local(10, 11), 62 * EURO), (local(10, 21), 0)], BERLIN)
    assert found == [
        Part(OCTOBER.start, local(10, 11), 31 * EURO, 10 * EURO),
        Part(local(10, 11), local(10, 21), 62 * EURO, 20 * EURO),
        Part(local(10, 21), OCTOBER.end, 0, 0),
    ]
    assert parts(OCTOBER, [(local(12, 1), EURO)]) == []
    assert parts(OCTOBER, [(local(8, 1), EURO), (local(9, 1), 2 * EURO)])[0].amount == 2 * EURO
    with pytest.raises(ValueError, match="in the order"):
        parts(OCTOBER, [(local(10, 2), 1), (local(10, 1), 1)])


def test_a_third_of_a_price_is_a_micro_more_somewhere() -> None:
    whole = cycle("2026-02", 1, UTC)
    edges = [whole.start + timedelta(days=7 * week) for week in range(5)]
    amounts = [prorated(10, whole, start, end, UTC) for start, end in pairwise(edges)]
    assert (amounts, sum(amounts)) == ([3, 2, 3, 2], 10)


def test_a_commitment_is_trued_up_and_shrinks_with_its_share_of_the_cycle() -> None:
    assert true_up(31 * EURO, 30 * EURO, OCTOBER, OCTOBER.start, None, BERLIN) == EURO
    assert true_up(31 * EURO, 32 * EURO, OCTOBER, OCTOBER.start, None, BERLIN) == 0
    assert true_up(31 * EURO, 3 * EURO, OCTOBER, local(10, 22), None, BERLIN) == 7 * EURO
    assert true_up(31 * EURO, 0, OCTOBER, local(9, 1), local(10, 6), BERLIN) == 5 * EURO


def test_a_bill_below_the_least_amount_is_carried_forward_unless_it_is_the_last() -> None:
    assert carried_forward(4_990_000, 5 * EURO, final=False)
    assert not carried_forward(5 * EURO, 5 * EURO, final=False)
    assert not carried_forward(4_990_000, 5 * EURO, final=True)
    assert carried_forward(-EURO, 5 * EURO, final=False)
    assert not carried_forward(0, 0, final=False)
