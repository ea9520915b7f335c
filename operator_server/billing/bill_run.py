"""The bill run: everything unbilled up to the end of each account's cycle, one invoice for each account and currency.

A portion of accounts is made (:mod:`operator_server.billing.making`) and written in one transaction: numbers, postings,
documents and the marks on charges are there together or not at all. So a run that was killed goes on where it stopped,
and one that is repeated changes nothing. Portions are made by several processes where asked; one writes them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, tzinfo
from multiprocessing import get_context
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, func, select, update
from sqlalchemy.exc import DBAPIError

from charging.billing.tax import TaxTable, load_taxes
from charging.periods import Period, period
from operator_server.billing.commitments import true_up_commitments
from operator_server.billing.making import Bill, Made, Maker, Run
from operator_server.billing.open_period import wait_for_charging
from operator_server.billing.tariff_commitments import true_up_tariffs
from operator_server.billing.writing import BilledMeanwhile, Written, note_outcomes, write_drafts, write_invoices
from operator_server.settings import OperatorSettings, Settings
from operator_server.store.accounting import BillRun, InvoiceRow
from operator_server.store.billing import BillOutcome, InvoiceDraft
from operator_server.store.engine import open_engine, writing
from operator_server.store.parties import Account
from operator_server.store.races import lost_race
from operator_server.store.rows import add, table
from operator_server.store.store import transact
from signalling.clock import to_micros
from signalling.ids import new_id

Progress = Callable[[int, int], None]
"""Hears after each account how many are done, of how many."""

PORTION = 200
"""Accounts in one transaction."""

WAITING_STATES = ("drafted", "approved", "finalising")


class BillRunError(ValueError):
    """A bill run that cannot be; the text says why and what to do."""


@dataclass(frozen=True)
class BillRunReport:
    """What a bill run came to. ``made``: invoices, or drafts, made by this call; ``invoices`` and ``gross`` (micros to
    pay by currency): of the whole run, also what an earlier call of it made; in a run with drafts, theirs.

    ``failed``: accounts that could not be billed, and why, and ``waiting``: how many have a cycle that is not over;
    then the run is not done and is to be repeated. ``carried``: bills that are left to the next run, being too small.
    """

    run: str
    period: str
    until: datetime
    made: int
    invoices: int
    gross: dict[str, int] = field(default_factory=dict)
    failed: tuple[str, ...] = ()
    state: str = "done"
    carried: int = 0
    waiting: int = 0


def until_instant(text: str, zone: tzinfo) -> datetime:
    """The instant that ``--until`` names: a local day, whose begin is meant, or a time with its distance from UTC."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise BillRunError(f"until {text!r}: write a day, such as 2026-10-15, or 2026-10-15T12:00+02:00") from None
    if instant.tzinfo is None:
        if instant.time() != time():
            raise BillRunError(f"until {text!r}: a time needs its distance from UTC, such as 2026-10-15T12:00+02:00")
        instant = instant.replace(tzinfo=zone)
    try:
        return instant.astimezone(UTC)
    except OverflowError:
        raise BillRunError(f"until {text!r}: a time from year 1 to 9999 is needed, in UTC") from None


def run_bills(
    engine: Engine,
    settings: Settings,
    name: str,
    *,
    now: datetime,
    until: datetime | None = None,
    progress: Progress | None = None,
    draft: bool | None = None,
    scope: str = "all",
    workers: int = 1,
) -> BillRunReport:
    """Bill each account's cycle ``name``, or with ``until`` what lies before that, which an open period needs.

    All unbilled charges that took effect before a cycle's end are billed, also of earlier ones. With scope ``due``
    every account is billed to the end of its last cycle that is over at ``until``. ``draft`` (default: as the settings
    ask for approval) makes drafts, which :mod:`operator_server.billing.approval` makes final. An account that cannot
    be billed is reported and keeps its charges; the others are billed. ``workers``: processes that make bills; not for
    a database in memory. Raises :class:`BillRunError` and :class:`charging.periods.PeriodError`.
    """
    operator = settings.operator
    billed = period(name, operator.zone)
    end = _end(billed, until, now)
    drafting = operator.bill_approval if draft is None else draft
    taxes = load_taxes(settings.config_dir / "tax.toml")
    run, state = transact(engine, lambda connection: _begin(connection, billed, end, scope, drafting, now))
    made, failed, waiting = 0, [], 0
    if state in WAITING_STATES and not drafting:
        raise BillRunError(
            f"the run to {end:%Y-%m-%d %H:%M} UTC has drafts: look at `tollgate bill report {name}`, then approve and"
            f" finalise them, or discard them with `tollgate bill discard {name}`"
        )
    if state in ("running", "drafting"):
        true_up_commitments(engine, operator, run, now)
        true_up_tariffs(engine, operator, run, now)
        steps = _Steps(engine, operator, taxes, run, now, drafts=state == "drafting")
        with steps.portions(workers) as portions:
            for accounts, done in portions:
                with_invoices, problems, not_over = steps.write(accounts, done)
                made += with_invoices
                failed += problems
                waiting += not_over
                steps.tell(progress, len(accounts))
        if not failed and not waiting:
            transact(engine, lambda connection: _finish(connection, run.id, state, now))
    with engine.connect() as connection:
        return run_report(connection, run.id, made=made, failed=tuple(failed), waiting=waiting)


