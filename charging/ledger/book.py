"""The book: applies operations within the caller's transaction, and tells balances.

A group reads what it touches with one statement a table, decides in Python (:mod:`charging.ledger.decision`), and
writes with one statement a table. What it wrote is sealed as one group of its writer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select, update

from charging.ledger.decision import AccountState, Decision, spendable
from charging.ledger.decision import available as _available
from charging.ledger.operations import Operation, Outcome
from charging.ledger.reading import open_missing, read
from charging.ledger.seal import FIRST_ROOT, group_ids, group_root
from charging.ledger.statements import Statements, accounts, reservations, statements
from charging.ledger.tables import CUSTOMER_KINDS, OPERATOR, PREPAID, RECEIVABLE, UNBILLED
from signalling.clock import Clock, from_micros
from signalling.money import MAX_MICROS, checked_currency

ON_CROSSING = "on_crossing"
"""The execution option of an engine that holds a :data:`Told`, where thresholds are kept."""

Told = Callable[[Connection, Sequence[tuple[str, str, int]], int], None]
"""Gets the connection; owner, currency and what is left, of each whose money crossed a threshold; the micros now."""


def apply(
    connection: Connection, operations: Sequence[Operation], now_micros: int, *, writer: str = "main"
) -> list[Outcome]:
    """Apply operations in order, as one sealed group of ``writer``; the outcome of each.

    Transactions of one writer that are open at once, on PostgreSQL, seal chains of their own: ``writer~1`` and so on.
    A balance that would leave the 64 bits of an
    amount raises ``OverflowError``; then the caller must roll back.

    Whose money crosses a threshold is told, in the same transaction, to the connection's execution option
    :data:`ON_CROSSING`.
    """
    sql = statements(connection)
    if not connection.in_transaction():
        connection.begin()
    decision = Decision(now_micros, group_ids(now_micros))
    read(connection, sql, decision, operations)
    outcomes = [decision.decide(operation) for operation in operations]
    if decision.transfers:
        _write(connection, sql, decision, writer)
        if decision.watched:
            _tell(connection, decision.crossings(), now_micros)
    return outcomes


class Book:
    """:func:`apply` with a clock and a writer's name: the batch of ledger operations for grouped transactions.

    Make one a process and submit everything with it: operations of the same batch object are applied together.
    """

    def __init__(self, clock: Clock, writer: str = "main") -> None:
        self._clock = clock
        self._writer = writer

    def __call__(self, connection: Connection, operations: Sequence[Operation]) -> list[Outcome]:
        """The outcome of each operation, in order."""
        return apply(connection, operations, self._clock.micros(), writer=self._writer)


def hold_accounts(connection: Connection, owners: Iterable[str]) -> None:
    """Lock customers' accounts that several operations of this transaction may need, in the order of all locks."""
    if connection.dialect.name != "sqlite":
        sql = statements(connection)
        sql.customers.rows(connection, sql.among(set(owners)))


def open_account(connection: Connection, owner: str, currency: str, credit_limit: int | None = 0) -> None:
    """Open a customer's accounts in a currency; where they are open already, set the credit limit.

    ``credit_limit`` in micros; ``None`` is no limit. Raises ``ValueError`` for a negative limit or the operator.
    """
    checked_currency(currency)
    if owner == OPERATOR or not owner:
        raise ValueError(f"account {owner!r}: not a customer's name")
    if credit_limit is not None and not 0 <= credit_limit <= MAX_MICROS:
        raise ValueError(f"account {owner}: credit limit {credit_limit} is not between 0 and {MAX_MICROS} micros")
    open_missing(connection, [(owner, kind, currency) for kind in CUSTOMER_KINDS])
    connection.execute(
        update(accounts)
        .where(accounts.c.owner == owner, accounts.c.kind == UNBILLED, accounts.c.currency == currency)
        .values(credit_limit=credit_limit)
    )


@dataclass(frozen=True, slots=True)
class Balance:
    """One ledger account of an owner, in micros; a debit is positive."""

    kind: str
    currency: str
    balance: int
    reserved: int


