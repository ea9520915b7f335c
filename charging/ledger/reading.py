"""Reading what a group of operations touches: one statement a table, whatever the size of the group."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, text

from charging.ledger.decision import AccountKey, AccountState, ChargedState, Decision, ReservationState
from charging.ledger.operations import Capture, Charge, Operation, Post, Release, Reserve, Reverse
from charging.ledger.statements import Statements
from charging.ledger.tables import CHARGES, OPERATOR, UNBILLED

_OPEN = text(
    "INSERT INTO ledger_account (owner, kind, currency, balance, reserved)"
    " VALUES (:owner, :kind, :currency, 0, 0) ON CONFLICT DO NOTHING"
)


@dataclass(slots=True)
class _Touched:
    op_ids: dict[str, set[str]] = field(default_factory=dict)
    customers: set[str] = field(default_factory=set)
    wanted: set[AccountKey] = field(default_factory=set)
    reservations: set[str] = field(default_factory=set)
    captures: list[Capture] = field(default_factory=list)
    reversed: set[str] = field(default_factory=set)


def read(connection: Connection, sql: Statements, decision: Decision, operations: Sequence[Operation]) -> None:
    """Fill ``decision`` with what the operations need, and open the accounts that open on first use."""
    touched = _touched(operations)
    charged = _Charged(connection, sql, touched.reversed) if touched.reversed else None
    if charged:
        touched.customers.update(owner for owner, _, _ in charged.accounts if owner != OPERATOR)
    rows = sql.reservations.rows(connection, sql.among(touched.reservations)) if touched.reservations else ()
    if rows:
        touched.customers.update(row[2] for row in rows)
        currencies = {row[0]: row[3] for row in rows}
        touched.wanted.update(
            (OPERATOR, capture.revenue, currencies[capture.reservation_id])
            for capture in touched.captures
            if capture.reservation_id in currencies
        )
    _read_accounts(connection, sql, decision, touched, operator=bool(touched.wanted or charged))
    if rows:
        by_id = {account.id: account for account in decision.accounts.values()}
        for id, account, _, _, remaining, agreement, expires_at, state in rows:
            decision.reservations[id] = ReservationState(id, by_id[account], remaining, agreement, expires_at, state)
    if charged:
        decision.charged = charged.states(decision.accounts)
    # Last: another group that is at the same operations has committed them by the time the locks are ours.
    for source, ids in touched.op_ids.items():
        for op_id, transfer_id, digest in sql.known.rows(connection, source, sql.among(ids)):
            decision.known[source, op_id] = (transfer_id, digest)


def open_missing(connection: Connection, keys: Iterable[AccountKey]) -> None:
    """Open ledger accounts; those that are open already stay as they are."""
    connection.execute(_OPEN, [{"owner": owner, "kind": kind, "currency": currency} for owner, kind, currency in keys])


def _touched(operations: Sequence[Operation]) -> _Touched:
    touched = _Touched()
    op_ids = touched.op_ids
    for operation in operations:
        named = op_ids.get(operation.source)
        if named is None:
            named = op_ids[operation.source] = set()
        named.add(operation.op_id)
        match operation:
            case Charge():
                touched.customers.add(operation.owner)
                touched.wanted.add((OPERATOR, operation.revenue, operation.currency))
            case Reserve():
                touched.customers.add(operation.owner)
            case Capture():
                touched.reservations.add(operation.reservation_id)
                touched.captures.append(operation)
            case Release():
                touched.reservations.add(operation.reservation_id)
            case Reverse():
                touched.reversed.add(operation.transfer_id)
            case Post():
                touched.wanted.update((leg.owner, leg.kind, leg.currency) for leg in operation.legs)
                touched.customers.update(leg.owner for leg in operation.legs if leg.owner != OPERATOR)
    return touched


def _read_accounts(
    connection: Connection,
    sql: Statements,
    decision: Decision,
    touched: _Touched,
    *,
    operator: bool,
) -> None:
    found = decision.accounts

    def look() -> None:
        rows = sql.accounts_of(connection, touched.customers, operator=operator)
        for id, owner, kind, currency, balance, reserved, credit_limit, barred, low, high in rows:
            key = (owner, kind, currency)
            found[key] = AccountState(id, key, balance, reserved, credit_limit)
            if barred is not None:
                decision.barred[owner] = barred
            if low is not None:
                decision.watched[owner, currency] = (low, high)

    look()
    missing = sorted(key for key in touched.wanted if key not in found and _may_open(key, found))
    if missing:
        open_missing(connection, missing)
        look()


def _may_open(key: AccountKey, found: dict[AccountKey, AccountState]) -> bool:
    """A customer's further accounts open on first use, but not a customer that nobody opened."""
    owner, _, currency = key
    return owner == OPERATOR or (owner, UNBILLED, currency) in found


class _Charged:
    """Transfers that are to be reversed, and the accounts of their legs."""

    def __init__(self, connection: Connection, sql: Statements, ids: Iterable[str]) -> None:
        names = sql.among(ids)
        self._transfers = sql.charged.rows(connection, names)
        self._legs: dict[str, list[tuple[AccountKey, int]]] = {}
        for id, _, amount, owner, kind, currency in sorted(sql.legs.rows(connection, names)):
            self._legs.setdefault(id, []).append(((owner, kind, currency), amount))
        self._reversed = {id: int(amount) for id, amount in sql.reversed.rows(connection, names, 0)}
        self.accounts = [key for legs in self._legs.values() for key, _ in legs]

    def states(self, accounts: dict[AccountKey, AccountState]) -> dict[str, ChargedState]:
        found = {}
        for id, kind, agreement in self._transfers:
            if kind in CHARGES:
                (payer, amount), (earner, _) = self._legs[id]
                left = amount + self._reversed.get(id, 0)
                found[id] = ChargedState(id, kind, agreement, accounts[payer], accounts[earner], amount, left)
            else:
                found[id] = ChargedState(id, kind, agreement, None, None, 0, 0)
        return found
