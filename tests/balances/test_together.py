"""Several at once, threads and processes, on SQLite and on PostgreSQL: nobody spends what is not there."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from balance_samples import DAY, EURO, NOW, Purse, use
from spender import spend
from sqlalchemy import Engine, func, select

from charging.balances.tables import UnitBucket
from charging.ledger.tables import CASH, OPERATOR, PREPAID, LedgerAccount
from operator_server.balances.buckets import add_bucket, share
from operator_server.balances.expiry import expire_balances
from operator_server.balances.once import BalanceError, lock
from operator_server.store.engine import open_engine, sqlite_url
from operator_server.store.rows import table
from operator_server.store.schema import metadata

SPENDER = Path(__file__).with_name("spender.py")


def _furnished(engine: Engine) -> Purse:
    """acc-1 with two euro and 500 seconds, which it shares in part with acc-2, that has nothing."""
    metadata.create_all(engine)
    purse = Purse(engine)
    purse.top_up(2 * EURO // 10)
    purse.do(add_bucket, "acc-1", "second", 500, id="b", valid_from=NOW - DAY)
    purse.do(share, "acc-1", "acc-2", id="s-units", bucket="b", most=200)
    purse.do(share, "acc-1", "acc-2", id="s-money", most=60_000)
    return purse


@pytest.fixture
def on_sqlite(tmp_path: Path) -> Iterator[Purse]:
    purse = _furnished(open_engine(sqlite_url(tmp_path / "together.sqlite")))
    yield purse
    purse.engine.dispose()


@pytest.fixture
def on_postgres(postgres_url: str) -> Iterator[Purse]:
    purse = _furnished(open_engine(postgres_url))
    yield purse
    purse.engine.dispose()


def _url(purse: Purse) -> str:
    return purse.engine.url.render_as_string(hide_password=False)


def _processes(purse: Purse, count: int) -> int:
    command = [sys.executable, str(SPENDER), _url(purse)]
    running = [
        subprocess.Popen([*command, f"p{seed}", str(seed), str(count)], stdout=subprocess.PIPE, text=True)
        for seed in range(2)
    ]
    told = [process.communicate(timeout=120)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0]
    return sum(int(text) for text in told)


def _threads(purse: Purse, count: int) -> int:
    with ThreadPoolExecutor(3) as pool:
        return sum(pool.map(lambda seed: spend(purse.engine, f"t{seed}", seed, count), range(3)))


def _holds(purse: Purse) -> None:
    """Reserved + available + spent = credits - refunds paid out, and nothing is below zero."""
    assert purse.findings() == []
    accounts = table(LedgerAccount)
    with purse.engine.connect() as connection:
        rows = connection.execute(select(accounts)).all()
        prepaid = {row.owner: -row.balance for row in rows if row.kind == PREPAID}
        reserved = sum(row.reserved for row in rows if row.owner != OPERATOR)
        earned = -sum(row.balance for row in rows if row.owner == OPERATOR and row.kind != CASH)
        cash = sum(row.balance for row in rows if row.owner == OPERATOR and row.kind == CASH)
        bucket = connection.execute(select(func.min(table(UnitBucket).c.remaining))).scalar_one()
    assert all(amount >= 0 for amount in prepaid.values())
    assert bucket >= 0
    available = sum(purse.available(account) for account in ("acc-1", "acc-2"))
    assert reserved + available + earned == cash


def test_threads_never_take_a_balance_below_zero(on_sqlite: Purse) -> None:
    assert _threads(on_sqlite, 60) > 20
    _holds(on_sqlite)


@pytest.mark.slow
def test_processes_never_take_a_balance_below_zero(on_sqlite: Purse) -> None:
    assert _processes(on_sqlite, 80) > 20
    _holds(on_sqlite)


@pytest.mark.peer
def test_threads_on_postgresql_never_take_a_balance_below_zero(on_postgres: Purse) -> None:
    assert _threads(on_postgres, 60) > 20
    _holds(on_postgres)


@pytest.mark.peer
@pytest.mark.slow
def test_processes_on_postgresql_never_take_a_balance_below_zero(on_postgres: Purse) -> None:
    assert _processes(on_postgres, 80) > 20
    _holds(on_postgres)


@pytest.mark.peer
def test_the_same_use_at_once_is_taken_once(on_postgres: Purse) -> None:
    def consume(_: int) -> dict[str, object]:
        answer: dict[str, object] = on_postgres.do(on_postgres.desk.consume, "same", use(600))
        return answer

    with ThreadPoolExecutor(4) as pool:
        first, *others = pool.map(consume, range(4))
    assert others == [first] * 3
    _holds(on_postgres)


@pytest.mark.peer
def test_one_id_for_two_uses_at_once_is_an_error_for_one(on_postgres: Purse) -> None:
    def consume(quantity: int) -> str:
        try:
            on_postgres.do(on_postgres.desk.consume, "same", use(quantity))
        except BalanceError as error:
            return error.code
        return "done"

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(consume, (60, 90))) == ["conflict", "done"]
    _holds(on_postgres)


@pytest.mark.peer
def test_what_is_over_and_what_is_used_wait_for_each_other_in_one_order(on_postgres: Purse) -> None:
    soon = NOW + timedelta(seconds=30)
    on_postgres.top_up(EURO, "t-soon", valid_until=soon)
    on_postgres.do(add_bucket, "acc-1", "second", 50, id="soon", valid_from=NOW - DAY, valid_until=soon)
    on_postgres.do(on_postgres.desk.reserve_usage, "r-soon", use(60), timedelta(seconds=10))
    with ThreadPoolExecutor(1) as pool, on_postgres.writing() as connection:
        lock(connection, ["acc-1"])
        over = pool.submit(expire_balances, on_postgres.engine, NOW + DAY)
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        while not connection.exec_driver_sql(waiting).scalar():
            time.sleep(0.005)
        connection.exec_driver_sql("SET LOCAL lock_timeout = '500ms'")
        on_postgres.desk.consume(connection, "meanwhile", use(600), NOW)
        connection.commit()
        assert over.result() == {"usage reservations": 1, "reservations": 0, "buckets": 1, "credits": 1}
    _holds(on_postgres)


@pytest.mark.peer
def test_two_that_lend_each_other_money_wait_in_one_order(on_postgres: Purse) -> None:
    on_postgres.do(share, "acc-2", "acc-1", id="s-back")

    def spend_theirs(account: str) -> int:
        taken = 0
        for number in range(8):
            with on_postgres.writing() as connection:
                connection.exec_driver_sql("SET LOCAL deadlock_timeout = '20ms'")
                on_postgres.desk.consume(connection, f"{account}-{number}", use(60, subscriber=account), NOW)
                taken += 1
        return taken

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(spend_theirs, ("acc-1", "acc-2"))) == [8, 8]
    _holds(on_postgres)


@pytest.mark.peer
def test_who_shares_nothing_waits_for_nobody_on_postgresql(postgres_url: str) -> None:
    engine = open_engine(postgres_url)
    metadata.create_all(engine)
    purse = Purse(engine)
    for account in ("acc-1", "acc-2"):
        purse.top_up(EURO, f"t-{account}", account)
    with purse.writing() as one, purse.writing() as other:
        other.exec_driver_sql("SET LOCAL lock_timeout = '2s'")
        for connection, account in ((one, "acc-1"), (other, "acc-2")):
            for number in range(2):
                purse.desk.reserve_usage(connection, f"{account}-{number}", use(subscriber=account), DAY, NOW)
    assert purse.findings() == []
    engine.dispose()
