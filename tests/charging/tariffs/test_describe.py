"""A version told to people: nothing of what it charges is left out."""

from __future__ import annotations

import json
from pathlib import Path

from charging.tariffs import TariffBook, restore_version
from charging.tariffs.describe import Description, describe

BASE = {
    "effective_from": "2026-01-01", "currency": "EUR", "tax_category": "S", "unit": "second", "zone": "Europe/Berlin",
    "rounding": {"mode": "half_up", "place": "line", "to": "minor"},
}  # fmt: skip


def told(**keys: object) -> str:
    return words(describe(restore_version("x", json.dumps({**BASE, **keys}))))


def words(description: Description) -> str:
    facts = [f"{name}: {text}" for name, text in description.facts]
    rows = [" | ".join(row) for table in description.tables for row in table.rows]
    return "\n".join([*description.price, *facts, *rows])


def test_each_price_model_is_a_sentence() -> None:
    assert "0.05 EUR for each second." in told(price={"model": "per_unit", "amount": "0.05"})
    assert "1 EUR for each use, however much" in told(price={"model": "flat", "amount": "1"})
    assert "5 EUR for each 100 seconds begun" in told(price={"model": "package", "amount": "5", "size": 100})
    percent = {**BASE, "unit": "amount", "price": {"model": "percentage", "percent": "2.5"}}
    assert "2.5 % of the amount." in words(describe(restore_version("x", json.dumps(percent))))
    tiers = [{"from": 0, "to": 1000, "amount": "0.01"}, {"from": 1000, "amount": "0.004", "fee": "2"}]
    graduated = told(price={"model": "graduated", "tiers": tiers})
    assert "its own tier" in graduated
    assert "0 to 1\u202f000 | 0.01 EUR | 0 EUR\nbeyond 1\u202f000 | 0.004 EUR | 2 EUR" in graduated
    assert "the tier of the whole quantity" in told(price={"model": "volume", "tiers": tiers})


def test_all_that_changes_a_price_is_told() -> None:
    text = told(
        price={
            "model": "per_unit", "amount": "0.05", "unit_size": 60, "increments": {"first": 30, "next": 6},
            "connect_fee": "0.11", "minimum": "0.22", "maximum": "3.33",
        },
        included=77, discount="4.5", discount_amount="0.66", spending_cap="88", commitment="9.99", grant_units=300,
        destination=[
            {"name": "Mars", "prefixes": ["4930", "4931"], "price": {"model": "per_unit", "amount": "1.23"}}
        ],
    )  # fmt: skip
    for wanted in (
        "0.05 EUR for each 60 seconds", "first 30 seconds", "further 6 seconds", "0.11 EUR", "0.22 EUR", "3.33 EUR",
        "77 seconds per month", "4.5 %", "0.66 EUR", "88 EUR", "9.99 EUR", "300 seconds",
        "Mars | 4930, 4931 | 1.23 EUR for each second.",
    ):  # fmt: skip
        assert wanted in text, wanted


def test_the_tariffs_of_the_sample_operator_can_be_told() -> None:
    book, _ = TariffBook.load(Path(__file__).parents[3] / "configs" / "tariffs")
    assert book is not None
    voice = words(describe(book.tariff("voice").versions[0]))
    assert "0.012 EUR in band peak" in voice
    assert "peak | mon, tue, wed, thu, fri | 08:00-18:00" in voice
    assert "12-25" in voice
