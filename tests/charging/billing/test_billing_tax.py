"""Which tax a charge bears, and what a tax table may say."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from charging.billing.tax import Tax, TaxError, Taxpayer, TaxTable, load_taxes

CONFIGS = Path(__file__).parents[3] / "configs"
TODAY = date(2026, 10, 5)


@pytest.fixture(scope="module")
def table() -> TaxTable:
    return load_taxes(CONFIGS / "tax.toml")


def tax(table: TaxTable, customer: Taxpayer, category: str = "S", day: date = TODAY, own: int = 1900) -> Tax:
    return table.tax(category, own, day, customer, "DE", operator_has_vat_id=True)


@pytest.mark.parametrize(
    ("customer", "category", "expected"),
    [
        (Taxpayer("DE"), "S", Tax("S", 1900, "DE")),
        (Taxpayer("DE", "DE999999999"), "S", Tax("S", 1900, "DE")),
        (Taxpayer("DE"), "R", Tax("S", 700, "DE")),
        (Taxpayer("DE"), "Z", Tax("Z", 0, "DE")),
        (Taxpayer("AT", "ATU12345678"), "S", Tax("AE", 0, "AT")),
        (Taxpayer("GR", "EL123456789"), "S", Tax("AE", 0, "GR")),
        (Taxpayer("AT"), "S", Tax("S", 2000, "AT")),
        (Taxpayer("AT"), "R", Tax("S", 1000, "AT")),
        (Taxpayer("AT", "DE999999999"), "S", Tax("S", 2000, "AT")),
        (Taxpayer("FR"), "S", Tax("S", 1900, "DE")),
        (Taxpayer("CH"), "S", Tax("S", 810, "CH")),
        (Taxpayer("US"), "S", Tax("G", 0, "US")),
        (Taxpayer("DE", status="exempt"), "S", Tax("E", 0, "DE")),
        (Taxpayer("DE", "DE999999999", "reverse_charge"), "S", Tax("AE", 0, "DE")),
    ],
)
def test_the_tax_follows_the_customer(table: TaxTable, customer: Taxpayer, category: str, expected: Tax) -> None:
    assert tax(table, customer, category) == expected


def test_a_rate_holds_from_its_day_on(table: TaxTable) -> None:
    days = [date(2020, 6, 30), date(2020, 7, 1), date(2020, 12, 31), date(2021, 1, 1)]
    assert [tax(table, Taxpayer("DE"), day=day).rate_bp for day in days] == [1900, 1600, 1600, 1900]
    assert table.rate("DE", "S", date(1999, 1, 1)) is None
    assert tax(table, Taxpayer("DE"), day=date(1999, 1, 1), own=1600).rate_bp == 1600


def test_without_a_table_a_charge_keeps_the_rate_it_was_agreed_at(tmp_path: Path) -> None:
    table = load_taxes(tmp_path / "tax.toml")
    assert tax(table, Taxpayer("DE"), "R", own=700) == Tax("S", 700, "DE")
    assert tax(table, Taxpayer("AT", "ATU12345678"), own=1900) == Tax("AE", 0, "AT")
    without_id = table.tax("S", 1900, TODAY, Taxpayer("AT", "ATU1"), "DE", operator_has_vat_id=False)
    assert without_id == Tax("S", 1900, "DE")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rates = [", "not TOML"),
        ('[rates.DE]\nS = [{ percent = "19.123", from = 2020-01-01 }]', "rates.DE.S: '19.123' is not a percentage"),
        ('[rates.DE]\nS = [{ percent = "101", from = 2020-01-01 }]', "not a percentage"),
        ('[rates.DE]\nS = [{ percent = "NaN", from = 2020-01-01 }]', "rates.DE.S: percent: 'NaN'"),
        ('[rates.DE]\nS = [{ percent = "19" }]', r"rates.DE.S\[0\]: percent = 19: .*missing required field `from`"),
        ("[rates.DE]\nS = [{ percent = 19, from = 2020-01-01 }]", r"rates.DE.S\[0\].percent = 19: .* as a string"),
        ('[rates.DE]\nS = [{ percent = "19", from = "2020-02-30" }]', r"rates.DE.S\[0\]: .*from = 2020-02-30: Invalid"),
        ('[rates.DE]\nS = "19"', "rates.DE = {'S': '19'}: each category has a list"),
        ('[rates.DE]\nS = ["19"]', r"rates.DE.S\[0\] = '19': a rate is written"),
        ('[rates.de]\nS = [{ percent = "19", from = 2020-01-01 }]', "rates.de: a country is two capital letters"),
        ('inclusive = "B"', "inclusive = 'B': Expected `array`"),
        ('[rates.DE]\nS = [{percent="1", from=2020-01-01}, {percent="2", from=2020-01-01}]', "begin on the same day"),
        ('outside_eu = "S"', "outside_eu: 'S'"),
        ("other = 1", "unknown field `other`"),
    ],
)
def test_a_table_with_a_fault_is_refused_with_its_place(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "tax.toml"
    path.write_text(text)
    with pytest.raises(TaxError, match=words) as caught:
        load_taxes(path)
    assert str(path) in str(caught.value)
