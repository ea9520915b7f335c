"""Months: look at the figures, run the bills, approve them, close the books, send and fetch the invoices."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any

from fastapi import Path, Query
from sqlalchemy import Connection
from starlette.responses import HTMLResponse, Response

from charging.periods import period as named_period
from operator_server.billing import approval
from operator_server.billing.bill_run import BillRunError, until_instant
from operator_server.billing.control import control_report
from operator_server.billing.dispatch import ask_period
from operator_server.web.api.forms import PERIOD
from operator_server.web.api.invoices import started
from operator_server.web.calls import Call
from operator_server.web.console import months_data as data
from operator_server.web.console.archive import count_of, pack
from operator_server.web.console.base import Moved, Section, View, moved, posted, show
from operator_server.web.console.once import fresh, once
from operator_server.web.console.render import PAGE_HEADERS, render
from operator_server.web.jobs import Jobs
from operator_server.web.problems import Problem
from operator_server.web.works import ARCHIVE, BILL_RUN, BILLING_ERRORS, FINALISE

MANY = 20_000
"""Bills of a month from which on its control report comes after its page."""

section = Section("Months", "/console/months", needs="bill_runs.read")

Period = Annotated[str, Path(pattern=f"^{PERIOD}$")]
Watched = Annotated[str, Query(pattern=r"^[0-9a-f]{32}$")]
JobId = Annotated[str, Query(max_length=64)]

STATES = {
    "running": ("running", "warn"), "drafting": ("makes drafts", "warn"), "drafted": ("drafts to approve", "warn"),
    "approved": ("approved", "warn"), "finalising": ("is made final", "warn"), "done": ("done", "good"),
}  # fmt: skip


@section.page(needs="bill_runs.read")
def months(call: Call) -> View:
    """The months."""
    zone = call.operator.settings.operator.time_zone
    jobs = _jobs(call).newest(BILL_RUN, FINALISE, ARCHIVE)
    return show("months_list.html", months=data.months(call.connection, zone, call.now), states=STATES, jobs=jobs)


@section.page("/-/jobs", needs="bill_runs.read")
def jobs_live(call: Call) -> Response:
    """How far long work is, as a part of the list's page."""
    jobs = _jobs(call).newest(BILL_RUN, FINALISE, ARCHIVE)
    return _live(call, "months_jobs.html", all(job.state != "running" for job in jobs), jobs=jobs)


@section.page("/{period}", needs="bill_runs.read")
def month(call: Call, period: Period, job: JobId = "") -> View:
    """A month: its figures, its runs, and what can be done now."""
    # As it stands before the figures are read: of a job that ends meanwhile they may miss something.
    jobs = _jobs(call)
    watched = (jobs.find(job) if job else None) or jobs.running(period, BILL_RUN, FINALISE)
    operator, connection = call.operator.settings.operator, call.connection
    runs = data.runs_of(connection, period)
    invoices = count_of(call.operator.engine, period)
    drafts = data.drafts_count(connection, runs[0].id) if runs else 0
    report = control_report(connection, operator, period, most=20) if invoices + drafts <= MANY else None
    ends = named_period(period, operator.zone).end
    return show(
        "months_one.html", period=period, report=report, runs=runs, run=runs[0] if runs else None, states=STATES,
        lock=data.lock_of(connection, period), invoices=invoices, sent=data.sent_of(connection, period, invoices),
        over=ends <= call.now, ends=ends, job=watched, once=fresh, watch=fresh(),
        approval=operator.bill_approval,
        drafts=drafts,
    )  # fmt: skip


@section.page("/{period}/report", needs="bill_runs.read", slow=True)
def figures(call: Call, period: Period) -> View:
    """The control report of a month by itself."""
    report = control_report(call.connection, call.operator.settings.operator, period, most=20)
    return show("months_figures.html", period=period, report=report)


@section.page("/{period}/report/live", needs="bill_runs.read", slow=True)
def figures_live(call: Call, period: Period) -> Response:
    """The control report as a part of the month's page."""
    report = control_report(call.connection, call.operator.settings.operator, period, most=20)
    return _live(call, "months_report.html", True, period=period, report=report)


@section.page("/{period}/job", needs="bill_runs.read")
def job(call: Call, period: Period, job: JobId) -> Response:
    """How far a bill run is, as a part of its page."""
    found = _jobs(call).find(job) if job else None
    return _live(call, "months_job.html", found is None or found.state != "running", period=period, job=found)


@section.form("/{period}/run", needs="bill_runs.write")
def run(call: Call, period: Period) -> Moved:
    """Start a bill run, or go on with one that stopped."""
    form, zone = posted(call), call.operator.settings.operator.zone
    draft = form.text("how") != "final" if form.has("how") else None
    try:
        until = _until(form.text("until"), zone) if form.text("until") else None
        ends = named_period(period, zone).end
    except BILLING_ERRORS as no:
        raise Problem(422, str(no)) from None
    if until is None and ends > call.now:
        raise Problem(409, f"month {period} is not over; say until when a part of it is to be billed")

    told = {"period": period, "until": until.isoformat() if until else None, "draft": draft}
    return _start(call, BILL_RUN, f"bill run {period}", told, started(call, told))


