"""From drafts to invoices: approved by name, made final in portions, or discarded; and periods that are locked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, Row, delete, func, insert, select, update

from charging.invoices.model import Invoice
from charging.periods import period
from operator_server.audit import audited
from operator_server.billing.bill_run import BillRunError, BillRunReport, run_report
from operator_server.billing.making import Bill
from operator_server.billing.open_period import wait_for_charging
from operator_server.billing.writing import lock_numbers, write_invoices
from operator_server.settings import OperatorSettings, Settings
from operator_server.store.accounting import BillRun, Charge
from operator_server.store.billing import BillOutcome, InvoiceDraft, PeriodLock
from operator_server.store.feed import record
from operator_server.store.rows import table
from operator_server.store.store import transact

PORTION = 200


def find_run(connection: Connection, name: str, *states: str) -> Row[Any]:
    """The newest bill run of a period, or the newest in one of ``states``. Raises :class:`BillRunError`."""
    runs = table(BillRun)
    statement = select(runs).where(runs.c.period == name).order_by(runs.c.until_at.desc(), runs.c.id.desc())
    found = connection.execute(statement.where(runs.c.state.in_(states)) if states else statement).first()
    if found is not None:
        return found
    newest = connection.execute(statement).first()
    if newest is None:
        raise BillRunError(f"period {name}: no bill run; `tollgate bill run {name} --draft` begins one")
    hints = {
        "running": "it makes invoices at once; repeat `tollgate bill run` until it is done",
        "drafting": f"its drafts are not complete; repeat `tollgate bill run {name} --draft`",
        "drafted": f"approve it with `tollgate bill approve {name}`",
        "approved": f"make it final with `tollgate bill finalise {name}`",
        "finalising": f"go on with `tollgate bill finalise {name}`",
        "done": "its invoices are final",
    }
    raise BillRunError(f"period {name}: the bill run is {newest.state}: {hints[newest.state]}")


def drafts_of(connection: Connection, name: str) -> list[Invoice]:
    """The drafts of a period, which have no number yet, in the order of accounts."""
    run = find_run(connection, name, "drafting", "drafted", "approved", "finalising")
    drafts = table(InvoiceDraft)
    rows = connection.execute(
        select(drafts.c.document)
        .where(drafts.c.bill_run_id == run.id)
        .order_by(drafts.c.account_id, drafts.c.currency, drafts.c.id)
    )
    return [msgspec.json.decode(document, type=Invoice) for document in rows.scalars()]


def approve(connection: Connection, name: str, actor: str, now: datetime) -> BillRunReport:
    """Approve the drafts of a period as they are. Raises :class:`BillRunError`."""
    run = find_run(connection, name, "drafted")
    digest = _digest(connection, run.id)
    runs = table(BillRun)
    connection.execute(
        update(runs)
        .where(runs.c.id == run.id)
        .values(state="approved", approved_by=actor, approved_at=now, approved_digest=digest)
    )
    audited(
        connection, actor, "bill_run.approve", f"bill_run/{run.id}", {"state": run.state}, {"state": "approved"}, now
    )
    record(connection, now, "bill_run_approved", reference=run.id, period=name, by=actor)
    return run_report(connection, run.id)


def finalise(
    engine: Engine,
    settings: Settings,
    name: str,
    actor: str,
    *,
    now: datetime,
    progress: Callable[[int, int], None] | None = None,
) -> BillRunReport:
    """Make the approved drafts of a period final; one that was killed goes on where it stopped.

    Raises :class:`BillRunError`, also when a draft is not what was approved.
    """
    failed: list[str] = []
    run = transact(engine, lambda connection: _begin(connection, name, actor, now))
    drafts = table(InvoiceDraft)
    with engine.connect() as reading:
        total = reading.execute(
            select(func.count()).where(drafts.c.bill_run_id == run.id).select_from(drafts)
        ).scalar_one()
    last, done, made = ("", "", ""), 0, 0

    def portion(connection: Connection) -> tuple[Sequence[Row[Any]], int, list[str]]:
        lock_numbers(connection)
        rows = _portion(connection, run.id, last)
        return rows, *(_finalise(connection, run.id, rows, settings.operator, now) if rows else (0, []))

    while True:
        rows, count, problems = transact(engine, portion)
        if not rows:
            break
        made += count
        failed += problems
        for _ in rows:
            done += 1
            if progress is not None:
                progress(done, total)
        last = (rows[-1].account_id, rows[-1].currency, rows[-1].id)

    def end(connection: Connection) -> BillRunReport:
        if not failed:
            _finish(connection, run.id, now)
        return run_report(connection, run.id, made=made, failed=tuple(failed))

    return transact(engine, end)


def discard(connection: Connection, name: str, actor: str, now: datetime) -> int:
    """Throw the drafts of a period away and let their charges be billed anew; how many. Raises :class:`BillRunError`.

    Late use still goes to the next period.
    """
    run = find_run(connection, name, "drafting", "drafted", "approved")
    drafts, charge, runs, outcome = table(InvoiceDraft), table(Charge), table(BillRun), table(BillOutcome)
    ids = select(drafts.c.id).where(drafts.c.bill_run_id == run.id)
    connection.execute(update(charge).where(charge.c.invoice_id.in_(ids)).values(invoice_id=None, invoice_line=None))
    count = connection.execute(delete(drafts).where(drafts.c.bill_run_id == run.id)).rowcount
    connection.execute(delete(outcome).where(outcome.c.bill_run_id == run.id))
    fresh = {"state": "drafting", "approved_by": "", "approved_at": None, "approved_digest": None}
    connection.execute(update(runs).where(runs.c.id == run.id).values(**fresh))
    audited(
        connection, actor, "bill_run.discard", f"bill_run/{run.id}", {"state": run.state, "drafts": count},
        {"state": "drafting", "drafts": 0}, now,
    )  # fmt: skip
    return count


def lock_period(connection: Connection, name: str, operator: OperatorSettings, actor: str, now: datetime) -> datetime:
    """Close the books of a period: what comes late takes effect after its end, which is returned.

    Raises :class:`BillRunError` and :class:`charging.periods.PeriodError`.
    """
    closed = period(name, operator.zone)
    if closed.end > now:
        raise BillRunError(f"period {name} is open until {closed.end:%Y-%m-%d %H:%M} UTC; it cannot be locked before")
    wait_for_charging(connection)
    locks = table(PeriodLock)
    if connection.execute(select(locks.c.period).where(locks.c.period == name)).first() is None:
        connection.execute(insert(locks).values(period=name, end_at=closed.end, locked_at=now, locked_by=actor))
        audited(connection, actor, "period.lock", f"period/{name}", None, {"end_at": closed.end}, now)
    return closed.end


def unlock_period(connection: Connection, name: str, actor: str, now: datetime) -> None:
    """Open the books again. A period that a bill run has begun to bill stays closed. Raises :class:`BillRunError`."""
    locks, runs = table(PeriodLock), table(BillRun)
    found = connection.execute(select(locks).where(locks.c.period == name)).first()
    if found is None:
        raise BillRunError(f"period {name}: it is not locked")
    billed = connection.execute(select(runs.c.id).where(runs.c.until_at >= found.end_at)).first()
    if billed is not None:
        raise BillRunError(f"period {name}: a bill run up to its end has begun, so it stays closed")
    connection.execute(delete(locks).where(locks.c.period == name))
    audited(connection, actor, "period.unlock", f"period/{name}", {"end_at": found.end_at}, None, now)


def _begin(connection: Connection, name: str, actor: str, now: datetime) -> Row[Any]:
    lock_numbers(connection)
    run = find_run(connection, name, "approved", "finalising")
    if run.state == "approved":
        if _digest(connection, run.id) != run.approved_digest:
            raise BillRunError(f"period {name}: drafts are not what {run.approved_by} approved; approve them again")
        runs = table(BillRun)
        connection.execute(update(runs).where(runs.c.id == run.id).values(state="finalising"))
        was, state = {"state": "approved"}, {"state": "finalising"}
        audited(connection, actor, "bill_run.finalise", f"bill_run/{run.id}", was, state, now)
    return run


def _portion(connection: Connection, run: str, last: tuple[str, str, str]) -> Sequence[Row[Any]]:
    drafts = table(InvoiceDraft)
    account, currency, draft = last
    # The order of the index, from where the last portion ended; what is final by now is gone.
    after = (drafts.c.account_id > account) | (
        (drafts.c.account_id == account)
        & ((drafts.c.currency > currency) | ((drafts.c.currency == currency) & (drafts.c.id > draft)))
    )
    return connection.execute(
        select(drafts)
        .where(drafts.c.bill_run_id == run, after)
        .order_by(drafts.c.account_id, drafts.c.currency, drafts.c.id)
        .limit(PORTION)
    ).all()


def _finalise(
    connection: Connection, run: str, rows: Sequence[Row[Any]], operator: OperatorSettings, now: datetime
) -> tuple[int, list[str]]:
    bills = [
        Bill(
            row.id, row.account_id, row.period, msgspec.json.decode(row.document, type=Invoice), row.unbilled, row.taxed
        )
        for row in rows
    ]
    written = write_invoices(connection, run, bills, operator, now)
    failed = {(account, currency) for account, currency, _ in written.failed}
    drafts = table(InvoiceDraft)
    final = [bill.id for bill in bills if (bill.account, bill.invoice.currency) not in failed]
    connection.execute(delete(drafts).where(drafts.c.id.in_(final)))
    return written.count, [f"account {account}: {reason}" for account, _, reason in written.failed]


def _finish(connection: Connection, run: str, now: datetime) -> None:
    report = run_report(connection, run)
    runs = table(BillRun)
    values = {"state": "done", "finished_at": now, "invoices": report.invoices}
    connection.execute(update(runs).where(runs.c.id == run).values(**values))


def _digest(connection: Connection, run: str) -> bytes:
    """What an approval stands for: every draft as it is."""
    drafts, told = table(InvoiceDraft), sha256()
    rows = connection.execute(
        select(drafts.c.id, drafts.c.document, drafts.c.unbilled, drafts.c.taxed)
        .where(drafts.c.bill_run_id == run)
        .order_by(drafts.c.id),
        execution_options={"stream_results": True},
    )
    for row in rows:
        told.update(f"{row.id}:{row.unbilled}:{row.taxed}:".encode() + sha256(row.document).digest())
    return told.digest()
