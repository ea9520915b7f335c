"""Rating a Parquet file of uses, here or in a process of its own whose memory is bounded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import msgspec

from charging.bulk.query import rating_query
from charging.bulk.uses import BulkError, NotByColumns, RatingQuery, Uses
from charging.tariffs import TariffVersion
from signalling.clock import from_micros

_WHOLE = frozenset({"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"})


class Totals(msgspec.Struct, frozen=True):
    """How many uses there were, what all cost in micros, and how many no price was found for."""

    uses: int
    cost: int
    unrated: int


class Job(msgspec.Struct, frozen=True):
    """What the process is asked to do, as JSON on its standard input."""

    tariff: str
    content: str
    source: str
    costs: str | None
    totals: str | None
    memory: str
    threads: int


class Failure(msgspec.Struct, frozen=True):
    """Why the process did not; ``scalar``: the path record by record can."""

    reason: str
    scalar: bool


def rate_file(
    version: TariffVersion,
    source: Path,
    *,
    costs: Path | None = None,
    totals: Path | None = None,
    memory: str = "1GB",
    threads: int = 2,
) -> Totals:
    """Rate a Parquet file in a process of its own, which takes at most ``memory`` for its tables.

    The file has ``account`` (text), ``quantity`` (a whole number), ``at`` (a timestamp with zone or micros, for time
    bands) and ``destination`` (text, for destinations); its uses are of one rating period and in order. ``costs``
    gets ``row`` (from 0), ``account`` and ``cost`` (micros; none where there is no price) of each use, ``totals`` the
    ``uses``, ``cost`` and ``unrated`` uses of each account, both as Parquet; without ``totals`` the first has no
    account. Raises :class:`charging.bulk.NotByColumns` and
    :class:`charging.bulk.BulkError`.
    """
    job = Job(
        version.tariff_id, version.content, str(source), str(costs) if costs else None,
        str(totals) if totals else None, memory, threads,
    )  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "charging.bulk"], input=msgspec.json.encode(job), capture_output=True, check=False
    )
    if done.returncode:
        raise BulkError(f"{source}: the rating process ended with {done.returncode}: {done.stderr.decode()[-2000:]}")
    answer = msgspec.json.decode(done.stdout)
    if "reason" in answer:
        raise (NotByColumns if answer["scalar"] else BulkError)(answer["reason"])
    return msgspec.convert(answer, Totals)


def rate_table(
    database: duckdb.DuckDBPyConnection, version: TariffVersion, source: Path, costs: Path | None, totals: Path | None
) -> Totals:
    """:func:`rate_file` on a database of the caller's. Leaves its tables there."""
    uses, table = _look(database, version, source)
    quick = _rate(database, rating_query(version, uses, quick=True), table, costs, totals)
    if quick.uses == uses.count:
        return quick
    return _rate(database, rating_query(version, uses), table, costs, totals)


def _rate(
    database: duckdb.DuckDBPyConnection, query: RatingQuery, table: str, costs: Path | None, totals: Path | None
) -> Totals:
    for statement in query.setup:
        database.execute(statement)
    rated = query.costs.replace("{source}", table)
    if costs:
        columns = "row, account, cost" if totals else "row, cost"
        database.execute(f"COPY (SELECT {columns} FROM ({rated})) TO {_quoted(costs)} (FORMAT parquet)")
        rated = f"SELECT * FROM read_parquet({_quoted(costs)})"
    unrated = "count(*) - count(cost)" if query.lacking else "0::BIGINT"
    sums = f"count(*) AS uses, coalesce(sum(cost), 0) AS cost, {unrated} AS unrated"
    if totals or not costs:
        by_account = f"SELECT account, {sums} FROM ({rated}) GROUP BY account"
        database.execute(f"CREATE OR REPLACE TEMP TABLE by_account AS {by_account}")
        rated = "by_account"
        sums = "coalesce(sum(uses), 0), coalesce(sum(cost), 0), coalesce(sum(unrated), 0)"
        if totals:
            database.execute(f"COPY by_account TO {_quoted(totals)} (FORMAT parquet)")
    whole = database.execute(f"SELECT {sums} FROM {rated if rated == 'by_account' else f'({rated})'}").fetchone()
    assert whole
    return Totals(*(int(each) for each in whole))


def _look(database: duckdb.DuckDBPyConnection, version: TariffVersion, source: Path) -> tuple[Uses, str]:
    """The file's figures, and a subquery of its uses."""
    file = f"read_parquet({_quoted(source)}, file_row_number = true)"
    kinds = {row[0]: row[1] for row in database.execute(f"DESCRIBE SELECT * FROM {file}").fetchall()}
    wanted: dict[str, frozenset[str]] = {"account": frozenset({"VARCHAR"}), "quantity": _WHOLE}
    if version.timed:
        wanted["at"] = frozenset({"TIMESTAMP WITH TIME ZONE", "BIGINT"})
    if version.destinations.values():
        wanted["destination"] = frozenset({"VARCHAR"})
    for name, allowed in wanted.items():
        if kinds.get(name) not in allowed:
            raise BulkError(f"{source}: column {name} is {kinds.get(name, 'missing')}; {', '.join(sorted(allowed))}")
    micros = 'epoch_us("at")' if kinds.get("at", "").startswith("TIMESTAMP") else '"at"'
    columns = ["file_row_number AS row", "account", "quantity"]
    figures = ["count(*)", "count(account)", "count(quantity)", "min(quantity)", "max(quantity)"]
    if version.timed:
        columns.append(f"{micros} AS micros")
        figures += [f"min({micros})", f"max({micros})", 'count("at")']
    if "destination" in wanted:
        columns.append("destination")
    found: Any = database.execute(f"SELECT {', '.join(figures)} FROM {file}").fetchone()
    count, least, most = found[0], found[3], found[4]
    if min(found[1], found[2], found[7] if version.timed else count) < count:
        raise BulkError(f"{source}: account, quantity or at is missing in a row")
    if count and least < 0:
        raise BulkError(f"{source}: quantity {least} is negative")
    first = from_micros(found[5]) if version.timed and count else None
    last = from_micros(found[6]) if version.timed and count else None
    plus = False
    if "destination" in wanted:
        some = f"SELECT destination FROM {file} LIMIT 1000"
        plus = (
            database.execute(f"SELECT 1 FROM ({some}) WHERE starts_with(destination, '+') LIMIT 1").fetchone()
            is not None
        )
    return Uses(count, most or 0, first, last, least or 0, plus), f"(SELECT {', '.join(columns)} FROM {file})"


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"
