"""Periods of subscriptions: they follow one another without gap, cost their share, and end when the terms allow."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charging.modes import MODE_KINDS, ModeError, first_due, mode_kind, payment_of
from charging.price_text import price_text
from charging.subscriptions import UNITS, Plan, Span, cancelled, midnight, minimum_until, period_price, plan_of, span
from signalling.messages import ModeTerms

UNIT = st.sampled_from(UNITS)
DAY = st.dates(date(2000, 1, 1), date(2090, 12, 31))


def terms(**keys: object) -> ModeTerms:
    fields = {
        "mode": "m", "kind": "subscription", "label": "", "price_text": "", "currency": "EUR", "amount": 4_990_000,
        "tax_category": "S", "tax_rate": 1900, "period": "month", "charged": "advance",
    }  # fmt: skip
    return ModeTerms(**fields | keys)  # type: ignore[arg-type]  # fields of several types


@given(unit=UNIT, first=DAY, pro_rata=st.booleans(), number=st.integers(0, 60))
def test_periods_follow_one_another_without_gap_and_none_is_longer_than_a_whole_one(
    unit: str, first: date, pro_rata: bool, number: int
) -> None:
    plan = Plan(unit, first, pro_rata)  # type: ignore[arg-type]  # one of the units
    this, after = span(plan, number), span(plan, number + 1)
    assert this.end == after.start
    assert 0 < this.days <= this.whole
    assert span(plan, 0).start == first
    assert this.days == this.whole or (pro_rata and number == 0)


@pytest.mark.parametrize(
    ("first", "ends"),
    [
        (date(2026, 1, 31), [date(2026, 2, 28), date(2026, 3, 31), date(2026, 4, 30), date(2026, 5, 31)]),
        (date(2028, 1, 30), [date(2028, 2, 29), date(2028, 3, 30), date(2028, 4, 30), date(2028, 5, 30)]),
        (date(2026, 11, 30), [date(2026, 12, 30), date(2027, 1, 30), date(2027, 2, 28), date(2027, 3, 30)]),
    ],
)
def test_a_short_month_does_not_move_those_after_it(first: date, ends: list[date]) -> None:
    plan = Plan("month", first)
    assert [span(plan, number).end for number in range(4)] == ends


@pytest.mark.parametrize(
    ("unit", "first", "days", "whole"),
    [
        ("month", date(2026, 2, 1), 28, 28), ("month", date(2026, 2, 28), 1, 28), ("month", date(2028, 2, 15), 15, 29),
        ("week", date(2026, 11, 4), 5, 7), ("week", date(2026, 11, 2), 7, 7), ("day", date(2026, 11, 2), 1, 1),
        ("year", date(2026, 7, 1), 184, 365), ("year", date(2028, 12, 31), 1, 366),
    ],
)  # fmt: skip
def test_the_first_period_by_its_days(unit: str, first: date, days: int, whole: int) -> None:
    period = span(Plan(unit, first, pro_rata=True), 0)  # type: ignore[arg-type]  # one of the units
    assert (period.days, period.whole) == (days, whole)


@pytest.mark.parametrize(
    ("amount", "days", "whole", "currency", "price"),
    [
        (10_000_000, 29, 30, "EUR", 9_670_000), (10_000_000, 15, 30, "EUR", 5_000_000),
        (10_000_000, 1, 31, "EUR", 320_000), (1_000_000_000, 10, 31, "JPY", 323_000_000),
        (5_000_000, 7, 31, "KWD", 1_129_000), (10_000, 15, 30, "EUR", 10_000), (10_000, 14, 30, "EUR", 0),
    ],
)  # fmt: skip
def test_a_share_is_rounded_to_what_can_be_paid(amount: int, days: int, whole: int, currency: str, price: int) -> None:
    start = date(2026, 1, 1)
    assert period_price(amount, Span(start, start + timedelta(days=days), whole), currency) == price


@given(
    unit=UNIT, first=DAY, pro_rata=st.booleans(), after=st.integers(0, 800), notice=st.integers(0, 90),
    minimum=st.integers(0, 24),
)  # fmt: skip
def test_a_cancellation_keeps_notice_and_minimum_and_ends_with_the_first_period_that_does(
    unit: str, first: date, pro_rata: bool, after: int, notice: int, minimum: int
) -> None:
    plan = Plan(unit, first, pro_rata)  # type: ignore[arg-type]  # one of the units
    today = first + timedelta(days=after)
    ending = cancelled(plan, today=today, notice_days=notice, minimum_periods=minimum)
    notice = max(notice, 1)  # The day on which it is cancelled is within a period that has begun.
    assert ending.day >= today + timedelta(days=notice)
    assert ending.day >= minimum_until(plan, minimum)
    number = next(each for each in range(2000) if span(plan, each).end == ending.day)
    before = span(plan, number).start
    assert number == 0 or before < today + timedelta(days=notice) or before < minimum_until(plan, minimum)


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Asia/Tokyo", "Australia/Lord_Howe"])
def test_periods_begin_at_local_midnights_through_changes_of_the_clocks(zone: str) -> None:
    local = ZoneInfo(zone)
    plan = Plan("day", date(2026, 3, 1))
    instants = [midnight(span(plan, number).start, local) for number in range(300)]
    assert all(instant.astimezone(local).time() == datetime.min.time() for instant in instants)
    hours = {(b - a) / timedelta(hours=1) for a, b in pairwise(instants)}
    assert hours <= {23.0, 23.5, 24.0, 24.5, 25.0}


def test_terms_without_a_period_and_names_that_there_are_not_are_refused() -> None:
    with pytest.raises(ValueError, match="day, week, month, year"):
        plan_of(terms(period="fortnight"), date(2026, 1, 1))
    with pytest.raises(ModeError, match="postpaid, prepaid, pseudo_prepaid, rated_only"):
        payment_of("barter")


@pytest.mark.parametrize(
    ("keys", "due"),
    [
        ({}, 4_990_000), ({"charged": "arrears"}, 0), ({"trial_days": 3}, 0), ({"kind": "per_use"}, 0),
        ({"kind": "one_off"}, 4_990_000), ({"kind": "one_off", "trial_days": 3}, 0), ({"kind": "free"}, 0),
    ],
)  # fmt: skip
def test_what_a_mode_costs_as_soon_as_it_begins(keys: dict[str, object], due: int) -> None:
    assert first_due(terms(**keys)) == due


def test_only_what_has_periods_or_a_trial_has_a_calendar() -> None:
    assert [kind for kind in MODE_KINDS if mode_kind(kind).runs(terms(kind=kind))] == ["subscription"]
    assert mode_kind("per_use").runs(terms(kind="per_use", trial_days=1))


@pytest.mark.parametrize(
    ("language", "keys", "text"),
    [
        ("en", {"tax_rate": 0}, "€4.99 per month, in advance; can be ended with any month"),
        (
            "en",
            {"minimum_periods": 12, "notice_days": 30, "trial_days": 14, "trial_warning_days": 1},
            "14 days free of charge, then €4.99 per month, in advance, plus 19% tax; at least 12 months; "
            "notice of 30 days; you are told 1 day before",
        ),
        (
            "de",
            {"period": "week", "charged": "arrears", "pro_rata": True, "minimum_periods": 1, "price_change_days": 30},
            "4,99\xa0€ je Woche, im Nachhinein, zu Beginn anteilig nach Tagen, zzgl. 19\xa0% MwSt.; "
            "Mindestlaufzeit 1 Woche; kündbar zum Ende jeder Laufzeit (Woche); "
            "Preisänderungen werden 30 Tage vorher angekündigt, Sie können dann kündigen",
        ),
        ("en", {"kind": "one_off", "payment": "prepaid"}, "€4.99 once, plus 19% tax, from your balance"),
        (
            "en",
            {"kind": "per_use", "unit": "use", "payment": "rated_only", "tax_rate": 0},
            "€4.99 per use, shown, never charged",
        ),
    ],
)
def test_the_price_text_says_all_that_binds(language: str, keys: dict[str, object], text: str) -> None:
    assert price_text(terms(**keys), language) == text
