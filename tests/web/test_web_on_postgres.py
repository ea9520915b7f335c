"""What web processes share, on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from operator_samples import NOW
from postgres import postgres_server, postgres_url
from sqlalchemy import Engine, update
from test_jobs import Work, begin, gone, until
from test_pace import SECOND, refused

from operator_server.store.engine import open_engine
from operator_server.store.feed import record
from operator_server.store.migrate import upgrade
from operator_server.store.parties import Event
from operator_server.store.rows import table
from operator_server.web.console.accounts_data import used_by_day
from operator_server.web.console.overview_data import Today
from operator_server.web.jobs import LEASE, Jobs, Kind
from operator_server.web.pace import LogonPaces
from operator_server.web.problems import Problem
from signalling.clock import SettableClock

__all__ = ["postgres_server", "postgres_url"]


@pytest.fixture
def engine(postgres_url: str) -> Iterator[Engine]:
    upgrade(postgres_url)
    engine = open_engine(postgres_url)
    yield engine
    engine.dispose()


def test_the_day_is_counted(engine: Engine) -> None:
    with engine.begin() as connection:
        record(connection, NOW, "agreed", account="A-1")
        connection.execute(update(table(Event)).values(place=1))
        today = Today()
        assert today.tally(connection, NOW - timedelta(days=1)) == today.tally(connection, NOW - timedelta(days=1))
        assert today._counts["agreed"] == 1


def test_what_an_account_used_is_read_by_the_hour(engine: Engine) -> None:
    tariffs: Any = None
    with engine.connect() as connection:
        assert used_by_day(connection, tariffs, "A-1", "Europe/Berlin", NOW) == []


def test_tries_are_counted_and_jobs_handed_on(engine: Engine) -> None:
    here, there = (LogonPaces(engine, 30) for _ in range(2))
    assert [refused((here, there)[n % 2], "", "erika") for n in range(12)] == [False] * 10 + [True] * 2
    assert not refused(LogonPaces(engine, 30), "", "erika", 2 * SECOND * 3)

    operator: Any = SimpleNamespace(engine=engine, clock=SettableClock(NOW))
    work = Work()
    first, second = (Jobs(operator, {"run": Kind("runs", work, (ValueError,))}) for _ in range(2))
    job = begin(first)
    with pytest.raises(Problem, match="409"):
        begin(second)
    gone(first)
    operator.clock.advance(LEASE * 2)
    assert second.resume() == [job.id]
    work.may_end.set()
    assert until(lambda: second.find(job.id), lambda each: each.state != "running").reason == "seven made"
    assert [each.id for each in second.newest("run")] == [job.id]
