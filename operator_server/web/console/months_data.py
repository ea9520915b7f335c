"""What the pages of months show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Row, func, select

from charging.periods import period_of
from operator_server.store.accounting import BillRun, InvoiceRow
from operator_server.store.billing import InvoiceDraft, PeriodLock
from operator_server.store.dispatch import InvoiceDispatch
from operator_server.store.rows import table

MOST_MONTHS = 36


@dataclass(frozen=True, slots=True)
class Month:
    """A month in the list: its newest run, how many invoices it has, whether its books are closed."""

    period: str
    run: Row[Any] | None
    locked: bool


@dataclass(frozen=True, slots=True)
class Sent:
    """How many of a month's invoices stand how in dispatch, by state; ``never``: not asked for."""

    states: dict[str, int]
    never: int


def months(connection: Connection, zone: str, now: datetime) -> list[Month]:
    """Months with a bill run or a lock, and the last ones that are over, the newest first."""
    run, lock = table(BillRun), table(PeriodLock)
    runs: dict[str, Row[Any]] = {}
    for row in connection.execute(select(run).order_by(run.c.until_at, run.c.id)):
        runs[row.period] = row
    locked = set(connection.execute(select(lock.c.period)).scalars())
    local, at = ZoneInfo(zone), now.astimezone(ZoneInfo(zone))
    recent = set()
    for _ in range(3):
        recent.add(period_of(at, local))
        at = at.replace(day=1) - timedelta(days=1)
    names = sorted({*runs, *locked, *recent}, reverse=True)[:MOST_MONTHS]
    return [Month(name, runs.get(name), name in locked) for name in names]


def runs_of(connection: Connection, period: str) -> Sequence[Row[Any]]:
    """The bill runs of a month, the newest first."""
    run = table(BillRun)
    query = select(run).where(run.c.period == period).order_by(run.c.until_at.desc(), run.c.id.desc()).limit(20)
    return connection.execute(query).all()


def lock_of(connection: Connection, period: str) -> Row[Any] | None:
    """The lock of a month's books."""
    lock = table(PeriodLock)
    return connection.execute(select(lock).where(lock.c.period == period)).first()


def drafts_count(connection: Connection, run: str) -> int:
    """How many drafts a run has."""
    draft = table(InvoiceDraft)
    query = select(func.count()).select_from(draft).where(draft.c.bill_run_id == run)
    return int(connection.execute(query).scalar_one())


def sent_of(connection: Connection, period: str, invoices: int) -> Sent:
    """How the month's invoices stand in dispatch: of each, its newest e-mail counts."""
    sent, invoice = table(InvoiceDispatch), table(InvoiceRow)
    newest = (
        select(func.max(sent.c.id))
        .join(invoice, invoice.c.number == sent.c.invoice_number)
        .where(invoice.c.period == period)
        .group_by(sent.c.invoice_number)
    )
    query = select(sent.c.state, func.count()).where(sent.c.id.in_(newest)).group_by(sent.c.state)
    states = {str(row[0]): int(row[1]) for row in connection.execute(query)}
    return Sent(states, max(0, invoices - sum(states.values())))