def run_report(
    connection: Connection, run: str, *, made: int = 0, failed: tuple[str, ...] = (), waiting: int = 0
) -> BillRunReport:
    """What a run has come to until now."""
    row = connection.execute(select(table(BillRun)).where(table(BillRun).c.id == run)).one()
    drafts = row.state in ("drafting", *WAITING_STATES)
    invoices, gross = _sums(connection, run, drafts=drafts)
    outcome = table(BillOutcome)
    carried = connection.execute(
        select(func.count()).where(outcome.c.bill_run_id == run, outcome.c.kind == "carried")
    ).scalar_one()
    return BillRunReport(
        run, row.period, row.until_at, made, invoices, gross, failed, row.state, carried, waiting
    )  # fmt: skip


class _Steps:
    """The portions of one run: made here or by other processes, and written one after another."""

    def __init__(
        self, engine: Engine, operator: OperatorSettings, taxes: TaxTable, run: Run, now: datetime, *, drafts: bool
    ) -> None:
        self._engine = engine
        self._writing = writing(engine)
        self._operator = operator
        self._taxes = taxes
        self._run = run
        self._now = now
        self._drafts = drafts
        self._maker = Maker(operator, taxes, run, now)
        self._told = 0
        self._total = 0

    @contextmanager
    def portions(self, workers: int) -> Iterator[Iterator[tuple[list[str], Made]]]:
        """Portions of accounts with what they came to, in the order of accounts."""
        with self._engine.connect() as connection:
            self._total = connection.execute(select(func.count()).select_from(table(Account))).scalar_one()
        if workers <= 1:
            yield ((accounts, self._make(accounts)) for accounts in self._accounts())
            return
        url = self._engine.url.render_as_string(hide_password=False)
        arguments = (url, self._operator, self._taxes, self._run, self._now)
        with ProcessPoolExecutor(workers, get_context("spawn"), _work_begins, arguments) as pool:
            yield self._ahead(pool, 2 * workers)

    def _ahead(self, pool: ProcessPoolExecutor, most: int) -> Iterator[tuple[list[str], Made]]:
        """Keep a few portions under way, so that memory does not grow with the accounts."""
        under_way: deque[tuple[list[str], Future[bytes]]] = deque()
        for accounts in self._accounts():
            under_way.append((accounts, pool.submit(_work, accounts)))
            if len(under_way) >= most:
                first, future = under_way.popleft()
                yield first, msgspec.msgpack.decode(future.result(), type=Made)
        for first, future in under_way:
            yield first, msgspec.msgpack.decode(future.result(), type=Made)

    def write(self, accounts: list[str], made: Made) -> tuple[int, list[str], int]:
        """Write a portion: how many invoices or drafts, which accounts failed and why, how many wait."""
        try:
            written = self._write(accounts, made, failed=made.failed)
        except (BilledMeanwhile, OverflowError):
            # Made from what was read before somebody else changed it, or one of them is too large: one by one.
            parts = [self._alone(account) for account in accounts]
            return sum(part[0] for part in parts), [text for part in parts for text in part[1]], len(made.waiting)
        return (
            written.count,
            [f"account {account}: {reason}" for account, _, reason in written.failed],
            len(made.waiting),
        )

    def _alone(self, account: str) -> tuple[int, list[str], int]:
        while True:
            made = self._make([account])
            try:
                written = self._write([account], made, failed=made.failed)
            except BilledMeanwhile:
                # Somebody else has billed some of it, so the next try finds less.
                continue
            except OverflowError as error:
                written = self._write([account], Made([], [], []), failed=[(account, "", str(error))])
            return written.count, [f"account {account}: {reason}" for _, _, reason in written.failed], len(made.waiting)

    def _write(self, accounts: list[str], made: Made, *, failed: list[tuple[str, str, str]]) -> Written:
        wanted = [bill for bill in made.bills if not bill.carried]
        carried = [bill for bill in made.bills if bill.carried]
        try:
            with self._writing.begin() as connection:
                if self._drafts:
                    written = write_drafts(connection, self._run.id, wanted, self._now)
                else:
                    written = write_invoices(connection, self._run.id, wanted, self._operator, self._now)
                problems = [*failed, *written.failed]
                note_outcomes(connection, self._run.id, accounts, carried, problems)
        except DBAPIError as error:
            if lost_race(error):
                raise BilledMeanwhile from None
            raise
        return Written(written.count, problems)

    def _make(self, accounts: list[str]) -> Made:
        with self._engine.connect() as connection:
            return self._maker.make(connection, accounts)

    def _accounts(self) -> Iterator[list[str]]:
        account, last = table(Account).c.id, ""
        while True:
            with self._engine.connect() as connection:
                found = connection.execute(select(account).where(account > last).order_by(account).limit(PORTION))
                ids = list(found.scalars())
            if not ids:
                return
            yield ids
            last = ids[-1]

    def tell(self, progress: Progress | None, count: int) -> None:
        """Tell of ``count`` accounts that are done."""
        for _ in range(count if progress is not None else 0):
            self._told += 1
            assert progress is not None
            progress(self._told, self._total)


