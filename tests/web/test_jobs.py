"""Long work: seen by every web process, one at a time, taken over when its process is gone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any

import pytest
from operator_samples import House
from web_samples import Site, problem

from operator_server.context import Operator
from operator_server.store.accounting import InvoiceRow
from operator_server.web import jobs as module
from operator_server.web.jobs import LEASE, MOST_TRIES, Job, Jobs, Kind, Task
from operator_server.web.problems import Problem


class Work:
    """Work that ends when it is told to."""

    def __init__(self) -> None:
        self.begun: list[Mapping[str, Any]] = []
        self.may_end = threading.Event()

    def __call__(self, operator: Operator, given: Mapping[str, Any], task: Task) -> str:
        self.begun.append(given)
        task.progress(3, 7)
        assert self.may_end.wait(10)
        if given.get("fails"):
            raise ValueError("a reason")
        return "seven made"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BEAT_SECONDS", 0.01)


@pytest.fixture
def work() -> Iterator[Work]:
    work = Work()
    yield work
    work.may_end.set()


def process(house: House, work: Work) -> Jobs:
    """The jobs as a process of the web role has them."""
    return Jobs(house.operator, {"run": Kind("runs", work, (ValueError,)), "pack": Kind("packs", slots=2)})


def until(look: Callable[[], Job | None], wanted: Callable[[Job], bool]) -> Job:
    end = time.monotonic() + 10
    while (found := look()) is None or not wanted(found):
        assert time.monotonic() < end, found
        time.sleep(0.005)
    return found


def begin(jobs: Jobs, **given: Any) -> Job:
    return jobs.start("run", "run of November", "2026-11", given, "person:erika")


def test_another_process_sees_how_far_it_is_and_what_it_came_to(house: House, work: Work) -> None:
    here, there = process(house, work), process(house, work)
    job = begin(here)
    seen = until(lambda: there.find(job.id), lambda each: each.done == 3)
    assert (seen.state, seen.of, seen.what, seen.by) == ("running", 7, "run of November", "person:erika")
    assert there.running("2026-11", "run") is not None
    assert there.running("2026-10", "run") is None
    work.may_end.set()
    seen = until(lambda: there.find(job.id), lambda each: each.state != "running")
    assert (seen.state, seen.reason, seen.ended_at) == ("done", "seven made", house.clock.now())


def test_one_runs_at_a_time_whichever_process_is_asked(house: House, work: Work) -> None:
    here, there = process(house, work), process(house, work)
    job = begin(here)
    for jobs in (here, there):
        with pytest.raises(Problem, match="409") as no:
            begin(jobs)
        assert job.id in no.value.detail
    assert work.begun == [{}]
    work.may_end.set()
    until(lambda: there.find(job.id), lambda each: each.state == "done")
    until(lambda: there.find(begin(there).id), lambda each: each.state == "done")


def test_a_failure_says_why(house: House, work: Work) -> None:
    jobs = process(house, work)
    work.may_end.set()
    job = begin(jobs, fails=True)
    found = until(lambda: jobs.find(job.id), lambda each: each.state != "running")
    assert (found.state, found.reason) == ("failed", "a reason")


def gone(jobs: Jobs) -> None:
    """Its process writes no more."""
    jobs._closing = True
    jobs._wake.set()
    while jobs._beating is not None:
        time.sleep(0.005)


def test_what_a_process_left_that_is_gone_another_goes_on_with(house: House, work: Work) -> None:
    here, there = process(house, work), process(house, work)
    job = begin(here, month="2026-11")
    gone(here)
    assert there.resume() == []
    house.clock.advance(LEASE + timedelta(seconds=1))
    assert there.resume() == [job.id]
    assert process(house, work).resume() == []
    work.may_end.set()
    assert until(lambda: there.find(job.id), lambda each: each.state == "done").reason == "seven made"
    assert work.begun == [{"month": "2026-11"}] * 2


def test_a_process_that_ends_leaves_its_work_at_once(house: House, work: Work) -> None:
    here, there = process(house, work), process(house, work)
    job = begin(here)
    here.release()
    assert there.resume() == [job.id]


def test_whoever_lost_a_job_writes_nothing_of_it(house: House, work: Work) -> None:
    here, there = process(house, work), process(house, work)
    job = begin(here)
    gone(here)
    house.clock.advance(LEASE * 2)
    there.resume()
    late = Task(job.id, "late")
    late.leave("failed", "it came late")
    here._told(late)
    assert late.lost
    found = there.find(job.id)
    assert found is not None
    assert found.state == "running"


def test_work_that_ends_its_process_again_and_again_is_given_up(house: House, work: Work) -> None:
    job = None
    for _ in range(MOST_TRIES):
        jobs = process(house, work)
        if job is None:
            job = begin(jobs)
        else:
            assert jobs.resume() == [job.id]
        gone(jobs)
        house.clock.advance(LEASE * 2)
    assert job is not None
    last = process(house, work)
    assert last.resume() == []
    found = last.find(job.id)
    assert found is not None
    assert (found.state, found.reason.partition(";")[0]) == ("failed", "the server ended 3 times while it ran")


def test_what_somebody_takes_himself_is_not_taken_over(house: House, work: Work) -> None:
    here, there = process(house, work), process(house, work)
    here.hold("pack", "archive", "2026-11", "eve", name="eve a", of=9)
    first = here.named("pack", "eve a")
    assert first is not None
    assert there.named("pack", "adam a") is None
    there.hold("pack", "archive", "2026-11", "adam", name="adam a", of=9)
    with pytest.raises(Problem, match="409"):
        there.hold("pack", "archive", "2026-11", "adam", name="adam b", of=9)
    gone(here)
    house.clock.advance(LEASE * 2)
    there.hold("pack", "archive", "2026-11", "adam", name="adam b", of=9)
    found = there.find(first.id)
    assert found is not None
    assert (found.state, "begin it again" in found.reason) == ("stopped", True)


def test_who_takes_nothing_for_long_gives_the_place_up(
    house: House, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = process(house, work)
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.02)
    task = jobs.hold("pack", "archive", "2026-11", "eve", name="eve a", of=9)
    assert until(lambda: jobs.find(task.id), lambda each: each.state != "running").reason == "nobody took it"


def test_a_bill_run_goes_on_in_another_process(house: House) -> None:
    house.user().take("game", "buy")
    house.clock.advance(timedelta(days=32))
    first, second = Site(house), Site(house)
    left: Jobs = first.app.state.jobs
    # The process that was asked is gone before it begins.
    left._run = lambda *given: None  # type: ignore[method-assign]  # a test's tap
    begun = first.by("billing").post("/api/v1/bill-runs", json={"period": "2026-11"})
    assert begun.status_code == 202
    watched = begun.headers["location"]
    gone(left)
    client = second.by("billing")
    assert client.get(watched).json()["state"] == "running"
    assert "is running" in problem(client.post("/api/v1/bill-runs", json={"period": "2026-11"}), 409)
    page = second.logged_on("billing").get("/console/months/2026-11", headers={"Accept": "text/html"}).text
    assert "The bill run 2026-11 is under way" in page
    assert house.rows(InvoiceRow) == []
    people = second.logged_on("auditor")
    assert "Bill run 2026-11" in people.get("/console/months", headers={"Accept": "text/html"}).text
    part = people.get("/console/months/-/jobs", headers={"Accept": "text/html"})
    assert ("x-live" in part.headers, "begins" in part.text, "<html" in part.text) == (False, True, False)
    house.clock.advance(LEASE * 2)
    jobs: Jobs = second.app.state.jobs
    jobs.resume()
    told = until(lambda: jobs.find(watched.rpartition("/")[2]), lambda each: each.state != "running")
    assert (told.state, len(house.rows(InvoiceRow))) == ("done", 1)
    part = people.get("/console/months/-/jobs", headers={"Accept": "text/html"})
    assert (part.headers["x-live"], "1 invoices made now" in part.text) == ("done", True)
    listed = client.get("/api/v1/jobs", params={"state": "done"}).json()
    assert [(each["kind"], each["started_by"][:6]) for each in listed["items"]] == [("bill_run", "token:")]
    assert client.get("/api/v1/jobs", params={"state": "running"}).json()["items"] == []
