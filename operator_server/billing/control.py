"""The control report of a month before its bills are final: what was rated, what became of it, what looks wrong.

An invoice is an outlier when it is more than three times, or less than a third of, the average of the account's last
three in its currency; one without any before, when it is more than ten times the median of its run and currency. A
difference below one major unit is none.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from statistics import median_low

import msgspec
from sqlalchemy import Connection, and_, case, func, or_, select

from charging.periods import Period, period, period_of
from operator_server.billing.bill_run import WAITING_STATES
from operator_server.counting.book import TAKEN
from operator_server.counting.units import COVERED
from operator_server.settings import OperatorSettings
from operator_server.store.accounting import BillRun, Charge, CounterGap, CounterReportRow, CounterState, InvoiceRow
from operator_server.store.billing import BillOutcome, InvoiceDraft, PeriodLock
from operator_server.store.dealings import Agreement, Installation
from operator_server.store.rows import table
from operator_server.usage.history import as_rated_last
from signalling.clock import from_micros, to_micros
from signalling.money import MICROS

TIMES, TIMES_MEDIAN, BEFORE = 3, 10, 3
"""The rule of outliers: against the account's own last ``BEFORE`` invoices, else against the median of the run."""


class Amount(msgspec.Struct, frozen=True):
    """A number of charges or bills, and micros of one currency."""

    currency: str
    count: int
    micros: int


class Oddity(msgspec.Struct, frozen=True):
    """A bill that somebody should look at. ``usual``: what was expected, micros; ``number`` is empty for a draft."""

    account: str
    number: str
    currency: str
    micros: int
    usual: int
    why: str


class Silent(msgspec.Struct, frozen=True):
    """An installation that is charged by use and has not reported to the month's end.

    ``at_risk``: micros that its use came to in the month before; ``reported_at``: its last report, if any.
    """

    terminal: str
    installation: str
    subscriber: str
    product: str
    reported_at: datetime | None
    currency: str
    at_risk: int


class Left(msgspec.Struct, frozen=True):
    """An account without a bill of the run. ``kind``: carried (too small) or failed."""

    account: str
    currency: str
    kind: str
    micros: int
    reason: str


class ControlReport(msgspec.Struct, frozen=True, kw_only=True):
    """The month's figures. ``rejected``: counter reports that were refused or in conflict, by reason.

    Use of the month, by currency: ``rated`` = ``billed`` + ``drafted`` + ``unbilled`` + ``prepaid`` + ``rated_only``.
    What was rated again counts once, as it was rated last: the credit note took the other off.
    """

    period: str
    run: str = ""
    state: str = ""
    approved_by: str = ""
    locked_by: str = ""
    rated: list[Amount] = []
    billed: list[Amount] = []
    drafted: list[Amount] = []
    unbilled: list[Amount] = []
    prepaid: list[Amount] = []
    rated_only: list[Amount] = []
    bills: list[Amount] = []
    suspended: list[Left] = []
    gaps: int = 0
    rejected: dict[str, int] = {}
    zero: list[Oddity] = []
    outliers: list[Oddity] = []
    silent: list[Silent] = []


def control_report(connection: Connection, operator: OperatorSettings, name: str, *, most: int = 100) -> ControlReport:
    """The report of a month; lists hold at most ``most`` entries, the largest first.

    Raises :class:`charging.periods.PeriodError`.
    """
    month = period(name, operator.zone)
    runs, locks = table(BillRun), table(PeriodLock)
    run = connection.execute(
        select(runs).where(runs.c.period == name).order_by(runs.c.until_at.desc(), runs.c.id.desc())
    ).first()
    locked = connection.execute(select(locks.c.locked_by).where(locks.c.period == name)).scalar()
    drafts = run is not None and run.state in ("drafting", *WAITING_STATES)
    bills = list(_bills(connection, run.id, drafts=drafts)) if run is not None else []
    return ControlReport(
        period=name,
        run=run.id if run is not None else "",
        state=run.state if run is not None else "",
        approved_by=run.approved_by if run is not None else "",
        locked_by=locked or "",
        **_charges(connection, name),
        bills=_summed(bills),
        suspended=_left(connection, run.id, most) if run is not None else [],
        gaps=_gaps(connection, month),
        rejected=_rejected(connection, month),
        zero=[Oddity(*bill[:4], 0, "nothing to pay") for bill in bills if bill[3] == 0][:most],
        outliers=list(_outliers(connection, bills))[:most],
        silent=_silent(connection, operator, month, most),
    )


