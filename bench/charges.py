"""Durable charges per second: idempotent, double-entry, limit checked, some sent twice, some declined.

Ceiling: raw ``sqlite3`` writing the same rows into the same tables with the same indexes and the same durability, in
commits of 100, its rows made beforehand, with nothing read and nothing checked (foreign keys neither). Only charges
that took effect count; duplicates and declined ones are work that the ceiling does not have.
"""

from __future__ import annotations

import itertools
import queue
import random
import sqlite3
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from bench.measure import fdatasyncs_per_second, medians, percentile, result, show
from charging.ledger.book import Book, open_account
from charging.ledger.operations import Applied, Charge, Declined, Duplicate
from charging.ledger.seal import FIRST_ROOT, group_ids
from charging.ledger.statements import accounts, groups, postings, reservations, transfers
from operator_server.store.engine import open_engine, sqlite_url, writing
from operator_server.store.writer import GroupedTransactions
from signalling.clock import SystemClock, to_micros

CUSTOMERS = 2_000
OPERATIONS = {128: 16_000, 16: 8_000}
RAW = 16_000
COMMIT = 100
SENT_TWICE = 0.02
BROKE = 0.02
"""The share of customers whose limit is zero, so that their charges are declined."""

_NOW = datetime(2026, 10, 1, tzinfo=UTC)
_TABLES = [accounts, transfers, postings, reservations, groups]


def furnish(engine: Engine) -> None:
    """Make the ledger's tables and open the customers' accounts."""
    accounts.metadata.create_all(engine, tables=_TABLES)
    with writing(engine).begin() as connection:
        for number in range(CUSTOMERS):
            open_account(connection, f"customer-{number:06d}", "EUR", 0 if number < CUSTOMERS * BROKE else 10**12)


@contextmanager
def ledger() -> Iterator[Engine]:
    """An empty ledger in a file, with its customers."""
    with tempfile.TemporaryDirectory() as directory:
        engine = open_engine(sqlite_url(Path(directory) / "ledger.sqlite"))
        furnish(engine)
        yield engine
        engine.dispose()


@contextmanager
def raw_ledger() -> Iterator[tuple[sqlite3.Connection, dict[str, int], int]]:
    """The same without SQLAlchemy: a connection, the customers' unbilled accounts, and one of revenue."""
    with ledger() as engine, engine.connect() as borrowed:
        connection = borrowed.connection.driver_connection
        assert isinstance(connection, sqlite3.Connection)
        connection.execute("PRAGMA foreign_keys = OFF")
        ids = dict(connection.execute("SELECT owner, id FROM ledger_account WHERE kind = 'unbilled'"))
        connection.execute(
            "INSERT INTO ledger_account (owner, kind, currency, balance, reserved)"
            " VALUES ('(operator)', 'revenue', 'EUR', 0, 0)"
        )
        revenue = connection.execute("SELECT max(id) FROM ledger_account").fetchone()[0]
        yield connection, ids, revenue


def _charges(count: int, seed: int) -> list[Charge]:
    chance = random.Random(seed)
    made: list[Charge] = []
    while len(made) < count:
        if made and chance.random() < SENT_TWICE:
            made.append(chance.choice(made[-1000:]))
            continue
        made.append(
            Charge(
                source="terminal-gateway",
                op_id=str(uuid.UUID(int=chance.getrandbits(128), version=4)),
                owner=f"customer-{chance.randrange(CUSTOMERS):06d}",
                amount=chance.randrange(1, 5_000_000),
                currency="EUR",
                effective_at=_NOW,
                agreement_id=f"agreement-{chance.randrange(10**6):06d}",
                tariff_version_id="per-use@2026-10-01",
            )
        )
    return made


class Clients:
    """Keeps ``in_flight`` charges under way, each sent when another has been answered."""

    def __init__(self, engine: Engine, charges: list[Charge], in_flight: int) -> None:
        self._answers: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._writer = GroupedTransactions(engine, deliver=self._answers.put)
        self._book = Book(SystemClock())
        self._left = iter(charges)
        self._in_flight = in_flight
        self._under_way = 0
        self.latencies: list[float] = []
        self.outcomes: list[Any] = []

    def run(self) -> float:
        """Send all; the seconds until the last answer."""
        start = time.perf_counter()
        for charge in itertools.islice(self._left, self._in_flight):
            self._send(charge)
        while self._under_way:
            self._answers.get()()
        seconds = time.perf_counter() - start
        self._writer.close()
        return seconds

    def _send(self, charge: Charge) -> None:
        sent = time.perf_counter()

        def answered(outcome: Any) -> None:
            self.latencies.append(time.perf_counter() - sent)
            self.outcomes.append(outcome)
            self._under_way -= 1
            following = next(self._left, None)
            if following is not None:
                self._send(following)

        self._under_way += 1
        self._writer.submit(self._book, charge, answered)


