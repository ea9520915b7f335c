"""Months by API: control report, drafts approved, discarded and made final, books closed, all PDFs at once."""

from __future__ import annotations

import io
import time
import zipfile
from datetime import timedelta
from typing import Any

import pytest
from operator_samples import House
from web_samples import Site, problem

from operator_server.audit import entries
from operator_server.billing.bill_run import run_bills

MONTH = "/api/v1/months/2026-11"


@pytest.fixture
def used(house: House) -> House:
    """An agreement in November; it is December."""
    house.user().take("game", "buy")
    house.clock.advance(timedelta(days=40))
    return house


def drafted(house: House) -> None:
    run_bills(house.engine, house.operator.settings, "2026-11", now=house.clock.now(), draft=True)


def ended(client: Any, job: str) -> dict[str, Any]:
    for _ in range(200):
        told: dict[str, Any] = client.get(f"/api/v1/jobs/{job}").json()
        if told["state"] != "running":
            return told
        time.sleep(0.05)
    raise AssertionError("the job does not end")


def actions(house: House) -> list[tuple[str, str]]:
    with house.engine.connect() as connection:
        return [(row.actor, row.action) for row in entries(connection)]


def test_drafts_are_approved_and_made_final_and_fetched_as_one_archive(used: House, site: Site) -> None:
    drafted(used)
    client = site.by("billing")
    report = client.get(f"{MONTH}/report").json()
    assert (report["state"], report["approved_by"]) == ("drafted", "")
    [rated] = report["rated"]
    assert report["drafted"] == [rated]
    assert isinstance(rated["amount"], str)
    problem(client.get(f"{MONTH}/invoices.zip"), 404)
    problem(client.post(f"{MONTH}/finalise"), 409)
    assert client.post(f"{MONTH}/approve").json() == {"period": "2026-11", "state": "approved", "drafts": 1}
    assert "approved" in problem(client.post(f"{MONTH}/approve"), 409)
    begun = client.post(f"{MONTH}/finalise")
    assert begun.status_code == 202
    assert begun.headers["location"] == f"/api/v1/jobs/{begun.json()['id']}"
    assert ended(client, begun.json()["id"])["state"] == "done"
    assert client.get(f"{MONTH}/report").json()["billed"] == [rated]
    archive = client.get(f"{MONTH}/invoices.zip")
    assert archive.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(archive.content)) as held:
        [name] = held.namelist()
        assert held.read(name).startswith(b"%PDF-")
    for action in ("bill_run.approve", "bill_run.finalise"):
        assert any(found == action and "billing" in actor for actor, found in actions(used))


def test_drafts_are_thrown_away(used: House, site: Site) -> None:
    drafted(used)
    client = site.by("billing")
    assert client.post(f"{MONTH}/discard").json()["drafts"] == 1
    assert client.get(f"{MONTH}/report").json()["drafted"] == []
    assert any(action == "bill_run.discard" for _, action in actions(used))


def test_books_are_closed_and_opened_again(used: House, site: Site) -> None:
    client = site.by("billing")
    closed = client.post(f"{MONTH}/lock").json()
    assert (closed["locked"], closed["closed_at"]) == (True, "2026-11-30T23:00:00Z")
    assert "billing" in client.get(f"{MONTH}/report").json()["locked_by"]
    assert client.post(f"{MONTH}/unlock").json()["locked"] is False
    assert "not locked" in problem(client.post(f"{MONTH}/unlock"), 409)
    assert "open until" in problem(client.post("/api/v1/months/2026-12/lock"), 409)
    assert {"period.lock", "period.unlock"} <= {action for _, action in actions(used)}


def test_a_month_that_is_none_is_told(site: Site) -> None:
    assert "path.period" in problem(site.by("billing").get("/api/v1/months/0000-01/report"), 422)
    problem(site.by("billing").post("/api/v1/months/0000-01/lock"), 422)


def test_only_billing_staff_change_months(used: House, site: Site) -> None:
    for action in ("approve", "discard", "finalise", "lock", "unlock"):
        problem(site.by("support").post(f"{MONTH}/{action}"), 403)
    assert site.by("support").get(f"{MONTH}/report").status_code == 200
