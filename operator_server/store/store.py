"""The store as the roles use it: reads and writes off the reactor thread, writes grouped and durable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from operator_server.store.checkpoints import Checkpointer
from operator_server.store.engine import open_engine, writing
from operator_server.store.races import TRIES, Overtaken, let_others_go_on, lost_race
from operator_server.store.writer import Batch, GroupedTransactions, one_by_one

T = TypeVar("T")


class Store:
    """A database with one grouping writer and one grouping reader for a Twisted process.

    ``read`` and ``write`` return Deferreds that fire on the reactor thread; a write's fires after its commit.
    """

    def __init__(self, url: str, reactor: Any) -> None:
        self.engine: Engine = open_engine(url)
        self._writer = GroupedTransactions(self.engine, deliver=reactor.callFromThread, name="writer")
        self._checkpointer = Checkpointer(self.engine, self._writer.between)
        self._reader = GroupedTransactions(self.engine, deliver=reactor.callFromThread, writes=False, name="reader")

    def write(self, operation: Callable[[Connection], T]) -> Deferred[T]:
        """Run ``operation`` in the next group; the Deferred fires when it is on the disk."""
        return self.write_grouped(one_by_one, operation)

    def read(self, operation: Callable[[Connection], T]) -> Deferred[T]:
        """Run ``operation`` on a snapshot."""
        return self.read_grouped(one_by_one, operation)

    def write_grouped(self, batch: Batch, payload: Any) -> Deferred[Any]:
        """Like ``write``, together with others of the same kind."""
        done: Deferred[Any] = Deferred()
        self._writer.submit(batch, payload, _firing(done))
        return done

    def read_grouped(self, batch: Batch, payload: Any) -> Deferred[Any]:
        """Like ``read``, together with others of the same kind."""
        done: Deferred[Any] = Deferred()
        self._reader.submit(batch, payload, _firing(done))
        return done

    def close(self) -> None:
        """Finish what is pending and let the database go."""
        self._checkpointer.close()
        self._writer.close()
        self._reader.close()
        self.engine.dispose()


def _firing(done: Deferred[Any]) -> Callable[[Any], None]:
    def fire(result: Any) -> None:
        if isinstance(result, BaseException):
            done.errback(Failure(result))
        else:
            done.callback(result)

    return fire


def transact(engine: Engine, operation: Callable[[Connection], T]) -> T:
    """Run ``operation`` in a writing transaction of its own, on this thread; for the command line and the API.

    Where another process got into its way it is rolled back and runs again, so it must not change anything else.
    """
    for attempt in range(1, TRIES):
        try:
            return _transact_once(engine, operation)
        except (DBAPIError, Overtaken) as error:
            if not lost_race(error):
                raise
            let_others_go_on(attempt)
    return _transact_once(engine, operation)


def _transact_once(engine: Engine, operation: Callable[[Connection], T]) -> T:
    with writing(engine).begin() as connection:
        return operation(connection)
