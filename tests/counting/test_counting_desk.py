"""The desk between link and store: answers after the commit."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from counting_samples import (
    AGREED,
    SETTINGS,
    House,
    Meterer,
    add_customer,
    add_installation,
    add_terminal,
    charges,
)
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from operator_server.counting.desk import CountingDesk
from operator_server.desk import Refused
from operator_server.store.engine import sqlite_url, writing
from operator_server.store.schema import metadata
from operator_server.store.store import Store
from signalling.clock import SettableClock
from signalling.messages import CounterNoted, CounterReports, Message, Signed


class Reactor:
    """Calls at once, on whatever thread."""

    def callFromThread(self, function: Callable[[], None]) -> None:
        function()


def answer(deferred: Deferred[Sequence[Message]]) -> Any:
    """What a Deferred that another thread fires came to."""
    done = threading.Event()
    results: list[Any] = []

    def keep(result: Any) -> None:
        results.append(result)
        done.set()

    deferred.addBoth(keep)
    assert done.wait(20)
    return results[0]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(sqlite_url(tmp_path / "tollgate.sqlite"), Reactor())
    metadata.create_all(store.engine)
    yield store
    store.close()


def test_reports_of_several_links_are_answered_each_with_its_own(store: Store) -> None:
    house = House()
    with writing(store.engine).begin() as connection:
        add_customer(connection)
        add_terminal(connection)
        for number in range(5):
            add_installation(connection, house.version, f"inst-{number}")
    desk = CountingDesk(store, house.tariffs, house.grants, SETTINGS, SettableClock(AGREED))
    [handler] = desk.handlers().values()
    waiting = [
        handler(house.visitor, CounterReports([Meterer(f"inst-{number}").use(number + 1, AGREED)]))
        for number in range(5)
    ]
    for number, deferred in enumerate(waiting):
        [noted] = answer(deferred)
        assert isinstance(noted, CounterNoted)
        assert [outcome.installation for outcome in noted.outcomes] == [f"inst-{number}"]
        assert len(noted.usage) == 1
    with store.engine.connect() as connection:
        assert [charge.quantity for charge in charges(connection)] == [1, 2, 3, 4, 5]


def test_bytes_that_are_no_report_are_refused(store: Store) -> None:
    house = House()
    desk = CountingDesk(store, house.tariffs, house.grants, SETTINGS, SettableClock(AGREED))
    failure = answer(desk.reports(house.visitor, CounterReports([Signed(b"\x80", bytes(64))])))
    assert isinstance(failure, Failure)
    assert isinstance(failure.value, Refused)
    assert failure.value.code == "bad_document"
