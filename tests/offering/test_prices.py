"""The price of a tariff in one figure and as a sentence."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charging.price_text import money_text, price_text
from charging.rating import RatingState
from charging.tariffs import TariffVersion
from charging.tariffs.build import build_version
from charging.tariffs.document import VersionTable
from charging.tariffs.headline import Headline, headline
from signalling.messages import ModeTerms

FRIDAY = datetime(2026, 11, 6, 9, tzinfo=UTC)
BANDS = [
    {"name": "peak", "days": ["mon", "tue", "wed", "thu", "fri"], "hours": ["08:00-18:00"]},
    {"name": "off-peak", "days": ["mon", "tue", "wed", "thu", "fri"], "hours": ["00:00-08:00", "18:00-24:00"]},
    {"name": "off-peak", "days": ["sat", "sun", "holiday"], "hours": ["00:00-24:00"]},
]


def version(price: dict[str, Any], **keys: Any) -> TariffVersion:
    raw = {
        "effective_from": "2026-01-01",
        "currency": "EUR",
        "tax_category": "S",
        "unit": "second",
        "zone": "Europe/Berlin",
        "rounding": {"mode": "half_up", "place": "line", "to": 1},
        "price": price,
    } | keys
    built = build_version("t", raw, VersionTable.model_validate(raw))
    assert isinstance(built, TariffVersion), built
    return built


@pytest.mark.parametrize(
    ("price", "keys", "expected"),
    [
        ({"model": "per_unit", "amount": "0.05"}, {}, Headline(50_000, 1, True)),
        ({"model": "per_unit", "amount": "0.05"}, {"included": 10}, Headline(50_000, 1, True)),
        ({"model": "per_unit", "amount": "0.03", "unit_size": 60}, {}, Headline(30_000, 60, True)),
        ({"model": "per_unit", "amount": "0.05"}, {"discount": "10"}, Headline(50_000, 1, False)),
        ({"model": "per_unit", "amount": "0.05", "connect_fee": "0.10"}, {}, Headline(150_000, 1, False)),
        ({"model": "per_unit", "amount": "0.05", "minimum": "0.20"}, {}, Headline(200_000, 1, False)),
        (
            {"model": "per_unit", "amount": "0.01", "increments": {"first": 60, "next": 60}},
            {},
            Headline(600_000, 1, False),
        ),
        (
            {"model": "per_unit", "amounts": {"peak": "0.02", "off-peak": "0.01"}},
            {"band": BANDS},
            Headline(20_000, 1, False),
        ),
        (
            {"model": "graduated", "tiers": [{"from": 0, "to": 5, "amount": "0.01"}, {"from": 5, "amount": "0.004"}]},
            {},
            Headline(10_000, 1, False),
        ),
        (
            {"model": "volume", "tiers": [{"from": 0, "amount": "0.01", "fee": "1.00"}]},
            {},
            Headline(1_010_000, 1, False),
        ),
        ({"model": "package", "amount": "2.00", "size": 100}, {}, Headline(2_000_000, 100, False)),
        ({"model": "flat", "amount": "5.00"}, {}, Headline(5_000_000, 1, False)),
        ({"model": "percentage", "percent": "2.5"}, {"unit": "amount"}, Headline(25_000, 1_000_000, False)),
    ],
)
def test_the_headline_is_the_dearest_price(price: dict[str, Any], keys: dict[str, Any], expected: Headline) -> None:
    assert headline(version(price, **keys)) == expected


@given(
    amount=st.integers(1, 500),
    fee=st.integers(0, 50),
    least=st.integers(0, 200),
    size=st.sampled_from([1, 60]),
    increments=st.sampled_from([None, (1, 1), (30, 6), (60, 60)]),
)
def test_no_session_of_so_many_units_costs_more_than_the_headline(
    amount: int, fee: int, least: int, size: int, increments: tuple[int, int] | None
) -> None:
    price: dict[str, Any] = {
        "model": "per_unit",
        "amount": f"0.{amount:03d}",
        "unit_size": size,
        "connect_fee": f"0.{fee:03d}",
        "minimum": f"0.{least:03d}",
    }
    if increments is not None:
        price["increments"] = {"first": increments[0], "next": increments[1]}
    tariff = version(price)
    dearest = headline(tariff)
    cost = tariff.rate_for(None).rate(dearest.size, RatingState(), FRIDAY).cost_micros
    # Each increment is rounded to a micro by itself.
    assert cost <= dearest.amount + dearest.size


def terms(**keys: Any) -> ModeTerms:
    fields: dict[str, Any] = {
        "mode": "m", "kind": "one_off", "label": "", "price_text": "", "currency": "EUR", "amount": 4_990_000,
        "tax_category": "S", "tax_rate": 1900,
    }  # fmt: skip
    return ModeTerms(**fields | keys)


@pytest.mark.parametrize(
    ("language", "keys", "exact", "text"),
    [
        ("en", {}, True, "€4.99 once, plus 19% tax"),
        ("de", {}, True, "einmalig 4,99\xa0€, zzgl. 19\xa0% MwSt."),
        ("xx", {}, True, "€4.99 once, plus 19% tax"),
        ("en", {"tax_rate": 0}, True, "€4.99 once"),
        ("en", {"tax_rate": 750}, True, "€4.99 once, plus 7.5% tax"),
        ("en", {"currency": "JPY", "amount": 150_000_000, "tax_rate": 0}, True, "¥150 once"),
        ("en", {"kind": "free", "amount": 0}, True, "free of charge"),
        ("de", {"kind": "free", "amount": 0}, True, "kostenlos"),
        (
            "en",
            {"kind": "per_use", "amount": 3_600, "unit": "MiB", "unit_size": 1000, "tax_rate": 0},
            False,
            "up to €0.0036 per 1,000 MiB",
        ),
        (
            "de",
            {
                "kind": "per_use",
                "amount": 50_000,
                "unit": "use",
                "included": 10,
                "included_per": "month",
                "tax_rate": 0,
            },
            True,
            "0,05\xa0€ je use, 10 inklusive je Monat",
        ),
    ],
)
def test_a_price_is_said_in_the_users_language(language: str, keys: dict[str, Any], exact: bool, text: str) -> None:
    assert price_text(terms(**keys), language, exact=exact) == text


def test_an_amount_has_the_decimals_it_needs() -> None:
    assert money_text(5_000_000, "EUR", "en") == "€5.00"
    assert money_text(1_500_000, "KWD", "en") == "KWD1.500"
    assert money_text(1, "EUR", "en") == "€0.000001"
