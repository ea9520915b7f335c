"""A bill run over accounts with a hundred charges each: how long it takes, and how much memory.

Charges lie in the order of time, so those of one account are scattered over the file, as they are in life. Ceiling: raw
``sqlite3`` that does nothing but mark the same charges with an invoice, with the same indexes, in as many commits.
Each run is a process of its own. Its memory is told for a tenth of the accounts and for all of them, without the pages
of the database that are mapped, which the system takes back when it needs them.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import insert

from bench.measure import result, show
from bench.report import Target
from charging.ledger.tables import CUSTOMER_KINDS, LedgerAccount
from operator_server.billing.bill_run import PORTION, run_bills
from operator_server.settings import OperatorSettings, Settings
from operator_server.store.accounting import Charge
from operator_server.store.dealings import Agreement, OfferVersion, QuoteRow
from operator_server.store.engine import open_engine, sqlite_url, writing
from operator_server.store.parties import Account
from operator_server.store.rows import table
from operator_server.store.schema import metadata
from signalling.clock import to_micros
from signalling.documents import Quote
from signalling.ids import new_id
from signalling.messages import ModeTerms
from signalling.proof import sign

ACCOUNTS = 10_000
CHARGES_EACH = 100
QUICK = 10
"""How many times smaller a quick run is."""

_BEGIN = datetime(2026, 10, 1, tzinfo=UTC)
_NOW = datetime(2026, 11, 2, tzinfo=UTC)
_SETTINGS = Settings(
    operator=OperatorSettings(
        server_id="op.example", name="Operator", address=["Street 1"], country="DE", vat_id="DE123456788"
    )
)

TARGETS = {"bill run, own memory over that for a tenth": Target("value", "<=", 1.25)}


def run(quick: bool = False) -> list[dict[str, Any]]:
    """The figures."""
    accounts = ACCOUNTS // (QUICK if quick else 1)
    charges = accounts * CHARGES_EACH
    size = f"{accounts:,} accounts, {charges:,} charges"
    small, large = _apart(accounts // 10, 1), _apart(accounts, 1)
    both = _apart(accounts, multiprocessing.cpu_count())
    raw = large["raw"]
    return [
        result(f"bill run, {size}", large["seconds"], "s"),
        result(f"bill run, {size}, accounts", accounts / large["seconds"], "1/s"),
        result(f"bill run, {size}, charges beside raw marks", charges / large["seconds"], "1/s", charges / raw),
        result(f"bill run, {size}, made by {multiprocessing.cpu_count()} processes", both["seconds"], "s"),
        result("bill run, own memory", large["peak"], "MiB"),
        result("bill run, own memory for a tenth", small["peak"], "MiB"),
        result("bill run, own memory over that for a tenth", large["peak"] / small["peak"], "times"),
    ]


def _apart(accounts: int, workers: int) -> dict[str, float]:
    """One run in a process of its own."""
    command = [sys.executable, "-m", "bench.bill_run", "--one", str(accounts), "--workers", str(workers)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def one(accounts: int, workers: int) -> dict[str, float]:
    """Let another process fill a database and mark the charges of a copy raw, then run the bills here."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bills.sqlite"
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as other:
            raw = other.submit(_prepare, path, accounts, workers == 1).result()
        engine = open_engine(sqlite_url(path))
        with own_memory() as peak:
            start = time.perf_counter()
            report = run_bills(engine, _SETTINGS, "2026-10", now=_NOW, workers=workers)
            seconds = time.perf_counter() - start
        engine.dispose()
        if report.invoices != accounts or report.failed:
            raise RuntimeError(f"{report.invoices} invoices of {accounts}: {report.failed[:3]}")
    return {"seconds": seconds, "raw": raw, "peak": peak[0]}


@contextmanager
def own_memory() -> Iterator[list[float]]:
    """The most MiB that this process has of its own meanwhile, looked at every few milliseconds."""
    peak, over = [0.0], threading.Event()

    def look() -> None:
        while not over.wait(0.02):
            peak[0] = max(peak[0], _own_mebibytes())

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        over.set()
        thread.join()


def _own_mebibytes() -> float:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("this system does not tell a process's own memory (RssAnon in /proc/self/status)")


def _prepare(path: Path, accounts: int, ceiling: bool) -> float:
    fill(path, accounts)
    return _raw(path, accounts) if ceiling else 0.0


def _raw(path: Path, accounts: int) -> float:
    """Mark all charges in a copy, account by account; seconds."""
    copy = path.with_name("raw.sqlite")
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "cache_size = -65536"):
            connection.execute(f"PRAGMA {pragma}")
        ids: dict[str, list[str]] = {}
        for account, charge in connection.execute("SELECT account_id, id FROM charge ORDER BY account_id, id"):
            ids.setdefault(account, []).append(charge)
        start = time.perf_counter()
        names = sorted(ids)
        for first in range(0, accounts, PORTION):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                "UPDATE charge SET invoice_id = ?, invoice_line = 1 WHERE id IN (SELECT value FROM json_each(?))",
                [(f"invoice-{name}", json.dumps(ids[name])) for name in names[first : first + PORTION]],
            )
            connection.execute("COMMIT")
        seconds = time.perf_counter() - start
    for leftover in copy.parent.glob("raw.sqlite*"):
        leftover.unlink()
    return seconds


