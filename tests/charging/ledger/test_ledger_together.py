"""Several at once: threads on the grouped writer and beside it, and a process that is killed while it charges."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from ledger_samples import EURO, NOW, charge, create_tables, reserve
from sqlalchemy import Engine

from charging.ledger.book import Book, apply, available, open_account
from charging.ledger.operations import Applied, Charge, Conflict, Declined, Duplicate, Operation
from charging.ledger.verify import verify
from operator_server.store.engine import open_engine, sqlite_url, writing
from operator_server.store.writer import GroupedTransactions
from signalling.clock import SettableClock, to_micros

HERE = Path(__file__).parent


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    """A ledger in a file, with the customer ``ada``, who has 10 euros of credit."""
    made = open_engine(sqlite_url(tmp_path / "ledger.sqlite"))
    create_tables(made)
    with writing(made).begin() as connection:
        open_account(connection, "ada", "EUR", 10 * EURO)
    return made


def _submit_all(engine: Engine, operations: Sequence[Operation]) -> list[Any]:
    writer = GroupedTransactions(engine)
    book = Book(SettableClock(NOW))
    outcomes: list[Any] = [None] * len(operations)

    def submit(offset: int) -> None:
        for index in range(offset, len(operations), 4):
            writer.submit(book, operations[index], partial(outcomes.__setitem__, index))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(submit, range(4)))
    writer.close()
    return outcomes


def test_many_threads_never_pass_the_limit(engine: Engine) -> None:
    operations = [(charge if n % 2 else reserve)(str(n), EURO // 4) for n in range(100)]
    outcomes = _submit_all(engine, operations)
    assert [type(outcome) for outcome in outcomes].count(Applied) == 40
    with engine.begin() as connection:
        assert available(connection, "ada", "EUR") == 0
        assert verify(connection) == []


def test_writers_on_connections_of_their_own_never_pass_the_limit(engine: Engine) -> None:
    def work(number: int) -> int:
        applied = 0
        for step in range(20):
            with writing(engine).begin() as connection:
                one = charge(f"{number}-{step}", EURO // 4)
                applied += isinstance(apply(connection, [one], to_micros(NOW))[0], Applied)
        return applied

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(work, range(4))) == 40
    with engine.begin() as connection:
        assert available(connection, "ada", "EUR") == 0
        assert verify(connection) == []


def test_one_bad_operation_does_not_spoil_its_group(engine: Engine) -> None:
    with writing(engine).begin() as connection:
        open_account(connection, "rich", "EUR", None)
        apply(connection, [charge("most", 2**63 - 1, "rich", revenue="songs")], to_micros(NOW))
    bad = charge("bad", 1, "rich", revenue="songs")
    operations: list[Operation] = [charge("a", EURO), bad, charge("b", EURO), charge("a", 2)]
    hold = threading.Event()
    writer = GroupedTransactions(engine)
    writer.submit(lambda connection, payloads: [hold.wait(5)], None, lambda _: None)
    outcomes: list[Any] = []
    book = Book(SettableClock(NOW))
    for operation in operations:
        writer.submit(book, operation, outcomes.append)
    hold.set()
    writer.close()
    assert [type(outcome) for outcome in outcomes] == [Applied, OverflowError, Applied, Conflict]
    with engine.begin() as connection:
        assert available(connection, "ada", "EUR") == 8 * EURO
        assert verify(connection) == []


def test_the_same_charges_from_many_threads_are_done_once(engine: Engine) -> None:
    operations = [charge(str(n), EURO // 100) for n in range(50)] * 4
    random.Random(1).shuffle(operations)
    kinds = [type(outcome) for outcome in _submit_all(engine, operations)]
    assert (kinds.count(Applied), kinds.count(Duplicate)) == (50, 150)


_CHARGING = """
import sys, random
from ledger_samples import NOW, charge
from charging.ledger.book import Book
from charging.ledger.operations import Applied, Declined, Duplicate
from operator_server.store.engine import open_engine
from operator_server.store.writer import GroupedTransactions
from signalling.clock import SettableClock

url, seed = sys.argv[1:]
writer = GroupedTransactions(open_engine(url))
book = Book(SettableClock(NOW))
count = 0

def send():
    global count
    count += 1
    name = f"{seed}-{count}"
    def answered(outcome):
        assert isinstance(outcome, Applied), outcome
        sys.stdout.write(f"{name} {outcome.transfer_id}\\n")
        sys.stdout.flush()
        send()
    writer.submit(book, charge(name, 1), answered)

for _ in range(20):
    send()
"""


def _charge_until_killed(engine: Engine, seed: int, seconds: float) -> dict[str, str]:
    """Start a process that charges and acknowledges on its output; kill it; what it acknowledged."""
    path = os.pathsep.join([str(HERE), str(HERE.parents[2]), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [sys.executable, "-c", _CHARGING + "\nwriter._thread.join()", str(engine.url), str(seed)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
    )
    assert process.stdout is not None
    first = process.stdout.readline()
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    rest, _ = process.communicate()
    lines = [first, *rest.splitlines(keepends=True)]
    return dict(line.split() for line in lines if line.endswith("\n"))


@pytest.mark.slow
def test_a_process_killed_while_charging_loses_nothing_acknowledged_and_charges_nothing_twice(engine: Engine) -> None:
    chance = random.Random(3)
    with writing(engine).begin() as connection:
        open_account(connection, "ada", "EUR", None)
    for seed in range(6):
        acknowledged = _charge_until_killed(engine, seed, chance.uniform(0, 0.2))
        assert acknowledged
        again: list[Charge] = [charge(name, 1) for name in acknowledged]
        with writing(engine).begin() as connection:
            assert apply(connection, again, to_micros(NOW)) == [Duplicate(id) for id in acknowledged.values()]
            assert verify(connection) == []


def test_a_declined_charge_is_answered_to_its_sender_alone(engine: Engine) -> None:
    outcomes = _submit_all(engine, [charge("1", 6 * EURO), charge("2", 6 * EURO), charge("3", 4 * EURO)])
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Applied", "Applied", "Declined"]
    assert sum(isinstance(outcome, Declined) for outcome in outcomes) == 1