def _charges(connection: Connection, name: str) -> dict[str, list[Amount]]:
    """What was rated of a month of use, and what became of it; of what was rated again only the last."""
    charge, invoice = table(Charge), table(InvoiceRow)
    became = case(
        (charge.c.pays == "prepaid", "prepaid"),
        (charge.c.pays == "none", "rated_only"),
        (charge.c.invoice_id.is_(None), "unbilled"),
        (invoice.c.id.is_(None), "drafted"),
        else_="billed",
    ).label("became")
    charges = (
        select(became, charge.c.currency, func.count(), func.sum(charge.c.net))
        .outerjoin(invoice, invoice.c.id == charge.c.invoice_id)
        .where(charge.c.kind != COVERED)
        .group_by(became, charge.c.currency)
        .order_by(charge.c.currency)
    )
    rows = connection.execute(as_rated_last(charges, charge.c.period == name))
    found: dict[str, list[Amount]] = {key: [] for key in ("billed", "drafted", "unbilled", "prepaid", "rated_only")}
    rated: dict[str, tuple[int, int]] = {}
    for kind, currency, count, micros in rows:
        found[kind].append(Amount(currency, count, int(micros)))
        before = rated.get(currency, (0, 0))
        rated[currency] = before[0] + count, before[1] + int(micros)
    return {"rated": [Amount(currency, *both) for currency, both in sorted(rated.items())], **found}


Bill = tuple[str, str, str, int]
"""Account, number (empty for a draft), currency, micros to pay."""


def _bills(connection: Connection, run: str, *, drafts: bool) -> Iterator[Bill]:
    invoice, draft = table(InvoiceRow), table(InvoiceDraft)
    columns = (invoice.c.account_id, invoice.c.number, invoice.c.currency, invoice.c.total)
    for row in connection.execute(
        select(*columns).where(invoice.c.bill_run_id == run).order_by(invoice.c.number_in_series)
    ):
        yield row.account_id, row.number, row.currency, row.total
    if not drafts:
        return
    for bill in connection.execute(
        select(draft.c.account_id, draft.c.currency, draft.c.total)
        .where(draft.c.bill_run_id == run)
        .order_by(draft.c.account_id, draft.c.currency)
    ):
        yield bill.account_id, "", bill.currency, bill.total


def _summed(bills: list[Bill]) -> list[Amount]:
    sums: dict[str, tuple[int, int]] = {}
    for _, _, currency, micros in bills:
        count, before = sums.get(currency, (0, 0))
        sums[currency] = count + 1, before + micros
    return [Amount(currency, *both) for currency, both in sorted(sums.items())]


def _left(connection: Connection, run: str, most: int) -> list[Left]:
    outcome = table(BillOutcome)
    rows = connection.execute(
        select(outcome)
        .where(outcome.c.bill_run_id == run)
        .order_by(func.abs(outcome.c.amount).desc(), outcome.c.account_id)
        .limit(most)
    )
    return [Left(row.account_id, row.currency, row.kind, row.amount, row.reason) for row in rows]


def _gaps(connection: Connection, month: Period) -> int:
    gap = table(CounterGap)
    return connection.execute(
        select(func.count())
        .select_from(gap)
        .where(gap.c.noticed_at < month.end, or_(gap.c.closed_at.is_(None), gap.c.closed_at >= month.end))
    ).scalar_one()


def _rejected(connection: Connection, month: Period) -> dict[str, int]:
    report = table(CounterReportRow)
    rows = connection.execute(
        select(report.c.status, report.c.reason, func.count())
        .where(
            report.c.received_at >= month.start,
            report.c.received_at < month.end,
            report.c.status.not_in((*TAKEN, "duplicate")),
        )
        .group_by(report.c.status, report.c.reason)
        .order_by(report.c.status, report.c.reason)
    )
    return {f"{status}: {reason}" if reason else status: count for status, reason, count in rows}


