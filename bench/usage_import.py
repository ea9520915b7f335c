"""Import of a Parquet file of usage records, deduplicated, rated, posted and stored: records a second, on SQLite FULL.

Beside it raw ``sqlite3`` that inserts the same rows (charges, records, transfers, postings) with the same indexes in as
many commits; the same import rated record by record; what a second import of the same file takes, which finds every
record known; and the bare rating of the same records, by columns in the import's portions and record by record.
"""

from __future__ import annotations

import sqlite3
import tempfile
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Engine, insert

from bench.bulk_rating import ACCOUNTS, OCTOBER, SETTINGS, calls
from bench.measure import medians, result, show
from charging.bulk import Portion, PortionRater
from charging.ledger.tables import CUSTOMER_KINDS, LedgerAccount
from charging.rating import RatingState
from charging.tariffs import Tariff, TariffBook, TariffVersion, rate_usage
from charging.tariffs.explain import carry
from operator_server.settings import OperatorSettings, Settings
from operator_server.store.engine import open_engine, sqlite_url, writing
from operator_server.store.parties import Account, Subscriber
from operator_server.store.rows import table
from operator_server.store.schema import metadata
from operator_server.usage.intake import BATCH, FEWEST, Importer
from signalling.clock import SettableClock, from_micros

RECORDS = 40_000
FEW_ACCOUNTS = ACCOUNTS // 100
TIMES = 3

_NOW = datetime(2026, 11, 2, tzinfo=UTC)
_SETTINGS = Settings(
    operator=OperatorSettings(
        server_id="op.example", name="Operator", address=["Street 1"], country="DE", vat_id="DE123456788"
    )
)
_ROWS = ("charge", "usage_record", "transfer", "posting")


def write_records(path: Path, records: int = RECORDS) -> None:
    """Usage records of October, as other systems hand them in; the columns of bulk rating are there too."""
    with duckdb.connect(config=SETTINGS) as database:
        database.execute(
            f"""COPY (SELECT 'switch' AS source, 'C' || lpad(i::VARCHAR, 9, '0') AS id,
                'A-' || lpad((hash(i) % {FEW_ACCOUNTS})::VARCHAR, 6, '0') AS account, 'bench' AS tariff,
                (1 + hash(i + 1) % 600)::BIGINT AS quantity,
                make_timestamptz({OCTOBER} + (hash(i + 2) % (31 * 86400))::BIGINT * 1000000) AS "at",
                '49' || (100000000 + hash(i + 3) % 899999999)::VARCHAR AS destination
                FROM range({records}) t(i)) TO '{path}' (FORMAT parquet)"""
        )


