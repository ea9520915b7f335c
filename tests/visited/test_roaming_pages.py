"""Roaming by API and in the console: roamers, visitors, codes, records, months and disputes; who may see them."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from operator_samples import NOW, House
from starlette.testclient import TestClient
from visited_samples import HOME, LOCAL_CODES, VISITED, Lands

sys.path.insert(0, str(Path(__file__).parent.parent / "web"))

from web_samples import Site, furnish_people

from operator_server.people.roles import ROLES
from operator_server.visited import wire
from operator_server.visited.reconciling import take_disputes

BASE = "/api/v1/roaming"
HTML = {"Accept": "text/html"}


@pytest.fixture
def settled(lands: Lands) -> Lands:
    """T-1 bought the conference and the radio; the conference is disputed at home, by the partner."""
    mobile = lands.here()
    lands.answers = [True, True]
    mobile.dial("*50#")
    mobile.dial("*84#")
    record = next(row.id for row in lands.records()[1] if row.feature == "conference")
    told = wire.Disputes("2026-11", "receivable", [wire.Disputed(record, "amount <b>1.25</b> here, 1.20 there")])
    lands.home.change(lambda c: take_disputes(c, VISITED, told, NOW))
    return lands


def by(house: House, role: str = "billing") -> TestClient:
    furnish_people(house)
    return Site(house).by(role)


def items(client: TestClient, path: str, **asked: str) -> list[dict[str, Any]]:
    answer = client.get(f"{BASE}{path}", params=asked)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["items"])


def test_home_shows_its_roamers_records_sums_and_disputes(settled: Lands) -> None:
    client = by(settled.home)
    assert [(each["terminal"], each["network"]) for each in items(client, "/roamers")] == [("T-1", VISITED)]
    assert items(client, "/roamers", network="south.example") == []
    found = items(client, "/records", month="2026-11", direction="payable", network=VISITED)
    [conference, radio] = sorted(found, key=lambda each: str(each["feature"]))
    assert (radio["feature"], radio["amount"], radio["currency"]) == ("radio", "0.333333", "EUR")
    assert (conference["amount"], conference["state"]) == ("1.25", "acknowledged")
    assert conference["transfer"]
    assert client.get(f"{BASE}/records/{radio['id']}").json() == radio
    for filters in ({"month": "2026-10"}, {"direction": "receivable"}, {"state": "waiting"}, {"network": "x"}):
        assert items(client, "/records", **filters) == []
    assert client.get(f"{BASE}/months/2026-11").json() == {
        "month": "2026-11",
        "sums": [{"network": VISITED, "direction": "payable", "state": "acknowledged", "currency": "EUR", "records": 2,
                  "amount": "1.583333"}],
    }  # fmt: skip
    [dispute] = items(client, "/disputes", state="open")
    assert (dispute["record"], dispute["raised_by"], dispute["direction"]) == (conference["id"], "them", "payable")
    assert items(client, "/disputes", state="closed") == []
    assert [(each["network"], each["status"]) for each in items(client, "/partners")] == [(VISITED, "active")]


def test_the_visited_network_shows_its_visitors_and_its_codes(settled: Lands) -> None:
    client = by(settled.visited, "operator")
    [visitor] = items(client, "/visitors", network=HOME)
    assert (visitor["terminal"], visitor["active"]) == ("T-1", ["conference", "radio"])
    assert visitor["paid"] == ["conference", "radio"]
    [held] = items(client, "/codes")
    shown = client.get(f"{BASE}/codes/{held['sequence']}").json()
    assert [each["feature"] for each in shown["features"]] == [each.feature for each in LOCAL_CODES]
    costs = {each["feature"]: (each["surcharge"], each["number"]) for each in shown["features"] if each["number"]}
    assert costs == {"conference": ("1.25", 7), "radio": ("0.333333", 9)}


def test_what_there_is_not_is_told(lands: Lands) -> None:
    client = by(lands.home)
    for path in ("/codes/9", "/records/none"):
        assert client.get(f"{BASE}{path}").status_code == 404
    for path in ("/records?month=2026-13", "/months/never", "/records?direction=up"):
        assert client.get(f"{BASE}{path}").status_code == 422


@pytest.mark.parametrize("role", ROLES)
def test_operators_billing_staff_and_auditors_see_it(settled: Lands, role: str) -> None:
    may = "roaming.read" in ROLES[role]
    assert may or role not in ("operator", "billing", "auditor")
    client = by(settled.home, role)
    assert client.get(f"{BASE}/records").status_code == (200 if may else 403)


def test_the_console_lists_a_month_by_partner_with_its_totals_and_disputes(settled: Lands) -> None:
    furnish_people(settled.home)
    client = Site(settled.home).logged_on("billing")

    def page(status: int = 200, **asked: str) -> str:
        answer = client.get("/console/roaming", params=asked, headers=HTML)
        assert answer.status_code == status, answer.text
        return answer.text

    text = page(month="2026-11")
    assert "1.583333 EUR" in text
    assert "1.25 EUR" in text
    assert "We owe them" in text
    assert "amount &lt;b&gt;1.25&lt;/b&gt; here" in text
    assert "1.583333 EUR" in page()
    assert "0.333333 EUR" not in page(month="2026-11", direction="receivable")
    assert "Nothing was settled in 2026-10." in page(month="2026-10")
    assert "A month is written like 2026-11." in page(422, month="November")


def test_an_operator_without_partners_is_told_how_to_begin(house_alone: Site) -> None:
    page = house_alone.logged_on("auditor").get("/console/roaming", headers=HTML)
    assert "Roaming is agreed with nobody yet." in page.text
    assert "tollgate visited introduction" in page.text


@pytest.fixture
def house_alone(lands: Lands) -> Site:
    from sqlalchemy import delete

    from operator_server.store.rows import table
    from operator_server.store.visited import RoamingPartner

    lands.home.change(lambda c: c.execute(delete(table(RoamingPartner))))
    furnish_people(lands.home)
    lands.home.clock.advance(timedelta(seconds=1))
    return Site(lands.home)
