"""The life of a subscription by API: barred, cancelled, taken back, withdrawn; and invoices sent by e-mail."""

from __future__ import annotations

from typing import Any

from operator_samples import House
from sqlalchemy import update
from web_desk import NUMBER, agreement_of, trail
from web_money import subscribe
from web_samples import Site, problem

from operator_server.billing.dispatch import send_due_invoices
from operator_server.store.accounting import Charge
from operator_server.store.dispatch import InvoiceDispatch
from operator_server.store.rows import table

WHY = {"reason": "asked for it"}


def done(house: House, actor: str = "token:") -> list[str]:
    return [action for by, action in trail(house) if by.startswith(actor)]


def test_an_agreement_is_cancelled_and_taken_back_and_tells_its_life(house: House, site: Site) -> None:
    path, client = f"/api/v1/agreements/{subscribe(house)}", site.by("billing")
    life = client.get(f"{path}/life").json()
    assert (life["state"], life["cancelled_at"], life["payment"]) == ("running", None, "postpaid")
    assert life["minimum_until"] > life["started_at"]
    assert "4.99" in life["price"]
    assert client.post(f"{path}/cancellation", json=WHY).json()["because"] == "minimum"
    assert client.get(f"{path}/life").json()["state"] == "cancelled"
    assert client.post(f"{path}/renewal", json=WHY).json()["state"] == "installed"
    problem(client.post(f"{path}/renewal", json=WHY), 409)
    assert client.get(f"{path}/life").json()["cancelled_at"] is None
    assert done(house)[:2] == ["agreement.renew", "agreement.cancel"]
    for form in ("cancellation", "renewal"):
        problem(site.by("support").post(f"{path}/{form}", json=WHY), 403)
        problem(client.post(f"/api/v1/agreements/none/{form}", json=WHY), 404)
    problem(client.get("/api/v1/agreements/none/life"), 404)


def test_a_withdrawal_moves_money_once_for_its_key(house: House, site: Site) -> None:
    house.user().take("game", "buy")
    path, client = f"/api/v1/agreements/{agreement_of(house).id}/withdrawal", site.by("billing")
    key = {"Idempotency-Key": "withdrawal-1"}
    problem(client.post(path, json=WHY), 422)
    first = client.post(path, json=WHY, headers=key)
    assert (first.status_code, first.json()["net"], first.json()["currency"]) == (201, "6.99", "EUR")
    again = client.post(path, json=WHY, headers=key)
    assert (again.json(), again.headers["idempotent-replay"]) == (first.json(), "true")
    assert sum(row.net for row in house.rows(Charge)) == 0
    problem(client.post(path, json=WHY, headers={"Idempotency-Key": "withdrawal-2"}), 409)
    assert done(house) == ["agreement.withdraw"]


def test_accounts_and_subscribers_are_barred_with_a_reason(house: House, site: Site) -> None:
    client, path = site.by("billing"), "/api/v1/accounts/A-1"
    assert client.post(f"{path}/bar", json={"reason": "unpaid"}).json() == {
        "account": "A-1", "subscriber": None, "barred": True, "changed": True,
    }  # fmt: skip
    assert client.post(f"{path}/bar", json={"reason": "unpaid"}).json()["changed"] is False
    listed = client.get("/api/v1/accounts", params={"status": "barred"}).json()
    assert [each["id"] for each in listed["items"]] == ["A-1"]
    assert client.post(f"{path}/unbar", json={"reason": "paid", "subscriber": None}).json()["changed"] is True
    alone = {"reason": "lost phone", "subscriber": "A-1"}
    assert client.post(f"{path}/bar", json=alone).json()["changed"] is True
    problem(client.post(f"{path}/bar", json=alone | {"subscriber": "A-2"}), 404)
    problem(client.post("/api/v1/accounts/A-9/bar", json={"reason": "x"}), 404)
    problem(client.post(f"{path}/bar", json={"reason": ""}), 422)
    problem(site.by("support").post(f"{path}/bar", json={"reason": "x"}), 403)
    assert done(house) == ["subscriber.bar", "account.unbar", "account.bar"]


def test_an_invoice_is_sent_and_what_came_back_is_found(dealt: House, site: Site) -> None:
    client, path = site.by("billing"), f"/api/v1/invoices/{NUMBER}/dispatches"
    assert "no e-mail address" in problem(client.post(path, json={}), 409)
    made = client.post(path, json={"to": "erika@muster.example"})
    assert (made.status_code, made.json()["state"]) == (201, "waiting")
    assert client.get(made.headers["location"]).json()["items"] == [made.json()]
    send_due_invoices(dealt.engine, dealt.operator.settings, dealt.clock.now())
    assert client.get("/api/v1/dispatches", params={"state": "sent"}).json()["total"] == 1
    back: Any = update(table(InvoiceDispatch)).values(state="bounced", reason="550 no such user")
    dealt.change(lambda c: c.execute(back))
    [bounced] = client.get("/api/v1/dispatches", params={"state": "bounced", "account": "A-1"}).json()["items"]
    assert (bounced["invoice"], bounced["reason"]) == (NUMBER, "550 no such user")
    problem(client.post("/api/v1/invoices/R-9/dispatches", json={}), 404)
    problem(site.by("support").post(path, json={}), 403)
    assert done(dealt) == ["invoice.send"]


def test_a_month_is_sent_and_names_who_has_no_address(dealt: House, site: Site) -> None:
    client, path = site.by("billing"), "/api/v1/months/2026-11/dispatches"
    asked = client.post(path)
    assert (asked.status_code, asked.json()["no_address"], asked.json()["dispatches"]) == (202, [NUMBER], 0)
    problem(client.post("/api/v1/months/2026-10/dispatches"), 404)


def test_a_top_up_by_the_field_s_names_is_found_where_it_says(house: House, site: Site) -> None:
    client = site.by("billing")
    order = {"amount": {"amount": "10.00", "units": "EUR"}, "relatedParty": [{"id": "A-1"}]}
    made = client.post(
        "/tmf-api/prepayBalanceManagement/v4/topupBalance", json=order, headers={"Idempotency-Key": "top-up-1"}
    )
    assert made.status_code == 201
    assert made.headers["location"] == made.json()["href"]
    found = client.get(made.json()["href"])
    assert found.json() == made.json()
    assert client.get(made.json()["href"], params={"fields": "status"}).json().keys() == {
        "id", "href", "@type", "status",
    }  # fmt: skip
    assert client.get(found.json()["bucket"]["href"]).json()["remainingValue"]["amount"] == "10.00"
    problem(client.get("/tmf-api/prepayBalanceManagement/v4/topupBalance/none"), 404)
