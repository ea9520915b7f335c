"""What the API does with terminals, offers, money and invoices."""

from __future__ import annotations

import asyncio
import json
import time
from html import escape
from typing import Any

import pytest
from operator_samples import MAPS, House, key_of
from sqlalchemy.exc import OperationalError
from starlette.testclient import TestClient
from web_dealings import deal
from web_samples import Site, problem

from operator_server.audit import entries, verify_audit
from operator_server.negotiation.why import explain_terminal
from operator_server.web.problems import Problem
from signalling.proof import public_bytes


@pytest.fixture
def dealt(house: House) -> Site:
    deal(house)
    return Site(house)


def trail(site: Site, reference: str) -> list[Any]:
    with site.house.engine.connect() as connection:
        assert verify_audit(connection)[2] == []
        return list(entries(connection, reference=reference))


def key(name: str = "request-1") -> dict[str, str]:
    return {"Idempotency-Key": name}


def test_a_change_needs_what_was_read_and_loses_to_a_change_meanwhile(site: Site) -> None:
    client = site.by("billing")
    read = client.get("/api/v1/accounts/A-1")
    tag = read.headers["etag"]
    assert "If-Match" in problem(client.patch("/api/v1/accounts/A-1", json={"name": "New"}), 428)
    first = client.patch("/api/v1/accounts/A-1", json={"name": "New", "credit_limit": "30.00"},
                         headers={"If-Match": tag})  # fmt: skip
    assert (first.json()["name"], first.json()["credit_limit"]) == ("New", "30.00")
    again = client.patch("/api/v1/accounts/A-1", json={"name": "Other"}, headers={"If-Match": tag})
    assert "changed since" in problem(again, 412)
    [entry] = trail(site, "account/A-1")
    assert (entry.actor.split()[1], entry.action) == ("(billing)", "account.change")
    assert (entry.before["name"], entry.after["name"]) == ("Customer A-1", "New")
    fresh = client.get("/api/v1/accounts/A-1", headers={"If-None-Match": first.headers["etag"]})
    assert (fresh.status_code, fresh.content) == (304, b"")


def test_a_top_up_sent_again_is_booked_once_and_the_key_is_good_for_nothing_else(site: Site) -> None:
    client, path = site.by("billing"), "/api/v1/accounts/A-1/top-ups"
    first = client.post(path, json={"amount": "10.00"}, headers=key())
    assert (first.status_code, first.json()["balance"]) == (201, "10.00")
    again = client.post(path, json={"amount": "10.00"}, headers=key())
    assert (again.status_code, again.content, again.headers["idempotent-replay"]) == (201, first.content, "true")
    assert "another request" in problem(client.post(path, json={"amount": "11.00"}, headers=key()), 422)
    assert "another request" in problem(client.post("/api/v1/accounts/A-2/top-ups", json={"amount": "10.00"},
                                                    headers=key()), 422)  # fmt: skip
    assert client.post(path, json={"amount": "1.00"}, headers=key("request-2")).json()["balance"] == "11.00"
    taken = client.post(
        "/api/v1/accounts/A-1/adjustments", json={"amount": "-3.00", "reason": "booked twice"}, headers=key("adjust-1")
    )
    assert taken.json()["balance"] == "8.00"
    more = {"amount": "-30.00", "reason": "no"}
    problem(client.post("/api/v1/accounts/A-1/adjustments", json=more, headers=key("adjust-2")), 409)
    problem(client.post(path, json={"amount": "10.00"}), 422)
    problem(client.post(path, json={"amount": 10.0}, headers=key("request-3")), 422)
    assert [entry.action for entry in trail(site, "account/A-1")] == [
        "balance.adjust", "balance.top_up", "balance.top_up",
    ]  # fmt: skip


