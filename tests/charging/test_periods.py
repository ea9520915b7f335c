from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charging.periods import PeriodError, cut_overs, days, period, period_of

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = st.sampled_from(sorted(zone for zone in available_timezones() if "/" in zone)).map(ZoneInfo)
INSTANTS = st.datetimes(datetime(1971, 1, 1), datetime(2037, 12, 1)).map(lambda at: at.replace(tzinfo=UTC))


def test_a_period_begins_at_local_midnight_in_summer_and_in_winter_time() -> None:
    october = period("2026-10", BERLIN)
    assert october.start == datetime(2026, 9, 30, 22, tzinfo=UTC)
    assert october.end == datetime(2026, 10, 31, 23, tzinfo=UTC)


def test_the_year_turns_after_december() -> None:
    assert period("2026-12", BERLIN).end == period("2027-01", BERLIN).start


def test_a_midnight_that_the_clocks_skip_is_the_change_itself() -> None:
    # Paraguay put its clocks from 00:00 to 01:00 on 1 October 2017.
    october = period("2017-10", ZoneInfo("America/Asuncion"))
    assert october.start == datetime(2017, 10, 1, 4, tzinfo=UTC)


def test_a_midnight_that_comes_twice_counts_the_first_time() -> None:
    # Cuba put its clocks from 01:00 back to 00:00 on 1 November 2020.
    assert period("2020-11", ZoneInfo("America/Havana")).start == datetime(2020, 11, 1, 4, tzinfo=UTC)


@pytest.mark.parametrize("name", ["2026-13", "2026-1", "202610", "2026-10-01", "", "1969-12", "٢٠٢٦-10"])
def test_what_is_no_period_is_refused_with_an_example(name: str) -> None:
    with pytest.raises(PeriodError, match="2026-10"):
        period(name, BERLIN)


@given(INSTANTS, ZONES)
def test_every_instant_lies_in_the_period_that_is_named_for_it(instant: datetime, zone: ZoneInfo) -> None:
    found = period(period_of(instant, zone), zone)
    assert found.start <= instant < found.end
    assert period_of(found.start, zone) == found.name
    assert period_of(found.end - timedelta(microseconds=1), zone) == found.name


@given(INSTANTS, ZONES, st.integers(0, 500))
def test_cut_overs_are_the_period_ends_between_two_instants(start: datetime, zone: ZoneInfo, length: int) -> None:
    until = start + timedelta(days=length)
    found = cut_overs(start, until, zone)
    names = [period_of(start, zone), *(period_of(end, zone) for end in found)]
    assert len(set(names)) == len(names)
    assert names[-1] == period_of(until, zone)
    assert all(start < end <= until for end in found)


def test_days_are_local_and_inclusive() -> None:
    october = period("2026-10", BERLIN)
    assert days(october.start, october.end, BERLIN) == (date(2026, 10, 1), date(2026, 10, 31))


def test_a_naive_instant_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        period_of(datetime(2026, 10, 1), BERLIN)
