"""Tariff files: versions by date, and a clear problem for each fault."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from charging.tariffs import Problem, RatingState, TariffBook, TariffError, rate_usage

CONFIGS = Path(__file__).parents[3] / "configs" / "tariffs"

TARIFF = """
id = "games"

[[version]]
effective_from = 2026-01-01
currency = "EUR"
tax_category = "standard"
unit = "use"
zone = "Europe/Berlin"
rounding = { mode = "half_up", place = "record", to = "minor" }
grant_units = 20

[version.price]
model = "per_unit"
amount = "0.05"
"""
TIERS = """model = "graduated"
tiers = [{ from = 0, to = 10, amount = "0.10" }, { from = 10, amount = "0.05" }]"""
BANDS = """amounts = { peak = "0.05", off = "0.02" }

[[version.band]]
name = "peak"
days = ["mon", "tue", "wed", "thu", "fri"]
hours = ["08:00-18:00"]

[[version.band]]
name = "off"
days = ["mon", "tue", "wed", "thu", "fri"]
hours = ["00:00-08:00", "18:00-24:00"]

[[version.band]]
name = "off"
days = ["sat", "sun"]
hours = ["00:00-24:00"]
"""
TIERED = TARIFF.replace('model = "per_unit"\namount = "0.05"', TIERS)
BANDED = TARIFF.replace('amount = "0.05"', BANDS)
DESTINATION = """
[[version.destination]]
name = "near"
prefixes = ["49"]
price = { model = "per_unit", amount = "0.01" }
"""


def load(directory: Path, *texts: str) -> tuple[TariffBook | None, list[Problem]]:
    for number, text in enumerate(texts):
        (directory / f"{number}.toml").write_text(text)
    return TariffBook.load(directory)


def version(text: str, start: str) -> str:
    """A further version of the tariff in ``text``."""
    return text[text.index("[[version]]") :].replace("2026-01-01", start)


def test_the_tariffs_of_the_small_operator_load_and_rate() -> None:
    book, problems = TariffBook.load(CONFIGS)
    assert problems == []
    assert book is not None
    noon = datetime(2026, 10, 1, 10, tzinfo=UTC)
    costs = {
        ("games-per-use", 12): 100_000,
        ("data-graduated", 1_200): 10_000_000 + 400_000,
        ("voice", 75): 15_600,
    }
    for (tariff, quantity), cost in costs.items():
        held = book.at(tariff, noon)
        assert rate_usage(held, quantity, RatingState(), at=noon).cost_micros == cost


def test_a_version_holds_from_its_midnight_in_the_zone_until_the_next(tmp_path: Path) -> None:
    later = version(TARIFF, "2026-09-01").replace("0.05", "0.06")
    book, _ = load(tmp_path, later.join([TARIFF, ""]))
    assert book is not None
    change = datetime(2026, 8, 31, 22, tzinfo=UTC)
    before, after = book.at("games", change - timedelta(microseconds=1)), book.at("games", change)
    assert before.version_id.startswith("games@2026-01-01~")
    assert after.version_id.startswith("games@2026-09-01~")
    assert after.effective_from == change
    assert book.version(before.version_id) is before
    with pytest.raises(TariffError, match="holds from 2025-12-31T23:00:00"):
        book.at("games", datetime(2025, 12, 31, 22, tzinfo=UTC))


def test_unknown_tariffs_and_versions_are_named(tmp_path: Path) -> None:
    book, _ = load(tmp_path, TARIFF)
    assert book is not None
    assert "games" in book
    assert "game" not in book
    with pytest.raises(TariffError, match="no tariff 'game'; the book has: games"):
        book.at("game", datetime(2026, 9, 1, tzinfo=UTC))
    with pytest.raises(TariffError, match="no tariff version 'games@2026-01-01~0'"):
        book.version("games@2026-01-01~0")


def test_the_version_id_changes_with_the_content_and_with_nothing_else(tmp_path: Path) -> None:
    def version_id(text: str) -> str:
        book, _ = load(tmp_path, text)
        assert book is not None
        return book.at("games", datetime(2026, 9, 1, tzinfo=UTC)).version_id

    commented = TARIFF.replace("grant_units = 20", "# ahead\ngrant_units    = 20")
    assert version_id(commented) == version_id(TARIFF)
    assert version_id(TARIFF.replace("= 20\n", "= 21\n")) != version_id(TARIFF)
    assert version_id(TARIFF.replace('"EUR"', '"KWD"')) != version_id(TARIFF)


@pytest.mark.parametrize(
    ("text", "old", "new", "key", "value", "reason"),
    [
        (TARIFF, '"EUR"', '"EUX"', "currency", "'EUX'", "not a currency of ISO 4217"),
        (TARIFF, '"EUR"', '"XAU"', "currency", "'XAU'", "nobody can pay in it"),
        (TARIFF, '"0.05"', "0.05", "price.amount", "0.05", "written as a string"),
        (TARIFF, '"0.05"', "5", "price.amount", "5", "written as a string"),
        (TARIFF, '"0.05"', "nan", "price.amount", "nan", "written as a string"),
        (TARIFF, '"0.05"', '"NaN"', "price.amount", "'NaN'", "decimal number"),
        (TARIFF, '"0.05"', '"1e3"', "price.amount", "'1e3'", "decimal number"),
        (TARIFF, '"0.05"', '"-0.05"', "price.amount", "'-0.05'", "must not be negative"),
        (TARIFF, '"0.05"', '"0.0000001"', "price.amount", "'0.0000001'", "more than six decimals"),
        (TARIFF, '"0.05"', '"9999999999999999"', "price.amount", "'9999999999999999'", "larger than"),
        (TARIFF, 'amount = "0.05"', "", "price.amount", "", "missing"),
        (TARIFF, '"per_unit"', '"per_unti"', "price", "{", "per_unti"),
        (TARIFF, 'model = "per_unit"', "", "price", "{", "missing: the price model"),
        (TARIFF, "grant_units = 20", "grant_units = -1", "grant_units", "-1", "0 or more"),
        (TARIFF, "grant_units = 20", "grant_units = nan", "grant_units", "nan", "whole number"),
        (TARIFF, "grant_units = 20", "included = 1.5", "included", "1.5", "whole number"),
        (TARIFF, "grant_units = 20", 'includes = "x"', "includes", "'x'", "unknown key"),
        (TARIFF, "grant_units = 20", 'included_per = "day"', "included_per", "'day'", "month"),
        (TARIFF, "grant_units = 20", 'discount = "101"', "discount", "'101'", "at most 100"),
        (TARIFF, "grant_units = 20", 'discount = "1.1234567"', "discount", "'1.1234567'", "six decimals"),
        (
            TARIFF,
            "grant_units = 20",
            'commitment = "9"\nspending_cap = "8"',
            "commitment",
            "'9'",
            "more than the spending cap",
        ),
        (TARIFF, 'unit = "use"', 'unit = ""', "unit", "''", "letters"),
        (TARIFF, 'unit = "use"', "", "unit", "", "missing"),
        (TARIFF, 'unit = "use"', 'unit = "amount"', "price.model", "'per_unit'", "percentage"),
        (TARIFF, "Europe/Berlin", "Europe/Berlim", "zone", "'Europe/Berlim'", "IANA"),
        (TARIFF, "Europe/Berlin", "../etc", "zone", "'../etc'", "IANA"),
        (TARIFF, "half_up", "half", "rounding.mode", "'half'", "half_even"),
        (TARIFF, '"minor"', "0", "rounding.to", "0", "1"),
        (TARIFF, '"record"', '"increment"', "rounding.place", "'increment'", "no price per unit with incr"),
        (TARIFF, "2026-01-01", "2026-01-01T00:00:00", "effective_from", "datetime", "distance from UTC"),
        (TARIFF, "2026-01-01", '"soon"', "effective_from", "'soon'", "a date such as"),
        (
            TARIFF,
            'amount = "0.05"',
            'amount = "0.05"\nminimum = "2"\nmaximum = "1"',
            "price.minimum",
            "'2'",
            "more than the maximum",
        ),
        (TARIFF, 'amount = "0.05"', 'amounts = { peak = "1" }', "price.amounts", "'1'", "no [[version.band]]"),
        (TIERED, "from = 10", "from = 11", "price.tiers[1].from", "11", "gap in tiers"),
        (TIERED, "from = 10", "from = 9", "price.tiers[1].from", "9", "overlapping tiers"),
        (TIERED, "from = 0", "from = 1", "price.tiers[0].from", "1", "gap in tiers"),
        (TIERED, "from = 0", "from = -1", "price.tiers[0].from", "-1", "0 or more"),
        (TIERED, "from = 10,", "from = 10, to = 20,", "price.tiers[1].to", "20", "none for more than 20"),
        (TIERED, "to = 10,", "to = 0,", "price.tiers[0].to", "0", "1 or more"),
        (
            TIERED,
            '"0.10" }',
            '"0.10" }, { from = 10, to = 10, amount = "1" }',
            "price.tiers[1].to",
            "10",
            "ends before it begins",
        ),
        (TIERED, "to = 10, ", "", "price.tiers[1].from", "10", "has no end"),
        (TIERED, '"0.10"', "0.1", "price.tiers[0].amount", "0.1", "written as a string"),
        (BANDED, "18:00-24:00", "19:00-24:00", "band", "peak", "mon has a hole from 18:00 to 19:00"),
        (BANDED, "00:00-08:00", "00:00-09:00", "band", "peak", "mon has two bands at 08:00"),
        (BANDED, '["sat", "sun"]', '["sat"]', "band", "peak", "sun has a hole from 00:00 to 24:00"),
        (BANDED, "18:00-24:00", "18:00-08:00", "band[1].hours[1]", "'18:00-08:00'", "by 24:00"),
        (BANDED, "18:00-24:00", "18-24", "band[1].hours[1]", "'18-24'", '"08:00-18:00"'),
        (BANDED, '"sat"', '"sam"', "band[2].days[0]", "'sam'", "'sat'"),
        (BANDED, ', off = "0.02"', "", "price.amounts.off", "", "without a price"),
        (BANDED, "amounts = {", 'amounts = { x = "1",', "price.amounts.x", "'1'", "no band of this name"),
        (BANDED, "grant_units = 20", "holidays = [2026-12-25]", "holidays", "2026", "no effect"),
        (BANDED, "grant_units = 20", 'holidays = ["12-32"]', "holidays[0]", "'12-32'", "no day of the calendar"),
        (
            TARIFF + DESTINATION * 2,
            "",
            "",
            "destination[1].prefixes[0]",
            "'49'",
            "stands twice",
        ),
        (TARIFF + DESTINATION, '"49"', '"+49"', "destination[0].prefixes[0]", "'+49'", "digits alone"),
        (TARIFF + DESTINATION, '"0.01"', '"x"', "destination[0].price.amount", "'x'", "decimal number"),
    ],
)
def test_each_fault_is_a_problem_that_names_file_key_and_value(
    tmp_path: Path, text: str, old: str, new: str, key: str, value: str, reason: str
) -> None:
    assert old in text
    book, problems = load(tmp_path, text.replace(old, new, 1))
    assert book is None
    assert [problem.key for problem in problems] == [f"version[0].{key}"]
    assert problems[0].file == str(tmp_path / "0.toml")
    assert value in problems[0].value
    assert bool(value) == bool(problems[0].value)
    assert reason in problems[0].reason


def test_all_problems_of_all_files_are_told_and_nothing_is_loaded(tmp_path: Path) -> None:
    two = TARIFF.replace('"EUR"', '"EUX"').replace('"0.05"', "0.05") + version(TIERED, "2026-02-01").replace(
        "from = 10", "from = 11"
    )
    book, problems = load(tmp_path, two, "id = ", TARIFF.replace("games", "other"), 'id = "x y"\nfoo = 1')
    assert book is None
    assert [(Path(problem.file).name, problem.key) for problem in problems] == [
        ("0.toml", "version[0].currency"),
        ("0.toml", "version[0].price.amount"),
        ("0.toml", "version[1].price.tiers[1].from"),
        ("1.toml", ""),
        ("3.toml", "id"),
        ("3.toml", "version"),
        ("3.toml", "foo"),
    ]
    assert str(problems[0]).endswith("0.toml: version[0].currency = 'EUX': 'EUX' is not a currency of ISO 4217")


def test_two_versions_may_not_begin_at_the_same_time(tmp_path: Path) -> None:
    _, problems = load(tmp_path, TARIFF + version(TARIFF, "2025-12-31T23:00:00Z"))
    assert [problem.key for problem in problems] == ["version[1].effective_from"]


def test_two_files_may_not_have_the_same_id(tmp_path: Path) -> None:
    _, problems = load(tmp_path, TARIFF, TARIFF)
    assert [(problem.key, problem.value) for problem in problems] == [("id", "'games'")]
    assert "0.toml has the same id" in problems[0].reason


def test_a_missing_directory_is_a_problem(tmp_path: Path) -> None:
    book, problems = TariffBook.load(tmp_path / "none")
    assert book is None
    assert problems[0].reason == "no such directory"


def test_a_file_that_is_no_utf_8_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_bytes(b'id = "\xff"')
    assert "cannot be read as TOML" in TariffBook.load(tmp_path)[1][0].reason


@pytest.mark.parametrize("text", ["", "version = 3", "version = []", 'id = "x"\nversion = [1]', "[version]"])
def test_a_file_without_versions_is_a_problem(tmp_path: Path, text: str) -> None:
    book, problems = load(tmp_path, text)
    assert book is None
    assert any(problem.key.startswith("version") for problem in problems)