def charged(in_flight: int, notes: dict[str, list[float]]) -> float:
    """Charges that took effect per second; the 99th percentile of the latency is added to ``notes``."""
    charges = _charges(OPERATIONS[in_flight], in_flight)
    with ledger() as engine:
        clients = Clients(engine, charges, in_flight)
        seconds = clients.run()
    kinds = [type(outcome) for outcome in clients.outcomes]
    applied = kinds.count(Applied)
    if applied + kinds.count(Duplicate) + kinds.count(Declined) != len(charges) or kinds.count(Duplicate) == 0:
        raise RuntimeError(f"the charges ended otherwise than expected: {set(kinds)}")
    notes.setdefault(f"p99 at {in_flight}", []).append(percentile(clients.latencies, 99) * 1000)
    notes.setdefault("declined or sent twice", []).append(1 - applied / len(charges))
    return applied / seconds


def written_raw() -> float:
    """Charges per second that raw sqlite3 writes, checking nothing."""
    with raw_ledger() as (connection, ids, revenue):
        commits = _raw_rows(ids, revenue)
        start = time.perf_counter()
        for number, (transfer_rows, posting_rows, balance_rows) in enumerate(commits, 1):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT INTO transfer VALUES (?,?,?,?,?,?,?,?,?,?,?)", transfer_rows)
            connection.executemany("INSERT INTO posting VALUES (?,?,?,?,?)", posting_rows)
            connection.executemany("UPDATE ledger_account SET balance = balance + ? WHERE id = ?", balance_rows)
            connection.execute(
                "INSERT INTO ledger_group VALUES (?,?,?,?,?,?,?,?)",
                ("raw", number, transfer_rows[0][0], transfer_rows[-1][0], COMMIT, FIRST_ROOT, FIRST_ROOT, 0),
            )
            connection.execute("COMMIT")
        return RAW / (time.perf_counter() - start)


def _raw_rows(ids: dict[str, int], revenue: int) -> list[tuple[list[Any], list[Any], list[Any]]]:
    commits = []
    instant = to_micros(_NOW)
    for offset in range(0, RAW, COMMIT):
        own_ids = group_ids(SystemClock().micros() + offset * 1000)
        transfer_rows: list[Any] = []
        posting_rows: list[Any] = []
        added: dict[int, int] = {}
        for charge in _distinct(COMMIT, offset):
            id, account = next(own_ids), ids[charge.owner]
            transfer_rows.append(
                (
                    *(id, charge.source, charge.op_id, FIRST_ROOT, "charge", None, None),
                    *(charge.agreement_id, charge.tariff_version_id, instant, instant),
                )
            )
            posting_rows += [(id, 0, account, "EUR", charge.amount), (id, 1, revenue, "EUR", -charge.amount)]
            added[account] = added.get(account, 0) + charge.amount
            added[revenue] = added.get(revenue, 0) - charge.amount
        commits.append((transfer_rows, posting_rows, [(amount, account) for account, amount in sorted(added.items())]))
    return commits


def _distinct(count: int, seed: int) -> list[Charge]:
    return list({charge.op_id: charge for charge in _charges(2 * count, seed + 10**6)}.values())[:count]


def run() -> list[dict[str, Any]]:
    """The figures of this benchmark, each the median of three interleaved runs."""
    notes: dict[str, list[float]] = {}
    figures = medians(
        {
            "raw": written_raw,
            "128": lambda: charged(128, notes),
            "16": lambda: charged(16, notes),
            "disk": fdatasyncs_per_second,
        }
    )
    return [
        result("durable charges, 128 in flight", figures["128"], "1/s", figures["raw"]),
        result("durable charges, 16 in flight", figures["16"], "1/s", figures["raw"]),
        result("p99 of a charge, 128 in flight", sorted(notes["p99 at 128"])[1], "ms"),
        result("p99 of a charge, 16 in flight", sorted(notes["p99 at 16"])[1], "ms"),
        result("charges declined or sent twice", 100 * notes["declined or sent twice"][0], "%"),
        result("fdatasync of the disk", figures["disk"], "1/s"),
    ]


if __name__ == "__main__":
    show(run())
