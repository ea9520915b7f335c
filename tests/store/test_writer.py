from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import OperationalError

from operator_server.store.engine import open_engine, sqlite_url, writing
from operator_server.store.store import transact
from operator_server.store.writer import GroupedTransactions, one_by_one


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = open_engine(sqlite_url(tmp_path / "test.sqlite"))
    with writing(made).begin() as connection:
        connection.exec_driver_sql("CREATE TABLE thing (name TEXT PRIMARY KEY)")
    yield made
    made.dispose()


class Held:
    """A writer that is kept busy, so that what is submitted meanwhile becomes one group."""

    def __init__(self, engine: Engine, **more: Any) -> None:
        self._busy = threading.Event()
        self._go = threading.Event()
        self.writer = GroupedTransactions(engine, **more)
        self.results: list[Any] = []
        self.writer.submit(one_by_one, self._hold, lambda _: None)
        assert self._busy.wait(5)

    def _hold(self, connection: Connection) -> None:
        self._busy.set()
        assert self._go.wait(5)

    def submit(self, operation: Callable[[Connection], Any]) -> None:
        self.writer.submit(one_by_one, operation, self.results.append)

    def finish(self) -> list[Any]:
        self._go.set()
        self.writer.close()
        return self.results


def add(name: str) -> Callable[[Connection], str]:
    def operation(connection: Connection) -> str:
        connection.exec_driver_sql("INSERT INTO thing VALUES (?)", (name,))
        return name

    return operation


def add_all(connection: Connection, names: Sequence[str]) -> list[int]:
    """A batch; each result is the size of the group that it was in."""
    connection.exec_driver_sql("INSERT INTO thing VALUES (?)", [(name,) for name in names])
    return [len(names)] * len(names)


def names(engine: Engine) -> set[str]:
    with engine.connect() as connection:
        return set(connection.exec_driver_sql("SELECT name FROM thing").scalars())


def transactions(engine: Engine) -> list[str]:
    """Collects what the database is told about transactions."""
    told: list[str] = []
    raw = engine.raw_connection().driver_connection
    assert isinstance(raw, sqlite3.Connection)
    raw.set_trace_callback(lambda sql: told.append(sql) if sql in ("BEGIN IMMEDIATE", "COMMIT", "ROLLBACK") else None)
    return told


def test_what_waits_is_done_in_one_transaction_and_answered_in_order(engine: Engine) -> None:
    told = transactions(engine)
    held = Held(engine)
    for number in range(10):
        held.submit(add(f"n{number}"))
    assert held.finish() == [f"n{number}" for number in range(10)]
    assert told == ["BEGIN IMMEDIATE", "COMMIT"] * 2


def test_one_that_fails_fails_alone_and_leaves_nothing(engine: Engine) -> None:
    def half(connection: Connection) -> None:
        add("half")(connection)
        raise ValueError("no")

    held = Held(engine)
    for operation in (add("a"), half, add("a"), add("b")):
        held.submit(operation)
    first, failed, again, last = held.finish()
    assert (first, last) == ("a", "b")
    assert isinstance(failed, ValueError)
    assert "UNIQUE" in str(again)
    assert names(engine) == {"a", "b"}


def test_a_batch_gets_all_of_its_kind_at_once(engine: Engine) -> None:
    held = Held(engine)
    for name in ("a", "b", "c"):
        held.writer.submit(add_all, name, held.results.append)
    assert held.finish() == [3, 3, 3]


def test_a_batch_that_fails_is_tried_one_by_one(engine: Engine) -> None:
    held = Held(engine)
    held.submit(add("beside"))
    for name in ("a", "b", "a", "c"):
        held.writer.submit(add_all, name, held.results.append)
    results = held.finish()
    assert [results[index] for index in (0, 1, 2, 4)] == ["beside", 1, 1, 1]
    assert "UNIQUE" in str(results[3])
    assert names(engine) == {"beside", "a", "b", "c"}


class Deadlock(Exception):
    sqlstate = "40P01"


@pytest.mark.parametrize(("losses", "there"), [(1, {"a", "b", "c"}), (99, {"a", "c"})])
def test_who_lost_a_race_for_locks_tries_again_with_its_whole_group(
    engine: Engine, losses: int, there: set[str]
) -> None:
    tried = 0

    def loser(connection: Connection) -> str:
        nonlocal tried
        tried += 1
        if tried <= losses:
            raise OperationalError("SELECT ... FOR UPDATE", {}, Deadlock())
        return add("b")(connection)

    held = Held(engine)
    for operation in (add("a"), loser, add("c")):
        held.submit(operation)
    first, second, third = held.finish()
    assert (first, third) == ("a", "c")
    assert second == "b" if losses == 1 else isinstance(second, OperationalError)
    assert names(engine) == there
    assert tried == min(losses + 1, 6)


