"""Cycles tile time: every instant lies in exactly one, in any zone, whatever the clocks and the months do."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charging.billing.cycle import cycle, cycle_of, last_end
from charging.periods import PeriodError, days, period

ZONES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "Pacific/Apia", "America/Santiago"]
MICRO = timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("name", "day", "zone", "start", "end"),
    [
        # The clocks go back on 25 October: the cycle is an hour longer.
        ("2026-10", 1, "Europe/Berlin", "2026-09-30T22:00", "2026-10-31T23:00"),
        ("2026-11", 25, "Europe/Berlin", "2026-10-24T22:00", "2026-11-24T23:00"),
        ("2026-11", 26, "Europe/Berlin", "2026-10-25T23:00", "2026-11-25T23:00"),
        # February has no 29th to 31st, nor has April a 31st; the next month has its own day again.
        ("2026-02", 31, "Europe/Berlin", "2026-01-30T23:00", "2026-02-27T23:00"),
        ("2026-03", 31, "Europe/Berlin", "2026-02-27T23:00", "2026-03-30T22:00"),
        ("2026-04", 31, "Europe/Berlin", "2026-03-30T22:00", "2026-04-29T22:00"),
        ("2026-02", 29, "Europe/Berlin", "2026-01-28T23:00", "2026-02-27T23:00"),
        ("2028-02", 29, "Europe/Berlin", "2028-01-28T23:00", "2028-02-28T23:00"),
        ("2028-02", 30, "Europe/Berlin", "2028-01-29T23:00", "2028-02-28T23:00"),
        # New York: clocks forward on 8 March, back on 1 November.
        ("2026-03", 8, "America/New_York", "2026-02-08T05:00", "2026-03-08T05:00"),
        ("2026-03", 9, "America/New_York", "2026-02-09T05:00", "2026-03-09T04:00"),
        ("2026-10", 1, "America/New_York", "2026-10-01T04:00", "2026-11-01T04:00"),
        ("2026-12", 15, "America/New_York", "2026-11-15T05:00", "2026-12-15T05:00"),
        # Lord Howe moves its clocks by half an hour, 5 April and 4 October; Kolkata never does.
        ("2026-04", 15, "Australia/Lord_Howe", "2026-03-14T13:00", "2026-04-14T13:30"),
        ("2026-10", 15, "Australia/Lord_Howe", "2026-09-14T13:30", "2026-10-14T13:00"),
        ("2026-10", 15, "Asia/Kolkata", "2026-09-14T18:30", "2026-10-14T18:30"),
        ("2026-01", 31, "Asia/Kolkata", "2025-12-30T18:30", "2026-01-30T18:30"),
        # Apia had no 30 December 2011; Santiago's clocks skip a midnight: the day begins at one.
        ("2011-12", 30, "Pacific/Apia", "2011-11-30T10:00", "2011-12-30T10:00"),
        ("2026-09", 6, "America/Santiago", "2026-08-06T04:00", "2026-09-06T04:00"),
    ],
)  # fmt: skip
def test_cycles_of_known_zones(name: str, day: int, zone: str, start: str, end: str) -> None:
    found = cycle(name, day, ZoneInfo(zone))
    assert (found.start, found.end) == tuple(datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (start, end))


@given(
    st.integers(1970 * 12 + 1, 2100 * 12), st.integers(1, 31), st.sampled_from(ZONES).map(ZoneInfo), st.integers(1, 30)
)
def test_cycles_follow_each_other_without_gap_or_overlap(month: int, day: int, zone: ZoneInfo, count: int) -> None:
    names = [f"{number // 12:04d}-{number % 12 + 1:02d}" for number in range(month, month + count)]
    found = [cycle(name, day, zone) for name in names]
    assert all(before.end == after.start for before, after in pairwise(found))
    assert all(each.start < each.end for each in found)
    for each in found:
        assert f"{days(each.start, each.end, zone)[1]:%Y-%m}" == each.name
    assert [cycle_of(each.start, day, zone) for each in found] == found


@given(
    st.datetimes(datetime(1975, 1, 1), datetime(2099, 1, 1), timezones=st.just(UTC)),
    st.integers(1, 31),
    st.sampled_from(ZONES).map(ZoneInfo),
)
def test_an_instant_lies_in_one_cycle_and_so_do_both_sides_of_an_edge(at: datetime, day: int, zone: ZoneInfo) -> None:
    found = cycle_of(at, day, zone)
    assert found.start <= at < found.end
    assert found == cycle(found.name, day, zone)
    assert cycle_of(found.start, day, zone) == cycle_of(found.end - MICRO, day, zone) == found
    assert (
        cycle_of(found.end, day, zone).start
        == found.end
        == cycle_of(found.start - MICRO, day, zone).end + (found.end - found.start)
    )
    assert last_end(at, day, zone) == found.start


def test_the_first_day_is_the_month_itself() -> None:
    zone = ZoneInfo("Europe/Berlin")
    assert cycle("2026-10", 1, zone) == period("2026-10", zone)
    assert days(*cycle("2026-10", 15, zone)[1:], zone) == (date(2026, 9, 15), date(2026, 10, 14))


@pytest.mark.parametrize(("name", "day"), [("2026-10", 0), ("2026-10", 32), ("October", 3)])
def test_what_is_no_cycle_is_refused(name: str, day: int) -> None:
    with pytest.raises(PeriodError, match=r"day from 1 to 31|not a billing period"):
        cycle(name, day, UTC)
    with pytest.raises(ValueError, match="no time zone"):
        cycle_of(datetime(2026, 1, 1), 1, UTC)
