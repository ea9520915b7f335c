"""Work that is interrupted: charging, an import of usage, a bill run; and the proof of what it left behind.

As a program: ``crash_work.py KIND FOLDER ACKNOWLEDGED``, which works to its end and writes what it acknowledges.
"""

from __future__ import annotations

import os
import random
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

from counting_samples import SETTINGS, SIGNING, add_customer
from sqlalchemy import Engine, func, select
from usage_samples import CALLS, GIGABYTES, NOW, Shop, call, csv_file

from charging.ledger.book import Book, open_account
from charging.ledger.operations import Applied, Capture, Charge, Duplicate, Operation, Release, Reserve, Reverse
from charging.ledger.statements import transfers
from charging.ledger.verify import verify
from charging.tariffs import TariffBook
from operator_server.balances.proof import verify_balances
from operator_server.billing.bill_run import run_bills
from operator_server.billing.proof import verify_billing
from operator_server.store.accounting import InvoiceRow
from operator_server.store.engine import open_engine, sqlite_url, writing
from operator_server.store.rows import table
from operator_server.store.schema import metadata
from operator_server.store.usage import UsageRecord
from operator_server.store.writer import GroupedTransactions
from operator_server.usage.intake import Importer
from signalling.clock import SettableClock

RECORDS = 2_000
ACCOUNTS = 120
BILLED_AT = datetime(2026, 12, 2, tzinfo=UTC)
CUSTOMERS = 8
IN_FLIGHT = 24
LATER = datetime(2027, 1, 1, tzinfo=UTC)

Acknowledge = Callable[[str], None]
"""Takes the name of an operation whose caller was told that it is done."""


def database(folder: Path) -> Engine:
    """The operator's database, as its processes open it."""
    return open_engine(sqlite_url(folder / "crash.sqlite"))


def findings(engine: Engine) -> list[object]:
    """What ``tollgate ledger verify`` finds."""
    with engine.connect() as connection:
        return [*verify(connection), *verify_billing(connection), *verify_balances(connection)]


# Charging: operations of several clients in flight at once, each client going on where it was.


def prepare_charging(folder: Path) -> None:
    """Customers with credit."""
    engine = database(folder)
    metadata.create_all(engine)
    with writing(engine).begin() as connection:
        for number in range(CUSTOMERS):
            open_account(connection, f"customer-{number}", "EUR", 10**12)
    engine.dispose()


class Client:
    """One client: a fixed sequence of operations, the next sent when the one before is acknowledged."""

    def __init__(
        self, number: int, store: GroupedTransactions, book: Book, acknowledge: Acknowledge, most: int
    ) -> None:
        self._number = number
        self._store = store
        self._book = book
        self._acknowledge = acknowledge
        self._most = most
        self._made: list[str] = []
        self.done = threading.Event()
        self.failure = ""

    def next(self) -> None:
        """Send the next operation, or be done."""
        if len(self._made) >= self._most:
            self.done.set()
            return
        operation = self._operation(len(self._made))
        self._store.submit(self._book, operation, lambda outcome: self._told(operation, outcome))

    def _operation(self, step: int) -> Operation:
        source, op_id = f"client-{self._number}", f"{step:06d}"
        owner = f"customer-{self._number % CUSTOMERS}"
        match step % 5:
            case 0:
                return Reserve(source=source, op_id=op_id, owner=owner, amount=9_000, currency="EUR", expires_at=LATER)
            case 1:
                return Capture(
                    source=source, op_id=op_id, reservation_id=self._made[step - 1], amount=4_321, effective_at=NOW
                )
            case 2:
                return Release(source=source, op_id=op_id, reservation_id=self._made[step - 2])
            case 3:
                return Charge(source=source, op_id=op_id, owner=owner, amount=777, currency="EUR", effective_at=NOW)
            case _:
                return Reverse(
                    source=source, op_id=op_id, transfer_id=self._made[step - 1], amount=77, effective_at=NOW
                )

    def _told(self, operation: Operation, outcome: object) -> None:
        if not isinstance(outcome, Applied | Duplicate):
            self.failure = f"{operation}: {outcome}"
            self.done.set()
            return
        self._made.append(outcome.transfer_id)
        self._acknowledge(f"{operation.source} {operation.op_id}")
        self.next()


def charge(folder: Path, acknowledge: Acknowledge, steps: int = 1_000_000) -> None:
    """Charge until ``steps`` of each client are done; what was done before is sent again and done once."""
    engine = database(folder)
    store = GroupedTransactions(engine)
    book = Book(SettableClock(NOW))
    clients = [Client(number, store, book, acknowledge, steps) for number in range(IN_FLIGHT)]
    for client in clients:
        client.next()
    for client in clients:
        client.done.wait()
        assert not client.failure, client.failure
    store.close()


def charged_once(engine: Engine, acknowledged: Iterable[str]) -> list[str]:
    """Acknowledged operations that are not there exactly once."""
    with engine.connect() as connection:
        rows = connection.execute(select(transfers.c.source, transfers.c.op_id)).all()
    there = Counter(f"{source} {op_id}" for source, op_id in rows)
    return [name for name in acknowledged if there[name] != 1]


# An import.


def prepare_import(folder: Path) -> None:
    """A file of usage."""
    engine = database(folder)
    metadata.create_all(engine)
    Shop(engine)
    chosen = random.Random(1)
    csv_file(
        folder / "usage.csv",
        *(
            call(f"r{number}", chosen.randrange(1, 600), subscriber=chosen.choice(("acc-1", "acc-2")))
            for number in range(RECORDS)
        ),
    )
    engine.dispose()


def take(folder: Path, acknowledge: Acknowledge) -> None:
    """Import the file."""
    engine = database(folder)
    importer = Importer(TariffBook((CALLS, GIGABYTES)), SETTINGS, SIGNING, SettableClock(NOW))
    report = importer.import_file(engine, folder / "usage.csv", batch=100)
    acknowledge(f"{report.taken + report.known} taken")


def taken(engine: Engine) -> int:
    """Records that are there."""
    with engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(table(UsageRecord))).scalar_one()


# A bill run.


def prepare_bills(folder: Path) -> None:
    """Accounts with use."""
    engine = database(folder)
    metadata.create_all(engine)
    shop = Shop(engine)
    with writing(engine).begin() as connection:
        for number in range(ACCOUNTS):
            add_customer(connection, f"more-{number}")
    shop.take(
        *(call(f"b{number}", 60 + number, subscriber=f"more-{number % ACCOUNTS}") for number in range(2 * ACCOUNTS))
    )
    engine.dispose()


def bill(folder: Path, acknowledge: Acknowledge) -> None:
    """Run the bills of the month."""
    report = run_bills(database(folder), SETTINGS, "2026-11", now=BILLED_AT)
    assert not report.failed, report
    acknowledge(f"{report.invoices} invoices")


def numbers(engine: Engine) -> list[int]:
    """The numbers that invoices have in their series."""
    with engine.connect() as connection:
        return sorted(connection.execute(select(table(InvoiceRow).c.number_in_series)).scalars())


KINDS: dict[str, Callable[[Path, Acknowledge], None]] = {
    "charge": lambda folder, acknowledge: charge(folder, acknowledge, 60),
    "import": take,
    "bill": bill,
}


def main() -> None:
    """See the module."""
    kind, folder, target = sys.argv[1:]
    fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    KINDS[kind](Path(folder), lambda name: print_to(fd, name))


def print_to(fd: int, name: str) -> None:
    """One line, at once."""
    os.write(fd, f"{name}\n".encode())


if __name__ == "__main__":
    main()
