"""Handing settlement records over to home, until it has acknowledged or refused each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Row, select, update

from operator_server.context import Operator
from operator_server.store.feed import record
from operator_server.store.rows import table
from operator_server.store.store import transact
from operator_server.store.visited import SettlementRecord, VisitorRow
from operator_server.visited.faults import HomeRefused, HomeUnreachable, VisitedError
from operator_server.visited.money import post_missing, post_record
from operator_server.visited.partners import active_partner
from operator_server.visited.peer import HomeSide, remote_peer
from operator_server.visited.records import claim_of, pause_after
from operator_server.visited.wire import Settled


def settle_due(
    operator: Operator, home_of: Callable[[Row[Any]], HomeSide] | None = None, *, most: int = 50, all_: bool = False
) -> dict[str, int]:
    """Hand over what waits and is due; how many records are in which state now. ``all_``: also what is not due yet."""
    reach = home_of or (lambda partner: remote_peer(operator, partner))
    rows = table(SettlementRecord)
    now = operator.clock.now()
    with operator.engine.connect() as connection:
        unbooked = connection.execute(
            select(rows.c.id).where(rows.c.state == "acknowledged", rows.c.transfer_id.is_(None)).limit(1)
        ).first()
    if unbooked is not None:
        transact(operator.engine, lambda c: post_missing(c, now))
    due = select(rows).where(rows.c.state == "waiting", rows.c.direction == "receivable")
    if not all_:
        due = due.where(rows.c.due_at <= now)
    with operator.engine.connect() as connection:
        waiting = connection.execute(due.order_by(rows.c.due_at, rows.c.id).limit(most)).all()
    counts: dict[str, int] = {}
    for row in waiting:
        state = hand_over(operator, row, reach)
        counts[state] = counts.get(state, 0) + 1
    return counts


def hand_over(operator: Operator, row: Row[Any], home_of: Callable[[Row[Any]], HomeSide]) -> str:
    """Put one record to home; the state that it is in then. What home answers is kept with the key of the feature."""
    now = operator.clock.now()
    if row.state != "waiting":
        return str(row.state)
    try:
        with operator.engine.connect() as connection:
            home = home_of(active_partner(connection, row.network))
        settled = home.settle(claim_of(row, operator.settings.operator.server_id))
    except HomeRefused as no:
        refused = f"{no.code}: {no.reason}"
        transact(operator.engine, lambda c: _finish(c, row, "refused", refused, now))
        return "refused"
    except (HomeUnreachable, VisitedError) as no:
        reason, later = no.reason[:500], now + pause_after(row.attempts)
        transact(operator.engine, lambda c: _set(c, row, reason=reason, attempts=row.attempts + 1, due_at=later))
        return "waiting"
    transact(operator.engine, lambda c: _acknowledge(c, row, settled, now))
    return "acknowledged"


def _acknowledge(connection: Connection, row: Row[Any], settled: Settled, now: Any) -> None:
    """Home took it: from now on it is owed, and booked."""
    rows = table(SettlementRecord)
    state = connection.execute(select(rows.c.state).where(rows.c.id == row.id).with_for_update()).scalar()
    if state != "waiting":
        return
    _finish(connection, row, "acknowledged", "", now)
    _set(connection, row, transfer_id=post_record(connection, row, now))
    visitor = table(VisitorRow)
    this = (visitor.c.network == row.network, visitor.c.terminal == row.terminal)
    paid = connection.execute(select(visitor.c.paid).where(*this)).scalar() or {}
    connection.execute(update(visitor).where(*this).values(paid=paid | {row.feature: settled.key.hex()}))


def _finish(connection: Connection, row: Row[Any], state: str, reason: str, now: Any) -> None:
    _set(connection, row, state=state, reason=reason[:500], done_at=now)
    visitor = table(VisitorRow)
    # Whatever became of it, nothing is outstanding any more.
    this = (visitor.c.network == row.network, visitor.c.terminal == row.terminal)
    waiting = connection.execute(select(visitor.c.waiting).where(*this)).scalar() or {}
    if waiting.get("record") == row.id:
        connection.execute(update(visitor).where(*this).values(waiting={}))
    record(connection, now, f"settlement_{state}", reference=row.id, network=row.network, feature=row.feature)


def _set(connection: Connection, row: Row[Any], **values: Any) -> None:
    rows = table(SettlementRecord)
    connection.execute(update(rows).where(rows.c.id == row.id).values(**values))
