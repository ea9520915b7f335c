"""Rating record by record on one core: a graduated tariff with included units, rounded by line, state carried.

The ceiling is a bare loop that adds the quantities up and keeps the sum by account.
"""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime
from typing import Any

from bench.bulk_rating import version
from bench.measure import medians, result, show
from bench.report import Target
from charging.rating import RatingState
from charging.tariffs import rate_usage

RECORDS = 200_000
ACCOUNTS = 1_000
AT = datetime(2026, 10, 5, tzinfo=UTC)

GRADUATED = "records rated one by one, graduated"
TARGETS = {GRADUATED: Target("value", ">=", 100_000)}


def run() -> list[dict[str, Any]]:
    """Records a second."""
    chosen = random.Random(5)
    records = [(chosen.randrange(ACCOUNTS), chosen.randrange(1, 600)) for _ in range(RECORDS)]
    tariff = version(
        unit="MiB",
        included=100,
        rounding={"mode": "half_up", "place": "line", "to": "minor"},
        price={
            "model": "graduated",
            "tiers": [
                {"from": 0, "to": 10_000, "amount": "0.01"},
                {"from": 10_000, "to": 50_000, "amount": "0.004"},
                {"from": 50_000, "amount": "0.0015"},
            ],
        },
    )

    def rated() -> float:
        states = [RatingState()] * ACCOUNTS
        start = time.perf_counter()
        for account, quantity in records:
            states[account] = rate_usage(tariff, quantity, states[account].next_session(), at=AT).state
        return RECORDS / (time.perf_counter() - start)

    def bare() -> float:
        sums = [0] * ACCOUNTS
        start = time.perf_counter()
        for account, quantity in records:
            sums[account] = sums[account] + quantity
        return RECORDS / (time.perf_counter() - start)

    found = medians({"rated": rated, "bare": bare})
    return [result(GRADUATED, found["rated"], "records/s", found["bare"])]


if __name__ == "__main__":
    show(run())