def test_an_invoice_is_read_downloaded_paid_and_credited(dealt: Site) -> None:
    client = dealt.by("billing")
    [listed] = client.get("/api/v1/invoices", params={"account": "A-1"}).json()["items"]
    number = listed["number"]
    whole = client.get(f"/api/v1/invoices/{number}").json()
    assert whole["document"]["lines"][0]["charge_ids"]
    for form, kind, begins in (("pdf", "application/pdf", b"%PDF"), ("csv", "text/csv", b"invoice"),
                               ("json", "application/json", b"{")):  # fmt: skip
        got = client.get(f"/api/v1/invoices/{number}/{form}")
        assert got.headers["content-type"].startswith(kind)
        assert got.content.startswith(begins)
        assert got.headers["content-disposition"].startswith(f'attachment; filename="{number}.')
    pay = {"account": "A-1", "amount": "2.00", "currency": "EUR", "booked_on": "2026-12-12", "invoices": [number]}
    paid = client.post("/api/v1/payments", json=pay, headers=key("payment-1"))
    assert paid.json()["settled"] == {number: "2.00"}
    assert client.post("/api/v1/payments", json=pay, headers=key("payment-1")).content == paid.content
    credit = {"invoice": number, "reason": "did not work"}
    note = client.post("/api/v1/credit-notes", json=credit, headers=key("credit-1"))
    assert (note.status_code, note.json()["total"]) == (201, listed["total"])
    assert client.post("/api/v1/credit-notes", json=credit, headers=key("credit-1")).content == note.content
    problem(client.post("/api/v1/credit-notes", json=credit, headers=key("credit-2")), 409)
    assert client.get(f"/api/v1/credit-notes/{note.json()['number']}/pdf").content.startswith(b"%PDF")


def test_the_evidence_of_an_agreement_has_what_both_parties_signed(dealt: Site) -> None:
    client = dealt.by("support")
    [agreement] = client.get("/api/v1/agreements", params={"account": "A-1"}).json()["items"]
    evidence = client.get(f"/api/v1/agreements/{agreement['id']}/evidence").json()
    assert (evidence["kind"], evidence["delivery_state"]) == ("ed25519", "installed")
    assert evidence["confirmation"]["content"]["agreement"] == agreement["id"]
    assert evidence["quote"]["content"]["server"] == "op.example"
    assert evidence["receipt"]["signature"]


def test_support_undoes_a_rejection_once_and_with_a_reason(dealt: Site) -> None:
    client = dealt.by("support")
    [rejected] = client.get("/api/v1/rejections", params={"subscriber": "A-2"}).json()["items"]
    path = f"/api/v1/rejections/{rejected['id']}/undo"
    problem(client.post(path, json={"reason": ""}), 422)
    assert client.post(path, json={"reason": "asked by telephone"}).json()["undo_reason"] == "asked by telephone"
    problem(client.post(path, json={"reason": "again"}), 409)
    [entry] = trail(dealt, f"rejection/{rejected['id']}")
    assert (entry.before["undone"], entry.after["undone"]) == (False, True)


def test_an_offer_is_previewed_published_scheduled_and_withdrawn(site: Site) -> None:
    client, folder = site.by("operator"), site.house.operator.settings.config_dir / "offers"
    seen = client.post("/api/v1/offers/preview", json={"toml": MAPS}).json()
    assert (seen["terminals"], seen["matching"], seen["models"]) == (3, 3, {"aurora-3": 3})
    assert not (folder / "maps.toml").exists()
    made = client.put("/api/v1/offers/maps", json={"toml": MAPS}, headers={"If-Match": "*"})
    assert (made.status_code, (folder / "maps.toml").read_text()) == (200, MAPS)
    when = {"valid_from": "2026-12-01T00:00:00+00:00"}
    problem(client.put("/api/v1/offers/maps/schedule", json=when), 428)
    stale = {"If-Match": '"stale"'}
    problem(client.put("/api/v1/offers/maps/schedule", json=when, headers=stale), 412)
    dated = client.put("/api/v1/offers/maps/schedule", json=when, headers={"If-Match": made.headers["etag"]})
    assert dated.json()["valid_from"] == "2026-12-01T00:00:00Z"
    open_again = client.put("/api/v1/offers/maps/schedule", json={}, headers={"If-Match": dated.headers["etag"]})
    assert open_again.json()["valid_from"] is None
    assert client.delete("/api/v1/offers/maps", headers={"If-Match": "*"}).status_code == 204
    assert not (folder / "maps.toml").exists()
    assert [entry.action for entry in trail(site, "offer/maps")] == [
        "offer.withdraw", "offer.schedule", "offer.schedule", "offer.publish",
    ]  # fmt: skip
    assert trail(site, "offer/maps")[-1].after == {"toml": MAPS, "version": made.json()["version"]}


