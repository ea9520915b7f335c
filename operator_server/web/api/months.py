"""Months: their figures before bills are final, approval of drafts, the books closed, all invoices in one archive."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Annotated, TypeVar

from fastapi import Path
from pydantic import BaseModel, Field
from sqlalchemy import Connection
from starlette.responses import Response

from charging.periods import PeriodError
from operator_server.billing import approval, control
from operator_server.billing.bill_run import BillRunError
from operator_server.web.api.forms import PERIOD, amount
from operator_server.web.api.jobs import JobView, begun, jobs_of
from operator_server.web.calls import Answer, Call
from operator_server.web.console.archive import pack
from operator_server.web.problems import Problem
from operator_server.web.routes import Routes
from operator_server.web.works import FINALISE
from signalling.clock import to_micros
from signalling.ids import new_id

routes = Routes("Months", "/api/v1")

Period = Annotated[str, Path(pattern=f"^{PERIOD}$", max_length=7, description="Such as 2026-10")]

T = TypeVar("T")


class SumView(BaseModel):
    """A number of charges or bills, and what they come to."""

    currency: str
    count: int
    amount: str


class OddityView(BaseModel):
    """A bill that somebody should look at; a draft has no number."""

    account: str
    number: str
    currency: str
    amount: str
    usual: str
    why: str


class LeftView(BaseModel):
    """An account without a bill of the run."""

    account: str
    currency: str
    kind: str = Field(description="carried (too small) or failed")
    amount: str
    reason: str


class SilentView(BaseModel):
    """An installation that is charged by use and has not reported to the month's end."""

    terminal: str
    installation: str
    subscriber: str
    product: str
    reported_at: datetime | None
    currency: str
    at_risk: str = Field(description="What its use came to in the month before")


class ControlReportView(BaseModel):
    """A month's figures; by currency, rated = billed + drafted + unbilled + prepaid + rated_only."""

    period: str
    run: str
    state: str
    approved_by: str
    locked_by: str
    rated: list[SumView]
    billed: list[SumView]
    drafted: list[SumView]
    unbilled: list[SumView]
    prepaid: list[SumView]
    rated_only: list[SumView]
    bills: list[SumView]
    suspended: list[LeftView]
    gaps: int = Field(description="Gaps in counter reports that were open at the month's end")
    rejected: dict[str, int] = Field(description="Counter reports that were refused, by reason")
    zero: list[OddityView]
    outliers: list[OddityView]
    silent: list[SilentView]


class DraftsView(BaseModel):
    """What became of a month's drafts."""

    period: str
    state: str = Field(description="approved or discarded")
    drafts: int


class BooksView(BaseModel):
    """Whether a month's books are closed."""

    period: str
    locked: bool
    closed_at: datetime | None = Field(description="What comes late takes effect after this instant")


@routes.get("/months/{period}/report", needs="bill_runs.read", slow=True)
def show_control_report(call: Call, period: Period) -> ControlReportView:
    """The control report of a month; lists hold the hundred largest."""
    try:
        found = control.control_report(call.connection, call.operator.settings.operator, period)
    except PeriodError as no:
        raise Problem(422, str(no)) from None
    return ControlReportView(
        period=found.period, run=found.run, state=found.state, approved_by=found.approved_by,
        locked_by=found.locked_by, rated=_sums(found.rated), billed=_sums(found.billed), drafted=_sums(found.drafted),
        unbilled=_sums(found.unbilled), prepaid=_sums(found.prepaid), rated_only=_sums(found.rated_only),
        bills=_sums(found.bills),
        suspended=[
            LeftView(account=each.account, currency=each.currency, kind=each.kind,
                     amount=amount(each.micros, each.currency), reason=each.reason)
            for each in found.suspended
        ],
        gaps=found.gaps, rejected=found.rejected, zero=_oddities(found.zero), outliers=_oddities(found.outliers),
        silent=[
            SilentView(terminal=each.terminal, installation=each.installation, subscriber=each.subscriber,
                       product=each.product, reported_at=each.reported_at, currency=each.currency,
                       at_risk=amount(each.at_risk, each.currency))
            for each in found.silent
        ],
    )  # fmt: skip


def _sums(found: Sequence[control.Amount]) -> list[SumView]:
    return [
        SumView(currency=each.currency, count=each.count, amount=amount(each.micros, each.currency)) for each in found
    ]


def _oddities(found: Sequence[control.Oddity]) -> list[OddityView]:
    return [
        OddityView(account=each.account, number=each.number, currency=each.currency,
                   amount=amount(each.micros, each.currency), usual=amount(each.usual, each.currency), why=each.why)
        for each in found
    ]  # fmt: skip


def _changed(call: Call, operation: Callable[[Connection], T]) -> T:
    """The functions of approval write the audit trail themselves."""
    try:
        return call.write(operation)
    except PeriodError as no:
        raise Problem(422, str(no)) from None
    except BillRunError as no:
        raise Problem(409, str(no)) from None


@routes.post("/months/{period}/approve", needs="bill_runs.write", problems=[409])
def approve_drafts(call: Call, period: Period) -> DraftsView:
    """Approve the month's drafts as they are."""
    report = _changed(call, partial(approval.approve, name=period, actor=call.caller.actor, now=call.now))
    return DraftsView(period=period, state="approved", drafts=report.invoices)


@routes.post("/months/{period}/discard", needs="bill_runs.write", problems=[409])
def discard_drafts(call: Call, period: Period) -> DraftsView:
    """Throw the month's drafts away; their charges are billed anew."""
    count = _changed(call, partial(approval.discard, name=period, actor=call.caller.actor, now=call.now))
    return DraftsView(period=period, state="discarded", drafts=count)


@routes.post("/months/{period}/finalise", needs="bill_runs.write", status=202, problems=[409], model=JobView)
def finalise_drafts(call: Call, period: Period) -> Answer:
    """Make approved drafts final, or go on where that stopped; the answer says where to watch it."""
    actor = call.caller.actor
    try:
        approval.find_run(call.connection, period, "approved", "finalising")
    except BillRunError as no:
        raise Problem(409, str(no)) from None

    given = {"period": period, "actor": actor}
    # The work itself writes the audit trail, in the transaction that begins it.
    return begun(jobs_of(call).start(FINALISE, f"final invoices of {period}", period, given, actor))


@routes.post("/months/{period}/lock", needs="bill_runs.write", problems=[409])
def lock_month(call: Call, period: Period) -> BooksView:
    """Close the books of a month that is over: what comes late belongs to the next."""
    operator = call.operator.settings.operator
    closed = _changed(
        call, partial(approval.lock_period, name=period, operator=operator, actor=call.caller.actor, now=call.now)
    )
    return BooksView(period=period, locked=True, closed_at=closed)


@routes.post("/months/{period}/unlock", needs="bill_runs.write", problems=[409])
def unlock_month(call: Call, period: Period) -> BooksView:
    """Open the books again, unless a bill run has begun to bill the month."""
    _changed(call, partial(approval.unlock_period, name=period, actor=call.caller.actor, now=call.now))
    return BooksView(period=period, locked=False, closed_at=None)


ARCHIVE = {
    200: {
        "description": "The archive",
        "content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}},
        "headers": {"Content-Disposition": {"schema": {"type": "string"}}},
    }
}


@routes.get("/months/{period}/invoices.zip", needs="invoices.read", answers=ARCHIVE)
def download_month(call: Call, period: Period) -> Response:
    """All PDFs of the month's invoices in one ZIP archive, written while it is sent; two at a time."""
    name = new_id(to_micros(call.now))
    return pack(jobs_of(call), call.operator.engine, period, call.caller.actor, name)
