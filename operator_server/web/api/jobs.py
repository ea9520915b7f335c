"""Long work: bill runs, final invoices, archives and simulations, whichever process works on them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from fastapi import Query
from pydantic import BaseModel, Field
from sqlalchemy import select

from operator_server.store.rows import matching, table
from operator_server.store.web import WebJob
from operator_server.web.api.forms import Identifier
from operator_server.web.calls import Answer, Call
from operator_server.web.jobs import COLUMNS, Job, Jobs, job_of
from operator_server.web.pages import Page, PageOf, page
from operator_server.web.problems import Problem
from operator_server.web.routes import Routes

routes = Routes("Jobs", "/api/v1/jobs")


class JobView(BaseModel):
    """Long work, while it runs and for 30 days afterwards."""

    id: str
    kind: str = Field(description="bill_run, finalise, archive or simulation")
    what: str
    state: str = Field(description="running, done, failed, or stopped where nobody goes on with it")
    done: int
    of: int
    reason: str = Field(description="Why it failed, or what it came to")
    started_at: datetime
    started_by: str
    ended_at: datetime | None


def job_view(job: Job) -> JobView:
    """A job as it is told."""
    return JobView(
        id=job.id, kind=job.kind, what=job.what, state=job.state, done=job.done, of=job.of, reason=job.reason,
        started_at=job.started_at, started_by=job.by, ended_at=job.ended_at,
    )  # fmt: skip


def jobs_of(call: Call) -> Jobs:
    """The jobs, as this application sees them."""
    jobs: Jobs = call.request.app.state.jobs
    return jobs


def begun(job: Job) -> Answer:
    """The answer to a request that began a job: 202, and where to watch it."""
    return Answer(job_view(job), 202, {"Location": f"/api/v1/jobs/{job.id}"})


@routes.get("", needs="bill_runs.read")
def list_jobs(
    call: Call, paging: PageOf, state: Annotated[Literal["running", "done", "failed", "stopped", ""], Query()] = ""
) -> Page[JobView]:
    """Long work, the newest first."""
    job = table(WebJob).c
    query = matching(select(*COLUMNS), (job.state, state))
    return page(call, JobView, query, [job.id], paging, lambda row: job_view(job_of(row)), newest_first=True)


@routes.get("/{job}", needs="bill_runs.read")
def show_job(call: Call, job: Identifier) -> JobView:
    """How far a job is."""
    found = jobs_of(call).find(job)
    if found is None:
        raise Problem(404, f"job {job}: there is none; jobs are kept for 30 days after their end")
    return job_view(found)
