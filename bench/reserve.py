"""Durable pairs of reserve and commit per second, clients in process; on PostgreSQL too, where one is present.

Ceiling: raw ``sqlite3`` writing the same rows into the same tables with the same indexes and the same durability, in
commits of 100 pairs, its rows made beforehand, with nothing read and nothing checked (foreign keys neither). A pair
is a reservation and, once that is answered, the capture of a part of it that gives back the rest; the latency is of
each of the two. On PostgreSQL the ceiling is not measured: the figures of one process and of two stand beside it.
"""

from __future__ import annotations

import itertools
import queue
import random
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Engine

from bench.charges import CUSTOMERS, furnish, ledger, raw_ledger
from bench.measure import medians, percentile, result, show
from bench.report import Target
from charging.ledger.book import Book
from charging.ledger.operations import Applied, Capture, Reserve
from charging.ledger.seal import FIRST_ROOT, group_ids
from operator_server.store.engine import open_engine
from operator_server.store.writer import GroupedTransactions
from signalling.clock import SystemClock, to_micros
from tools.throwaway_postgres import PostgresMissing, throwaway_postgres

PAIRS = {128: 8_000, 16: 4_000}
RAW = 8_000
COMMIT = 100
LATER = timedelta(days=1)
"""What is charged at the end of a session was reserved for a day."""

TARGETS = {
    "durable reserve+commit pairs, 128 in flight": Target("ratio", ">=", 0.30),
    "durable reserve+commit pairs, 16 in flight": Target("ratio", ">=", 0.15),
}

_NOW = datetime(2026, 10, 1, tzinfo=UTC)
_EXPIRES = datetime.now(UTC).replace(microsecond=0) + LATER


