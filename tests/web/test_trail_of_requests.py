"""Each request that changes something is in the audit trail: who, about what, before and after, as by command.

A new operation of the API or form of the console has to be tried here (``trail("POST ...")``), or stand in
:data:`READS` with what makes it change nothing. One before which nothing stood has to say so in :data:`MAKES`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from operator_samples import House
from test_console_offers import MAPS
from test_console_tariffs import TARIFF, VERSION
from web_desk import MONTH, NUMBER, rows
from web_money import subscribe
from web_samples import PASSWORD, Site

import operator_server
from operator_server.audit import entries, verify_audit
from operator_server.billing.bill_run import run_bills
from operator_server.offering.loading import load
from operator_server.store.dealings import Rejection
from operator_server.store.receivables import DisputeHold
from operator_server.store.web import WebJob
from operator_server.web.gate import SAFE
from operator_server.web.openapi import document
from operator_server.web.routes import Guarded

READS = {
    "POST /api/v1/offers/check": "says what is wrong with a text",
    "POST /api/v1/offers/preview": "says whom a text would reach",
    "POST /api/v1/tariffs/check": "says what is wrong with a text",
    "POST /api/v1/tariffs/simulate": "rates a month anew and charges nothing",
    "POST /api/v1/tariff-simulations": "the same in the background; its result is kept for 30 days",
    "POST /console/offers/check": "says what is wrong with a text",
    "POST /console/offers/preview": "says whom a text would reach",
    "POST /console/tariffs/check": "says what is wrong with a text",
    "POST /console/tariffs/preview": "shows what would be put in force",
    "POST /console/tariffs/{tariff}/simulate": "rates a month anew and charges nothing",
    "POST /air": "what a mobile says; no person of the operator, and its orders are kept signed",
}
"""Operations and forms that change nothing."""

MAKES = {
    **dict.fromkeys(("POST /api/v1/accounts", "POST /api/v1/accounts/{account}/subscribers"), "a customer"),
    "POST /api/v1/terminals": "a terminal",
    "POST /api/v1/people": "a person",
    "POST /api/v1/tokens": "a token",
    "POST /api/v1/mandates": "a mandate",
    **dict.fromkeys(
        ("POST /api/v1/payments", "POST /console/invoices/{number}/pay"), "a payment; says what it settled"
    ),
    **dict.fromkeys(
        ("POST /api/v1/terminals/{terminal}/interrogations", "POST /console/terminals/{terminal}/interrogate"),
        "an order to interrogate",
    ),
    **dict.fromkeys(("POST /api/v1/bill-runs", "POST /console/months/{period}/run"), "a job that makes bills"),
    **dict.fromkeys(("POST /api/v1/months/{period}/lock", "POST /console/months/{period}/lock"), "a lock"),
    **dict.fromkeys(("POST /api/v1/months/{period}/dispatches", "POST /console/months/{period}/send"), "e-mails"),
    "POST /logon": "a session",
    "POST /logoff": "ends a session, of which the trail has its logon",
}
"""Operations and forms that make what was not there, so that there is nothing to tell of before."""

BUILT = {"account.bar", "account.unbar", "subscriber.bar", "subscriber.unbar"}
"""Actions whose names commands put together."""

WHY = {"reason": "asked"}


class Trail:
    """Sends a request and looks at the one entry that it left."""

    def __init__(self, site: Site) -> None:
        self.house, self.site = site.house, site
        self.client = site.logged_on("administrator")
        self.actor = "person:administrator"

    def __call__(
        self, operation: str, at: Mapping[str, str] | None = None, *, about: str, action: str, before: Any = None,
        after: Any = None, **fields: Any,
    ) -> Any:  # fmt: skip
        """The answer; ``fields``: body or form; ``before`` and ``after``: what the entry has at least."""
        known = len(self.entries())
        answer = self.send(operation, at or {}, fields)
        assert answer.status_code in (200, 201, 202, 204, 303), re.sub(r"<[^>]*>", "", answer.text)[-800:]
        self.wait()
        new = self.entries()[: -known or None]
        assert len(new) == 1, f"{operation}: {[(each.action, each.reference) for each in new]}"
        [entry] = new
        assert (entry.actor, entry.action, entry.reference) == (self.actor, action, about or entry.reference)
        assert "/" in entry.reference
        assert (entry.before is None) == (operation in MAKES), f"{operation}: before is {entry.before}"
        assert entry.before != {}, operation
        for wanted, had in ((before, entry.before), (after, entry.after)):
            if wanted is not None:
                assert {key: (had or {}).get(key) for key in wanted} == wanted
        assert action in BUILT or action in commanded(), f"no command calls it {action}"
        return answer

    def send(self, operation: str, at: Mapping[str, str], fields: Mapping[str, Any]) -> Any:
        method, _, path = operation.partition(" ")
        path, csrf = path.format(**at), self.client.headers["X-CSRF-Token"]
        if path.startswith(("/api", "/tmf")):
            headers = {"Idempotency-Key": uuid4().hex, "If-Match": "*"}
            return self.client.request(method, path, json=fields or None, headers=headers)
        form = {"csrf": csrf, "once": uuid4().hex, **fields}
        return self.client.request(method, path, data=form, headers={"Accept": "text/html"})

    def entries(self) -> list[Any]:
        with self.house.engine.connect() as connection:
            assert verify_audit(connection)[2] == []
            return list(entries(connection, most=10_000))

    def wait(self) -> None:
        end = time.monotonic() + 20
        while any(job.state == "running" for job in rows(self.house, WebJob)):
            assert time.monotonic() < end, "a job does not end"
            time.sleep(0.02)


_COMMANDED: set[str] = set()


def commanded() -> set[str]:
    """Names of actions that stand anywhere but in the web."""
    if not _COMMANDED:
        folder = Path(operator_server.__file__).parent
        for file in folder.rglob("*.py"):
            if file.relative_to(folder).parts[0] != "web":
                _COMMANDED.update(re.findall(r'"([a-z_]+(?:\.[a-z_]+)?)"', file.read_text(encoding="utf-8")))
    return _COMMANDED


@pytest.fixture
def trail(site: Site) -> Trail:
    return Trail(site)


@pytest.fixture
def billed(dealt: House, site: Site) -> Trail:
    """There is an invoice, and a rejection."""
    return Trail(site)


@pytest.fixture
def over(house: House, site: Site) -> Trail:
    """A month with something to bill is over."""
    house.user().take("game", "buy")
    house.clock.advance(timedelta(days=40))
    return Trail(site)


def test_every_changing_operation_and_form_is_tried_here_or_changes_nothing(site: Site) -> None:
    forms = {
        f"{method} {route.path}"
        for route in site.app.router.routes if isinstance(route, Guarded)
        for method in (route.methods or set()) - SAFE
    }  # fmt: skip
    operations = {
        f"{method.upper()} {path}"
        for path, each in document(site.app)["paths"].items()
        for method in each.keys() & {"post", "put", "patch", "delete"}
    }
    assert len(operations) > 30
    assert len(forms - operations) > 30
    tried = set(re.findall(r'trail\(\s*"([A-Z]+ /[^"]*)"', Path(__file__).read_text(encoding="utf-8")))
    assert sorted((operations | forms) - tried - READS.keys()) == [], "try them here, or say that they change nothing"
    assert sorted((tried | READS.keys() | MAKES.keys()) - operations - forms) == [], "there is none of these any more"
    assert sorted(tried & READS.keys()) == []


def test_accounts(trail: Trail) -> None:
    at, about = {"account": "A-1"}, "account/A-1"
    trail("POST /api/v1/accounts", id="A-9", name="Nine", about="account/A-9", action="account.create",
          after={"name": "Nine", "status": "active"})  # fmt: skip
    trail("PATCH /api/v1/accounts/{account}", at, name="New", credit_limit="30.00", about=about,
          action="account.change", before={"name": "Customer A-1", "credit_limit": "20.00"},
          after={"name": "New", "credit_limit": "30.00"})  # fmt: skip
    trail("POST /api/v1/accounts/{account}/subscribers", at, id="A-1-2", about="subscriber/A-1-2",
          action="subscriber.create", after={"account_id": "A-1"})  # fmt: skip
    trail("POST /api/v1/accounts/{account}/bar", at, **WHY, about=about, action="account.bar",
          before={"barred": None}, after={"barred": "asked", "reason": "asked"})  # fmt: skip
    trail("POST /api/v1/accounts/{account}/unbar", at, **WHY, about=about, action="account.unbar",
          before={"barred": "asked"}, after={"barred": None})  # fmt: skip
    trail("POST /console/accounts/{account}/bar", at, **WHY, subscriber="A-1", about="subscriber/A-1",
          action="subscriber.bar", before={"barred": None}, after={"barred": "asked"})  # fmt: skip
    trail("POST /console/accounts/{account}/unbar", at, **WHY, subscriber="A-1", about="subscriber/A-1",
          action="subscriber.unbar", before={"barred": "asked"}, after={"barred": None})  # fmt: skip
    trail("POST /console/accounts/{account}/limit", at, amount="40", about=about, action="account.change",
          before={"credit_limit": "30.00"}, after={"credit_limit": "40.00"})  # fmt: skip
    trail("POST /console/accounts/{account}/contact", at, email="new@muster.example", language="de", about=about,
          action="account.change", after={"email": "new@muster.example"})  # fmt: skip


def test_money_that_is_paid_ahead(trail: Trail) -> None:
    at, about = {"account": "A-1"}, "account/A-1"
    trail("POST /api/v1/accounts/{account}/top-ups", at, amount="10.00", about=about, action="balance.top_up",
          after={"prepaid": {"EUR": "10.00"}, "amount": "10.00"})  # fmt: skip
    trail("POST /api/v1/accounts/{account}/adjustments", at, amount="-1.00", **WHY, about=about,
          action="balance.adjust", before={"prepaid": {"EUR": "10.00"}},
          after={"prepaid": {"EUR": "9.00"}, "amount": "-1.00", "reason": "asked"})  # fmt: skip
    trail("POST /tmf-api/prepayBalanceManagement/v4/topupBalance", amount={"amount": "5.00", "units": "EUR"},
          relatedParty=[{"id": "A-1"}], about=about, action="balance.top_up",
          before={"prepaid": {"EUR": "9.00"}}, after={"prepaid": {"EUR": "14.00"}, "amount": "5.00"})  # fmt: skip
    trail("POST /console/accounts/{account}/top-up", at, amount="1", about=about, action="balance.top_up",
          before={"prepaid": {"EUR": "14.00"}}, after={"prepaid": {"EUR": "15.00"}, "amount": "1.00"})  # fmt: skip
    trail("POST /console/accounts/{account}/adjust", at, amount="-5", **WHY, about=about, action="balance.adjust",
          before={"prepaid": {"EUR": "15.00"}}, after={"prepaid": {"EUR": "10.00"}, "reason": "asked"})  # fmt: skip


def test_agreements_by_api(house: House, site: Site) -> None:
    agreement, trail = subscribe(house), Trail(site)
    at, about = {"agreement": agreement}, f"agreement/{agreement}"
    trail("POST /api/v1/agreements/{agreement}/cancellation", at, **WHY, about=about, action="agreement.cancel",
          before={"cancelled_at": None}, after={"reason": "asked", "because": "minimum"})  # fmt: skip
    trail("POST /api/v1/agreements/{agreement}/renewal", at, **WHY, about=about, action="agreement.renew",
          after={"cancelled_at": None, "reason": "asked"})  # fmt: skip
    trail("POST /api/v1/agreements/{agreement}/withdrawal", at, **WHY, about=about, action="agreement.withdraw",
          after={"reason": "asked", "currency": "EUR"})  # fmt: skip


def test_agreements_in_the_console(house: House, site: Site) -> None:
    agreement, trail = subscribe(house), Trail(site)
    at, about = {"account": "A-1", "agreement": agreement}, f"agreement/{agreement}"
    trail("POST /console/accounts/{account}/agreements/{agreement}/cancel", at, **WHY, about=about,
          action="agreement.cancel", before={"cancelled_at": None}, after={"because": "minimum"})  # fmt: skip
    trail("POST /console/accounts/{account}/agreements/{agreement}/renew", at, **WHY, about=about,
          action="agreement.renew", after={"cancelled_at": None, "reason": "asked"})  # fmt: skip
    trail("POST /console/accounts/{account}/agreements/{agreement}/withdraw", at, **WHY, about=about,
          action="agreement.withdraw", after={"reason": "asked", "currency": "EUR"})  # fmt: skip


def test_rejections(dealt: House, site: Site, billed: Trail) -> None:
    trail, [rejection] = billed, rows(dealt, Rejection)
    at, about = {"account": "A-2", "rejection": rejection.id}, f"rejection/{rejection.id}"
    trail("POST /console/accounts/{account}/rejections/{rejection}/undo", at, **WHY, about=about,
          action="rejection.undo", before={"undone": False}, after={"undone": True})  # fmt: skip
    dealt.change(lambda c: c.exec_driver_sql("UPDATE rejection SET undone_at = NULL"))
    trail("POST /api/v1/rejections/{rejection}/undo", at, **WHY, about=about, action="rejection.undo",
          before={"undone": False}, after={"undone": True})  # fmt: skip


def test_terminals(trail: Trail) -> None:
    at, about = {"terminal": "T-1"}, "terminal/T-1"
    trail("POST /api/v1/terminals", id="T-9", public_key="ab" * 32, subscriber="A-1", about="terminal/T-9",
          action="terminal.enrol", after={"subscriber": "A-1"})  # fmt: skip
    trail("POST /api/v1/terminals/{terminal}/interrogations", at, about=about, action="terminal.interrogate")
    trail("POST /console/terminals/{terminal}/interrogate", at, about=about, action="terminal.interrogate")
    trail("PATCH /api/v1/terminals/{terminal}", at, subscriber="A-2", about=about, action="terminal.bind",
          before={"subscriber": "A-1"}, after={"subscriber": "A-2"})  # fmt: skip
    trail("PATCH /api/v1/terminals/{terminal}", at, status="revoked", **WHY, about=about, action="terminal.revoke",
          before={"status": "active"}, after={"status": "revoked", "reason": "asked"})  # fmt: skip


def test_a_terminal_that_is_handed_over_and_revoked_has_an_entry_of_each(trail: Trail) -> None:
    body = {"subscriber": "A-2", "status": "revoked", "reason": "lost"}
    assert trail.send("PATCH /api/v1/terminals/{terminal}", {"terminal": "T-1"}, body).status_code == 200
    assert [each.action for each in trail.entries()[:2]] == ["terminal.revoke", "terminal.bind"]


def test_offers(trail: Trail) -> None:
    at, about = {"offer": "maps"}, "offer/maps"
    trail.send("PUT /api/v1/offers/{offer}", at, {"toml": MAPS})
    other = MAPS.replace('title = "Maps"', 'title = "Plans"')
    trail("PUT /api/v1/offers/{offer}", at, toml=other, about=about, action="offer.publish",
          before={"toml": MAPS}, after={"toml": other})  # fmt: skip
    trail("POST /console/offers/publish", toml=MAPS, was=sha256(other.encode()).hexdigest()[:24], about=about,
          action="offer.publish", before={"toml": other}, after={"toml": MAPS})  # fmt: skip
    trail("PUT /api/v1/offers/{offer}/schedule", at, valid_from="2026-12-01T00:00:00Z", about=about,
          action="offer.schedule", before={"toml": MAPS})  # fmt: skip
    trail("POST /console/offers/{offer}/schedule", {"offer": "game"}, **{"from": "2026-12-01T00:00"},
          about="offer/game", action="offer.schedule")  # fmt: skip
    trail("DELETE /api/v1/offers/{offer}", at, about=about, action="offer.withdraw")
    trail.send("PUT /api/v1/offers/{offer}", at, {"toml": MAPS})
    trail("POST /console/offers/{offer}/withdraw", at, about=about, action="offer.withdraw", before={"toml": MAPS})


def test_tariffs(trail: Trail) -> None:
    at, about, house = {"tariff": "games"}, "tariff/games", trail.house
    coming = TARIFF.replace("2026-01-01", "2027-01-01")
    trail.send("PUT /api/v1/tariffs/{tariff}", {"tariff": "calls"}, {"toml": coming})
    other = coming.replace('"0.10"', '"0.12"')
    trail("PUT /api/v1/tariffs/{tariff}", {"tariff": "calls"}, toml=other, about="tariff/calls",
          action="tariff.publish", before={"toml": coming}, after={"toml": other})  # fmt: skip
    source = (house.operator.settings.config_dir / "tariffs" / "games.toml").read_text()
    trail("POST /api/v1/tariffs/{tariff}/versions", at, toml=VERSION, effective_from="2027-01-01", about=about,
          action="tariff.publish", before={"toml": source})  # fmt: skip
    first, *_, last = (each.version_id for each in load(house.operator.settings).tariffs.tariff("games").versions)
    assert first != last
    trail("DELETE /api/v1/tariffs/{tariff}/versions/{version}", {**at, "version": last}, about=about,
          action="tariff.withdraw", before={"version": last})  # fmt: skip
    source = (house.operator.settings.config_dir / "tariffs" / "games.toml").read_text()
    trail("POST /console/tariffs/publish", tariff="games", toml=VERSION, begins="2027-01-01", about=about,
          was=sha256(source.encode()).hexdigest()[:24], action="tariff.publish", before={"toml": source})  # fmt: skip
    trail("POST /console/tariffs/{tariff}/withdraw", at, version=last, about=about, action="tariff.withdraw",
          before={"version": last})  # fmt: skip


def test_an_invoice_by_api(billed: Trail) -> None:
    trail, at = billed, {"number": NUMBER}
    pay = {"account": "A-1", "amount": "2.00", "currency": "EUR", "booked_on": "2026-12-12", "invoices": [NUMBER]}
    trail("POST /api/v1/disputes", number=NUMBER, **WHY, about=f"debt/{NUMBER}", action="dispute.hold",
          before={"held": []}, after={"held": [{"line": "", "reason": "asked"}]})  # fmt: skip
    [dispute] = rows(trail.house, DisputeHold)
    trail("POST /api/v1/disputes/{dispute}/release", {"dispute": dispute.id}, about=f"debt/{NUMBER}",
          action="dispute.release", before={"held": [{"line": "", "reason": "asked"}]}, after={"held": []})  # fmt: skip
    trail("POST /api/v1/payments", **pay, about="", action="payment.take",
          after={"amount": "2.00", "account_id": "A-1", "settled": {NUMBER: "2.00"}, "left": "0.00"})  # fmt: skip
    trail("POST /api/v1/credit-notes", invoice=NUMBER, **WHY, about=f"invoice/{NUMBER}", action="credit_note.make",
          before={"open": "6.32"}, after={"reason": "asked", "total": "8.32"})  # fmt: skip
    trail("POST /api/v1/invoices/{number}/dispatches", at, to="erika@muster.example", about=f"invoice/{NUMBER}",
          action="invoice.send", before={"mails": 0}, after={"mails": 1, "to": "erika@muster.example"})  # fmt: skip
    trail("POST /api/v1/months/{period}/dispatches", {"period": MONTH}, about=f"period/{MONTH}",
          action="invoice.send", after={"form": "pdf"})  # fmt: skip


def test_an_invoice_in_the_console(billed: Trail) -> None:
    trail, at = billed, {"number": NUMBER}
    trail("POST /console/invoices/{number}/hold", at, **WHY, line="1", about=f"debt/{NUMBER}", action="dispute.hold",
          before={"held": []}, after={"held": [{"line": "1", "reason": "asked"}]})  # fmt: skip
    trail("POST /console/invoices/{number}/release", at, line="1", about=f"debt/{NUMBER}", action="dispute.release",
          before={"held": [{"line": "1", "reason": "asked"}]}, after={"held": []})  # fmt: skip
    trail("POST /console/invoices/{number}/credit", at, what="all", **WHY, about=f"invoice/{NUMBER}",
          action="credit_note.make", before={"open": "8.32"}, after={"open": "0.00", "total": "8.32"})  # fmt: skip
    trail("POST /console/invoices/{number}/pay", at, amount="1", about="", action="payment.take",
          after={"amount": "1.00", "account_id": "A-1", "settled": {}, "left": "1.00"})  # fmt: skip
    trail("POST /console/invoices/{number}/send", at, to="erika@muster.example", about=f"invoice/{NUMBER}",
          action="invoice.send", before={"mails": 0}, after={"mails": 1})  # fmt: skip
    trail("POST /console/months/{period}/send", {"period": MONTH}, about=f"period/{MONTH}", action="invoice.send",
          after={"form": "pdf"})  # fmt: skip


def test_what_was_so_before_has_no_entry(billed: Trail) -> None:
    at, known = {"account": "A-1", "number": NUMBER}, len(billed.entries())
    for operation, fields in (
        ("POST /api/v1/accounts/{account}/unbar", WHY), ("POST /console/accounts/{account}/unbar", WHY),
        ("PATCH /api/v1/accounts/{account}", {"name": "Customer A-1"}),
        ("POST /console/accounts/{account}/limit", {"amount": "20"}),
        ("POST /console/invoices/{number}/release", {"line": "1"}),
    ):  # fmt: skip
        assert billed.send(operation, at, fields).status_code in (200, 303)
    assert len(billed.entries()) == known


def test_mandates(trail: Trail) -> None:
    older = {"id": "M-0", "account": "A-1", "iban": "DE89370400440532013000", "signed_on": "2026-09-01"}
    trail.send("POST /api/v1/mandates", {}, older)
    trail("POST /api/v1/mandates", id="M-1", account="A-1", iban="DE89370400440532013000", signed_on="2026-10-01",
          about="mandate/M-1", action="mandate.add",
          after={"account_id": "A-1", "state": "active", "replaces": "M-0"})  # fmt: skip
    trail("POST /api/v1/mandates/{mandate}/revoke", {"mandate": "M-1"}, about="mandate/M-1", action="mandate.revoke",
          before={"state": "active"}, after={"state": "revoked"})  # fmt: skip


def test_a_month_by_api(over: Trail) -> None:
    trail, at = over, {"period": MONTH}
    drafted = {"state": "drafted"}
    trail("POST /api/v1/months/{period}/lock", {"period": "2026-09"}, about="period/2026-09", action="period.lock",
          after={"end_at": "2026-09-30T22:00:00+00:00"})  # fmt: skip
    trail("POST /api/v1/months/{period}/unlock", {"period": "2026-09"}, about="period/2026-09",
          action="period.unlock", before={"end_at": "2026-09-30T22:00:00+00:00"})  # fmt: skip
    trail("POST /api/v1/bill-runs", period=MONTH, draft=True, about=f"period/{MONTH}", action="bill_run.start",
          after={"kind": "draft", "until": None})  # fmt: skip
    trail("POST /api/v1/months/{period}/discard", at, about="", action="bill_run.discard",
          before=drafted | {"drafts": 1}, after={"state": "drafting", "drafts": 0})  # fmt: skip
    draft(trail.house)
    trail("POST /api/v1/months/{period}/approve", at, about="", action="bill_run.approve", before=drafted,
          after={"state": "approved"})  # fmt: skip
    trail("POST /api/v1/months/{period}/finalise", at, about="", action="bill_run.finalise",
          before={"state": "approved"}, after={"state": "finalising"})  # fmt: skip


def test_a_month_in_the_console(over: Trail) -> None:
    trail, at = over, {"period": MONTH}
    trail("POST /console/months/{period}/lock", {"period": "2026-09"}, about="period/2026-09", action="period.lock")
    trail("POST /console/months/{period}/unlock", {"period": "2026-09"}, about="period/2026-09",
          action="period.unlock")  # fmt: skip
    trail("POST /console/months/{period}/run", at, how="draft", about=f"period/{MONTH}", action="bill_run.start",
          after={"kind": "draft"})  # fmt: skip
    trail("POST /console/months/{period}/discard", at, about="", action="bill_run.discard",
          before={"state": "drafted"}, after={"state": "drafting"})  # fmt: skip
    draft(trail.house)
    trail("POST /console/months/{period}/approve", at, about="", action="bill_run.approve",
          before={"state": "drafted"}, after={"state": "approved"})  # fmt: skip
    trail("POST /console/months/{period}/finalise", at, about="", action="bill_run.finalise",
          before={"state": "approved"}, after={"state": "finalising"})  # fmt: skip


def draft(house: House) -> None:
    run_bills(house.engine, house.operator.settings, MONTH, now=house.clock.now(), draft=True)


def test_people_and_tokens(trail: Trail) -> None:
    at, about = {"name": "erika"}, "person/erika"
    trail("POST /api/v1/people", name="erika", role="billing", about=about, action="person.create",
          after={"role": "billing"})  # fmt: skip
    trail("PATCH /api/v1/people/{name}", at, role="support", about=about, action="person.role",
          before={"role": "billing"}, after={"role": "support"})  # fmt: skip
    trail("PATCH /api/v1/people/{name}", at, status="disabled", about=about, action="person.status",
          before={"status": "active"}, after={"status": "disabled"})  # fmt: skip
    trail("POST /api/v1/people/{name}/password", at, about=about, action="person.password_reset",
          before={"must_change": True}, after={"must_change": True})  # fmt: skip
    made = trail("POST /api/v1/tokens", label="export", scopes=["read"], about="", action="token.create")
    trail("DELETE /api/v1/tokens/{token}", {"token": made.json()["id"]}, about=f"token/{made.json()['id']}",
          action="token.revoke", before={"revoked": False}, after={"revoked": True})  # fmt: skip


def test_sessions(trail: Trail) -> None:
    about = "person/administrator"
    trail("POST /logon", name="administrator", password=PASSWORD, about=about, action="logon")
    trail.client.headers["X-CSRF-Token"] = trail.client.get("/api/v1/me").json()["csrf_token"]
    trail("POST /logoff", about=about, action="logoff")


def test_a_password_of_ones_own(trail: Trail) -> None:
    about, new = "person/administrator", "four other plain words"
    trail("POST /password", old=PASSWORD, new=new, again=new, about=about, action="person.password_change",
          before={"must_change": False}, after={"must_change": False})  # fmt: skip
    trail.client = trail.site.logged_on("administrator", new)
    trail("PUT /api/v1/me/password", old=new, new=PASSWORD, about=about, action="person.password_change",
          before={"must_change": False}, after={"must_change": False})  # fmt: skip
