"""Mandates, disputes and reminders by API."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from operator_samples import PLAIN, House
from web_dealings import deal
from web_samples import Site, problem

from operator_server.audit import entries
from operator_server.receivables.reminders import run_reminders

MANDATE = {"id": "M-1", "account": "A-1", "iban": "DE89 3704 0044 0532 0130 00", "signed_on": "2026-10-01"}


@pytest.fixture
def billed(house: House) -> House:
    """A-1 has an invoice."""
    deal(house)
    return house


def trail(house: House, reference: str) -> list[Any]:
    with house.engine.connect() as connection:
        return [(row.action, row.actor) for row in entries(connection, reference=reference)]


def test_a_mandate_is_kept_and_another_takes_its_place_and_is_revoked(house: House, site: Site) -> None:
    client = site.by("billing")
    made = client.post("/api/v1/mandates", json=MANDATE)
    assert (made.status_code, made.headers["location"]) == (201, "/api/v1/mandates/M-1")
    assert (made.json()["iban"], made.json()["state"]) == ("DE...3000", "active")
    assert "0532" not in client.get("/api/v1/mandates").text
    assert client.post("/api/v1/mandates", json=MANDATE | {"id": "M-2"}).status_code == 201
    assert client.get("/api/v1/mandates/M-1").json()["state"] == "revoked"
    assert client.post("/api/v1/mandates/M-2/revoke").json()["state"] == "revoked"
    assert client.post("/api/v1/mandates/M-2/revoke").json()["state"] == "revoked"
    assert [each["id"] for each in client.get("/api/v1/mandates", params={"account": "A-1"}).json()["items"]] == [
        "M-1", "M-2"
    ]  # fmt: skip
    assert [action for action, _ in trail(house, "mandate/M-2")] == ["mandate.revoke", "mandate.add"]


@pytest.mark.parametrize(
    ("change", "status"), [({"iban": "DE00370400440532013000"}, 409), ({"account": "A-99"}, 404),
                           ({"signed_on": "2099-01-01"}, 409), ({"id": ""}, 422)],
)  # fmt: skip
def test_a_mandate_that_cannot_be_kept_is_told(site: Site, change: dict[str, str], status: int) -> None:
    client = site.by("billing")
    problem(client.post("/api/v1/mandates", json=MANDATE | change), status)
    assert client.get("/api/v1/mandates").json()["items"] == []


def test_a_debt_is_held_and_released(billed: House, site: Site) -> None:
    client = site.by("billing")
    number = client.get("/api/v1/invoices").json()["items"][0]["number"]
    held = client.post("/api/v1/disputes", json={"number": number, "reason": "never delivered"})
    assert held.status_code == 201
    again = client.post("/api/v1/disputes", json={"number": number, "reason": "said again"})
    assert again.json() == held.json()
    [listed] = client.get("/api/v1/disputes").json()["items"]
    assert listed == held.json()
    released = client.post(f"/api/v1/disputes/{listed['id']}/release").json()
    assert released["released_at"] is not None
    assert "before" in problem(client.post(f"/api/v1/disputes/{listed['id']}/release"), 409)
    assert client.get("/api/v1/disputes").json()["items"] == []
    assert client.get("/api/v1/disputes", params={"released": True}).json()["items"] == [released]
    actions = [action for action, actor in trail(billed, f"debt/{number}")]
    assert actions == ["dispute.release", "dispute.hold"]
    problem(client.post("/api/v1/disputes", json={"number": "R-1999-1", "reason": "what"}), 409)


def test_reminders_are_listed_with_the_debts_they_name(billed: House, site: Site) -> None:
    client = site.by("billing")
    assert client.get("/api/v1/reminders").json()["items"] == []
    billed.clock.advance(timedelta(days=60))
    run_reminders(billed.engine, billed.operator.settings, billed.clock.now())
    client = Site(billed).by("support")
    [letter] = client.get("/api/v1/reminders", params={"account": "A-1"}).json()["items"]
    number = client.get("/api/v1/invoices").json()["items"][0]["number"]
    assert number in [each["number"] for each in letter["debts"]]
    assert isinstance(letter["total"], str)


def test_only_billing_staff_change_claims(site: Site) -> None:
    for path, body in (("mandates", MANDATE), ("disputes", {"number": "R-1", "reason": "x"}),
                       ("mandates/M-1/revoke", None), ("disputes/x/release", None)):  # fmt: skip
        problem(site.by("support").post(f"/api/v1/{path}", json=body), 403)


def test_terminals_are_found_by_a_part_of_their_model(house: House, site: Site) -> None:
    house.interrogated("T-1", PLAIN)
    client = site.by("operator")
    code = client.get("/api/v1/terminals/T-1").json()["code"]
    told = client.get(f"/api/v1/configurations/{code}").json()["sections"]["hardware"]["model"]
    found = client.get("/api/v1/terminals", params={"model": told[1:].upper()}).json()["items"]
    assert "T-1" in [each["id"] for each in found]
    assert client.get("/api/v1/terminals", params={"model": "no such model"}).json()["items"] == []
