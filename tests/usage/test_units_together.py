"""Imports and live use at the same bucket, at the same time, on PostgreSQL: no unit is used twice, nobody is stuck."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from pathlib import Path
from threading import Barrier

from counting_samples import SETTINGS, SIGNING
from sqlalchemy import Connection, select
from usage_samples import NOW, Shop, call, csv_file

sys.path.insert(0, str(Path(__file__).parents[1]))

from postgres import postgres_server, postgres_url

from charging.balances.tables import UnitBucket
from charging.ledger.verify import verify
from operator_server.balances.buckets import add_bucket
from operator_server.balances.proof import verify_balances
from operator_server.balances.usage import UsageDesk, Use
from operator_server.billing.proof import verify_billing
from operator_server.store.engine import open_engine
from operator_server.store.migrate import upgrade
from operator_server.store.rows import table
from operator_server.store.store import transact
from operator_server.usage.intake import Importer, Report
from operator_server.usage.reading import Line

__all__ = ["postgres_server", "postgres_url"]

WORKERS, BATCHES, EACH, SECONDS = 4, 5, 6, 7


def test_two_imports_of_the_same_records_at_once_take_each_once(postgres_url: str, tmp_path: Path) -> None:
    upgrade(postgres_url)
    engine = open_engine(postgres_url)
    shop = Shop(engine)
    records = [call(str(number), SECONDS) for number in range(60)]
    files = [csv_file(tmp_path / f"{name}.csv", *some) for name, some in (("a", records), ("b", records))]
    together = Barrier(2)

    def take(path: Path) -> Report:
        importer = Importer(shop.book, SETTINGS, SIGNING, shop.clock)
        together.wait()
        return importer.import_file(engine, path, batch=20)

    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(take, files)
    assert one.taken + other.taken == one.known + other.known == len(records) == len(shop.charges())
    assert (one.refused, other.refused) == (0, 0)
    with engine.connect() as connection:
        assert [*verify(connection), *verify_billing(connection)] == []
    engine.dispose()


def test_no_unit_is_used_twice_by_imports_and_live_use_together(postgres_url: str) -> None:
    upgrade(postgres_url)
    engine = open_engine(postgres_url)
    shop = Shop(engine)
    for seconds, account in ((500, "acc-1"), (90, "acc-2")):
        give = partial(add_bucket, account=account, unit="second", quantity=seconds, id=account, now=NOW)
        transact(engine, partial(give, valid_from=NOW - timedelta(days=9)))
    desk = UsageDesk(lambda: shop.book, SETTINGS, SIGNING)

    def work(worker: int) -> None:
        for batch in range(BATCHES):
            names = [f"{worker}-{batch}-{number}" for number in range(EACH)]
            accounts = ["acc-1", "acc-2"][:: -1 if worker % 2 else 1]
            records = [
                call(name, SECONDS, subscriber=account, source=account) for account in accounts for name in names
            ]
            if worker == 0:
                for name in names:
                    use = Use(subscriber="acc-1", unit="second", quantity=SECONDS, tariff="calls", at=NOW)

                    def consume(connection: Connection, name: str = name, use: Use = use) -> None:
                        desk.consume(connection, f"live-{name}", use, NOW)

                    transact(engine, consume)
            lines = [Line(number, record) for number, record in enumerate(records, 2)]
            for _ in range(2):
                transact(engine, partial(shop.importer.take, lines=lines))

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(work, range(WORKERS)))
    bucket = table(UnitBucket)
    with engine.connect() as connection:
        assert [*verify(connection), *verify_billing(connection), *verify_balances(connection)] == []
        left = dict(connection.execute(select(bucket.c.id, bucket.c.remaining)).all())
    used = WORKERS * BATCHES * EACH * SECONDS
    rated = dict.fromkeys(left, 0)
    for charge in shop.charges():
        rated[charge.account_id] += charge.quantity
    assert left == {"acc-1": 0, "acc-2": 0}
    assert rated == {"acc-1": used + BATCHES * EACH * SECONDS - 500, "acc-2": used - 90}
    engine.dispose()