def test_an_offer_out_of_a_file_of_several_is_cut_out_and_nothing_else_changes(site: Site) -> None:
    client, folder = site.by("operator"), site.house.operator.settings.config_dir / "offers"
    before = client.get("/api/v1/offers/notes")
    source = before.json()["source"].replace('"Notes"', '"Notes for all"')
    changed = client.put("/api/v1/offers/notes", json={"toml": source}, headers={"If-Match": before.headers["etag"]})
    assert (changed.status_code, changed.json()["title"]) == (200, "Notes for all")
    assert 'id = "notes"' not in (folder / "shop.toml").read_text()
    assert client.get("/api/v1/offers/game").json()["source"].count("[[mode]]") == 3
    problem(client.delete("/api/v1/offers/game", headers={"If-Match": "*"}), 422)


def test_faults_of_an_offer_are_all_told_and_nothing_is_published(site: Site) -> None:
    client = site.by("operator")
    bad = MAPS.replace('"service"', '"serivce"') + 'colour = "red"\n'
    answer = client.put("/api/v1/offers/maps", json={"toml": bad}, headers={"If-Match": "*"})
    problem(answer, 422)
    assert {fault["where"] for fault in answer.json()["errors"]} == {"kind", "mode[0].colour"}
    problem(client.put("/api/v1/offers/map", json={"toml": MAPS}, headers={"If-Match": "*"}), 422)
    problem(client.get("/api/v1/offers/maps"), 404)


def test_an_interrogation_is_ordered_and_its_outcome_found(site: Site) -> None:
    client = site.by("operator")
    ordered = client.post("/api/v1/terminals/T-1/interrogations")
    assert ordered.status_code == 202
    found = client.get(ordered.headers["location"]).json()
    assert (found["terminal"], found["state"], found["interrogation"]) == ("T-1", "open", None)
    problem(client.post("/api/v1/terminals/T-9/interrogations"), 404)
    why = {each["offer"]: each for each in client.get("/api/v1/terminals/T-1/offers").json()["items"]}
    assert why["game"]["shown"]
    assert [each["filter"] for each in why["yen"]["objections"]] == ["price"]
    assert why["yen"]["reasons"] == [each["text"] for each in why["yen"]["objections"]]
    assert not why["levels"]["shown"] or why["levels"]["reasons"] == []


def test_console_api_and_command_explain_a_menu_alike(site: Site) -> None:
    with site.house.engine.connect() as connection:
        found = explain_terminal(connection, site.house.offers, "T-1", site.house.clock.now())
    told = {each["offer"]: each for each in site.by("operator").get("/api/v1/terminals/T-1/offers").json()["items"]}
    page = site.logged_on("operator").get("/console/terminals/T-1").text
    for each in found.offers:
        assert [(o["filter"], o["text"]) for o in told[each.offer.id]["objections"]] == [
            (objection.filter, objection.text) for objection in each.objections
        ]
        assert all(escape(objection.text) in page for objection in each.objections)