@pytest.mark.parametrize("state", ["40P01", "40001", "23505"])
def test_a_transaction_that_another_got_into_the_way_of_is_done_again(engine: Engine, state: str) -> None:
    tried = []

    def meets_others(connection: Connection) -> str:
        add(f"try-{len(tried)}")(connection)
        tried.append(state)
        if len(tried) < 3:
            lost = Deadlock()
            lost.sqlstate = state
            raise OperationalError("UPDATE", {}, lost)
        return "done"

    assert transact(engine, meets_others) == "done"
    assert names(engine) == {"try-2"}


def test_who_always_loses_is_told_after_some_tries(engine: Engine) -> None:
    tried = []

    def unlucky(connection: Connection) -> None:
        tried.append(connection)
        raise OperationalError("UPDATE", {}, Deadlock())

    with pytest.raises(OperationalError):
        transact(engine, unlucky)
    assert len(tried) == 6


def test_a_batch_that_miscounts_its_results_changes_nothing(engine: Engine) -> None:
    def forgetful(connection: Connection, names: Sequence[str]) -> list[int]:
        return add_all(connection, names)[1:]

    held = Held(engine)
    held.writer.submit(forgetful, "a", held.results.append)
    held.writer.submit(forgetful, "b", held.results.append)
    assert [type(result) for result in held.finish()] == [ValueError, ValueError]
    assert names(engine) == set()


def test_who_is_answered_finds_it_committed(engine: Engine) -> None:
    seen: list[set[str]] = []
    writer = GroupedTransactions(engine)
    writer.submit(one_by_one, add("a"), lambda _: seen.append(names(engine)))
    writer.close()
    assert seen == [{"a"}]


def test_a_commit_that_fails_is_everybodys_failure_and_the_writer_goes_on(engine: Engine) -> None:
    def spoil(connection: Connection) -> None:
        connection.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
        connection.exec_driver_sql("CREATE TABLE child (name TEXT REFERENCES thing (name))")
        connection.exec_driver_sql("INSERT INTO child VALUES ('nobody')")

    held = Held(engine)
    held.submit(add("a"))
    held.submit(spoil)
    held.writer.submit(one_by_one, add("b"), lambda _: held.submit(add("later")))
    first, second, later = _finish_after_later(held)
    assert isinstance(first, Exception)
    assert isinstance(second, Exception)
    assert later == "later"
    assert names(engine) == {"later"}


def _finish_after_later(held: Held) -> list[Any]:
    held._go.set()
    deadline = threading.Event()
    for _ in range(500):
        if len(held.results) == 3:
            break
        deadline.wait(0.01)
    return held.finish()


def test_results_come_where_deliver_brings_them(engine: Engine) -> None:
    brought: list[Callable[[], None]] = []
    results: list[Any] = []
    writer = GroupedTransactions(engine, deliver=brought.append)
    writer.submit(one_by_one, add("a"), results.append)
    writer.close()
    assert results == []
    for tell in brought:
        tell()
    assert results == ["a"]


def test_what_a_callback_submits_is_done_too(engine: Engine) -> None:
    done = threading.Event()
    writer = GroupedTransactions(engine)
    writer.submit(one_by_one, add("a"), lambda _: writer.submit(one_by_one, add("b"), lambda _: done.set()))
    assert done.wait(5)
    writer.close()
    assert names(engine) == {"a", "b"}


def test_a_callback_that_raises_is_logged_and_does_not_stop_the_writer(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(result: Any) -> None:
        raise RuntimeError("the caller's own fault")

    held = Held(engine)
    held.writer.submit(one_by_one, add("a"), fail)
    held.submit(add("b"))
    assert held.finish() == ["b"]
    assert names(engine) == {"a", "b"}
    assert "the caller's own fault" in caplog.text


def test_a_closed_writer_finishes_what_waits_and_takes_no_more(engine: Engine) -> None:
    held = Held(engine)
    for number in range(5):
        held.submit(add(str(number)))
    held.finish()
    assert len(names(engine)) == 5
    with pytest.raises(RuntimeError, match="closed"):
        held.submit(add("late"))


def test_a_group_is_never_larger_than_asked(engine: Engine) -> None:
    held = Held(engine, largest=2)
    for name in "abcde":
        held.writer.submit(add_all, name, held.results.append)
    assert held.finish() == [2, 2, 2, 2, 1]


def test_a_reading_group_sees_one_snapshot_and_does_not_wait_for_a_writer(engine: Engine) -> None:
    def count(connection: Connection) -> int:
        return int(connection.exec_driver_sql("SELECT count(*) FROM thing").scalar_one())

    results: list[Any] = []
    with writing(engine).begin() as connection:
        add("a")(connection)
        reader = GroupedTransactions(engine, writes=False)
        reader.submit(one_by_one, count, results.append)
        reader.close()
    assert results == [0]
