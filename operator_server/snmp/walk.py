"""Reading a table of a device that may be odd: bounded in rows, bytes and time, and never without end.

A table ends where the device says so, where an object outside of it comes, or where a bound is reached. An object that
is not greater than the one before ends the walk too: such a device would be asked for ever. What was read until then
is kept, and what was odd is told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

Oid = tuple[int, ...]
Value = int | bytes | Oid | None
Bulk = Callable[[Sequence[Oid]], Awaitable[list[tuple[Oid, Value]]]]
"""Asks for the rows that follow these objects, flat and row by row."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of one device is read: rows of a table, bytes of all its values, seconds for all of it."""

    rows: int = 20_000
    bytes: int = 4 * 1024 * 1024
    seconds: float = 60.0


@dataclass(slots=True)
class Budget:
    """What is left of the limits while one device is read."""

    limits: Limits
    until: float
    bytes: int

    @classmethod
    def begin(cls, limits: Limits) -> Budget:
        """All of it, from now on by the running loop's clock."""
        return cls(limits, asyncio.get_running_loop().time() + limits.seconds, limits.bytes)

    @property
    def late(self) -> bool:
        """Whether the time is over."""
        return asyncio.get_running_loop().time() >= self.until


@dataclass(slots=True)
class Walked:
    """What came of a table: rows by index, each with the columns that it has, and what was odd about it."""

    rows: dict[Oid, dict[int, Value]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


async def walk(bulk: Bulk, entry: Oid, columns: Sequence[int], budget: Budget, name: str) -> Walked:
    """Read these columns of the table whose entry is ``entry``. ``name`` stands in the notes.

    What the device does wrong shortens the result and becomes a note. Faults of ``bulk`` are raised.
    """
    walked: Walked = Walked()
    open_columns = {column: (*entry, column) for column in columns}
    count = dict.fromkeys(columns, 0)
    while open_columns:
        if budget.late:
            walked.notes.append(f"{name}: cut short after {budget.limits.seconds:g} s and {max(count.values())} rows")
            break
        asked = list(open_columns.items())
        answer = await bulk([oid for _, oid in asked])
        if not answer:
            walked.notes.append(f"{name}: an empty answer in the middle")
            break
        if _take(walked, answer, asked, open_columns, count, entry, budget, name):
            break
    return walked


def _take(
    walked: Walked,
    answer: list[tuple[Oid, Value]],
    asked: list[tuple[int, Oid]],
    open_columns: dict[int, Oid],
    count: dict[int, int],
    entry: Oid,
    budget: Budget,
    name: str,
) -> bool:
    """Take an answer in; whether the walk is to end at once."""
    ended: set[int] = set()
    for place, (oid, value) in enumerate(answer):
        column = asked[place % len(asked)][0]
        if column in ended:
            continue
        prefix = (*entry, column)
        if value is None or oid[: len(prefix)] != prefix or len(oid) == len(prefix):
            ended.add(column)
        elif oid <= open_columns[column]:
            walked.notes.append(f"{name}: object {_text(oid)} does not ascend; the device repeats itself there")
            ended.add(column)
        else:
            open_columns[column] = oid
            count[column] += 1
            budget.bytes -= len(value) + 16 if isinstance(value, bytes) else 24
            if count[column] > budget.limits.rows:
                walked.notes.append(f"{name}: cut short at {budget.limits.rows} rows")
                return True
            if budget.bytes < 0:
                walked.notes.append(f"{name}: cut short at {budget.limits.bytes} bytes")
                return True
            walked.rows.setdefault(oid[len(prefix) :], {})[column] = value
    for column in ended:
        del open_columns[column]
    return False


def _text(oid: Oid) -> str:
    return ".".join(map(str, oid[:24])) + ("..." if len(oid) > 24 else "")
