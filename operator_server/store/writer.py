"""Grouped transactions: many operations, one commit, each acknowledged only when it is on the disk.

The caller's thread keeps a list of pending operations. One hand-over to a worker thread takes all of them into one
transaction; one call back delivers all results; the next group leaves when the last has returned. So the size of a
group follows the load: one operation when idle, hundreds under pressure. An operation that fails is rolled back to
its savepoint and fails alone. A group in which one lost a race for locks against another process is done again.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from sqlalchemy import Connection, Engine

from operator_server.store.engine import writing
from operator_server.store.races import TRIES, let_others_go_on, lost_race

_log = logging.getLogger(__name__)


class Batch(Protocol):
    """Operations of one kind that are done together faster than one after another."""

    def __call__(self, connection: Connection, payloads: Sequence[Any], /) -> Sequence[Any]:
        """A result or an exception for each payload. If it raises, each payload is tried alone."""


Operation = Callable[[Connection], Any]
OnDone = Callable[[Any], None]
"""Gets the result, or the exception instance that the operation ended with."""


def one_by_one(connection: Connection, payloads: Sequence[Operation]) -> list[Any]:
    """The batch of operations that share nothing: each runs within its own savepoint."""
    results: list[Any] = []
    for operation in payloads:
        connection.exec_driver_sql("SAVEPOINT operation")
        try:
            results.append(operation(connection))
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to this operation's caller alone
            connection.exec_driver_sql("ROLLBACK TO operation")
            results.append(error)
        connection.exec_driver_sql("RELEASE operation")
    return results


class GroupedTransactions:
    """Runs operations in groups on one thread of its own.

    ``deliver`` brings a function to the thread where results are wanted (``reactor.callFromThread``); without it they
    arrive on the worker thread. With ``writes=False`` the groups read one snapshot and are not committed.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        deliver: Callable[[Callable[[], None]], Any] | None = None,
        writes: bool = True,
        largest: int = 512,
        name: str = "writer",
    ) -> None:
        self._engine = writing(engine) if writes else engine
        self._deliver = deliver
        self._largest = largest
        self._pending: list[tuple[Batch, Any, OnDone]] = []
        self._between: Callable[[Connection], None] | None = None
        self._wake = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, batch: Batch, payload: Any, on_done: OnDone) -> None:
        """Put an operation into the next group; ``on_done`` hears of it after the commit."""
        with self._wake:
            if self._stopping:
                raise RuntimeError("the store is closed")
            self._pending.append((batch, payload, on_done))
            if len(self._pending) == 1:
                self._wake.notify()

    def between(self, work: Callable[[Connection], None]) -> None:
        """Do this on the worker thread with its connection, outside of a transaction, before the next group."""
        with self._wake:
            self._between = work
            self._wake.notify()

    def close(self) -> None:
        """Finish what is pending, then stop the thread."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        self._thread.join()

    def _run(self) -> None:
        connection: Connection | None = None
        while True:
            with self._wake:
                while not self._pending and self._between is None:
                    if self._stopping:
                        if connection is not None:
                            connection.close()
                        return
                    self._wake.wait()
                group, self._pending = self._pending[: self._largest], self._pending[self._largest :]
                between, self._between = self._between, None
            try:
                if connection is None:
                    connection = self._engine.connect()
                if between is not None:
                    between(connection)
                if not group:
                    continue
                results = self._transact(connection, group)
            except Exception as error:  # noqa: BLE001 - the commit failed: nothing of the group happened
                results = [error] * len(group)
                if connection is not None:
                    connection.invalidate()
                    connection.close()
                    connection = None
            self._report(group, results)

    def _report(self, group: list[tuple[Batch, Any, OnDone]], results: list[Any]) -> None:
        def tell() -> None:
            for (_, _, on_done), result in zip(group, results, strict=True):
                try:
                    on_done(result)
                except Exception:  # noqa: BLE001 - it is the caller's, and the others must still hear of theirs
                    _log.exception("what was to hear of an operation's result failed; the operation itself did not")

        if self._deliver is None:
            tell()
        else:
            self._deliver(tell)

    def _transact(self, connection: Connection, group: list[tuple[Batch, Any, OnDone]]) -> list[Any]:
        kinds: dict[Batch, list[int]] = {}
        for index, (batch, _, _) in enumerate(group):
            kinds.setdefault(batch, []).append(index)
        if len(kinds) == 1 and one_by_one not in kinds:
            whole = self._attempt_whole(connection, group)
            if whole is not None:
                return whole
        for attempt in range(1, TRIES):
            results = self._in_turn(connection, group, kinds)
            if not any(map(lost_race, results)):
                return results
            let_others_go_on(attempt)
        return self._in_turn(connection, group, kinds, last=True)

    def _in_turn(
        self,
        connection: Connection,
        group: list[tuple[Batch, Any, OnDone]],
        kinds: dict[Batch, list[int]],
        *,
        last: bool = False,
    ) -> list[Any]:
        """The group, a savepoint for each kind; nothing of it where one lost a race, but for the ``last`` try."""
        results: list[Any] = [None] * len(group)
        with connection.begin() as transaction:
            for batch, indices in kinds.items():
                outcome = self._attempt(connection, batch, [group[index][1] for index in indices])
                for index, result in zip(indices, outcome, strict=True):
                    results[index] = result
            if not last and any(map(lost_race, results)):
                transaction.rollback()
        return results

    def _attempt_whole(self, connection: Connection, group: list[tuple[Batch, Any, OnDone]]) -> list[Any] | None:
        """A group of one kind needs no savepoint: it fails as a whole, rolled back, and that is ``None``."""
        transaction = connection.begin()
        try:
            results = group[0][0](connection, [payload for _, payload, _ in group])
            if len(results) != len(group):
                raise ValueError(f"{len(results)} results for {len(group)} operations")
        except Exception:  # noqa: BLE001 - the culprit is found by the slower way
            transaction.rollback()
            return None
        transaction.commit()
        return list(results)

    def _attempt(self, connection: Connection, batch: Batch, payloads: list[Any]) -> Sequence[Any]:
        if batch is one_by_one:
            return batch(connection, payloads)
        connection.exec_driver_sql("SAVEPOINT batch")
        try:
            results: Sequence[Any] = batch(connection, payloads)
        except Exception as error:  # noqa: BLE001 - the culprit is found by trying each alone
            connection.exec_driver_sql("ROLLBACK TO batch")
            connection.exec_driver_sql("RELEASE batch")
            if len(payloads) == 1:
                return [error]
            return [self._attempt(connection, batch, [payload])[0] for payload in payloads]
        connection.exec_driver_sql("RELEASE batch")
        return results