_worker: tuple[Engine, Maker] | None = None


def _work_begins(url: str, operator: OperatorSettings, taxes: TaxTable, run: Run, now: datetime) -> None:
    global _worker
    _worker = open_engine(url), Maker(operator, taxes, run, now)


def _work(accounts: list[str]) -> bytes:
    assert _worker is not None
    engine, maker = _worker
    with engine.connect() as connection:
        return msgspec.msgpack.encode(maker.make(connection, accounts))


def _end(billed: Period, until: datetime | None, now: datetime) -> datetime:
    if until is None:
        if now < billed.end:
            raise BillRunError(f"period {billed.name} is open until {billed.end:%Y-%m-%d %H:%M} UTC; say until when")
        return billed.end
    if not billed.start < until <= billed.end:
        raise BillRunError(f"until {until.isoformat()} does not lie within period {billed.name}")
    if until > now:
        raise BillRunError(f"until {until.isoformat()} has not come yet")
    return until


def _begin(
    connection: Connection, billed: Period, end: datetime, scope: str, drafting: bool, now: datetime
) -> tuple[Run, str]:
    """The run and its state. From its begin nothing new takes effect before its end."""
    wait_for_charging(connection)
    runs = table(BillRun)
    known = connection.execute(
        select(runs).where(runs.c.period == billed.name, runs.c.until_at == end, runs.c.scope == scope)
    ).first()
    wanted = "drafting" if drafting else "running"
    if known is None:
        run = new_id(to_micros(now))
        add(connection, BillRun(id=run, period=billed.name, until_at=end, started_at=now, scope=scope, state=wanted))
        return Run(run, billed, end, scope), wanted
    state = known.state
    if state in ("running", "drafting") and state != wanted:
        kind = InvoiceDraft if drafting is False else InvoiceRow
        if connection.execute(select(table(kind).c.id).where(table(kind).c.bill_run_id == known.id)).first() is None:
            connection.execute(update(runs).where(runs.c.id == known.id).values(state=wanted))
            state = wanted
        elif not drafting:
            raise BillRunError(
                f"the run to {end:%Y-%m-%d %H:%M} UTC is making drafts: go on with `tollgate bill run {billed.name}"
                " --draft`"
            )
    return Run(known.id, billed, end, scope), state


def _finish(connection: Connection, run: str, state: str, now: datetime) -> None:
    runs = table(BillRun)
    count, _ = _sums(connection, run, drafts=state == "drafting")
    values: dict[str, Any] = {"invoices": count}
    values |= {"state": "drafted"} if state == "drafting" else {"state": "done", "finished_at": now}
    connection.execute(update(runs).where(runs.c.id == run).values(**values))


def _sums(connection: Connection, run: str, *, drafts: bool) -> tuple[int, dict[str, int]]:
    """How many invoices a run has and what they come to by currency; drafts among them."""
    count, gross = 0, dict[str, int]()
    for model in (InvoiceRow, InvoiceDraft) if drafts else (InvoiceRow,):
        rows = table(model)
        found = connection.execute(
            select(rows.c.currency, func.count(), func.sum(rows.c.total))
            .where(rows.c.bill_run_id == run)
            .group_by(rows.c.currency)
            .order_by(rows.c.currency)
        )
        for currency, number, total in found:
            count += number
            gross[currency] = gross.get(currency, 0) + int(total)
    return count, gross


__all__ = ["Bill", "BillRunError", "BillRunReport", "run_bills", "run_report", "until_instant"]