def test_a_terminal_is_enrolled_handed_on_and_revoked(site: Site) -> None:
    client = site.by("operator")
    new = {"id": "T-9", "public_key": public_bytes(key_of("T-9")).hex(), "subscriber": "A-1"}
    assert client.post("/api/v1/terminals", json=new).headers["location"] == "/api/v1/terminals/T-9"
    problem(client.post("/api/v1/terminals", json=new), 409)
    problem(client.post("/api/v1/terminals", json=new | {"id": "T-8", "subscriber": "nobody"}), 409)
    changed = client.patch("/api/v1/terminals/T-9", json={"subscriber": "A-2"}, headers={"If-Match": "*"})
    assert changed.json()["subscriber"] == "A-2"
    ended = client.patch("/api/v1/terminals/T-9", json={"status": "revoked", "reason": "lost"},
                         headers={"If-Match": changed.headers["etag"]})  # fmt: skip
    assert ended.json()["status"] == "revoked"
    assert client.get("/api/v1/terminals", params={"status": "revoked"}).json()["total"] == 1


def test_a_bill_run_is_started_and_watched(dealt: Site) -> None:
    client = dealt.by("billing")
    problem(client.post("/api/v1/bill-runs", json={"period": "2026-12"}), 409)
    job = client.post("/api/v1/bill-runs", json={"period": "2026-11"})
    assert job.status_code == 202
    for _ in range(100):
        state = client.get(job.headers["location"]).json()
        if state["state"] != "running":
            break
        time.sleep(0.05)
    assert state["state"] == "done", state
    assert client.get("/api/v1/bill-runs", params={"period": "2026-11"}).json()["items"][0]["invoices"] == 1


def test_the_tm_forum_names_show_the_same_things(dealt: Site) -> None:
    client = dealt.by("billing")
    bills = client.get("/tmf-api/customerBillManagement/v4/customerBill", params={"fields": "billNo", "limit": 1})
    [bill] = bills.json()
    assert bills.headers["x-total-count"] == "1"
    assert set(bill) == {"id", "href", "@type", "billNo"}
    whole = client.get(bill["href"]).json()
    invoice = client.get(f"/api/v1/invoices/{bill['billNo']}").json()
    assert whole["taxIncludedAmount"] == {"unit": "EUR", "value": invoice["total"]}
    order = {"amount": {"amount": "5.00", "units": "EUR"}, "relatedParty": [{"id": "A-1"}]}
    done = client.post("/tmf-api/prepayBalanceManagement/v4/topupBalance", json=order, headers=key("tmf-top-up"))
    assert (done.status_code, done.json()["@type"], done.json()["status"]) == (201, "TopupBalance", "confirmed")
    bucket = client.get("/tmf-api/prepayBalanceManagement/v4/bucket/A-1:EUR").json()
    assert bucket["remainingValue"] == {"units": "EUR", "amount": "5.00"}
    offerings = dealt.by("operator").get("/tmf-api/productCatalogManagement/v4/productOffering").json()
    assert {each["@type"] for each in offerings} == {"ProductOffering"}
    assert client.get("/tmf-api/usageManagement/v4/usage").json() == []  # deliveries alone were charged
    with dealt.house.engine.begin() as connection:
        row = connection.exec_driver_sql("SELECT * FROM charge LIMIT 1").mappings().one()
        used = {**row, "id": "use-1", "kind": "use", "invoice_id": None, "invoice_line": None}
        names = ", ".join(used)
        marks = ", ".join("?" * len(used))
        connection.exec_driver_sql(f"INSERT INTO charge ({names}) VALUES ({marks})", tuple(used.values()))
    usage = client.get("/tmf-api/usageManagement/v4/usage").json()
    assert {"id", "href", "@type", "usageDate"} <= set(usage[0])


