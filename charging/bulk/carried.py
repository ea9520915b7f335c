"""Rating portions of use by columns, each account going on from the state that its use before left.

Equal to rating the uses one by one with the carried :class:`~charging.rating.RatingState`: the costs, and the states.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import MAXYEAR, UTC, datetime, timedelta
from typing import Any

import duckdb

from charging.bulk.query import rating_query
from charging.bulk.uses import NotByColumns, RatingQuery, Uses
from charging.rating import RatingState
from charging.rating.rate import MAX_TIMED_SECONDS
from charging.tariffs.version import TariffVersion
from signalling.clock import from_micros

_MOST_CARRIED = 2**120
_NOTHING = (0, 0, 0)
_OFF_THE_TRACK = (duckdb.OutOfRangeException, duckdb.ConversionException, duckdb.OutOfMemoryException)


@dataclass(slots=True)
class Portion:
    """Uses of one tariff version in the order in which they count, as columns of the same length.

    ``accounts``: whose state each use goes on with, as its place in ``openings``: the states in which each account's
    first use begins a session. ``micros``: when each use began. ``destinations``: called numbers, or empty.
    """

    openings: Sequence[RatingState]
    accounts: list[int]
    quantities: list[int]
    micros: list[int]
    destinations: list[str]


@dataclass(slots=True)
class Left:
    """``uses``: cost in micros and included units of each use; ``None`` where the tariff has no price for it.

    ``states``: the state that each account's use left; the one it brought where nothing of its was rated.
    """

    uses: list[tuple[int, int] | None]
    states: list[RatingState]


class PortionRater:
    """Rates portions, on a DuckDB database of its own that takes at most ``memory``. To be closed."""

    def __init__(self, memory: str = "256MB") -> None:
        self._memory = memory
        self._database: duckdb.DuckDBPyConnection | None = None
        self._plans: dict[str, _Plan] = {}

    def rate(self, version: TariffVersion, portion: Portion) -> Left:
        """Rate a portion. Raises :class:`charging.bulk.NotByColumns`; one by one it can be rated."""
        if not portion.accounts:
            return Left([], list(portion.openings))
        uses = _uses(version, portion)
        plan = self._plans.get(version.version_id)
        if plan is None or not plan.covers(uses):
            plan = self._plans[version.version_id] = self._plan(version, uses, plan)
        try:
            rows = plan.rate(portion)
        except _OFF_THE_TRACK as error:
            raise NotByColumns(str(error)) from None
        return _left(portion, rows)

    def close(self) -> None:
        """Let the database go."""
        self._plans.clear()
        if self._database is not None:
            self._database.close()
            self._database = None

    def _plan(self, version: TariffVersion, uses: Uses, before: _Plan | None) -> _Plan:
        """A plan with some room, which further portions will fit too; where there can be none, one for this alone."""
        if self._database is None:
            self._database = duckdb.connect(config={"memory_limit": self._memory, "threads": 1})
        tried = [_roomy(uses if before is None else _together(before.uses, uses)), uses]
        for number, room in enumerate(tried):
            try:
                return _Plan(self._database, version, room)
            except NotByColumns:
                if number:
                    raise
        raise AssertionError


class _Plan:
    """The queries of a tariff version for uses within bounds, and the tables that they join."""

    def __init__(self, database: duckdb.DuckDBPyConnection, version: TariffVersion, uses: Uses) -> None:
        self.uses = uses
        self._version = version
        # Each has a connection of its own, since the names of temporary tables are its connection's.
        self._database = database.cursor()
        self._timed = version.timed
        self._numbered = bool(version.destinations.values())
        self._query = rating_query(version, uses, quick=True)
        self._text = self._prepare(self._query)
        self._careful = ""

    def covers(self, uses: Uses) -> bool:
        """Whether the uses are within the bounds."""
        both = _together(self.uses, uses)
        return both == self.uses or (not self._query.counts and replace(both, carried=self.uses.carried) == self.uses)

    def rate(self, portion: Portion) -> list[tuple[Any, ...]]:
        """Row and :data:`charging.bulk.uses.LEFT` of each use, in order."""
        given: list[Any] = [portion.accounts, portion.quantities]
        given += [portion.micros] if self._timed else []
        given += [portion.destinations] if self._numbered else []
        if self._query.counts:
            openings = portion.openings
            given += [[state.used for state in openings], [state.due for state in openings]]
            given += [[state.total for state in openings]]
        rows = self._database.execute(self._text, given).fetchall()
        if len(rows) < len(portion.accounts):
            if not self._careful:
                self._careful = self._prepare(rating_query(self._version, self.uses))
            rows = self._database.execute(self._careful, given).fetchall()
        rows.sort()
        return rows

    def _prepare(self, query: RatingQuery) -> str:
        for statement in query.setup:
            self._database.execute(statement)
        columns = ["account INTEGER", "quantity BIGINT"]
        columns += ["micros BIGINT"] if self._timed else []
        columns += ["destination VARCHAR"] if self._numbered else []
        lists = [f"unnest(${number}::{column.split()[1]}[]) AS {column.split()[0]}" for number, column in
                 enumerate(columns, 1)]  # fmt: skip
        source = f"SELECT unnest(range(len($1))) AS row, {', '.join(lists)}"
        if query.counts:
            first = len(columns) + 1
            brought = [
                f"unnest(${number}::HUGEINT[]) AS {name}_before"
                for number, name in enumerate(("used", "due", "line"), first)
            ]
            opening = f"SELECT unnest(range(len(${first}))) AS account, {', '.join(brought)}"
            source = f"SELECT * FROM ({source}) JOIN ({opening}) USING (account)"
        return query.costs.replace("{source}", f"({source})")


def _uses(version: TariffVersion, portion: Portion) -> Uses:
    """What is known of a portion."""
    carried = tuple(
        max(map(abs, brought), default=0)
        for brought in (
            [state.used for state in portion.openings],
            [state.due for state in portion.openings],
            [state.total for state in portion.openings],
        )
    )
    if max(carried) >= _MOST_CARRIED:
        raise NotByColumns("what is carried is larger than 120 bits")
    first = last = None
    if version.timed and portion.micros:
        first, last = from_micros(min(portion.micros)), from_micros(max(portion.micros))
    largest = max(portion.quantities, default=0)
    return Uses(len(portion.accounts), largest, first, last, carried=(carried[0], carried[1], carried[2]))


def _together(one: Uses, other: Uses) -> Uses:
    """Bounds of both."""
    used, due, line = map(max, one.carried or _NOTHING, other.carried or _NOTHING)
    return replace(
        one,
        count=max(one.count, other.count),
        largest=max(one.largest, other.largest),
        first=min(filter(None, (one.first, other.first)), default=None),
        last=max(filter(None, (one.last, other.last)), default=None),
        carried=(used, due, line),
    )


def _roomy(uses: Uses) -> Uses:
    """Wider bounds: figures up to the next power of four, whole months."""
    largest = _up(uses.largest)
    if uses.largest <= MAX_TIMED_SECONDS:
        largest = min(largest, MAX_TIMED_SECONDS)
    # What is carried grows from portion to portion.
    used, due, line = (_up(brought) << 10 for brought in uses.carried or _NOTHING)
    first, last = uses.first, uses.last
    if first is not None and last is not None and last.year < MAXYEAR:
        first = datetime(first.year, first.month, 1, tzinfo=UTC)
        last = (datetime(last.year, last.month, 28, tzinfo=UTC) + timedelta(days=4)).replace(day=1)
    return replace(uses, count=_up(uses.count), largest=largest, first=first, last=last, carried=(used, due, line))


def _up(value: int) -> int:
    """The next power of four."""
    return 1 << (value.bit_length() + 1) // 2 * 2


def _left(portion: Portion, rows: list[tuple[Any, ...]]) -> Left:
    uses: list[tuple[int, int] | None] = []
    states = list(portion.openings)
    used = [state.used for state in states]
    due = [state.due for state in states]
    line = [state.total for state in states]
    carried = list(line)
    last: dict[int, tuple[Any, ...]] = {}
    for row, account in zip(rows, portion.accounts, strict=True):
        _, cost, added, billed, units, _, total, _ = row
        if cost is None:
            uses.append(None)
            continue
        uses.append((cost, billed - units))
        used[account] += billed
        due[account] += added
        carried[account], line[account] = line[account], total
        last[account] = row
    quantities = portion.quantities
    for account, (row, _, _, _, units, exact, total, settled) in last.items():
        states[account] = RatingState(
            quantity=quantities[row], units=units, exact=exact, carried=carried[account], total=total, cost=settled,
            used=used[account], due=due[account],
        )  # fmt: skip
    return Left(uses, states)