class Sessions:
    """Keeps ``in_flight`` sessions under way: each reserves, captures when that is answered, and another begins."""

    def __init__(self, engine: Engine, pairs: int, in_flight: int, name: str = "main") -> None:
        self._answers: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._writer = GroupedTransactions(engine, deliver=self._answers.put)
        self._book = Book(SystemClock(), name)
        self._name = name
        self._in_flight = in_flight
        chance = random.Random(in_flight)
        # Ids of clients that grow with time, and those of other clients in between.
        self._left = iter(
            [
                (f"{name}-{chance.getrandbits(64):016x}", chance.randrange(CUSTOMERS // 50, CUSTOMERS), chance.random())
                for _ in range(pairs)
            ]
        )
        self._under_way = 0
        self.latencies: list[float] = []
        self.done = 0

    def run(self) -> float:
        """Do all; the seconds until the last answer."""
        start = time.perf_counter()
        for session in itertools.islice(self._left, self._in_flight):
            self._begin(*session)
        while self._under_way:
            self._answers.get()()
        seconds = time.perf_counter() - start
        self._writer.close()
        return seconds

    def _begin(self, name: str, customer: int, part: float) -> None:
        sent = time.perf_counter()

        def reserved(outcome: Any) -> None:
            answered = time.perf_counter()
            self.latencies.append(answered - sent)
            capture = Capture(
                source="gateway", op_id=f"{name}-end", reservation_id=_applied(outcome), amount=int(part * 1_000_000),
                effective_at=_NOW, tariff_version_id="per-use@2026-10-01", release_rest=True,
            )  # fmt: skip

            def captured(outcome: Any) -> None:
                self.latencies.append(time.perf_counter() - answered)
                _applied(outcome)
                self.done += 1
                self._under_way -= 1
                following = next(self._left, None)
                if following is not None:
                    self._begin(*following)

            self._writer.submit(self._book, capture, captured)

        self._under_way += 1
        reserve = Reserve(
            source="gateway", op_id=name, owner=f"customer-{customer:06d}", amount=1_000_000, currency="EUR",
            expires_at=_EXPIRES, agreement_id=f"agreement-{customer:06d}",
        )  # fmt: skip
        self._writer.submit(self._book, reserve, reserved)


def _applied(outcome: Any) -> str:
    if not isinstance(outcome, Applied):
        raise RuntimeError(f"it was to be applied: {outcome}")
    return outcome.transfer_id


def paired(in_flight: int, notes: dict[str, list[float]]) -> float:
    """Pairs per second on SQLite; the 99th percentile of an operation's latency is added to ``notes``."""
    with ledger() as engine:
        sessions = Sessions(engine, PAIRS[in_flight], in_flight)
        seconds = sessions.run()
    notes.setdefault(f"p99 at {in_flight}", []).append(percentile(sessions.latencies, 99) * 1000)
    return sessions.done / seconds


def written_raw() -> float:
    """Pairs per second that raw sqlite3 writes, checking nothing."""
    with raw_ledger() as (connection, ids, revenue):
        commits = _raw_rows(ids, revenue)
        start = time.perf_counter()
        for number, (transfers, postings, reservations, closed, balances) in enumerate(commits, 1):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT INTO transfer VALUES (?,?,?,?,?,?,?,?,?,?,?)", transfers)
            connection.executemany("INSERT INTO posting VALUES (?,?,?,?,?)", postings)
            connection.executemany("INSERT INTO reservation VALUES (?,?,?,?,?,?,?,?,?)", reservations)
            connection.executemany("UPDATE reservation SET remaining = ?, state = ? WHERE id = ?", closed)
            connection.executemany(
                "UPDATE ledger_account SET balance = balance + ?, reserved = reserved + ? WHERE id = ?", balances
            )
            connection.execute(
                "INSERT INTO ledger_group VALUES (?,?,?,?,?,?,?,?)",
                ("raw", number, transfers[0][0], transfers[-1][0], len(transfers), FIRST_ROOT, FIRST_ROOT, 0),
            )
            connection.execute("COMMIT")
        return RAW / (time.perf_counter() - start)


def _raw_rows(ids: dict[str, int], revenue: int) -> list[tuple[list[Any], ...]]:
    chance = random.Random(1)
    instant, expires = to_micros(_NOW), to_micros(_EXPIRES)
    version = "per-use@2026-10-01"
    commits = []
    for offset in range(0, RAW, COMMIT):
        own = group_ids(SystemClock().micros() + offset * 1000)
        transfers: list[Any] = []
        postings: list[Any] = []
        reservations: list[Any] = []
        closed: list[Any] = []
        added: dict[int, list[int]] = {}
        for _ in range(COMMIT):
            owner = f"customer-{chance.randrange(CUSTOMERS // 50, CUSTOMERS):06d}"
            name, agreement, account = f"main-{chance.getrandbits(64):016x}", f"agreement-{owner[-6:]}", ids[owner]
            held, end, amount = next(own), next(own), chance.randrange(1_000_000)
            transfers.append(
                (held, "gateway", name, FIRST_ROOT, "reserve", None, None, agreement, None, instant, instant)
            )
            transfers.append(
                (end, "gateway", f"{name}-end", FIRST_ROOT, "capture", held, None, agreement, version, instant, instant)
            )
            postings += [(end, 0, account, "EUR", amount), (end, 1, revenue, "EUR", -amount)]
            reservations.append((held, account, owner, "EUR", 1_000_000, 1_000_000, agreement, expires, "open"))
            closed.append((1_000_000 - amount, "released", held))
            for key, more in ((account, amount), (revenue, -amount)):
                added.setdefault(key, [0, 0])[0] += more
        balances = [(more, 0, key) for key, (more, _) in sorted(added.items())]
        commits.append((transfers, postings, reservations, closed, balances))
    return commits


def on_postgres(notes: dict[str, list[float]]) -> dict[str, float]:
    """Pairs per second on a fresh PostgreSQL with 128 in flight, from one process and from two; empty without one."""
    try:
        with throwaway_postgres(durable=True) as url:
            engine = open_engine(url)
            furnish(engine)
            engine.dispose()
            figures = {}
            for processes in (1, 2):
                done = _from_processes(url, processes)
                figures[str(processes)] = sum(pairs for pairs, _, _ in done) / max(seconds for _, seconds, _ in done)
                notes[f"p99 of {processes}"] = [max(latency for _, _, latency in done)]
            return figures
    except PostgresMissing:
        return {}


def _from_processes(url: str, processes: int) -> list[tuple[int, float, float]]:
    """Pairs, seconds and the 99th percentile in milliseconds of each process; they begin together."""
    command = [sys.executable, "-m", "bench.reserve", url]
    started = [
        subprocess.Popen(
            [*command, f"writer-{processes}-{number}", str(PAIRS[128] // 2 // processes), str(128 // processes)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for number in range(processes)
    ]  # fmt: skip
    for process in started:
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise RuntimeError("a process that reserves on PostgreSQL did not begin")
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    figures = []
    for process in started:
        told, _ = process.communicate(timeout=120)
        pairs, seconds, latency = told.split()
        figures.append((int(pairs), float(seconds), float(latency)))
    return figures


def _serve(url: str, name: str, pairs: int, in_flight: int) -> None:
    engine = open_engine(url)
    sessions = Sessions(engine, pairs, in_flight, name)
    print("ready", flush=True)
    sys.stdin.readline()
    seconds = sessions.run()
    print(sessions.done, seconds, percentile(sessions.latencies, 99) * 1000)


def run() -> list[dict[str, Any]]:
    """The figures of this benchmark; those on SQLite each the median of three interleaved runs."""
    notes: dict[str, list[float]] = {}
    figures = medians({"raw": written_raw, "128": lambda: paired(128, notes), "16": lambda: paired(16, notes)})
    rows = [
        result("durable reserve+commit pairs, 128 in flight", figures["128"], "1/s", figures["raw"]),
        result("durable reserve+commit pairs, 16 in flight", figures["16"], "1/s", figures["raw"]),
        result("p99 of a reserve or commit, 128 in flight", sorted(notes["p99 at 128"])[1], "ms"),
        result("p99 of a reserve or commit, 16 in flight", sorted(notes["p99 at 16"])[1], "ms"),
    ]
    for processes, pairs in on_postgres(notes).items():
        whose = "one process" if processes == "1" else "two processes"
        rows.append(result(f"reserve+commit pairs on PostgreSQL, {whose}", pairs, "1/s"))
        rows.append(result(f"p99 on PostgreSQL, {whose}", notes[f"p99 of {processes}"][0], "ms"))
    return rows


if __name__ == "__main__":
    if len(sys.argv) > 1:
        _serve(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    else:
        show(run())
