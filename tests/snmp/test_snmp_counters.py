"""What readings of a device's counter charge: each octet once, whatever restarts, wraps or falls."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operator_server.snmp.counters import TICKS, Reading, used

START = datetime(2026, 11, 1, tzinfo=UTC)
GIGABIT = 1_000_000_000


def reading(raw: int, seconds: float = 0, **facts: int | None) -> Reading:
    values: dict[str, int | None] = {"bits": 64} | facts
    return Reading(raw, START + timedelta(seconds=seconds), **values)  # type: ignore[arg-type]  # bits is an int


def test_the_first_reading_charges_nothing() -> None:
    assert (used(None, reading(5_000_000)).verdict, used(None, reading(5_000_000)).octets) == ("first", 0)


def test_what_was_counted_since_the_reading_before_is_used() -> None:
    use = used(reading(1_000), reading(4_000, 300))
    assert (use.verdict, use.octets) == ("counted", 3_000)


def test_a_value_that_fell_is_a_reset_and_what_stands_there_was_used_after_it() -> None:
    use = used(reading(9_000_000), reading(2_000, 300))
    assert (use.verdict, use.octets) == ("reset", 2_000)


def test_a_restart_of_the_agent_is_no_reset() -> None:
    # The host runs on; sysUpTime is not even read, and the discontinuity time of a restarted agent is zero.
    before = reading(9_000_000_000, uptime=50_000_000, discontinuity=1_234)
    use = used(before, reading(9_000_500_000, 300, uptime=50_030_000, discontinuity=0))
    assert (use.verdict, use.octets) == ("counted", 500_000)


def test_another_discontinuity_time_is_a_reset() -> None:
    use = used(reading(1_000, discontinuity=0), reading(5_000, 300, discontinuity=77_000, speed=GIGABIT))
    assert (use.verdict, use.octets) == ("reset", 5_000)


def test_a_host_that_began_to_run_anew_is_a_reset() -> None:
    use = used(reading(1_000, uptime=9_000_000), reading(5_000, 300, uptime=12_000, speed=GIGABIT))
    assert (use.verdict, use.octets) == ("reset", 5_000)
    assert "hrSystemUptime" in use.reason


def test_uptime_that_goes_round_after_497_days_is_no_reset() -> None:
    use = used(reading(10**12, uptime=TICKS - 10_000), reading(10**12 + 7, 300, uptime=20_000))
    assert (use.verdict, use.octets) == ("counted", 7)


def test_a_reset_whose_value_cannot_have_been_carried_since_is_a_gap() -> None:
    use = used(reading(10**12, uptime=9_000_000), reading(2 * 10**12, 300, uptime=100, speed=GIGABIT))
    assert (use.verdict, use.octets) == ("gap", 0)


def test_64_bits_that_fall_at_their_end_wrapped() -> None:
    use = used(reading(2**64 - 100), reading(400, 300, speed=GIGABIT))
    assert (use.verdict, use.octets) == ("counted", 500)


def test_32_bits_wrap_within_the_time_that_a_wrap_takes() -> None:
    use = used(reading(2**32 - 1_000, bits=32), reading(500, 20, bits=32, speed=GIGABIT))
    assert (use.verdict, use.octets) == ("counted", 1_500)


@pytest.mark.parametrize(("seconds", "speed"), [(300, GIGABIT), (60, None), (60, 0)])
def test_32_bits_that_may_have_wrapped_unseen_are_a_gap(seconds: int, speed: int | None) -> None:
    use = used(reading(1_000, bits=32), reading(9_000, seconds, bits=32, speed=speed))
    assert (use.verdict, use.octets) == ("gap", 0)


def test_32_bits_that_fell_further_than_the_interface_carries_were_reset() -> None:
    use = used(reading(2**31, bits=32), reading(500, 10, bits=32, speed=10_000_000))
    assert (use.verdict, use.octets) == ("reset", 500)


@pytest.mark.parametrize("raw", [-1, 2**32])
def test_a_value_that_does_not_fit_its_width_is_a_gap(raw: int) -> None:
    assert used(reading(0, bits=32), reading(raw, 10, bits=32, speed=GIGABIT)).verdict == "gap"


def test_an_older_reading_is_refused() -> None:
    with pytest.raises(ValueError, match="later"):
        used(reading(10, 300), reading(20, 300))


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=40), st.integers(0, 2**63))
def test_however_often_it_is_polled_the_sum_is_what_the_counter_counted(steps: list[int], start: int) -> None:
    last, total, value = reading(start), 0, start
    for number, step in enumerate(steps, 1):
        value += step
        now = reading(value, number * 60, uptime=number * 6_000)
        total += used(last, now).octets
        last = now
    assert total == value - start


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 10**8), st.integers(0, 10**8)), max_size=40),
    st.booleans(),
)
def test_with_resets_nothing_is_charged_that_was_not_used(
    steps: list[tuple[bool, int, int]], tells_uptime: bool
) -> None:
    """A device counts, is started anew at times, and counts on; what is charged is never more than what passed."""
    value = passed = charged = 0
    booted = 0.0
    last = reading(0, uptime=0 if tells_uptime else None, speed=GIGABIT)
    for number, (restarts, before, after) in enumerate(steps, 1):
        seconds = number * 60.0
        value, passed = value + before, passed + before
        if restarts:
            value, booted = 0, seconds - 5
        value, passed = value + after, passed + after
        uptime = int((seconds - booted) * 100) if tells_uptime else None
        now = reading(value, seconds, uptime=uptime, speed=GIGABIT)
        charged += used(last, now).octets
        last = now
    assert charged <= passed