def balances(connection: Connection, owner: str) -> list[Balance]:
    """An owner's ledger accounts, by currency and kind."""
    columns = (accounts.c.kind, accounts.c.currency, accounts.c.balance, accounts.c.reserved)
    rows = connection.execute(
        select(*columns).where(accounts.c.owner == owner).order_by(accounts.c.currency, accounts.c.kind)
    )
    return [Balance(*row) for row in rows]


def available(connection: Connection, owner: str, currency: str) -> int | None:
    """What a customer can spend now, in micros; below zero when more is owed than the limit; ``None`` is no limit.

    Raises ``LookupError`` when the customer has no account in the currency.
    """
    return _available(*_customer(connection, owner, currency))


def recheck(connection: Connection, keys: Iterable[tuple[str, str]], now_micros: int) -> None:
    """Tell thresholds that were crossed by something else than operations, such as another credit limit.

    ``keys``: owners and currencies, each with an account.
    """
    watched = select(accounts.c.watch_low, accounts.c.watch_high).where(
        accounts.c.kind == UNBILLED, accounts.c.watch_low.is_not(None)
    )
    crossings = []
    for owner, currency in sorted(keys):
        row = connection.execute(watched.where(accounts.c.owner == owner, accounts.c.currency == currency)).first()
        if row is not None:
            left = spendable(*_customer(connection, owner, currency))
            if not row.watch_low <= left < row.watch_high:
                crossings.append((owner, currency, left))
    _tell(connection, crossings, now_micros)


def _customer(connection: Connection, owner: str, currency: str) -> tuple[AccountState, AccountState, AccountState]:
    rows = connection.execute(
        select(accounts.c.kind, accounts.c.id, accounts.c.balance, accounts.c.reserved, accounts.c.credit_limit).where(
            accounts.c.owner == owner, accounts.c.currency == currency, accounts.c.kind.in_(CUSTOMER_KINDS)
        )
    )
    found = {kind: AccountState(id, (owner, kind, currency), *rest) for kind, id, *rest in rows}
    if len(found) < len(CUSTOMER_KINDS):
        raise LookupError(f"account {owner}: it has no {currency} account in the ledger")
    return found[UNBILLED], found[RECEIVABLE], found[PREPAID]


def expire_reservations(connection: Connection, now_micros: int, most: int = 10_000) -> list[str]:
    """Close at most ``most`` open reservations whose time is over and free what they held; their ids."""
    rows = connection.execute(
        select(
            reservations.c.id,
            reservations.c.ledger_account_id,
            reservations.c.remaining,
            reservations.c.owner,
            reservations.c.currency,
        )
        .where(reservations.c.state == "open", reservations.c.expires_at <= from_micros(now_micros))
        .order_by(reservations.c.id)
        .limit(most)
        .with_for_update()
    ).all()
    freed: dict[int, int] = {}
    for _, account, remaining, _, _ in rows:
        freed[account] = freed.get(account, 0) + remaining
    sql = statements(connection)
    sql.change_reservation.each(connection, [(remaining, "expired", id) for id, _, remaining, _, _ in rows])
    sql.change_balance.each(connection, [(0, -held, account) for account, held in sorted(freed.items())])
    recheck(connection, {(owner, currency) for _, _, _, owner, currency in rows}, now_micros)
    return [row.id for row in rows]


def _tell(connection: Connection, crossings: Sequence[tuple[str, str, int]], now_micros: int) -> None:
    told: Told | None = connection.get_execution_options().get(ON_CROSSING)
    if told is not None and crossings:
        told(connection, crossings, now_micros)


def _write(connection: Connection, sql: Statements, decision: Decision, writer: str) -> None:
    sql.add_transfer.each(connection, decision.transfers)
    sql.add_posting.each(connection, decision.postings)
    sql.add_reservation.each(connection, decision.reserved)
    sql.change_reservation.each(
        connection, [(held.remaining, held.state, id) for id, held in decision.reservations.items() if held.changed]
    )
    sql.change_balance.each(connection, decision.balance_changes())
    chain = sql.chain(connection, writer)
    last = sql.last(connection, chain)
    sequence, previous = last[0] if last else (0, FIRST_ROOT)
    group = (
        chain,
        sequence + 1,
        decision.transfers[0][0],
        decision.transfers[-1][0],
        len(decision.transfers),
        group_root(previous, decision.leaves),
        previous,
        decision.now,
    )
    sql.add_group.each(connection, [group])
