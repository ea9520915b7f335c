"""A ledger in memory and the operations that the tests ask of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Engine

from charging.ledger.book import apply, available, balances, expire_reservations, open_account
from charging.ledger.operations import Capture, Charge, Leg, Operation, Outcome, Post, Release, Reserve, Reverse
from charging.ledger.statements import accounts, groups, postings, reservations, transfers
from charging.ledger.tables import CASH, OPERATOR, PREPAID
from charging.ledger.verify import Finding, verify
from operator_server.store.engine import open_engine, writing
from signalling.clock import to_micros

NOW = datetime(2026, 10, 1, 12, tzinfo=UTC)
EURO = 1_000_000
TABLES = [accounts, transfers, postings, reservations, groups]


def create_tables(engine: Engine) -> None:
    """The ledger's tables, without the rest of the operator's."""
    accounts.metadata.create_all(engine, tables=TABLES)


class Ledger:
    """A ledger that is one open connection to a database in memory."""

    def __init__(self) -> None:
        self.connection = writing(open_engine("sqlite:///:memory:")).connect()
        with self.connection.begin():
            accounts.metadata.create_all(self.connection, tables=TABLES)
        self.now = NOW
        self.altered = False

    def open(self, owner: str, limit: int | None, currency: str = "EUR") -> None:
        with self.connection.begin():
            open_account(self.connection, owner, currency, limit)

    def do(self, *operations: Operation, writer: str = "main") -> list[Outcome]:
        with self.connection.begin():
            return apply(self.connection, operations, to_micros(self.now), writer=writer)

    def do_one(self, operation: Operation) -> Any:
        """The one outcome; typed loosely, as a test knows which it expects."""
        return self.do(operation)[0]

    def expire(self) -> list[str]:
        with self.connection.begin():
            return expire_reservations(self.connection, to_micros(self.now))

    def available(self, owner: str, currency: str = "EUR") -> int | None:
        with self.connection.begin():
            return available(self.connection, owner, currency)

    def balance(self, owner: str, kind: str, currency: str = "EUR") -> int:
        with self.connection.begin():
            found = {(row.kind, row.currency): row.balance for row in balances(self.connection, owner)}
        return found[kind, currency]

    def reserved(self, owner: str) -> int:
        with self.connection.begin():
            return sum(row.reserved for row in balances(self.connection, owner))

    def findings(self) -> list[Finding]:
        with self.connection.begin():
            return verify(self.connection)

    def alter(self, sql: str) -> None:
        """Change the database behind the ledger's back."""
        self.altered = True
        with self.connection.begin():
            assert self.connection.exec_driver_sql(sql).rowcount, f"nothing to alter by {sql}"

    def rows(self) -> list[Any]:
        """Everything that the ledger holds."""
        with self.connection.begin():
            return [tuple(self.connection.execute(table.select()).all()) for table in TABLES]


def charge(op_id: str, amount: int, owner: str = "ada", **more: Any) -> Charge:
    named: dict[str, Any] = {"source": "test", "currency": "EUR", "effective_at": NOW} | more
    return Charge(op_id=op_id, owner=owner, amount=amount, **named)


def reserve(op_id: str, amount: int, owner: str = "ada", hours: int = 1, **more: Any) -> Reserve:
    named: dict[str, Any] = {"source": "test", "currency": "EUR", "expires_at": NOW + timedelta(hours=hours)} | more
    return Reserve(op_id=op_id, owner=owner, amount=amount, **named)


def capture(op_id: str, reservation_id: str, amount: int, **more: Any) -> Capture:
    return Capture(source="test", op_id=op_id, reservation_id=reservation_id, amount=amount, effective_at=NOW, **more)


def release(op_id: str, reservation_id: str) -> Release:
    return Release(source="test", op_id=op_id, reservation_id=reservation_id)


def reverse(op_id: str, transfer_id: str, amount: int | None = None) -> Reverse:
    return Reverse(source="test", op_id=op_id, transfer_id=transfer_id, amount=amount, effective_at=NOW)


def post(op_id: str, kind: str, *legs: tuple[str, str, int], currency: str = "EUR") -> Post:
    made = tuple(Leg(owner, account, currency, amount) for owner, account, amount in legs)
    return Post(source="test", op_id=op_id, kind=kind, legs=made, effective_at=NOW)


def top_up(op_id: str, amount: int, owner: str = "ada") -> Post:
    return post(op_id, "top-up", (OPERATOR, CASH, amount), (owner, PREPAID, -amount))
