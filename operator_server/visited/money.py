"""What operators owe each other, in the ledger: each acknowledged record is one transfer, named by the record's id.

At the visited operator a record is a debit of ``roaming_receivable`` and a credit of ``roaming_revenue``; at home a
debit of ``roaming_cost`` and a credit of ``roaming_payable``. What the subscriber pays is charged apart, as ever.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, and_, func, or_, select, update

from charging.ledger.book import apply
from charging.ledger.operations import Applied, Duplicate, Leg, Post
from charging.ledger.tables import OPERATOR, LedgerAccount, Posting, Transfer
from charging.ledger.verify import Finding
from operator_server.store.rows import table
from operator_server.store.visited import SettlementRecord
from operator_server.visited.faults import VisitedError
from signalling.clock import to_micros

SOURCE = "roaming"
RECEIVABLE, REVENUE = "roaming_receivable", "roaming_revenue"
PAYABLE, COST = "roaming_payable", "roaming_cost"

_records = table(SettlementRecord)


def post_record(connection: Connection, row: Row[Any] | SettlementRecord, now: datetime) -> str:
    """Book an acknowledged record, once however often it is asked for; its transfer. Raises :class:`VisitedError`."""
    debit, credit = (RECEIVABLE, REVENUE) if row.direction == "receivable" else (COST, PAYABLE)
    legs = (Leg(OPERATOR, debit, row.currency, row.amount), Leg(OPERATOR, credit, row.currency, -row.amount))
    # What is asked for again must be the same: the time is the record's.
    operation = Post(source=SOURCE, op_id=row.id, kind="roaming", legs=legs, effective_at=row.agreed_at)
    outcome = apply(connection, [operation], to_micros(now))[0]
    if not isinstance(outcome, Applied | Duplicate):
        raise VisitedError("record_conflict", f"record {row.id}: the ledger holds another transfer under this name")
    return outcome.transfer_id


def post_missing(connection: Connection, now: datetime, most: int = 500) -> int:
    """Book acknowledged records that are in the ledger not yet, as from before there were such transfers."""
    missing = select(_records).where(_records.c.state == "acknowledged", _records.c.transfer_id.is_(None)).limit(most)
    rows = connection.execute(missing).all()
    for row in rows:
        posted = post_record(connection, row, now)
        connection.execute(update(_records).where(_records.c.id == row.id).values(transfer_id=posted))
    return len(rows)


def verify_roaming(connection: Connection) -> list[Finding]:
    """Findings: records that the ledger books otherwise, or though nobody owes them; balances that no records make.

    Acknowledged records that are not booked yet are none; the worker books them.
    """
    return [*_booked(connection), *_unasked(connection), *_balances(connection)]


def _booked(connection: Connection) -> Iterator[Finding]:
    transfer, posting, ledger = table(Transfer), table(Posting), table(LedgerAccount)
    debits = (
        select(posting.c.transfer_id, posting.c.currency, ledger.c.kind, posting.c.amount)
        .join(ledger, ledger.c.id == posting.c.ledger_account_id)
        .where(posting.c.leg == 0, ledger.c.kind.in_([RECEIVABLE, COST]))
        .subquery()
    )
    wrong = (
        select(_records.c.id, _records.c.amount, _records.c.currency, debits.c.amount.label("booked"))
        .outerjoin(transfer, and_(transfer.c.source == SOURCE, transfer.c.op_id == _records.c.id))
        .outerjoin(debits, debits.c.transfer_id == transfer.c.id)
        .where(
            _records.c.transfer_id.is_not(None),
            or_(
                transfer.c.id.is_distinct_from(_records.c.transfer_id),
                debits.c.amount.is_distinct_from(_records.c.amount),
                debits.c.currency.is_distinct_from(_records.c.currency),
                (debits.c.kind == RECEIVABLE).is_distinct_from(_records.c.direction == "receivable"),
                _records.c.state != "acknowledged",
            ),
        )
    )
    for id, amount, currency, booked in connection.execute(wrong):
        yield Finding(f"says {amount} micros {currency}, the ledger books {booked}", f"settlement record {id}")


def _unasked(connection: Connection) -> Iterator[Finding]:
    transfer = table(Transfer)
    lonely = (
        select(transfer.c.id, transfer.c.op_id)
        .outerjoin(_records, _records.c.transfer_id == transfer.c.id)
        .where(transfer.c.source == SOURCE, _records.c.id.is_(None))
    )
    for id, record in connection.execute(lonely):
        yield Finding(f"books settlement record {record}, which does not say so", f"transfer {id}")


def _balances(connection: Connection) -> Iterator[Finding]:
    ledger = table(LedgerAccount)
    for direction, kind, sign in (("receivable", RECEIVABLE, 1), ("payable", PAYABLE, -1)):
        sums = (
            select(_records.c.currency, func.sum(_records.c.amount).label("owed"))
            .where(_records.c.direction == direction, _records.c.transfer_id.is_not(None))
            .group_by(_records.c.currency)
            .subquery()
        )
        owed = func.coalesce(sums.c.owed, 0) * sign
        rows = connection.execute(
            select(ledger.c.currency, ledger.c.balance, owed)
            .outerjoin(sums, sums.c.currency == ledger.c.currency)
            .where(ledger.c.owner == OPERATOR, ledger.c.kind == kind, ledger.c.balance != owed)
        )
        for currency, balance, amount in rows:
            yield Finding(f"its balance is {balance} micros, settlement records make {amount}", f"{kind} {currency}")