def _until(text: str, zone: Any) -> datetime:
    """The begin of a local day, or the instant that a run which is gone on with ends at."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return until_instant(text, zone)
    return at.astimezone(UTC) if at.tzinfo is not None else until_instant(text, zone)


@section.form("/{period}/approve", needs="bill_runs.write")
def approve(call: Call, period: Period) -> Moved:
    """Approve the drafts as they are."""
    report = _changed(call, partial(approval.approve, name=period, actor=call.caller.actor, now=call.now))
    return moved(_url(period), f"{report.invoices} drafts are approved; make them final next.")


@section.form("/{period}/discard", needs="bill_runs.write")
def discard(call: Call, period: Period) -> Moved:
    """Throw the drafts away."""
    count = _changed(call, partial(approval.discard, name=period, actor=call.caller.actor, now=call.now))
    return moved(_url(period), f"{count} drafts are thrown away; mend what was wrong and make them anew.")


@section.form("/{period}/finalise", needs="bill_runs.write")
def finalise(call: Call, period: Period) -> Moved:
    """Make approved drafts final."""
    try:
        approval.find_run(call.connection, period, "approved", "finalising")
    except BillRunError as no:
        raise Problem(409, str(no)) from None
    given = {"period": period, "actor": call.caller.actor}
    return _start(call, FINALISE, f"final invoices of {period}", given)


@section.form("/{period}/lock", needs="bill_runs.write")
def lock(call: Call, period: Period) -> Moved:
    """Close the books of the month."""
    operator = call.operator.settings.operator
    _changed(call, partial(approval.lock_period, name=period, operator=operator, actor=call.caller.actor, now=call.now))
    return moved(_url(period), f"The books of {period} are closed: what comes late belongs to the next month.")


@section.form("/{period}/unlock", needs="bill_runs.write")
def unlock(call: Call, period: Period) -> Moved:
    """Open the books again."""
    _changed(call, partial(approval.unlock_period, name=period, actor=call.caller.actor, now=call.now))
    return moved(_url(period), f"The books of {period} are open again.")


@section.form("/{period}/send", needs="invoices.send")
def send(call: Call, period: Period) -> Moved:
    """Send the month's invoices by e-mail, those that did not go out before."""

    def operation(connection: Connection, name: str) -> Moved:
        asked = ask_period(connection, period, call.now, by=call.caller.actor)
        told = {"form": "pdf", "invoices": len(asked.dispatches), "no_address": list(asked.no_address[:100])}
        call.audited(connection, "invoice.send", f"period/{period}", None, told)
        said = f"{len(asked.dispatches)} invoices wait for the worker, which sends them."
        if asked.no_address:
            said += f" {len(asked.no_address)} have no e-mail address: {', '.join(asked.no_address[:5])}"
            said += "." if len(asked.no_address) <= 5 else " and others."
        return moved(_url(period), said)

    return once(call, operation)


@section.page("/{period}/invoices.zip", needs="invoices.read")
def archive(call: Call, period: Period, watch: Watched) -> Response:
    """All PDFs of the month in one archive, written while it is sent."""
    name = f"{call.caller.person} {watch}"
    return pack(_jobs(call), call.operator.engine, period, call.caller.actor, name)


@section.page("/{period}/packing", needs="invoices.read")
def packing(call: Call, period: Period, watch: Watched) -> Response:
    """How far the archive is, as a part of its page."""
    found = _jobs(call).named(ARCHIVE, f"{call.caller.person} {watch}")
    over = found is not None and found.state != "running"
    return _live(call, "months_packing.html", over, period=period, packing=found)


def _start(
    call: Call,
    kind: str,
    what: str,
    given: dict[str, Any],
    also: Callable[[Connection, str], object] = lambda connection, job: None,
) -> Moved:
    period = given["period"]
    job = _jobs(call).start(kind, what, period, given, call.caller.actor, also=also)
    return moved(f"{_url(period)}?job={job.id}", f"The {what} has begun.")


def _live(call: Call, template: str, over: bool, **told: Any) -> Response:
    """A part of a page that is fetched again until it is over."""
    html = render(call.request, call.caller, template, told)
    return HTMLResponse(html, 200, PAGE_HEADERS | ({"X-Live": "done"} if over else {}))


def _changed(call: Call, operation: Callable[[Connection], Any]) -> Any:
    """The functions of approval write the audit trail themselves."""
    try:
        return call.write(operation)
    except BILLING_ERRORS as no:
        raise Problem(409, str(no)) from None


def _jobs(call: Call) -> Jobs:
    jobs: Jobs = call.request.app.state.jobs
    return jobs


def _url(period: str) -> str:
    return f"{section.path}/{period}"
