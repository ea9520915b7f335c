"""The CSV set of the field becomes tariffs here, or is refused with file and line."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from charging.rating import RatingState
from charging.tariffs import TariffBook, rate_usage
from charging.tariffs.csv_import import Imported, convert
from charging.tariffs.csv_import.writing import write_tariffs

SET = {
    "Destinations": "#Id,Prefix\nGERMANY,+49\nMOBILE,+4915\nMOBILE,4916\n",
    "Rates": (
        "#Id,ConnectFee,Rate,RateUnit,RateIncrement,GroupIntervalStart\n"
        "PEAK,0,0.012,60s,30s,0s\nPEAK,0,0.012,60s,6s,30s\n"
        "OFF,0,0.006,60s,30s,0s\nOFF,0,0.006,60s,6s,30s\n"
        "FALLING,0.1,0.6,1m,60s,0s\nFALLING,0,0.06,60s,1s,1m\n"
        "SMS,0,0.05,1,1,0\n"
    ),
    "DestinationRates": (
        "#Id,DestinationId,RatesTag,RoundingMethod,RoundingDecimals,MaxCost,MaxCostStrategy\n"
        "DR_PEAK,GERMANY,PEAK,*middle,4,0,\nDR_OFF,GERMANY,OFF,*middle,4,0,\n"
        "DR_MOBILE,MOBILE,FALLING,*middle,4,0.9,*free\nDR_SMS,*any,SMS,*up,2,,\n"
    ),
    "Timings": (
        "#Tag,Years,Months,MonthDays,WeekDays,Time\n"
        "WORK,*any,*any,*any,1;2;3;4;5,08:00:00\nEVENING,*any,*any,*any,1;2;3;4;5,18:00:00\n"
    ),
    "RatingPlans": (
        "#Id,DestinationRatesId,TimingTag,Weight\n"
        "CALLS,DR_OFF,*any,10\nCALLS,DR_PEAK,WORK,20\nCALLS,DR_OFF,EVENING,20\nMOBILE,DR_MOBILE,*any,10\n"
        "SMS,DR_SMS,*any,10\n"
    ),
    "RatingProfiles": (
        "#Tenant,Category,Subject,ActivationTime,RatingPlanId,RatesFallbackSubject\n"
        "cgrates.org,call,*any,2026-01-01T00:00:00Z,CALLS,\ncgrates.org,call,*any,2026-06-01T00:00:00Z,MOBILE,\n"
        "cgrates.org,sms,*any,2026-01-01T00:00:00Z,SMS,\n"
    ),
}
MONDAY, SUNDAY = datetime(2026, 3, 2, 9, tzinfo=UTC), datetime(2026, 3, 1, 9, tzinfo=UTC)


def imported(folder: Path, **changed: str) -> Imported:
    for name, text in {**SET, **changed}.items():
        (folder / f"{name}.csv").write_text(text)
    return convert(folder, currency="EUR", zone="UTC", tax_category="S")


@pytest.fixture
def book(tmp_path: Path) -> TariffBook:
    (tmp_path / "in").mkdir()
    result = imported(tmp_path / "in")
    assert not result.unsupported
    assert write_tariffs(result.files, tmp_path / "out") == []
    book, problems = TariffBook.load(tmp_path / "out")
    assert book, problems
    return book


def cost(book: TariffBook, tariff: str, at: datetime, quantity: int, to: str | None = None) -> int:
    return rate_usage(book.at(tariff, at), quantity, RatingState(), at=at, destination=to).cost_micros


@pytest.mark.parametrize(
    ("at", "seconds", "micros"),
    [(SUNDAY, 32, 3600), (SUNDAY, 57, 6000), (SUNDAY, 75, 7800), (MONDAY, 32, 7200), (SUNDAY, 10, 3000)],
)
def test_increments_and_timings_cost_what_the_set_says(
    book: TariffBook, at: datetime, seconds: int, micros: int
) -> None:
    assert cost(book, "call-any", at, seconds, "+4930123") == micros


def test_the_higher_weight_holds_and_of_the_same_weight_what_began_last(book: TariffBook) -> None:
    assert cost(book, "call-any", MONDAY.replace(hour=18), 60, "4930") == 6000
    assert cost(book, "call-any", MONDAY.replace(hour=17, minute=59), 60, "4930") == 12_000


@pytest.mark.parametrize(("seconds", "micros"), [(1, 700_000), (60, 700_000), (90, 730_000), (600, 900_000)])
def test_a_later_activation_is_a_version_with_its_group_intervals_fee_and_most(
    book: TariffBook, seconds: int, micros: int
) -> None:
    assert cost(book, "call-any", datetime(2026, 7, 1, tzinfo=UTC), seconds, "49151") == micros


def test_plain_numbers_count_uses(book: TariffBook) -> None:
    assert cost(book, "sms-any", MONDAY, 3) == 150_000


@pytest.mark.parametrize(
    ("file", "old", "new", "line", "reason"),
    [
        ("Rates", "SMS,0,0.05", "SMS,0,NaN", 8, "Rate 'NaN' is not an amount"),
        ("Rates", "SMS,0,0.05", "SMS,0,-1", 8, "Rate '-1' is not an amount"),
        ("Rates", "SMS,0,0.05,1,1,0", "SMS,0,0.05,1,1", 8, "has 5 columns"),
        ("Rates", "OFF,0,0.006,60s,6s", "OFF,0,0.006,60s,500ms", 5, "parts of a second"),
        ("Rates", "60s,1s,1m", "60s,1,1m", 7, "count different things"),
        ("DestinationRates", "*up,2", "*none,2", 5, "RoundingMethod '*none'"),
        ("DestinationRates", "*up,2", "*up,9", 5, "RoundingDecimals '9'"),
        ("DestinationRates", "0.9,*free", "0.9,*disconnect", 4, "MaxCostStrategy '*disconnect'"),
        ("DestinationRates", "*any,SMS", "*any,NONE", 5, "RatesTag 'NONE' is not in Rates.csv"),
        ("Timings", "WORK,*any", "WORK,2026", 2, "Years '2026' is not supported"),
        ("Timings", "08:00:00", "*asap", 2, "Time '*asap' is not supported"),
        ("RatingPlans", "CALLS,DR_OFF,*any,10\n", "", 2, "no rate on"),
        ("RatingPlans", "EVENING,20", "WORK,20", 4, "holds at the same time"),
        ("RatingPlans", "SMS,DR_SMS,*any", "SMS,DR_SMS,NEVER", 6, "TimingTag 'NEVER'"),
        ("RatingProfiles", "SMS,", "SMS,1001", 4, "RatesFallbackSubject '1001'"),
        ("RatingProfiles", "2026-06-01T00:00:00Z", "*monthly", 3, "ActivationTime '*monthly'"),
        ("Destinations", "4916", "49x6", 4, "Prefix '49x6'"),
        ("Destinations", "4916", "4915", 4, "stands in line 3 too"),
    ],
)
def test_what_is_not_supported_is_named_with_file_and_line(
    tmp_path: Path, file: str, old: str, new: str, line: int, reason: str
) -> None:
    assert old in SET[file]
    result = imported(tmp_path, **{file: SET[file].replace(old, new)})
    told = [(Path(each.file).stem, each.line) for each in result.unsupported if reason in each.reason]
    assert (file, line) in told, [str(each) for each in result.unsupported]


def test_a_fault_in_one_profile_leaves_the_others_whole(tmp_path: Path) -> None:
    result = imported(tmp_path, Timings=SET["Timings"].replace("WORK,*any", "WORK,2026"))
    assert list(result.files) == ["sms-any"]


def test_a_missing_file_is_told_and_nothing_is_made(tmp_path: Path) -> None:
    imported(tmp_path)
    (tmp_path / "Rates.csv").unlink()
    result = convert(tmp_path, currency="EUR", zone="UTC", tax_category="S")
    assert not result.files
    assert "missing" in result.unsupported[0].reason


def test_what_has_no_effect_is_noted(tmp_path: Path) -> None:
    (tmp_path / "Actions.csv").write_text("x\n")
    result = imported(tmp_path, Destinations=SET["Destinations"] + "NOWHERE,1\n")
    assert [(Path(note.file).name, note.line) for note in result.not_used] == [
        ("Actions.csv", 0),
        ("Destinations.csv", 5),
    ]


def test_files_are_written_all_or_none(tmp_path: Path) -> None:
    def files(folder: Path) -> dict[str, Any]:
        return {path.name: path.read_text() for path in folder.iterdir()}

    (tmp_path / "in").mkdir()
    result, target = imported(tmp_path / "in"), tmp_path / "out"
    target.mkdir()
    (target / "sms-any.toml").write_text("# another\n")
    assert "already" in write_tariffs(result.files, target)[0].reason
    assert files(target) == {"sms-any.toml": "# another\n"}
    broken = {**result.files, "zzz": 'id = "zzz"\n'}
    assert "version" in str(write_tariffs(broken, target, replace=True)[0])
    assert files(target) == {"sms-any.toml": "# another\n"}
    assert write_tariffs(result.files, target, replace=True) == []
    assert set(files(target)) == {"sms-any.toml", "call-any.toml"}


OLDER = (
    "#Direction,Tenant,Category,Subject,ActivationTime,RatingPlanId,RatesFallbackSubject,CdrStatQueueIds\n"
    "*out,cgrates.org,call,*any,2026-01-01T00:00:00Z,CALLS,,\n"
)


@pytest.mark.parametrize(
    "changed",
    [
        {"RatingProfiles": OLDER},
        {"RatingProfiles": OLDER.split("\n", 1)[1].replace(",,\n", ",\n")},
        {"RatingProfiles": OLDER.replace("2026-01-01T00:00:00Z", "0001-01-01T00:00:00Z")},
        {"Destinations": SET["Destinations"].replace("#Id,", "Tag,")},
        {"RatingPlans": SET["RatingPlans"].replace("#Id,DestinationRatesId", "#Tag,DestinationRatesTag")},
        {
            "Rates": "\n".join(
                ",".join(line.split(",")[at] for at in (5, 0, 2, 1, 3, 4)) for line in SET["Rates"].split()
            )
        },
        {"Rates": SET["Rates"].replace("60s", "60000000000ns")},
        {"Timings": "\ufeff" + SET["Timings"].replace("\n", "\r\n")},
    ],
    ids=["direction", "direction, no header", "always", "header", "tags", "order", "nanoseconds", "windows"],
)
def test_the_columns_of_other_releases_are_found_by_their_names(tmp_path: Path, changed: dict[str, str]) -> None:
    (tmp_path / "in").mkdir()
    result = imported(tmp_path / "in", **changed)
    assert result.unsupported == []
    assert write_tariffs(result.files, tmp_path / "out") == []
    book, _ = TariffBook.load(tmp_path / "out")
    assert book
    assert cost(book, "call-any", SUNDAY, 75, "+4930123") == 7800


@pytest.mark.parametrize(
    ("file", "old", "new", "reason"),
    [
        ("RatingProfiles", None, OLDER.replace("*out", "*in"), "line 2: Direction '*in' is not supported"),
        ("Rates", "SMS,0,0.05", "SMS,0,1e999999", "larger, or finer, than an amount"),
        ("Rates", "SMS,0,0.05", "SMS,0,1e-999999", "larger, or finer, than an amount"),
        ("RatingPlans", "WORK,20", "WORK,NaN", "Weight 'NaN' is not a number"),
    ],
)
def test_what_no_tariff_can_be_is_told(tmp_path: Path, file: str, old: str | None, new: str, reason: str) -> None:
    result = imported(tmp_path, **{file: new if old is None else SET[file].replace(old, new, 1)})
    assert any(reason in str(fault) for fault in result.unsupported)
