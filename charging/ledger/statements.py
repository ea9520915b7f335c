"""The ledger's SQL: written with Core, compiled once for a dialect, run as text with tuples.

Compiling a statement at each call costs several times what SQLite needs to run it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Executable,
    Select,
    String,
    Table,
    any_,
    bindparam,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DBAPIError
from sqlmodel import SQLModel

from charging.ledger.tables import OPERATOR, LedgerAccount, LedgerGroup, Posting, Reservation, Transfer


def table_of(model: type[SQLModel]) -> Table:
    """The Core table under a table class."""
    table: Table = model.__table__  # type: ignore[attr-defined]  # set by SQLModel's metaclass
    return table


accounts = table_of(LedgerAccount)
transfers = table_of(Transfer)
postings = table_of(Posting)
reservations = table_of(Reservation)
groups = table_of(LedgerGroup)

_LANES = 256
"""Chains of groups of one writer that may grow at once."""


class Prepared:
    """A statement's text for one dialect; values are given in the order of ``names``.

    It runs on the driver's cursor, as SQLAlchemy's own execution costs more than SQLite's; so the connection must be
    in a transaction already.
    """

    def __init__(self, statement: Any, dialect: Dialect, names: Sequence[str]) -> None:
        compiled = statement.compile(dialect=dialect)
        if list(compiled.positiontup or ()) != list(names):
            raise TypeError(f"{compiled} binds {compiled.positiontup}, not {names}")
        self.text: str = str(compiled)

    def rows(self, connection: Connection, *values: Any) -> Sequence[Any]:
        """All rows of one execution, as tuples."""
        cursor = connection.connection.cursor()
        try:
            cursor.execute(self.text, values)
            return cursor.fetchall()
        except connection.dialect.loaded_dbapi.Error as error:
            raise _wrapped(connection, self.text, error) from error
        finally:
            cursor.close()

    def each(self, connection: Connection, values: list[tuple[Any, ...]]) -> None:
        """One execution for each tuple, none for an empty list."""
        if values:
            cursor = connection.connection.cursor()
            try:
                cursor.executemany(self.text, values)
            except connection.dialect.loaded_dbapi.Error as error:
                raise _wrapped(connection, self.text, error) from error
            finally:
                cursor.close()


def _wrapped(connection: Connection, text: str, error: Exception) -> BaseException:
    """The driver's error as everybody knows it from SQLAlchemy."""
    return DBAPIError.instance(text, None, error, connection.dialect.loaded_dbapi.Error, dialect=connection.dialect)


