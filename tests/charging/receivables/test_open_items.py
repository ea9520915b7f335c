"""Open items, ageing, reminder levels and references, without a database."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charging.receivables.ageing import age
from charging.receivables.items import Allocation, Item, demanded, settle, use_credits
from charging.receivables.references import creditor_reference, numbers_in, plain, referred_number
from charging.receivables.reminders import Level, next_level

START = datetime(2026, 11, 1, tzinfo=UTC)
SERIES = ("R-2026", "R-2025", "MB")


def item(number: str, left: int, day: int = 0) -> Item:
    at = START + timedelta(days=day)
    return Item(f"id-{number}", number, left, at + timedelta(days=14), at)


def test_a_payment_settles_what_it_names_first_and_then_the_oldest() -> None:
    debts = [item("R-1", 100, 0), item("R-2", 50, 1), item("R-3", 70, 2)]
    made = settle(item("P", -140, 3), debts, ["R-3", "R-2"])
    assert made == [
        Allocation("id-R-3", "id-P", 70),
        Allocation("id-R-2", "id-P", 50),
        Allocation("id-R-1", "id-P", 20),
    ]


def test_what_is_paid_too_much_stays_with_the_account_and_pays_the_next_debt() -> None:
    assert settle(item("P", -140), [item("R-1", 100)]) == [Allocation("id-R-1", "id-P", 100)]
    assert use_credits(item("R-2", 60), [item("P", -40, 2), item("Q", -30, 1)]) == [
        Allocation("id-R-2", "id-Q", 30),
        Allocation("id-R-2", "id-P", 30),
    ]


@given(st.integers(0, 1000), st.lists(st.tuples(st.integers(-50, 300), st.integers(0, 9)), max_size=8))
def test_no_debt_is_settled_beyond_what_is_left_and_no_money_is_lost(paid: int, debts: list[tuple[int, int]]) -> None:
    items = [item(f"R-{number}", left, day) for number, (left, day) in enumerate(debts)]
    made = settle(item("P", -paid), items)
    owed = {each.id: each.left for each in items}
    assert all(0 < each.amount <= owed[each.debt_id] for each in made)
    assert len({each.debt_id for each in made}) == len(made)
    assert sum(each.amount for each in made) == min(paid, sum(max(0, left) for left, _ in debts))


def test_disputed_lines_are_not_demanded() -> None:
    assert demanded(100, []) == 100
    assert demanded(100, [30, 20]) == 50
    assert demanded(100, [130]) == 0


def test_ageing_counts_from_the_day_after_the_due_day() -> None:
    on = date(2026, 12, 31)
    days = (0, 1, 30, 31, 60, 61, 90, 91, -5)
    ageing = age([(1, on - timedelta(days=late)) for late in days] + [(-4, on)], on)
    assert (ageing.not_due, ageing.days_1_30, ageing.days_31_60, ageing.days_61_90, ageing.over_90) == (2, 2, 2, 2, 1)
    assert (ageing.credits, ageing.total) == (-4, 5)


def test_levels_come_one_at_a_time_each_with_its_days() -> None:
    levels = [Level(3), Level(14, 5), Level(7, 10)]
    due = date(2026, 11, 16)
    assert next_level(levels, 0, due, None, date(2026, 11, 18)) is None
    assert next_level(levels, 0, due, None, date(2026, 11, 19)) == 1
    assert next_level(levels, 0, due, None, date(2027, 6, 1)) == 1
    assert next_level(levels, 1, due, date(2026, 11, 19), date(2026, 12, 2)) is None
    assert next_level(levels, 1, due, date(2026, 11, 19), date(2026, 12, 3)) == 2
    assert next_level(levels, 3, due, date(2026, 12, 3), date(2027, 12, 3)) is None


@pytest.mark.parametrize(
    "text",
    [
        "Rechnung R-2026-000001 danke",
        "R 2026 000001",
        "rechnung r2026000001",
        "R-2026-0000 01",
        "RE R-2026-000001 15.11.2026",
        "R-2026-00000115112026",
        "SVWZ+RF17R2026000001",
        "RF17 R202 6000 001",
    ],
)
def test_a_number_is_found_in_what_payers_and_banks_write(text: str) -> None:
    assert "R2026000001" in list(numbers_in(text, SERIES))


@pytest.mark.parametrize("text", ["", "R-2026", "XR-2026-000001", "RF18R2026000001", "Rechnung 000001", "R-2026-00001"])
def test_what_is_no_number_is_not_taken_for_one(text: str) -> None:
    assert list(numbers_in(text, SERIES)) == []


def test_numbers_come_in_the_order_in_which_they_stand() -> None:
    assert list(numbers_in("R-2025-000009 + R-2026-000001, MB-000003", SERIES)) == [
        "R2025000009",
        "R2026000001",
        "MB000003",
    ]


def test_creditor_references_carry_check_digits() -> None:
    # The example of ISO 11649.
    assert creditor_reference("539007547034") == "RF18539007547034"
    assert referred_number("RF18 5390 0754 7034") == "539007547034"
    assert referred_number("RF19539007547034") is None
    with pytest.raises(ValueError, match="21 letters"):
        creditor_reference("R" * 22)


@given(st.from_regex(r"[A-Z]{1,3}-20[0-9]{2}-[0-9]{6,8}", fullmatch=True))
def test_every_number_comes_back_from_its_reference(number: str) -> None:
    assert referred_number(creditor_reference(number)) == plain(number)
    assert plain(number) in list(numbers_in(f"ref {creditor_reference(number)} thanks", ()))
