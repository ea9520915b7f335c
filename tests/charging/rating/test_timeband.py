"""Time bands: where a session crosses from one to another, in zones that put their clocks forward and back."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tariff_maker import make

from charging.rating import RatingError, RatingState, Step
from charging.rating.timeband import DAYS, BandError, Hours, TimeBands
from charging.tariffs import rate_usage

ZONES = [
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Africa/Cairo",
    "America/Santiago",
    "Africa/Casablanca",
    "Asia/Kathmandu",
]
NIGHT = [Hours(0, 2 * 60 + 30, "night"), Hours(2 * 60 + 30, 23 * 60, "day"), Hours(23 * 60, 1440, "night")]
PEAK_WEEK = {
    **{day: [Hours(0, 480, "off"), Hours(480, 1080, "peak"), Hours(1080, 1440, "off")] for day in DAYS[:5]},
    **{day: [Hours(0, 1440, "off")] for day in ("sat", "sun", "holiday")},
}
PEAK_BANDS = [
    {"name": "peak", "days": list(DAYS[:5]), "hours": ["08:00-18:00"]},
    {"name": "off", "days": list(DAYS[:5]), "hours": ["00:00-08:00", "18:00-24:00"]},
    {"name": "off", "days": ["sat", "sun", "holiday"], "hours": ["00:00-24:00"]},
]


def nightly(zone: str) -> TimeBands:
    return TimeBands(ZoneInfo(zone), dict.fromkeys(DAYS, NIGHT))


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "start", "end", "pieces"),
    [
        # An ordinary night: 23:00 and 02:30 of the wall clock.
        ("Europe/Berlin", "2026-06-01T20:00", "2026-06-02T01:00", [("21:00", "night"), ("00:30", "day")]),
        # Spring forward at 02:00: there is no 02:30, day begins at 03:00 by the wall.
        ("Europe/Berlin", "2026-03-29T00:00", "2026-03-29T02:00", [("01:00", "day")]),
        # Fall back at 03:00: 02:30 comes, the clock goes back into the night, 02:30 comes again.
        (
            "Europe/Berlin",
            "2026-10-25T00:00",
            "2026-10-25T02:00",
            [("00:30", "day"), ("01:00", "night"), ("01:30", "day")],
        ),
        ("America/New_York", "2026-03-08T06:00", "2026-03-08T08:00", [("07:00", "day")]),
        # New York falls back from 02:00 to 01:00, all of it night.
        ("America/New_York", "2026-11-01T05:00", "2026-11-01T08:00", [("07:30", "day")]),
        # Lord Howe moves by half an hour only: from 02:00 to 02:30, and back from 02:00 to 01:30.
        ("Australia/Lord_Howe", "2026-10-03T15:00", "2026-10-03T16:00", [("15:30", "day")]),
        ("Australia/Lord_Howe", "2026-04-04T14:30", "2026-04-04T17:00", [("16:00", "day")]),
        # Cairo falls back at midnight to 23:00: night goes on.
        ("Africa/Cairo", "2026-10-29T19:30", "2026-10-30T01:00", [("20:00", "night"), ("00:30", "day")]),
        # Santiago falls back from 24:00 to 23:00 and skips the hour after midnight in spring.
        ("America/Santiago", "2026-04-05T01:30", "2026-04-05T07:00", [("02:00", "night"), ("06:30", "day")]),
        ("America/Santiago", "2026-09-06T02:30", "2026-09-06T06:00", [("03:00", "night"), ("05:30", "day")]),
    ],
)
def test_a_session_is_split_where_the_wall_clock_says(
    zone: str, start: str, end: str, pieces: list[tuple[str, str]]
) -> None:
    split = list(nightly(zone).split(utc(start), utc(end)))
    assert [(f"{piece.start:%H:%M}", piece.band) for piece in split[1:]] == pieces
    assert split[0].start == utc(start)
    assert split[-1].end == utc(end)


def test_a_change_of_the_clock_is_found_to_the_microsecond() -> None:
    start = utc("2026-03-29T00:00:00.700000")
    pieces = list(nightly("Europe/Berlin").split(start, start + timedelta(hours=2)))
    assert [piece.start for piece in pieces] == [start, utc("2026-03-29T01:00:00")]


INSTANTS = st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 1), timezones=st.just(UTC))


@given(zone=st.sampled_from(ZONES), start=INSTANTS, minutes=st.integers(1, 4000), sample=st.floats(0, 1))
@example("Africa/Casablanca", utc("2026-02-14T23:00"), 600, 0.5)
def test_the_pieces_join_and_each_instant_lies_in_its_band(
    zone: str, start: datetime, minutes: int, sample: float
) -> None:
    bands = nightly(zone)
    end = start + timedelta(minutes=minutes)
    pieces = list(bands.split(start, end))
    assert [piece.start for piece in pieces] == [start, *(piece.end for piece in pieces[:-1])]
    assert pieces[-1].end == end
    for before, after in itertools.pairwise(pieces):
        assert before.band != after.band
    for piece in pieces:
        last = piece.end - timedelta(microseconds=1)
        for instant in (piece.start, piece.start + (last - piece.start) * sample, last):
            assert bands.at(instant) == piece.band


def test_a_stretch_of_nothing_has_no_pieces() -> None:
    assert list(nightly("Europe/Berlin").split(utc("2026-06-01T20:00"), utc("2026-06-01T20:00"))) == []


def test_weekends_and_holidays_have_their_own_hours() -> None:
    bands = TimeBands(ZoneInfo("Europe/Berlin"), PEAK_WEEK, [date(2026, 4, 3), (12, 25)])
    at_noon = {"2026-04-02": "peak", "2026-04-03": "off", "2026-04-04": "off", "2026-12-25": "off"}
    assert {day: bands.at(utc(f"{day}T10:00")) for day in at_noon} == at_noon
    # The holiday begins at midnight of Berlin: 22:00Z of the day before.
    split = list(bands.split(utc("2026-04-02T07:00"), utc("2026-04-07T10:00")))
    assert [f"{piece.start:%d %H:%M} {piece.band}" for piece in split] == [
        "02 07:00 peak",
        "02 16:00 off",
        "06 06:00 peak",
        "06 16:00 off",
        "07 06:00 peak",
    ]


@pytest.mark.parametrize(
    ("hours", "message"),
    [
        ([Hours(0, 480, "a")], "sun has a hole from 08:00 to 24:00"),
        ([Hours(60, 1440, "a")], "sun has a hole from 00:00 to 01:00"),
        ([Hours(0, 480, "a"), Hours(500, 1440, "b")], "sun has a hole from 08:00 to 08:20"),
        ([Hours(0, 480, "a"), Hours(470, 1440, "b")], "sun has two bands at 07:50"),
        ([], "sun has a hole from 00:00 to 24:00"),
    ],
)
def test_a_hole_or_an_overlap_is_refused(hours: list[Hours], message: str) -> None:
    week = dict.fromkeys(DAYS, NIGHT) | {"sun": hours}
    with pytest.raises(BandError, match=message):
        TimeBands(ZoneInfo("UTC"), week)


def per_second_price(start: datetime, seconds: int, first: int, following: int) -> int:
    """Sixtieths of micros of a call, found by walking through its increments one by one."""
    bands = TimeBands(ZoneInfo("Europe/Berlin"), PEAK_WEEK)
    position, length, cost = 0, first, 0
    while position < seconds:
        amount = {"peak": 12_000, "off": 6_000}[bands.at(start + timedelta(seconds=position))]
        cost += amount * length
        position, length = position + length, following
    return cost


@given(
    start=st.datetimes(datetime(2026, 9, 1, 5, 50), datetime(2026, 9, 1, 6, 1), timezones=st.just(UTC)),
    cuts=st.lists(st.integers(0, 700), max_size=4),
    first=st.integers(1, 90),
    following=st.integers(1, 90),
)
def test_a_call_into_peak_hours_costs_what_its_increments_cost_one_by_one(
    start: datetime, cuts: list[int], first: int, following: int
) -> None:
    price = {
        "model": "per_unit",
        "unit_size": 60,
        "increments": {"first": first, "next": following},
        "amounts": {"peak": "0.012", "off": "0.006"},
    }
    rounding = {"mode": "up", "place": "record", "to": 1}
    version = make(unit="second", price=price, band=PEAK_BANDS, rounding=rounding)
    state, total, at = RatingState(), 0, start
    for piece in cuts:
        rated = rate_usage(version, piece, state, at=at)
        state, total, at = rated.state, total + rated.cost_micros, at + timedelta(seconds=piece)
    assert total == -(-per_second_price(start, sum(cuts), first, following) // 60)


def test_the_steps_name_the_bands() -> None:
    price = {"model": "per_unit", "unit_size": 60, "amounts": {"peak": "0.012", "off": "0.006"}}
    version = make(unit="second", price=price, band=PEAK_BANDS)
    steps: list[Step] = []
    rate_usage(version, 120, RatingState(), at=utc("2026-09-01T15:59:10"), steps=steps)
    assert [(step.text, step.cost) for step in steps] == [
        ("peak: 50 x 0.012 per 60", 10_000),
        ("off: 70 x 0.006 per 60", 7_000),
    ]


def test_what_is_no_duration_is_priced_whole_by_the_band_of_its_instant() -> None:
    price = {"model": "per_unit", "amounts": {"peak": "0.02", "off": "0.01"}}
    version = make(unit="MiB", price=price, band=PEAK_BANDS)
    for hour, micros in (("15", 10**6 * 2), ("16", 10**6)):
        at = utc(f"2026-09-01T{hour}:59:59")
        assert rate_usage(version, 100, RatingState(), at=at).cost_micros == micros


@pytest.mark.parametrize("at", [None, datetime(2026, 9, 1)])
def test_bands_need_an_aware_instant(at: datetime | None) -> None:
    price = {"model": "per_unit", "amounts": {"peak": "0.02", "off": "0.01"}}
    version = make(unit="second", price=price, band=PEAK_BANDS)
    with pytest.raises(RatingError, match="aware instant"):
        rate_usage(version, 1, RatingState(), at=at)


def test_a_session_of_more_than_a_year_is_refused() -> None:
    price = {"model": "per_unit", "amounts": {"peak": "0.02", "off": "0.01"}}
    version = make(unit="second", price=price, band=PEAK_BANDS)
    with pytest.raises(RatingError, match="366 days"):
        rate_usage(version, 10**12, RatingState(), at=utc("2026-09-01T12:00:00"))
