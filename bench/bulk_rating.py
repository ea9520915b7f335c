"""Bulk rating of a Parquet file of 5,000,000 uses by columns.

The ceiling is DuckDB's plain ``sum(quantity) ... group by account`` over the same file, with the same threads and
memory. Calls have 30/6 increments, peak hours and seven prefixes, and are summed by account; data has graduated tiers,
and the cost of each use is written to a file. The process of its own is timed whole, with its start.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import duckdb

from bench.measure import medians, result, show
from bench.report import Target
from charging.bulk.run import rate_file, rate_table
from charging.tariffs import TariffVersion
from charging.tariffs.build import build_version
from charging.tariffs.document import VersionTable

USES = 5_000_000
ACCOUNTS = 50_000
SETTINGS: dict[str, Any] = {"threads": 2, "memory_limit": "1GB"}
OCTOBER = 1_790_805_600_000_000
TIMES = 5

CALLS = "bulk rating, increments, peak hours and prefix"
DATA = "bulk rating, graduated tiers, cost of each use"
TARGETS = {CALLS: Target("ratio", "<=", 3), DATA: Target("ratio", "<=", 8)}


def version(**keys: Any) -> TariffVersion:
    """A tariff version by the second in euro."""
    raw = {
        "effective_from": "2026-01-01", "currency": "EUR", "tax_category": "S", "unit": "second",
        "zone": "Europe/Berlin", "rounding": {"mode": "half_up", "place": "record", "to": 100},
    } | keys  # fmt: skip
    built = build_version("bench", raw, VersionTable.model_validate(raw))
    assert isinstance(built, TariffVersion), built
    return built


def calls() -> TariffVersion:
    """30/6 increments, peak and off-peak, seven prefixes of one to five digits and a default."""
    workdays = ["mon", "tue", "wed", "thu", "fri"]

    def price(peak: str, off: str) -> dict[str, Any]:
        increments = {"first": 30, "next": 6}
        return {
            "model": "per_unit", "unit_size": 60, "increments": increments, "amounts": {"peak": peak, "off": off},
        }  # fmt: skip

    prefixes = ("49", "491", "4915", "4916", "49171", "44", "1")
    return version(
        band=[
            {"name": "peak", "days": workdays, "hours": ["08:00-18:00"]},
            {"name": "off", "days": workdays, "hours": ["00:00-08:00", "18:00-24:00"]},
            {"name": "off", "days": ["sat", "sun"], "hours": ["00:00-24:00"]},
        ],
        price=price("0.3", "0.2"),
        destination=[
            {"name": prefix, "prefixes": [prefix], "price": price("0.012", f"0.00{number}")}
            for number, prefix in enumerate(prefixes, 1)
        ],
    )


def data() -> TariffVersion:
    """Graduated tiers over the month of an account."""
    tiers = [
        {"from": 0, "to": 10_000, "amount": "0.01"},
        {"from": 10_000, "to": 50_000, "amount": "0.004"},
        {"from": 50_000, "amount": "0.0015"},
    ]
    return version(price={"model": "graduated", "unit_size": 60, "tiers": tiers})


def write_uses(path: Path, uses: int = USES) -> None:
    """Uses of October: accounts, seconds, instants and called numbers as chance has them."""
    with duckdb.connect(config=SETTINGS) as database:
        database.execute(
            f"""COPY (SELECT 'A-' || lpad((hash(i) % {ACCOUNTS})::VARCHAR, 6, '0') AS account,
                (1 + hash(i + 1) % 600)::BIGINT AS quantity,
                {OCTOBER} + (hash(i + 2) % (31 * 86400))::BIGINT * 1000000 AS "at",
                '49' || (100000000 + hash(i + 3) % 899999999)::VARCHAR AS destination
                FROM range({uses}) t(i)) TO '{path}' (FORMAT parquet)"""
        )


def run() -> list[dict[str, Any]]:
    """The figures, in seconds for the whole file."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, costs = folder / "uses.parquet", folder / "costs.parquet"
        write_uses(source)
        by_seconds, by_volume = calls(), data()

        def plain() -> float:
            with duckdb.connect(config=SETTINGS) as database:
                start = time.perf_counter()
                query = f"SELECT account, sum(quantity) FROM read_parquet('{source}') GROUP BY account"
                database.execute(query).fetchall()
                return time.perf_counter() - start

        def rated(tariff: TariffVersion, each: Path | None) -> float:
            with duckdb.connect(config=SETTINGS) as database:
                start = time.perf_counter()
                rate_table(database, tariff, source, each, None)
                return time.perf_counter() - start

        def process() -> float:
            start = time.perf_counter()
            rate_file(by_seconds, source)
            return time.perf_counter() - start

        found = medians(
            {
                "plain": plain,
                CALLS: lambda: rated(by_seconds, None),
                DATA: lambda: rated(by_volume, costs),
                "process": process,
            },
            TIMES,
        )
    return [
        result(CALLS, found[CALLS], "s", found["plain"]),
        result(DATA, found[DATA], "s", found["plain"]),
        result("bulk rating, the first in a process of its own", found["process"], "s", found["plain"]),
        result("uses rated by columns", USES / found[CALLS], "uses/s"),
    ]


if __name__ == "__main__":
    show(run())
