"""When plans and intervals are due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operator_server.interrogation.schedule import SECOND, Agenda, next_interval, next_occurrence, offset
from operator_server.settings import CalendarPlan

BERLIN = ZoneInfo("Europe/Berlin")


def plan(every: str = "day", at: str = "02:30", missed: str = "run") -> CalendarPlan:
    return CalendarPlan(name="plan", every=every, at=at, missed=missed)


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


@pytest.mark.parametrize(
    ("every", "at", "after", "due"),
    [
        ("day", "02:30", "2026-10-01T00:00+02:00", "2026-10-01T02:30+02:00"),
        ("day", "02:30", "2026-10-01T02:30+02:00", "2026-10-02T02:30+02:00"),
        # Clocks go forward: 02:30 is skipped and taken by the offset before.
        ("day", "02:30", "2026-03-28T12:00+01:00", "2026-03-29T03:30+02:00"),
        ("day", "02:30", "2026-03-29T12:00+02:00", "2026-03-30T02:30+02:00"),
        # Clocks go back: 02:30 comes twice and is taken once.
        ("day", "02:30", "2026-10-24T12:00+02:00", "2026-10-25T02:30+02:00"),
        ("day", "02:30", "2026-10-25T02:30+02:00", "2026-10-26T02:30+01:00"),
        ("wednesday", "23:59", "2026-10-01T00:00+02:00", "2026-10-07T23:59+02:00"),
        ("sunday", "00:00", "2026-10-24T23:59+02:00", "2026-10-25T00:00+02:00"),
        ("month-day-1", "03:00", "2026-10-01T03:00+02:00", "2026-11-01T03:00+01:00"),
        ("month-day-31", "12:00", "2026-02-01T00:00+01:00", "2026-02-28T12:00+01:00"),
        ("month-day-31", "12:00", "2028-02-01T00:00+01:00", "2028-02-29T12:00+01:00"),
        ("month-day-30", "12:00", "2026-01-31T00:00+01:00", "2026-02-28T12:00+01:00"),
        ("month-day-31", "12:00", "2026-04-30T12:00+02:00", "2026-05-31T12:00+02:00"),
    ],
)
def test_the_next_occurrence_is_a_local_time_in_the_operators_zone(every: str, at: str, after: str, due: str) -> None:
    assert next_occurrence(plan(every, at), instant(after), BERLIN) == instant(due)


@given(
    st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1)),
    st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"]),
    st.integers(0, 23),
)
def test_a_daily_plan_runs_once_a_local_day(start: datetime, zone: str, hour: int) -> None:
    due = start.replace(tzinfo=UTC)
    days = []
    for _ in range(5):
        after, due = due, next_occurrence(plan(at=f"{hour:02}:15"), due, ZoneInfo(zone))
        assert due > after
        days.append(due.astimezone(ZoneInfo(zone)).date())
    assert [day - days[0] for day in days] == [timedelta(days=number) for number in range(5)]


@given(st.text(min_size=1, max_size=20), st.integers(1, 10_000))
def test_the_offset_of_a_terminal_is_its_own_and_lasts(terminal: str, spread: int) -> None:
    assert 0 <= offset(terminal, spread) < spread * SECOND
    assert offset(terminal, spread) == offset(terminal, spread)
    assert offset(terminal, 0) == 0


def test_a_fleet_is_spread_over_the_jitter() -> None:
    seconds = [offset(f"terminal-{number}", 600) // SECOND for number in range(6000)]
    assert max(seconds.count(second) for second in range(600)) < 40


def test_an_interval_counts_from_the_last_interrogation() -> None:
    assert next_interval("a", 5, 0, 600) is None
    due = next_interval("a", 5, 3600, 600)
    assert due == 5 + 3600 * SECOND + offset("a", 600)


@pytest.mark.parametrize(("missed", "runs"), [("run", ["plan"]), ("skip", [])])
def test_what_was_missed_while_no_server_ran_follows_the_plans_rule(missed: str, runs: list[str]) -> None:
    agenda = Agenda([plan(missed=missed)], BERLIN)
    now = instant("2026-10-05T12:00+02:00")
    assert agenda.start({"plan": instant("2026-10-02T02:30+02:00")}, now) == runs
    assert agenda.next_due == {"plan": instant("2026-10-06T02:30+02:00")}


def test_a_plan_that_is_not_yet_due_is_kept_and_several_occurrences_are_run_as_one() -> None:
    agenda = Agenda([plan()], BERLIN)
    stored = instant("2026-10-02T02:30+02:00")
    assert agenda.start({"plan": stored}, instant("2026-10-01T12:00+02:00")) == []
    assert agenda.due(instant("2026-10-02T02:29+02:00")) == []
    assert agenda.due(instant("2026-10-05T12:00+02:00")) == [("plan", stored)]
    assert agenda.due(instant("2026-10-05T12:01+02:00")) == []
