"""What the benchmarks share: results, interleaved medians, percentiles, and what the disk can do."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any


def result(name: str, value: float, unit: str, ceiling: float | None = None) -> dict[str, Any]:
    """One row of the table; ``ratio`` is ``value / ceiling`` where there is a ceiling."""
    return {
        "name": name,
        "value": round(value, 4),
        "unit": unit,
        "ceiling": None if ceiling is None else round(ceiling, 4),
        "ratio": None if not ceiling else round(value / ceiling, 3),
    }


def medians(runs: Mapping[str, Callable[[], float]], times: int = 3) -> dict[str, float]:
    """The median of each run's figures. The runs take turns, so that a slow spell of the machine meets all of them."""
    figures: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(times):
        for name, run in runs.items():
            figures[name].append(run())
    return {name: median(values) for name, values in figures.items()}


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that ``percent`` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def fdatasyncs_per_second(directory: Path | None = None, seconds: float = 0.5) -> float:
    """How often a second the disk makes a freshly appended page of 4 KiB durable."""
    page = os.urandom(4096)
    with tempfile.NamedTemporaryFile(dir=directory) as file:
        count, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            os.write(file.fileno(), page)
            os.fdatasync(file.fileno())
            count += 1
        return count / (time.perf_counter() - start)


def show(results: Iterable[Mapping[str, Any]]) -> None:
    """Print results as lines of name, value, unit, ceiling and ratio."""
    for row in results:
        ceiling = "" if row["ceiling"] is None else f"  ceiling {row['ceiling']:>12,.2f}  ratio {row['ratio']:.2f}"
        print(f"{row['name']:<48} {row['value']:>12,.2f} {row['unit']:<10}{ceiling}")