def test_the_feed_is_read_in_order_and_gone_on_with(dealt: Site) -> None:
    client, after, places = dealt.by("support"), 0, []
    while True:
        page = client.get("/api/v1/events", params={"after": after, "limit": 5}).json()
        places += [item["place"] for item in page["items"]]
        after = page["after"]
        if not page["more"]:
            break
    assert places == list(range(1, len(places) + 1))
    only = client.get("/api/v1/events", params={"kinds": "agreed"}).json()
    assert {item["kind"] for item in only["items"]} <= {"agreed"}
    assert only["after"] == places[-1]


def test_metrics_are_figures_of_requests_and_of_the_database(dealt: Site) -> None:
    client = dealt.by("operator")
    client.get("/api/v1/terminals/T-1")
    text = client.get("/metrics").text
    assert "tollgate_terminals_active 3.0" in text
    assert 'tollgate_http_requests_total{method="GET",route="/api/v1/terminals/{terminal}",status="200"} 1.0' in text


def test_the_reference_for_people_loads_nothing_from_elsewhere(site: Site) -> None:
    client = site.logged_on("support")
    page = client.get("/docs")
    assert page.status_code == 200
    assert "/api/v1/terminals/{terminal}" in page.text
    for part in ("<script", "src=", "@import", "url(", "http://"):
        assert part not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    described = client.get("/openapi.json").json()
    assert described["openapi"].startswith("3.1")


def test_answers_let_a_browser_do_nothing_else_with_them(site: Site) -> None:
    for path in ("/api/v1/me", "/logon", "/health/live", "/nothing"):
        headers = site.stranger.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]


@pytest.mark.parametrize(
    "path", ["/api/v1/invoices/..%2f..%2fetc%2fpasswd/pdf", "/api/v1/invoices/%2e%2e/pdf", "/api/v1/invoices/R..1/pdf",
             "/api/v1/invoices/x%00/pdf", "/api/v1/invoices/R-1/..%2fpdf"]
)  # fmt: skip
def test_no_path_leads_out_of_the_downloads(site: Site, path: str) -> None:
    answer = site.by("billing").get(path)
    assert answer.status_code in (404, 422)
    assert b"root:" not in answer.content


def test_what_cannot_be_read_is_told_in_the_same_form(site: Site) -> None:
    client = site.by("administrator")
    problem(client.get("/api/v1/nothing"), 404)
    answer = client.delete("/api/v1/accounts/A-1")
    problem(answer, 405)
    assert answer.headers["allow"] == "GET, PATCH"
    problem(client.post("/api/v1/accounts", content=b"id=1", headers={"Content-Type": "text/plain"}), 415)
    problem(client.post("/api/v1/accounts", content=b"{", headers={"Content-Type": "application/json"}), 422)
    problem(client.post("/api/v1/accounts", json={"id": "x", "name": "y" * 300_000}), 413)
    problem(client.get("/api/v1/accounts", params={"stat": "active"}), 422)
    deep = ("[" * 100_000).encode()
    answer = client.post("/api/v1/accounts", content=deep, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)


def chunks(count: int, size: int) -> Any:
    for _ in range(count):
        yield b"x" * size


def test_a_body_without_a_length_is_cut_off_at_the_limit(site: Site) -> None:
    client: TestClient = site.by("billing")
    answer = client.post("/api/v1/accounts", content=chunks(1000, 10_000), headers={"Content-Type": "application/json"})
    problem(answer, 413)


def test_scripts_in_names_come_back_as_data(site: Site) -> None:
    client = site.by("billing")
    name = "<script>alert(1)</script>"
    made = client.post("/api/v1/accounts", json={"id": "A-9", "name": name})
    assert made.headers["content-type"] == "application/json"
    assert json.loads(made.text)["name"] == name


class Deadlock(Exception):
    sqlstate = "40P01"


def test_who_met_others_at_the_same_rows_too_often_is_told_to_come_again(site: Site) -> None:
    def lost() -> None:
        raise OperationalError("UPDATE", {}, Deadlock("deadlock detected"))

    with pytest.raises(Problem, match="503"):
        asyncio.run(site.web.run(lost))
