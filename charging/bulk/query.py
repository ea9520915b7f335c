"""From a tariff version to one query: each step of :mod:`charging.rating.rate` is a column of the step before.

A use is a session of its own; uses of an account follow each other in the order of the file, from the empty state of
a period or from what is carried. Where something counts over the period, it is a running sum within the account.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from math import lcm

from charging.bulk.bands import SECOND, Intervals, intervals
from charging.bulk.prices import ByColumns, rounded
from charging.bulk.uses import BulkError, NotByColumns, RatingQuery, Uses
from charging.rating.rate import MAX_TIMED_SECONDS
from charging.rating.timeband import Hours, TimeBands
from charging.tariffs.document import PerUnitTable, Price, VersionTable
from charging.tariffs.version import TariffVersion
from signalling.money import MAX_MICROS

_MOST_CROSSED = 32
_EXPANDED_DIGITS = 5
_RUNNING = "(PARTITION BY account ORDER BY row ROWS UNBOUNDED PRECEDING)"


def rating_query(version: TariffVersion, uses: Uses, *, quick: bool = False) -> RatingQuery:
    """The query that rates a table of ``row``, ``account``, ``quantity``, ``micros`` and ``destination``.

    ``quick`` expects destinations of digits alone. A use whose destination is another, or none, is left out, and those
    after it may have a wrong cost; so where uses are missing, the query is to be made again. Raises
    :class:`NotByColumns`.
    """
    return _Compiler(version, uses, quick).compile()


class _Compiler:
    def __init__(self, version: TariffVersion, uses: Uses, quick: bool) -> None:
        raw = json.loads(version.content)
        self._version = version
        self._uses = uses
        self._table = VersionTable.model_validate(raw)
        self._names = sorted({band.name for band in self._table.band})
        self._quick = quick
        self._default = self._by_columns(self._table.price) if self._table.price else None
        self._prefixes = {
            prefix: price
            for destination in self._table.destination
            for price in [self._by_columns(destination.price)]
            for prefix in destination.prefixes
        }
        prices = [*self._prefixes.values(), *([self._default] if self._default else [])]
        shapes: dict[str, ByColumns] = {}
        for price in prices:
            shapes.setdefault(price.shape, price)
        self._shapes = list(shapes.values())
        self._shape_of = {shape: number for number, shape in enumerate(shapes)}
        self._width = max(len(price.columns()) for price in prices)
        self._by_line = version.rounding.place == "line"
        self._common = lcm(*(price.scale for price in prices)) if self._by_line else 1
        self._kept = 1 - self._table.discount
        self._prices = prices
        self._period = bool(version.included) or any(not price.per_session for price in self._shapes)
        self._negative = any(price.price.model == "volume" for price in self._shapes)
        self._split = bool(self._names) and version.unit == "second"
        self._intervals = self._find_intervals()
        self._crossed = self._intervals.crossed(self._longest) if self._intervals and self._split else 1
        carried = uses.carried if uses.carried and self._windows else (0, 0, 0)
        self._used_before, self._due_before, self._line_before = carried
        self._check()
        self._integer = self._integer_type()

    def _by_columns(self, price: Price) -> ByColumns:
        if not isinstance(price, PerUnitTable):
            return ByColumns(price, (), self._version.rounding)
        amounts = [(price.amounts or {})[name] for name in self._names] if self._names else [price.amount or 0]
        return ByColumns(price, tuple(amounts), self._version.rounding)

    @property
    def _longest(self) -> int:
        """Most units billed for one use."""
        lengths = [price.increments.billed(self._uses.largest) for price in self._shapes if price.increments]
        return max(lengths, default=self._uses.largest) if lengths else self._uses.largest

    def _find_intervals(self) -> Intervals | None:
        if not self._names or not self._uses.count:
            return None
        if self._uses.first is None or self._uses.last is None:
            raise BulkError("at: missing; the tariff has time bands")
        if self._split and self._uses.largest > MAX_TIMED_SECONDS:
            raise NotByColumns(f"a session of {self._uses.largest} seconds is longer than time bands are applied to")
        week: dict[str, list[Hours]] = {}
        for band in self._table.band:
            for day, hours in band.week():
                week.setdefault(day, []).append(hours)
        length = timedelta(seconds=self._longest) if self._split else timedelta()
        bands = TimeBands(self._table.zone, week, self._table.holidays)
        found = intervals(bands, self._names, self._uses.first, self._uses.last + length)
        if found is None:
            raise NotByColumns("the time bands begin at too many different instants")
        return found

    def _check(self) -> None:
        if self._version.rounding.place == "increment" and self._version.included:
            raise NotByColumns("included units may end within an increment that is rounded by itself")
        if self._crossed > _MOST_CROSSED:
            raise NotByColumns(f"a session of {self._longest} seconds may lie in {self._crossed} time bands")

    def _integer_type(self) -> str:
        one = max(price.most(self._longest) * self._factor(price) for price in self._prices)
        if one // min(self._scale(price) for price in self._prices) >= MAX_MICROS:
            raise NotByColumns(f"{self._uses.largest} units may cost more than a ledger amount can be")
        largest = max(self._most(price, self._used) for price in self._prices)
        bound = 4 * (self._most_in_a_period() if self._windows else largest)
        bound += 4 * (self._used + self._due_before + self._line_before)
        if self._split:
            bound += self._longest * SECOND
        bound += 4 * largest + 4 * max(self._scale(price) for price in self._prices) * self._version.rounding.step
        if bound >= 2**126:
            raise NotByColumns("the sums may be larger than 128 bits")
        return "INTEGER" if bound < 2**31 else "BIGINT" if bound < 2**63 else "HUGEINT"

    @property
    def _used(self) -> int:
        """A bound of the units used in the period at last."""
        return self._used_before + self._longest * self._uses.count

    def _most(self, price: ByColumns, used: int) -> int:
        """A bound of what one use adds when so many units are used in the period at last."""
        return price.most(self._longest if price.per_session else used) * self._factor(price)

    def _most_in_a_period(self) -> int:
        """A bound of the running sums of costs; totals that rise with the units add up to the last of them."""
        count, used = self._uses.count, self._used
        most = used
        for price in self._prices:
            if price.per_session or price.price.model == "volume" or self._table.discount:
                most += self._most(price, used) * count
            else:
                most += self._most(price, used) + price.most(0) * self._factor(price) * count
        return most

    @property
    def _lacking(self) -> bool:
        """Whether there may be uses without a price."""
        return self._default is None

    @property
    def _looked_up(self) -> bool:
        """Whether prices are found by the beginnings of numbers."""
        return bool(self._prefixes) and self._lengths[0] <= _EXPANDED_DIGITS

    @property
    def _windows(self) -> bool:
        return self._period or self._by_line or bool(self._version.period_modifiers)

    def _scale(self, price: ByColumns) -> int:
        return (self._common if self._by_line else price.scale) * self._kept.denominator

    def _factor(self, price: ByColumns) -> int:
        return self._kept.numerator * (self._common // price.scale if self._by_line else 1)

    def compile(self) -> RatingQuery:
        setup = []
        if self._prefixes:
            setup += self._prefix_tables()
        if self._intervals:
            setup.append(f"CREATE OR REPLACE TEMP TABLE granule AS {self._intervals.table(self._crossed)}")
        steps = [
            self._uses_step(),
            f"SELECT *, {self._case(lambda price: price.billed('quantity', zero=not self._uses.least))} AS billed",
            *self._counted_steps(),
            f"SELECT *, {self._case(self._exact)} AS exact",
            f"SELECT *, {self._case(self._total)} AS total",
            *self._cost_steps(),
            *self._due_steps(),
        ]
        if self._lacking:
            steps.append("SELECT * REPLACE (CASE WHEN shape IS NOT NULL THEN cost END AS cost)")
        answer = "row, account, cost" if self._uses.carried is None else f"row, {self._left()}"
        names = [f"s{number}" for number in range(len(steps))]
        chain = [f"s0 AS ({steps[0]})"]
        chain += [
            f"{name} AS ({step} FROM {before})" for name, step, before in zip(names[1:], steps[1:], names, strict=False)
        ]
        text = f"WITH {', '.join(chain)} SELECT {answer} FROM {names[-1]}"
        return RatingQuery(setup, text, self._lacking, self._counts)

    @property
    def _counts(self) -> bool:
        """Whether it matters what accounts bring along."""
        return self._uses.carried is not None and self._windows

    def _left(self) -> str:
        due = "due_of_use" if self._version.period_modifiers else "cost"
        line, settled = ("line", "settled") if self._by_line else ("0", due)
        return f"cost, {due}, billed, high - low, exact, {line}, {settled}"

    def _case(self, expression: Callable[[ByColumns], str]) -> str:
        """The expression of each shape; those that are the same are written once."""
        texts = [expression(shape) for shape in self._shapes]
        if not self._prefixes:
            return f"({texts[0]})::{self._integer}"
        # A use without a price must not count, so there the shape is asked for.
        if len(set(texts)) == 1 and self._default:
            return f"({texts[0]})::{self._integer}"
        parts = " ".join(f"WHEN {number} THEN {text}" for number, text in enumerate(texts))
        return f"(CASE shape {parts} END)::{self._integer}"

    def _uses_step(self) -> str:
        columns = ["u.row", "u.account", f"u.quantity::{self._integer} AS quantity"]
        if self._counts:
            columns += [f"u.{name}_before::{self._integer} AS {name}_before" for name in ("used", "due", "line")]
        joins = []
        if self._intervals:
            columns.append("u.micros")
            columns += [f"g.until{step}, g.band{step}" for step in range(self._crossed)]
            key = f"(u.micros - {self._intervals.start}) // {self._intervals.length}"
            joins.append(f"JOIN granule g ON g.granule = {key}")
        if self._prefixes:
            names = ["shape", *(f"a{number}" for number in range(self._width))]
            if self._looked_up and self._quick:
                columns += [f"b.{name}" for name in names]
            elif self._looked_up:
                columns += [f"CASE WHEN b.number IS NULL THEN c.{name} ELSE b.{name} END AS {name}" for name in names]
            else:
                columns += [f"p.{name}" for name in names]
            joins += self._prefix_joins()
        else:
            assert self._default
            columns += [
                f"{value}::{self._integer} AS a{number}" for number, value in enumerate(self._default.columns())
            ]
        return f"SELECT {', '.join(columns)} FROM {{source}} u {' '.join(joins)}"

    def _prefix_tables(self) -> list[str]:
        """Prices by number; and for each beginning of a number of up to five digits the price of its longest prefix."""
        rows = [self._price_row(number, price) for number, price in enumerate(self._prefixes.values(), 1)]
        rows.append(self._price_row(0, self._default))
        columns = ", ".join(["number", "shape", *(f"a{number}" for number in range(self._width))])
        casts = ", ".join(["number", "shape", *(f"a{n}::{self._integer} AS a{n}" for n in range(self._width))])
        keys = ", ".join(f"('{prefix}', {number})" for number, prefix in enumerate(self._prefixes, 1))
        return [
            f"CREATE OR REPLACE TEMP TABLE price AS SELECT {casts} FROM (VALUES {', '.join(rows)}) t({columns})",
            f"CREATE OR REPLACE TEMP TABLE prefix AS SELECT * FROM (VALUES {keys}) t(prefix, number)",
            *self._expanded(),
        ]

    def _price_row(self, number: int, price: ByColumns | None) -> str:
        shape = "NULL::INTEGER" if price is None else str(self._shape_of[price.shape])
        values = list(price.columns()) if price else []
        values += [0] * (self._width - len(values))
        return f"({', '.join([str(number), shape, *map(str, values)])})"

    @property
    def _lengths(self) -> list[int]:
        return sorted({len(prefix) for prefix in self._prefixes}, reverse=True)

    def _expanded(self) -> list[str]:
        most = self._lengths[0]
        if most > _EXPANDED_DIGITS:
            return []
        levels = ["d0 AS MATERIALIZED (SELECT '' AS digits, 0 AS number)"]
        for length in range(1, most + 1):
            longer = f"SELECT d.digits || range AS digits, d.number FROM d{length - 1} d CROSS JOIN range(10)"
            levels.append(
                f"d{length} AS MATERIALIZED (SELECT l.digits, coalesce(p.number, l.number) AS number"
                f" FROM ({longer}) l LEFT JOIN prefix p ON p.prefix = l.digits)"
            )
        found = " UNION ALL ".join(f"SELECT * FROM d{length}" for length in range(most + 1))
        priced = f"WITH {', '.join(levels)} SELECT f.digits, p.* FROM ({found}) f JOIN price p USING (number)"
        return [f"CREATE OR REPLACE TEMP TABLE beginning AS {priced}"]

    def _prefix_joins(self) -> list[str]:
        most = self._lengths[0]
        bare = "coalesce(u.destination, '')"
        number = f"CASE WHEN starts_with({bare}, '+') THEN substr({bare}, 2, {most}) ELSE left({bare}, {most}) END"
        # Where '+' is rare, a number with it takes the second look, since no beginning has one.
        quick = number if self._uses.plus else f"left(u.destination, {most})"
        if self._looked_up:
            # What is no digit ends a beginning; hardly any number has such, so the others do not pay for the look.
            rest = f"CASE WHEN b.number IS NULL THEN regexp_extract({number}, '^[0-9]*') END"
            first = f"JOIN beginning b ON b.digits = {quick}"
            if self._quick:
                return [first]
            return [f"LEFT {first}", f"LEFT JOIN beginning c ON c.digits = {rest}"]
        joins = [f"LEFT JOIN prefix p{n} ON p{n}.prefix = left({number}, {n})" for n in self._lengths]
        found = ", ".join(f"p{n}.number" for n in self._lengths)
        return [*joins, f"JOIN price p ON p.number = coalesce({found}, 0)"]

    def _counted_steps(self) -> list[str]:
        """Positions of the use among the chargeable units of the period: ``low`` to ``high``."""
        if not self._period:
            return ["SELECT *, 0 AS low, billed AS high"]
        included = self._version.included
        return [
            self._running("billed", "used"),
            f"SELECT *, greatest(used - billed - {included}, 0) AS low, greatest(used - {included}, 0) AS high",
        ]

    def _exact(self, price: ByColumns) -> str:
        if isinstance(price.price, PerUnitTable) and self._intervals:
            return self._banded(price)
        if price.per_session:
            return price.total("(high - low)" if self._period else "billed")
        return f"({price.total('high')}) - ({price.total('low')})"

    def _banded(self, price: ByColumns) -> str:
        if not self._split:
            return self._in_band(price, "0", "(high - low)" if self._period else "billed", 0)
        first = begin = "(billed - (high - low))" if self._period else "0"
        whole = self._in_band(price, first, "billed", 0)
        if self._crossed == 1:
            return whole
        parts = []
        for step in range(self._crossed):
            stop = "billed"
            if step < self._crossed - 1:
                reached = price.billed(f"((until{step} - micros + {SECOND - 1}) // {SECOND})")
                stop = f"greatest(least({reached}, billed), {first})"
            parts.append(f"({self._in_band(price, begin, stop, step)})")
            begin = stop
        return f"CASE WHEN micros + billed * {SECOND} <= until0 THEN {whole} ELSE {' + '.join(parts)} END"

    def _in_band(self, price: ByColumns, begin: str, end: str, step: int) -> str:
        bands = range(len(self._names))
        if self._version.rounding.place != "increment":
            others = " ".join(f"WHEN {band} THEN a{band}" for band in bands[:-1])
            amount = f"CASE band{step} {others} ELSE a{bands[-1]} END" if others else "a0"
            return f"({amount}) * {end if begin == '0' else f'({end} - {begin})'}"
        parts = " ".join(f"WHEN {band} THEN {price.stretch(begin, end, band)}" for band in bands)
        return f"CASE band{step} {parts} END"

    def _total(self, price: ByColumns) -> str:
        session, factor = price.session("exact"), self._factor(price)
        text = "exact" if session == "exact" else f"CASE WHEN high > low THEN {session} ELSE exact END"
        return f"{factor} * ({text})" if factor != 1 else text

    def _cost_steps(self) -> list[str]:
        rounding = self._version.rounding
        if self._by_line:
            scale = self._scale(self._shapes[0])
            after = rounded("line", scale, rounding.mode, negative=self._negative)
            before = rounded("(line - total)", scale, rounding.mode, negative=self._negative)
            return [
                self._running("total", "line"),
                f"SELECT *, ({after})::{self._integer} AS settled",
                f"SELECT *, (settled - ({before}))::{self._integer} AS cost",
            ]

        def cost(price: ByColumns) -> str:
            scale = self._scale(price) * rounding.step
            return f"{rounding.step} * ({rounded('total', scale, rounding.mode, negative=self._negative)})"

        return [f"SELECT *, {self._case(cost)} AS cost"]

    def _running(self, column: str, name: str) -> str:
        """A running sum within the account, from what it brings along on."""
        brought = f" + {name}_before" if self._counts else ""
        return f"SELECT *, ((sum({column}) OVER {_RUNNING}){brought})::{self._integer} AS {name}"

    def _due_steps(self) -> list[str]:
        if not self._version.period_modifiers:
            return []
        after, before = "due", "(due - due_of_use)"
        if self._table.discount_amount:
            after, before = (f"greatest({text} - {self._table.discount_amount}, 0)" for text in (after, before))
        if self._table.spending_cap is not None:
            after, before = (f"least({text}, {self._table.spending_cap})" for text in (after, before))
        return [
            "SELECT * EXCLUDE (cost), cost AS due_of_use",
            self._running("due_of_use", "due"),
            f"SELECT *, CASE WHEN due_of_use IS NOT NULL THEN ({after}) - ({before}) END AS cost",
        ]