def _outliers(connection: Connection, bills: list[Bill]) -> Iterator[Oddity]:
    usual = _usual(connection, bills)
    amounts: dict[str, list[int]] = {}
    for _, _, currency, micros in bills:
        if micros:
            amounts.setdefault(currency, []).append(abs(micros))
    medians = {currency: median_low(some) for currency, some in amounts.items()}
    odd = []
    for account, number, currency, micros in bills:
        own = usual.get((account, currency))
        if own is not None:
            if abs(micros - own) >= MICROS and (micros > TIMES * own or TIMES * micros < own):
                odd.append(Oddity(account, number, currency, micros, own, f"{TIMES} times off its last {BEFORE}"))
        elif abs(micros) - medians.get(currency, 0) >= MICROS and abs(micros) > TIMES_MEDIAN * medians[currency]:
            odd.append(
                Oddity(account, number, currency, micros, medians[currency], f"{TIMES_MEDIAN} times the run's median")
            )
    yield from sorted(odd, key=lambda each: (-abs(each.micros - each.usual), each.account))


def _usual(connection: Connection, bills: list[Bill]) -> dict[tuple[str, str], int]:
    """By account and currency, the average of its last invoices before these."""
    invoice = table(InvoiceRow)
    own = {number for _, number, _, _ in bills if number}
    place = (
        func.row_number()
        .over(partition_by=(invoice.c.account_id, invoice.c.currency), order_by=invoice.c.issued_at.desc())
        .label("place")
    )
    last = select(invoice.c.account_id, invoice.c.currency, invoice.c.number, invoice.c.total, place).subquery()
    found: dict[tuple[str, str], list[int]] = {}
    rows = connection.execute(select(last).where(last.c.place <= BEFORE + 1).order_by(last.c.place))
    for row in rows:
        if row.number not in own:
            found.setdefault((row.account_id, row.currency), []).append(row.total)
    return {key: sum(some[:BEFORE]) // len(some[:BEFORE]) for key, some in found.items()}


def _silent(connection: Connection, operator: OperatorSettings, month: Period, most: int) -> list[Silent]:
    """Installations charged by use whose last report is before the month's end, by what their use came to before."""
    installation, agreement, state, charge = (
        table(Installation), table(Agreement), table(CounterState), table(Charge)
    )  # fmt: skip
    before = period_of(from_micros(to_micros(month.start) - 1), operator.zone)
    risk = (
        select(charge.c.installation_id, func.sum(charge.c.net).label("net"))
        .where(charge.c.period == before, charge.c.kind == "use", charge.c.installation_id.is_not(None))
        .group_by(charge.c.installation_id)
        .subquery()
    )
    reported = (
        select(state.c.installation_id, func.max(state.c.reported_at).label("at"))
        .group_by(state.c.installation_id)
        .subquery()
    )
    amount = func.coalesce(risk.c.net, 0).label("amount")
    rows = connection.execute(
        select(
            installation.c.terminal_id, installation.c.id, agreement.c.subscriber_id, installation.c.product,
            reported.c.at, agreement.c.currency, amount,
        )
        .join(agreement, agreement.c.id == installation.c.agreement_id)
        .outerjoin(reported, reported.c.installation_id == installation.c.id)
        .outerjoin(risk, risk.c.installation_id == installation.c.id)
        .where(
            agreement.c.mode_kind == "per_use",
            agreement.c.state.not_in(("failed", "ended")),
            agreement.c.agreed_at < month.end,
            or_(installation.c.removed_at.is_(None), installation.c.removed_at >= month.end),
            or_(reported.c.at.is_(None), and_(reported.c.at.is_not(None), reported.c.at < month.end)),
        )
        .order_by(amount.desc(), installation.c.id)
        .limit(most)
    )  # fmt: skip
    return [Silent(*row[:6], int(row.amount)) for row in rows]