class Statements:
    """Every statement that applying a group of operations runs.

    On a database with several writers at once, what is decided on is locked: reversed transfers, then reservations,
    then customers' accounts, each by ascending id; SQLite has one writer and needs no locks.
    """

    def __init__(self, dialect: Dialect) -> None:
        self._sqlite = dialect.name == "sqlite"
        self._dialect = type(dialect)(paramstyle="qmark" if self._sqlite else "format")  # type: ignore[call-arg]  # of DefaultDialect
        self._prepare_reading_of_transfers()
        self._prepare_reading_of_accounts()
        self._prepare_writing()

    def _prepare_reading_of_transfers(self) -> None:
        self.known = self._prepare(
            select(transfers.c.op_id, transfers.c.id, transfers.c.request_digest).where(
                transfers.c.source == bindparam("source", type_=String), self._among(transfers.c.op_id)
            ),
            "source",
            "names",
        )
        self.charged = self._prepare(
            self._locked(
                select(transfers.c.id, transfers.c.kind, transfers.c.agreement_id).where(self._among(transfers.c.id)),
                transfers.c.id,
            ),
            "names",
        )
        self.legs = self._prepare(
            select(
                postings.c.transfer_id,
                postings.c.leg,
                postings.c.amount,
                accounts.c.owner,
                accounts.c.kind,
                postings.c.currency,
            )
            .join(accounts, accounts.c.id == postings.c.ledger_account_id)
            .where(self._among(postings.c.transfer_id)),
            "names",
        )
        self.reversed = self._prepare(
            select(transfers.c.reverses_id, func.sum(postings.c.amount))
            .join_from(transfers, postings, postings.c.transfer_id == transfers.c.id)
            .where(self._among(transfers.c.reverses_id), postings.c.leg == 0)
            .group_by(transfers.c.reverses_id),
            "names",
            "leg_1",
        )
        newest = select(func.max(groups.c.sequence)).where(groups.c.writer == bindparam("writer", type_=String))
        self.last_group = self._prepare(
            select(groups.c.sequence, groups.c.root).where(
                groups.c.writer == bindparam("same_writer", type_=String),
                groups.c.sequence == newest.scalar_subquery(),
            ),
            "same_writer",
            "writer",
        )
        if not self._sqlite:
            self.free_lane = self._prepare(
                text(
                    f"SELECT lane FROM generate_series(0, {_LANES - 1}) AS lane WHERE"
                    " pg_try_advisory_xact_lock(hashtextextended(concat(CAST(:writer AS text), '~', lane), 11)) LIMIT 1"
                ),
                "writer",
            )

    def _prepare_reading_of_accounts(self) -> None:
        self.reservations = self._prepare(
            self._locked(
                select(
                    reservations.c.id,
                    reservations.c.ledger_account_id,
                    reservations.c.owner,
                    reservations.c.currency,
                    reservations.c.remaining,
                    reservations.c.agreement_id,
                    reservations.c.expires_at,
                    reservations.c.state,
                ).where(self._among(reservations.c.id)),
                reservations.c.id,
            ),
            "names",
        )
        balances = select(
            accounts.c.id,
            accounts.c.owner,
            accounts.c.kind,
            accounts.c.currency,
            accounts.c.balance,
            accounts.c.reserved,
            accounts.c.credit_limit,
            accounts.c.barred,
            accounts.c.watch_low,
            accounts.c.watch_high,
        )
        self.customers = self._prepare(
            self._locked(balances.where(self._among(accounts.c.owner)), accounts.c.id), "names"
        )
        self.operator = self._prepare(balances.where(accounts.c.owner == bindparam("owner", type_=String)), "owner")

    def _prepare_writing(self) -> None:
        self.add_transfer = self._insert(transfers)
        self.add_posting = self._insert(postings)
        self.add_reservation = self._insert(reservations)
        self.add_group = self._insert(groups)
        self.change_balance = self._prepare(
            update(accounts)
            .where(accounts.c.id == bindparam("account", type_=BigInteger))
            .values(
                balance=accounts.c.balance + bindparam("added", type_=BigInteger),
                reserved=accounts.c.reserved + bindparam("reserved_more", type_=BigInteger),
            ),
            "added",
            "reserved_more",
            "account",
        )
        self.change_reservation = self._prepare(
            update(reservations)
            .where(reservations.c.id == bindparam("reservation", type_=String))
            .values(remaining=bindparam("left"), state=bindparam("now")),
            "left",
            "now",
            "reservation",
        )

    def among(self, names: Iterable[str]) -> Any:
        """Names as the one parameter that the statements take them in."""
        ordered = sorted(names)
        return json.dumps(ordered) if self._sqlite else ordered

    def accounts_of(self, connection: Connection, customers: set[str], *, operator: bool) -> Sequence[Any]:
        """Accounts of customers and, if wanted, of the operator; his are never decided on and so not locked."""
        if self._sqlite:
            return self.customers.rows(connection, self.among({*customers, OPERATOR} if operator else customers))
        own = self.operator.rows(connection, OPERATOR) if operator else []
        return [*self.customers.rows(connection, self.among(customers)), *own]

    def chain(self, connection: Connection, writer: str) -> str:
        """The name of a chain of ``writer`` that no other transaction adds to before this one has ended.

        It waits for nobody: a transaction that waited here, with accounts locked, could wait for itself.
        """
        if self._sqlite:
            return writer
        free = self.free_lane.rows(connection, writer)
        if not free:
            raise RuntimeError(f"{_LANES} transactions of writer {writer} are open at once")
        return f"{writer}~{free[0][0]}" if free[0][0] else writer

    def last(self, connection: Connection, writer: str) -> Sequence[Any]:
        """Sequence and root of a writer's last group, if there is one."""
        return self.last_group.rows(connection, writer, writer)

    def _among(self, column: ColumnElement[Any]) -> ColumnElement[bool]:
        if self._sqlite:
            return column.in_(select(func.json_each(bindparam("names", type_=String)).table_valued("value").c.value))
        return column == any_(bindparam("names", type_=ARRAY(String)))

    def _locked(self, statement: Select[Any], key: ColumnElement[Any]) -> Select[Any]:
        return statement if self._sqlite else statement.order_by(key).with_for_update()

    def _insert(self, table: Table) -> Prepared:
        return self._prepare(insert(table), *(column.name for column in table.columns))

    def _prepare(self, statement: Executable, *names: str) -> Prepared:
        return Prepared(statement, self._dialect, names)


_prepared: dict[str, Statements] = {}


def statements(connection: Connection) -> Statements:
    """The statements for a connection's dialect."""
    dialect = connection.dialect
    found = _prepared.get(dialect.name)
    if found is None:
        found = _prepared[dialect.name] = Statements(dialect)
    return found
