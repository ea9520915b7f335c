"""Targets, and the table that shows whether they are met."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from rich.table import Table

_COMPARE: dict[str, Callable[[float, float], bool]] = {">=": operator.ge, "<=": operator.le}


@dataclass(frozen=True)
class Target:
    """What a figure has to reach: its ``value``, or its ``ratio`` to the ceiling."""

    of: Literal["value", "ratio"]
    sense: Literal[">=", "<="]
    bound: float

    def met(self, row: Mapping[str, Any]) -> bool:
        """Whether the row reaches it; a row without the figure does not."""
        figure = row[self.of]
        return figure is not None and _COMPARE[self.sense](figure, self.bound)

    def __str__(self) -> str:
        return f"{self.of} {self.sense} {_number(self.bound)}"


TARGETS = {
    "durable charges, 128 in flight": Target("ratio", ">=", 0.30),
    "durable charges, 16 in flight": Target("ratio", ">=", 0.15),
    "class look-ups, presence and reject filter": Target("value", ">=", 100_000),
}
"""Beside those that a benchmark states itself as ``TARGETS``."""


def judged(row: Mapping[str, Any], targets: Mapping[str, Target]) -> bool | None:
    """Whether the row meets its target; None where none is set."""
    target = targets.get(row["name"])
    return None if target is None else target.met(row)


def figures_table(rows: Iterable[Mapping[str, Any]], targets: Mapping[str, Target]) -> Table:
    """A line a figure."""
    table = Table("figure", title="Speed")
    for head in ("value", "unit", "ceiling", "ratio", "target", ""):
        table.add_column(head, justify="left" if head in ("unit", "target", "") else "right")
    for row in rows:
        target = targets.get(row["name"])
        verdict = {None: "", True: "[green]met[/]", False: "[red]missed[/]"}[judged(row, targets)]
        table.add_row(
            row["name"],
            _number(row["value"]),
            row["unit"],
            _number(row["ceiling"]),
            "" if row["ratio"] is None else f"{row['ratio']:.2f}",
            "" if target is None else str(target),
            verdict,
        )
    return table


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:,.4g}"
