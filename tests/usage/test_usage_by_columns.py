"""An import that rates by columns leaves what one that rates record by record leaves, whatever it is handed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from counting_samples import SETTINGS, SIGNING
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, select
from usage_samples import CALLS, DATA, GIGABYTES, NOW, Shop, call, csv_file, json_file, version

from charging.balances.tables import UnitBucket
from charging.bulk import Left, Portion, PortionRater
from charging.ledger.tables import LedgerAccount, Posting, Transfer
from charging.ledger.verify import verify
from charging.tariffs import Tariff, TariffVersion
from operator_server.balances.buckets import add_bucket
from operator_server.balances.money import top_up
from operator_server.balances.proof import verify_balances
from operator_server.billing.bill_run import run_bills
from operator_server.billing.proof import verify_billing
from operator_server.store.accounting import Charge
from operator_server.store.engine import writing
from operator_server.store.rows import table
from operator_server.store.usage import UsageRecord, UsageState
from operator_server.usage.intake import Importer, Outcome
from operator_server.usage.reading import Line
from operator_server.usage.standing import set_payment

DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
BANDS = {
    "band": [{"name": "day", "days": DAYS, "hours": ["02:30-18:00"]},
             {"name": "night", "days": DAYS, "hours": ["00:00-02:30", "18:00-24:00"]}],
}  # fmt: skip
TALK = {"model": "per_unit", "unit_size": 60, "increments": {"first": 30, "next": 6}, "connect_fee": "0.01"}
ABROAD = {"name": "abroad", "prefixes": ["4", "49"], "price": TALK | {"amounts": {"day": "0.3", "night": "0.07"}}}
TIERS = [{"from": 0, "to": 900, "amount": "0.05"}, {"from": 900, "amount": "0.001"}]
VOLUME = {"model": "volume", "per": "period", "tiers": TIERS}
CENTS = {"mode": "half_even", "place": "line", "to": "minor"}
TARIFFS = (
    CALLS,
    GIGABYTES,
    Tariff("talk", {}, (version("talk", **BANDS, price=None, destination=[ABROAD], effective_from="2026-10-20"),)),
    Tariff("volume", {}, (
        version("volume", unit="use", price=VOLUME, rounding=CENTS, discount="33.3", effective_from="2026-10-01"),
        version("volume", unit="use", price=VOLUME, rounding=CENTS, included=50, effective_from="2026-11-02"),
    )),
    Tariff("capped", {}, (
        version("capped", unit="MiB", spending_cap="1.00", discount_amount="0.2", included=7, included_per="agreement",
                price={"model": "package", "size": 7, "amount": "0.11", "per": "period"}),
    )),
    Tariff("free", {}, (version("free", price={"model": "per_unit", "amount": "0"}),)),
    Tariff("yen", {}, (version("yen", currency="JPY", **DATA | {"rounding": CENTS}),)),
)  # fmt: skip
CHANGE = datetime(2026, 10, 25, 1, tzinfo=UTC)

subscribers = st.sampled_from(["acc-1", "acc-1", "acc-2", "acc-3", "nobody"])
instants = st.sampled_from(
    [NOW + timedelta(minutes=5), NOW + timedelta(minutes=5, microseconds=1), datetime(2025, 12, 1, tzinfo=UTC)]
    + [CHANGE + timedelta(seconds=seconds) for seconds in (-3601, -31, -1, 0, 1)]
    + [datetime(2026, 10, 31, 23, tzinfo=UTC) + timedelta(microseconds=step) for step in (-1, 0, 1)]
    + [datetime(2026, 11, 1, 23, tzinfo=UTC), datetime(2026, 11, 2, 8, 30, tzinfo=UTC)]
) | st.datetimes(datetime(2026, 9, 25), datetime(2026, 11, 3), timezones=st.just(UTC))  # zone is given
records = st.fixed_dictionaries(
    {
        "source": st.sampled_from(["switch", "switch", "gate"]),
        "id": st.integers(1, 40).map(str),
        "subscriber": subscribers,
        "tariff": st.sampled_from([tariff.tariff_id for tariff in TARIFFS]),
        "quantity": st.integers(0, 130) | st.sampled_from([10**6, 3 * 10**7, 10**15, 10**15 + 1, -1, 2.5]),
        "at": instants.map(datetime.isoformat),
        "destination": st.sampled_from(["", "49", "+4930", "5", "4x"]),
    }
)
portions = st.lists(st.lists(records, min_size=1, max_size=25), min_size=1, max_size=3)


def furnished(fewest: int) -> Shop:
    """A shop where September is billed; somebody has units, somebody pays ahead, somebody is only rated."""
    shop = Shop(None, *TARIFFS)
    shop.importer = Importer(shop.book, SETTINGS, SIGNING, shop.clock, default_source="given", fewest=fewest)
    run_bills(shop.engine, SETTINGS, "2026-09", now=NOW - timedelta(days=20))
    with writing(shop.engine).begin() as connection:
        keys: dict[str, Any] = {"valid_from": NOW - timedelta(days=30), "now": NOW}
        add_bucket(connection, "acc-2", "MiB", 150, id="b-1", **keys)
        add_bucket(connection, "acc-2", "second", 90, id="b-2", **keys)
        top_up(connection, "acc-1", 900_000, id="t-1", now=NOW)
        for subscriber, tariff, payment in (
            ("acc-1", "talk", "prepaid"), ("acc-1", "calls", "pseudo_prepaid"), ("acc-2", "volume", "rated_only"),
            ("acc-2", "capped", "rated_only"), ("acc-2", "data", "prepaid"),
        ):  # fmt: skip
            set_payment(connection, shop.book, SETTINGS.operator, SIGNING, subscriber, tariff, payment, NOW)
    return shop


@pytest.fixture(scope="module")
def shops() -> Iterator[tuple[Shop, Shop]]:
    """Two shops alike: the first rates by columns whatever it can, the second never."""
    both = furnished(1), furnished(10**9)
    yield both
    for shop in both:
        shop.importer.close()


def told(outcome: Outcome) -> tuple[int, int, int, list[tuple[int, str]]]:
    refused = sorted((line.number, reason) for line, reason in outcome.refused)
    return outcome.taken, outcome.known, outcome.late, refused


def books(connection: Connection) -> dict[str, list[Any]]:
    """All that an import leaves, with names instead of the ids that chance makes."""
    assert [*verify(connection), *verify_billing(connection), *verify_balances(connection)] == []
    rows = {
        model.__name__: [dict(row._mapping) for row in connection.execute(select(table(model)))]
        for model in (Charge, UsageRecord, UsageState, Transfer, Posting, LedgerAccount, UnitBucket)
    }
    names = {row["charge_id"]: f"{row['source']} {row['id']}" for row in rows["UsageRecord"]}
    names |= {row["id"]: f"{row['source']} {row['op_id']}" for row in rows["Transfer"]}

    def named(row: dict[str, Any]) -> list[tuple[str, Any]]:
        return [(key, names.get(value, value) if isinstance(value, str) else value) for key, value in row.items()]

    return {name: sorted(map(named, found), key=repr) for name, found in rows.items()}


@settings(max_examples=40, deadline=None)
@given(batches=portions)
def test_what_is_left_is_the_same_both_ways(shops: tuple[Shop, Shop], batches: list[list[dict[str, Any]]]) -> None:
    left = []
    for shop in shops:
        with writing(shop.engine).connect() as connection, connection.begin() as everything:
            outcomes = [
                told(shop.importer.take(connection, [Line(number, record) for number, record in enumerate(batch, 2)]))
                for batch in batches
            ]
            left.append((outcomes, books(connection)))
            everything.rollback()
    assert left[0] == left[1]


def odd_rows() -> list[dict[str, Any]]:
    """Good records of two agreements, and among them every kind of bad one."""
    rows = [call(f"g{number}", number, tariff="data" if number % 2 else "calls") for number in range(40)]
    odd: list[dict[str, Any]] = [
        {"quantity": -1}, {"quantity": 2**63}, {"quantity": 10**400}, {"quantity": float("nan")}, {"quantity": 1.0},
        {"quantity": 10**15 + 1}, {"id": "x" * 256}, {"id": "a\x00b"}, {"id": ""}, {"source": "\u202e"},
        {"subscriber": "nobody"}, {"subscriber": "acc-3"}, {"tariff": "none"}, {"tariff": ""},
        {"at": "2026-11-02T09:30"}, {"at": "9999-12-31T23:59:59-12:00"}, {"at": "2026-02-30T00:00:00Z"},
        {"at": "1969-01-01T00:00:00Z"},
        {"destination": "12 34"}, {"destination": "1" * 33}, {"id": "g1"}, {"id": "g2", "quantity": 77},
        {"id": "g4", "quantity": 4},
    ]  # fmt: skip
    for place, keys in enumerate(odd):
        rows.insert(2 * place, call(f"odd{place}") | keys)
    return rows


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_rejects_and_report_are_the_same_both_ways(tmp_path: Path, form: str) -> None:
    path = (csv_file if form == "csv" else json_file)(tmp_path / f"u.{form}", *odd_rows())
    found = []
    for fewest in (1, 10**9):
        shop = furnished(fewest)
        report = shop.importer.import_file(shop.engine, path, batch=17)
        shop.importer.close()
        assert report.rejects
        text = report.rejects.read_text(errors="surrogateescape")
        with shop.engine.connect() as connection:
            found.append((report, text, books(connection)))
    assert found[0] == found[1]
    assert (found[0][0].taken, found[0][0].known, found[0][0].refused) == (40, 1, 22)


def test_a_parquet_file_is_rated_by_one_query_a_tariff_version_and_portion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "u.parquet"
    with duckdb.connect() as database:
        database.execute(
            f"""COPY (SELECT 'switch' AS source, i::VARCHAR AS id, 'acc-' || (1 + i % 2) AS account,
                ['calls', 'data'][1 + i // 500] AS tariff, i % 90 AS quantity,
                TIMESTAMPTZ '2026-11-01 10:00:00+00' + INTERVAL 1 MINUTE * (i % 900) AS at
                FROM range(1000) t(i)) TO '{path}' (FORMAT parquet)"""
        )
    asked: list[tuple[str, int]] = []
    rate = PortionRater.rate

    def noting(self: PortionRater, version: TariffVersion, portion: Portion) -> Left:
        asked.append((version.tariff_id, len(portion.accounts)))
        return rate(self, version, portion)

    monkeypatch.setattr(PortionRater, "rate", noting)
    shop, one_by_one = Shop(), Shop()
    assert shop.importer.import_file(shop.engine, path).taken == 1000
    assert asked == [("calls", 500), ("data", 500)]
    one_by_one.importer = Importer(shop.book, SETTINGS, SIGNING, shop.clock, fewest=10**9)
    one_by_one.importer.import_file(one_by_one.engine, path)
    assert len(asked) == 2
    assert shop.nets() == one_by_one.nets()


def test_a_quantity_that_columns_cannot_rate_is_rated_record_by_record_and_the_others_by_columns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[list[int]] = []
    rate = PortionRater.rate

    def noting(self: PortionRater, version: TariffVersion, portion: Portion) -> Left:
        asked.append(sorted(portion.quantities))
        return rate(self, version, portion)

    monkeypatch.setattr(PortionRater, "rate", noting)
    dear = Tariff("dear", {}, (version("dear", price={"model": "per_unit", "amount": "99999"}),))
    shop = Shop(None, dear)
    shop.importer = Importer(shop.book, SETTINGS, SIGNING, shop.clock, fewest=1)
    outcome = shop.take(
        call("a", 2, tariff="dear"), call("b", 10**15, tariff="dear"), call("c", 1, tariff="dear"),
        call("d", 3, tariff="dear", subscriber="acc-2"),
    )  # fmt: skip
    assert asked == [[1, 2, 3, 10**15], [3]]
    assert shop.nets() == {"a": 2 * 99_999_000_000, "c": 99_999_000_000, "d": 3 * 99_999_000_000}
    assert [(line.number, "more than a ledger amount" in reason) for line, reason in outcome.refused] == [(3, True)]