def run(records: int = RECORDS) -> list[dict[str, Any]]:
    """The figures."""
    version = calls()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = folder / "records.parquet"
        write_records(source, records)
        with duckdb.connect(config=SETTINGS) as database:
            uses = database.execute(
                f"""SELECT account, quantity, epoch_us("at"), destination FROM read_parquet('{source}')"""
            ).fetchall()
        again: list[float] = []
        rows: list[float] = []

        def columns() -> float:
            start = time.perf_counter()
            _rate_portions(version, uses)
            return time.perf_counter() - start

        def scalar() -> float:
            start = time.perf_counter()
            _rate(version, uses)
            return time.perf_counter() - start

        def one_by_one() -> float:
            with tempfile.TemporaryDirectory(dir=folder) as own:
                engine = _store(Path(own) / "import.sqlite")
                taken = _import(engine, version, source, fewest=records + 1)
                engine.dispose()
                return taken

        def imported() -> float:
            with tempfile.TemporaryDirectory(dir=folder) as own:
                path = Path(own) / "import.sqlite"
                engine = _store(path)
                taken = _import(engine, version, source)
                again.append(_import(engine, version, source))
                engine.dispose()
                rows.append(_raw(path, Path(own) / "raw.sqlite", records))
                return taken

        found = medians({"columns": columns, "scalar": scalar, "import": imported, "one by one": one_by_one}, TIMES)
    again.sort()
    rows.sort()
    raw = records / rows[len(rows) // 2]
    rate = records / found["import"]
    return [
        result("usage import, beside raw inserts of the same rows", rate, "records/s", raw),
        result("usage import, all known already", records / again[len(again) // 2], "records/s"),
        result("usage import, rated record by record", records / found["one by one"], "records/s"),
        result("usage import, bare rating by columns", records / found["columns"], "records/s"),
        result("usage import, bare rating record by record", records / found["scalar"], "records/s"),
        result("usage import, share of rating in its time", 100 * found["columns"] / found["import"], "%"),
    ]


def _rate(version: TariffVersion, uses: list[tuple[str, int, int, str]]) -> None:
    states: dict[str, RatingState] = {}
    for account, quantity, at, destination in uses:
        before = carry(states.get(account, RatingState()), version.version_id, version, session=True)
        states[account] = rate_usage(version, quantity, before, at=from_micros(at), destination=destination).state


def _rate_portions(version: TariffVersion, uses: list[tuple[str, int, int, str]]) -> None:
    rater, states = PortionRater(), dict[str, RatingState]()
    for start in range(0, len(uses), BATCH):
        some = uses[start : start + BATCH]
        places = {account: place for place, account in enumerate(dict.fromkeys(use[0] for use in some))}
        brought = [carry(states.get(name, RatingState()), version.version_id, version, session=True) for name in places]
        accounts, quantities, micros, destinations = (list(column) for column in zip(*some, strict=True))
        portion = Portion(brought, [places[name] for name in accounts], quantities, micros, destinations)
        states |= zip(places, rater.rate(version, portion).states, strict=True)
    rater.close()


def _store(path: Path) -> Engine:
    engine = open_engine(sqlite_url(path))
    metadata.create_all(engine)
    names = [f"A-{number:06d}" for number in range(FEW_ACCOUNTS)]
    with writing(engine).begin() as connection:
        for model, rows in (
            (Account, [_account(name) for name in names]),
            (Subscriber, [_subscriber(name) for name in names]),
        ):
            connection.execute(insert(table(model)), rows)
        connection.execute(
            insert(table(LedgerAccount)),
            [
                {"owner": name, "kind": kind, "currency": "EUR", "balance": 0, "reserved": 0}
                for name in names
                for kind in CUSTOMER_KINDS
            ],
        )
    return engine


def _account(name: str) -> dict[str, Any]:
    return Account(
        id=name, name=name, address=["Weg 1"], country="DE", currency="EUR", credit_limit=0, created_at=_NOW
    ).model_dump()  # fmt: skip


def _subscriber(name: str) -> dict[str, Any]:
    return Subscriber(id=name, account_id=name, name=name, created_at=_NOW).model_dump()


def _import(engine: Engine, version: TariffVersion, source: Path, fewest: int = FEWEST) -> float:
    book = TariffBook([Tariff("bench", {"en": "Calls"}, (version,))])
    importer = Importer(book, _SETTINGS, Ed25519PrivateKey.generate(), SettableClock(_NOW), fewest=fewest)
    start = time.perf_counter()
    report = importer.import_file(engine, source, batch=BATCH)
    seconds = time.perf_counter() - start
    importer.close()
    if report.refused or report.taken + report.known == 0:
        raise RuntimeError(f"{report}")
    return seconds


def _raw(path: Path, copy: Path, records: int) -> float:
    """Insert the rows that the import wrote into tables of the same make, in as many commits."""
    with closing(sqlite3.connect(path)) as made, closing(sqlite3.connect(copy, isolation_level=None)) as raw:
        raw.execute("PRAGMA journal_mode = WAL")
        raw.execute("PRAGMA synchronous = FULL")
        names = ",".join(f"'{name}'" for name in _ROWS)
        for (statement,) in made.execute(
            f"SELECT sql FROM sqlite_schema WHERE tbl_name IN ({names}) AND sql IS NOT NULL ORDER BY type = 'index'"
        ):
            raw.execute(statement)
        content = {name: made.execute(f"SELECT * FROM {name} ORDER BY 1, 2").fetchall() for name in _ROWS}
        commits = -(-records // BATCH)
        start = time.perf_counter()
        for number in range(commits):
            raw.execute("BEGIN IMMEDIATE")
            for name, rows in content.items():
                part = -(-len(rows) // commits)
                some = rows[number * part : (number + 1) * part]
                if some:
                    raw.executemany(f"INSERT INTO {name} VALUES ({','.join('?' * len(some[0]))})", some)
            raw.execute("COMMIT")
        return time.perf_counter() - start


if __name__ == "__main__":
    show(run())
