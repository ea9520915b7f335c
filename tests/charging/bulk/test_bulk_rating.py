"""Rating by columns costs what rating one by one costs, for any tariff that it takes and any uses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tariff_maker import make

from charging.bulk import BulkError, NotByColumns, rate_file
from charging.bulk.run import rate_table
from charging.rating import RatingError
from charging.tariffs import TariffVersion
from charging.tariffs.explain import Course, Use
from signalling.clock import to_micros

Record = tuple[str, int, datetime, str | None]

FIRST = datetime(2026, 10, 23, tzinfo=UTC)
PREFIXES = ["4", "49", "491", "4915", "1", "49151", "491512"]
DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]

amounts = st.integers(0, 3_000_000).map(lambda micros: f"{micros // 1_000_000}.{micros % 1_000_000:06d}")
whole = st.integers(1, 400)
increments = st.builds(lambda first, step: {"first": first, "next": step}, st.integers(1, 90), st.integers(1, 60))


@st.composite
def tiers(draw: st.DrawFn) -> list[dict[str, Any]]:
    bounds = sorted(draw(st.sets(st.integers(1, 3000), max_size=3)))
    made = []
    for start, end in zip([0, *bounds], [*bounds, None], strict=True):
        tier = {"from": start, "amount": draw(amounts), "fee": draw(st.sampled_from(["0", "0.5"]))}
        made.append(tier if end is None else tier | {"to": end})
    return made


@st.composite
def prices(draw: st.DrawFn, bands: list[str], place: str) -> dict[str, Any]:
    model = "per_unit" if bands or place == "increment" else draw(
        st.sampled_from(["per_unit", "flat", "package", "graduated", "volume"])
    )  # fmt: skip
    price: dict[str, Any] = {"model": model}
    if model == "per_unit":
        price["unit_size"] = draw(whole)
        if bands:
            price["amounts"] = {band: draw(amounts) for band in bands}
        else:
            price["amount"] = draw(amounts)
    elif model in ("graduated", "volume"):
        price |= {"tiers": draw(tiers()), "unit_size": draw(whole)}
    else:
        price["amount"] = draw(amounts)
    if model == "package":
        price["size"] = draw(whole)
    if model != "per_unit":
        price["per"] = draw(st.sampled_from(["session", "period"]))
    if model != "flat" and (place == "increment" or draw(st.booleans())):
        price["increments"] = draw(increments)
    price["connect_fee"] = draw(st.sampled_from(["0", "0.05"]))
    if draw(st.booleans()):
        price |= {"minimum": "0.1", "maximum": draw(st.sampled_from(["0.1", "2.5"]))}
    return price


@st.composite
def tariffs(draw: st.DrawFn) -> TariffVersion:
    place = draw(st.sampled_from(["record", "record", "line", "increment"]))
    keys: dict[str, Any] = {
        "unit": draw(st.sampled_from(["second", "use"])),
        "rounding": {
            "mode": draw(st.sampled_from(["half_up", "half_even", "up", "down"])),
            "place": place,
            "to": draw(st.sampled_from([1, 7, 100, "minor"])),
        },
        "zone": draw(st.sampled_from(["Europe/Berlin", "Asia/Kathmandu", "America/St_Johns", "UTC"])),
        "included": 0 if place == "increment" else draw(st.sampled_from([0, 0, 100, 1500])),
        "discount": draw(st.sampled_from(["0", "12.5", "33.333333"])),
    }
    bands: list[str] = []
    if draw(st.booleans()):
        hour = draw(st.sampled_from(["02:30", "08:00", "00:07"]))
        bands = ["day", "night"]
        keys["band"] = [
            {"name": "night", "days": DAYS, "hours": [f"00:00-{hour}", "18:00-24:00"]},
            {"name": "day", "days": DAYS, "hours": [f"{hour}-18:00"]},
        ]
    if draw(st.booleans()):
        keys |= {"spending_cap": "3.00"}
    if draw(st.booleans()):
        keys |= {"discount_amount": "0.3"}
    keys["price"] = draw(st.none() | prices(bands, place)) if draw(st.booleans()) else draw(prices(bands, place))
    chosen = draw(st.sets(st.sampled_from(PREFIXES), max_size=4))
    if chosen or keys["price"] is None:
        keys["destination"] = [
            {"name": prefix, "prefixes": [prefix], "price": draw(prices(bands, place))}
            for prefix in sorted(chosen or {"49"})
        ]
    return make(**keys)


numbers = st.none() | st.sampled_from(["", "+", "49", "+4915", "491512345", "5", "49x1", "++49", "+1555"])
instants = st.integers(0, 4 * 86400 * 1_000_000).map(lambda micros: FIRST + timedelta(microseconds=micros))
edges = st.sampled_from(
    [FIRST + timedelta(days=2, hours=1, seconds=second) for second in (-100, -31, -1, 0, 1)]
    + [FIRST + timedelta(hours=16, seconds=second) for second in (-100, -31, -1, 0, 1)]
)
records = st.lists(
    st.tuples(
        st.sampled_from(["a", "b"]),
        st.integers(0, 200) | st.integers(0, 40_000),
        instants | edges,
        numbers,
    ),
    max_size=12,
)


def write(path: Path, uses: list[Record], at: str = "TIMESTAMPTZ") -> Path:
    instant = "make_timestamptz(at_micros)" if at == "TIMESTAMPTZ" else "at_micros"
    with duckdb.connect() as database:
        database.execute("CREATE TABLE t (n INT, account VARCHAR, quantity BIGINT, at_micros BIGINT, d VARCHAR)")
        rows = [(n, account, quantity, to_micros(at), d) for n, (account, quantity, at, d) in enumerate(uses)]
        if rows:
            database.executemany("INSERT INTO t VALUES (?, ?, ?, ?, ?)", rows)
        database.execute(
            f'COPY (SELECT account, quantity, {instant} AS "at", d AS destination FROM t ORDER BY n) '
            f"TO '{path}' (FORMAT parquet)"
        )
    return path


def one_by_one(version: TariffVersion, uses: list[Record]) -> list[int | None]:
    """What each use costs by the path record by record; nothing where the tariff has no price for it."""
    courses: dict[str, Course] = {}
    result: list[int | None] = []
    for account, quantity, at, destination in uses:
        use = Use("", version, quantity, at, destination or None, session=True)
        try:
            result.append(courses.setdefault(account, Course()).rate(use).cost_micros)
        except RatingError:
            result.append(None)
    return result


def by_columns(version: TariffVersion, path: Path) -> list[int | None]:
    costs = path.with_name("costs.parquet")
    with duckdb.connect() as database:
        rate_table(database, version, path, costs, None)
        return [row[0] for row in database.execute(f"SELECT cost FROM '{costs}' ORDER BY row").fetchall()]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(version=tariffs(), uses=records)
def test_each_use_costs_what_it_costs_one_by_one(tmp_path: Path, version: TariffVersion, uses: list[Record]) -> None:
    assert by_columns(version, write(tmp_path / "uses.parquet", uses)) == one_by_one(version, uses)


@pytest.mark.parametrize("prefix", ["49", "491512"])
def test_a_use_without_a_price_costs_nothing_and_counts_for_nothing(tmp_path: Path, prefix: str) -> None:
    price = {"model": "per_unit", "amount": "0.05", "minimum": "0.2"}
    version = make(price=None, destination=[{"name": "x", "prefixes": [prefix], "price": price}], included=10)
    uses: list[Record] = [("a", 6, FIRST, to) for to in ("491512", None, "1", "+49151299", "49x", "491512")]
    path = write(tmp_path / "u.parquet", uses)
    expected = one_by_one(version, uses)
    assert expected.count(None) == (2 if prefix == "49" else 3)
    assert by_columns(version, path) == expected
    assert rate_file(version, path).unrated == expected.count(None)


def test_a_percentage_and_large_sums_are_exact(tmp_path: Path) -> None:
    version = make(
        unit="amount", price={"model": "percentage", "percent": "2.900001", "connect_fee": "0.30"}, spending_cap="9" * 9
    )
    uses: list[Record] = [("a", quantity, FIRST, None) for quantity in (10**14, 999_999, 0, 10**13 + 7)]
    assert by_columns(version, write(tmp_path / "u.parquet", uses)) == one_by_one(version, uses)


def test_sums_beyond_64_bits_are_exact(tmp_path: Path) -> None:
    price = {"model": "graduated", "tiers": [{"from": 0, "to": 10, "amount": "1"}, {"from": 10, "amount": "0.000001"}]}
    version = make(price=price, rounding={"mode": "half_even", "place": "line", "to": "minor"}, discount="33.333333")
    uses: list[Record] = [("a", 10**12, FIRST, None), ("a", 7, FIRST, None)]
    assert by_columns(version, write(tmp_path / "u.parquet", uses)) == one_by_one(version, uses)


@pytest.mark.parametrize("at", ["TIMESTAMPTZ", "BIGINT"])
def test_a_process_of_its_own_rates_a_file(tmp_path: Path, at: str) -> None:
    version = make(
        unit="second", rounding={"mode": "half_up", "place": "record", "to": 100},
        price={
            "model": "per_unit", "unit_size": 60, "increments": {"first": 30, "next": 6},
            "amounts": {"peak": "0.012", "off": "0.006"},
        },
        band=[
            {"name": "peak", "days": DAYS, "hours": ["08:00-18:00"]},
            {"name": "off", "days": DAYS, "hours": ["00:00-08:00", "18:00-24:00"]},
        ],
    )  # fmt: skip
    uses: list[Record] = [("a", 32, FIRST, None), ("b", 57, FIRST, None), ("a", 75, FIRST + timedelta(hours=9), None)]
    path = write(tmp_path / "u.parquet", uses, at)
    costs, totals = tmp_path / "costs.parquet", tmp_path / "totals.parquet"
    done = rate_file(version, path, costs=costs, totals=totals, memory="200MB")
    assert (done.uses, done.cost, done.unrated) == (3, 3600 + 6000 + 15_600, 0)
    with duckdb.connect() as database:
        assert database.execute(f"SELECT account, uses, cost FROM '{totals}' ORDER BY 1").fetchall() == [
            ("a", 2, 19_200),
            ("b", 1, 6000),
        ]


def test_a_file_that_cannot_be_rated_is_told(tmp_path: Path) -> None:
    path = tmp_path / "u.parquet"
    with pytest.raises(BulkError, match="No files found"):
        rate_file(make(), path)
    with duckdb.connect() as database:
        for columns, reason in (
            ("'a' account", "column quantity is missing"),
            ("'a' account, 1.5::DOUBLE quantity", "column quantity is DOUBLE"),
            ("'a' account, -1::BIGINT quantity", "quantity -1 is negative"),
            ("NULL::VARCHAR account, 1::BIGINT quantity", "account, quantity or at is missing in a row"),
        ):
            database.execute(f"COPY (SELECT {columns}) TO '{path}' (FORMAT parquet)")
            with pytest.raises(BulkError, match=reason):
                rate_file(make(), path)


def test_what_columns_cannot_do_is_left_to_the_path_record_by_record(tmp_path: Path) -> None:
    price = {"model": "per_unit", "amount": "0.01", "increments": {"first": 30, "next": 6}}
    version = make(price=price, included=5, rounding={"mode": "up", "place": "increment", "to": 100})
    with pytest.raises(NotByColumns, match="included units"):
        rate_file(version, write(tmp_path / "u.parquet", [("a", 1, FIRST, None)]))