def fill(path: Path, accounts: int) -> None:
    """A database of accounts with an agreement and charges each."""
    engine = open_engine(sqlite_url(path))
    metadata.create_all(engine)
    key = Ed25519PrivateKey.generate()
    names = [f"acc-{number:06d}" for number in range(accounts)]
    terms = ModeTerms(
        mode="use", kind="per_use", label="Pay per game", price_text="", currency="EUR", amount=50_000,
        tax_category="S", tax_rate=1900, unit="use", counter="uses",
    )  # fmt: skip
    quote = Quote(
        quote="q", server="op.example", subscriber="s", terminal="T", offer="chess", offer_version="chess@1",
        product="chess", release="1.0", digest=b"", length=0, mode=terms, amount=0, tax=0, currency="EUR",
        tariff_version="", terms="", issued=to_micros(_BEGIN), expires=to_micros(_BEGIN),
    )  # fmt: skip
    signed = sign(key, Quote.PURPOSE, quote.encode())
    with writing(engine).begin() as connection:
        connection.execute(
            insert(table(OfferVersion)),
            {"id": "chess@1", "offer_id": "chess", "product": "chess", "first_loaded_at": _BEGIN,
             "content": {"text": {"en": {"title": "Chess"}}}},
        )  # fmt: skip
        connection.execute(
            insert(table(Account)),
            [
                {"id": name, "name": f"Customer {name}", "address": ["Road 2", "24103 Kiel"], "country": "DE",
                 "vat_id": "", "email": "", "language": "en", "status": "active", "currency": "EUR",
                 "credit_limit": 10**12, "created_at": _BEGIN}
                for name in names
            ],
        )  # fmt: skip
        connection.execute(
            insert(table(LedgerAccount)),
            [
                {"owner": name, "kind": kind, "currency": "EUR",
                 "balance": 50_000 * CHARGES_EACH if kind == "unbilled" else 0, "reserved": 0, "credit_limit": None}
                for name in names
                for kind in CUSTOMER_KINDS
            ],
        )  # fmt: skip
        connection.execute(
            insert(table(QuoteRow)),
            [
                {"id": f"q-{name}", "subscriber_id": name, "terminal_id": "T", "offer_id": "chess",
                 "offer_version": "chess@1", "mode": "use", "document": signed.document,
                 "signature": signed.signature, "issued_at": _BEGIN, "expires_at": _BEGIN, "round": 1,
                 "state": "agreed"}
                for name in names
            ],
        )  # fmt: skip
        connection.execute(insert(table(Agreement)), [_agreement(name, signed.document) for name in names])
    for portion in _portions(names):
        with writing(engine).begin() as connection:
            connection.execute(insert(table(Charge)), portion)
    engine.dispose()


def _agreement(name: str, document: bytes) -> dict[str, Any]:
    return Agreement(
        id=f"a-{name}", quote_id=f"q-{name}", subscriber_id=name, account_id=name, terminal_id="T", offer_id="chess",
        offer_version="chess@1", product="chess", release="1.0", mode="use", mode_kind="per_use", currency="EUR",
        amount=0, tax_category="S", tax_rate=1900, evidence_kind="operator", confirmation=document, proof=b"",
        digest=bytes(32), agreed_at=_BEGIN,
    ).model_dump()  # fmt: skip


def _portions(names: list[str]) -> Iterator[list[dict[str, Any]]]:
    """Charges in the order of time, every account once a turn, in lists of an insert each."""
    rows: list[dict[str, Any]] = []
    for turn in range(CHARGES_EACH):
        at = _BEGIN + timedelta(hours=6 * turn)
        for name in names:
            rows.append(
                {
                    "id": new_id(to_micros(at)), "kind": "use", "agreement_id": f"a-{name}", "account_id": name,
                    "subscriber_id": name, "installation_id": f"i-{name}", "counter": "uses", "epoch": 0,
                    "counter_from": turn, "counter_to": turn + 1, "quantity": 1, "included": 0, "period": "2026-10",
                    "effective_at": at, "recorded_at": at, "net": 50_000, "currency": "EUR", "tax_category": "S",
                    "tax_rate": 1900, "tariff_version": "", "transfer_id": f"t-{name}-{turn}",
                }
            )  # fmt: skip
            if len(rows) == 10_000:
                yield rows
                rows = []
    if rows:
        yield rows


def main() -> None:
    """``--one N``: one run as JSON; ``--quick``: all figures at a tenth of the size."""
    parser = argparse.ArgumentParser(prog="python -m bench.bill_run")
    parser.add_argument("--one", type=int)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--quick", action="store_true")
    chosen = parser.parse_args()
    if chosen.one:
        print(json.dumps(one(chosen.one, chosen.workers)))
    else:
        show(run(chosen.quick))


if __name__ == "__main__":
    main()
