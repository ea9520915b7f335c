"""Accounts, invoices and months in the console: each page for each role, and each form as it is sent."""

from __future__ import annotations

import io
import re
import time
import zipfile
from datetime import timedelta
from typing import Any

import pytest
from operator_samples import NOW, House
from sqlalchemy import select, update
from starlette.testclient import TestClient
from web_dealings import deal
from web_money import report, subscribe
from web_samples import Site

from operator_server.audit import entries
from operator_server.balances.buckets import add_bucket
from operator_server.billing.dispatch import send_due_invoices
from operator_server.people.roles import ROLES
from operator_server.store.accounting import InvoiceRow
from operator_server.store.dealings import Agreement, QuoteRow, Rejection
from operator_server.store.dispatch import InvoiceDispatch
from operator_server.store.parties import Account, Subscriber
from operator_server.store.receivables import CreditNoteRow, PaymentRow
from operator_server.store.rows import table
from operator_server.store.store import transact
from signalling.messages import Reject

HTML = {"Accept": "text/html"}
SCRIPT = "<script>alert(1)</script>"
NUMBER = "R-2026-000001"
MONTH = "2026-11"
ACCOUNT = "/console/accounts/A-1"
INVOICE = f"/console/invoices/{NUMBER}"


class Desk:
    """A person at a browser who looks at pages and sends their forms."""

    def __init__(self, site: Site, role: str) -> None:
        self.client: TestClient = site.logged_on(role)
        del self.client.headers["X-CSRF-Token"]

    def page(self, path: str, status: int = 200) -> str:
        answer = self.client.get(path, headers=HTML)
        assert answer.status_code == status, answer.text
        if status == 200:
            assert answer.text.count("<h1") == 1
            assert not re.search(r"<script>| style=| on[a-z]+=", answer.text)
        return answer.text

    def hidden(self, on: str, action: str) -> dict[str, str]:
        """The hidden fields of the form of a page that is sent to ``action``."""
        text = self.page(on)
        form = re.search(rf'<form method="post" action="{re.escape(action)}".*?</form>', text, re.S)
        assert form, f"{on} has no form for {action}"
        return dict(re.findall(r'<input type="hidden" name="([a-z]+)" value="([^"]*)"', form[0]))

    def send(self, action: str, fields: dict[str, str], status: int = 303) -> str:
        """Send fields as they are; what the page after says, or the page that says no."""
        answer = self.client.post(action, data=fields, headers=HTML)
        assert answer.status_code == status, answer.text
        if status != 303:
            return re.sub(r"<[^>]*>", "", answer.text)
        after = self.page(answer.headers["location"])
        said = re.search(r'<p class="said good" role="status">(.*?)</p>', after)
        return said[1] if said else ""

    def fill(self, on: str, action: str, status: int = 303, **fields: str) -> str:
        return self.send(action, self.hidden(on, action) | fields, status)


@pytest.fixture
def dealt(house: House) -> House:
    deal(house)
    return house


@pytest.fixture
def billing(dealt: House, site: Site) -> Desk:
    return Desk(site, "billing")


def rows(house: House, model: Any) -> list[Any]:
    with house.engine.connect() as connection:
        return list(connection.execute(select(table(model))))


def trail(house: House) -> list[tuple[str, str]]:
    with house.engine.connect() as connection:
        return [(entry.actor, entry.action) for entry in entries(connection)]


def agreement_of(house: House) -> Any:
    return next(row for row in rows(house, Agreement) if row.account_id == "A-1")


def pages(house: House) -> dict[str, str]:
    """Every page and what it needs."""
    agreement = agreement_of(house).id
    with house.engine.connect() as connection:
        charge = connection.exec_driver_sql("SELECT id FROM charge WHERE invoice_id IS NOT NULL").scalar()
    return {
        "/console/accounts": "accounts.read", ACCOUNT: "accounts.read", f"{ACCOUNT}/ledger": "balances.read",
        f"{ACCOUNT}/agreements/{agreement}": "agreements.read", "/console/invoices": "invoices.read",
        INVOICE: "invoices.read", f"{INVOICE}/lines/1": "invoices.read",
        f"{INVOICE}/charges/{charge}": "charges.read", "/console/months": "bill_runs.read",
        f"/console/months/{MONTH}": "bill_runs.read",
    }  # fmt: skip


@pytest.mark.parametrize("role", ROLES)
def test_each_page_opens_for_who_may_read_it_and_says_no_to_others(dealt: House, site: Site, role: str) -> None:
    desk = Desk(site, role)
    for path, needs in pages(dealt).items():
        text = desk.page(path, 200 if needs in ROLES[role] else 403)
        if needs not in ROLES[role]:
            assert f"lacks the permission {needs}" in text


def forms(house: House) -> dict[str, str]:
    """Every form and what it needs."""
    agreement = f"{ACCOUNT}/agreements/{agreement_of(house).id}"
    month = f"/console/months/{MONTH}"
    return (
        {f"{ACCOUNT}/{each}": "accounts.write" for each in ("bar", "unbar", "limit", "contact")}
        | {f"{ACCOUNT}/{each}": "balances.write" for each in ("top-up", "adjust")}
        | {f"{agreement}/{each}": "agreements.cancel" for each in ("cancel", "renew", "withdraw")}
        | {f"{ACCOUNT}/rejections/x/undo": "rejections.undo"}
        | {f"{INVOICE}/credit": "credit_notes.write", f"{INVOICE}/send": "invoices.send"}
        | {f"{INVOICE}/{each}": "payments.write" for each in ("pay", "hold", "release")}
        | {f"{month}/{each}": "bill_runs.write" for each in (
            "run", "approve", "discard", "finalise", "lock", "unlock"
        )} | {f"{month}/send": "invoices.send"}
    )  # fmt: skip


@pytest.mark.parametrize("role", ROLES)
def test_no_form_is_taken_without_its_token_nor_from_who_may_not(dealt: House, site: Site, role: str) -> None:
    desk = Desk(site, role)
    before = [rows(dealt, model) for model in (Account, Agreement, CreditNoteRow, PaymentRow, InvoiceDispatch)]
    for action, needs in forms(dealt).items():
        said = desk.send(action, {"reason": "x", "amount": "1"}, 403)
        assert ("lacks the permission" in said) == (needs not in ROLES[role]), action
    after = [rows(dealt, model) for model in (Account, Agreement, CreditNoteRow, PaymentRow, InvoiceDispatch)]
    assert after == before


def test_pages_show_no_form_to_who_may_not_send_it(dealt: House, site: Site) -> None:
    desk = Desk(site, "auditor")
    for path in pages(dealt):
        assert set(re.findall(r'<form method="post" action="([^"]*)"', desk.page(path))) <= {"/logoff"}


# Empty states.


def test_empty_pages_say_what_to_do_next(house: House, site: Site) -> None:
    desk = Desk(site, "billing")
    for path, text in (
        ("/console/accounts?q=nobody", "No account is like this."),
        (ACCOUNT, "Nothing is agreed."),
        (ACCOUNT, "Nothing is open."),
        (ACCOUNT, "Nothing was used that is counted."),
        (ACCOUNT, "Nothing was rejected."),
        (ACCOUNT, "Nobody was told anything yet."),
        (f"{ACCOUNT}/ledger", "Nothing is posted yet."),
        ("/console/invoices", "No invoice was made yet."),
        ("/console/months/2026-10", "There are no invoices."),
        ("/console/months/2026-10", "Nothing was rated in this month."),
    ):
        assert text in desk.page(path)


def test_what_there_is_not_is_told(dealt: House, site: Site) -> None:
    desk = Desk(site, "billing")
    agreement = agreement_of(dealt).id
    for path in (
        "/console/accounts/A-9", "/console/accounts/A-9/ledger", f"/console/accounts/A-2/agreements/{agreement}",
        "/console/invoices/R-1", f"{INVOICE}/lines/9", f"{INVOICE}/charges/x", "/console/months/2026-10/invoices.zip?"
        f"watch={'0' * 32}",
    ):  # fmt: skip
        desk.page(path, 404)
    for path in ("/console/months/2026-13", "/console/accounts/a%2Fb", f"{INVOICE}/download/exe"):
        assert desk.client.get(path, headers=HTML).status_code in (404, 422)


# Accounts.


def test_a_customer_is_found_by_everything_they_may_say(billing: Desk, dealt: House) -> None:
    accounts = table(Account)
    dealt.change(
        lambda c: c.execute(
            update(accounts).where(accounts.c.id == "A-1").values(
                name="Erika Muster", email="erika@muster.example", vat_id="DE123456788"
            )
        )
    )  # fmt: skip
    for text in ("A-1", "Erika", "erika", "Erika%20Muster", "muster", "erika@", "DE%20123456788", "T-1", "T-2"):
        found = billing.page(f"/console/accounts?q={text}")
        assert f'href="{ACCOUNT}"' in found, text
        assert "/console/accounts/A-2" not in found, text
    assert ACCOUNT not in billing.page("/console/accounts?q=%25")
    assert ACCOUNT not in billing.page("/console/accounts?status=barred")


def test_names_and_reasons_are_shown_as_they_are_written(billing: Desk, dealt: House) -> None:
    for model in (Account, Subscriber):
        rows_ = table(model)
        dealt.change(lambda c, rows_=rows_: c.execute(update(rows_).values(name=SCRIPT)))
    dealt.change(lambda c: c.execute(update(table(Rejection)).values(reason=SCRIPT)))
    dealt.change(
        lambda c: add_bucket(c, "A-1", "second", 60, id="minutes", name=SCRIPT, now=dealt.clock.now())
    )  # fmt: skip
    said = billing.fill(ACCOUNT, f"{ACCOUNT}/bar", reason=SCRIPT)
    assert "is barred" in said
    billing.fill(INVOICE, f"{INVOICE}/hold", reason=SCRIPT)
    billing.fill(INVOICE, f"{INVOICE}/credit", what="all", reason=SCRIPT)
    for path in (*pages(dealt), "/console/accounts/A-2", f"/console/accounts?q={SCRIPT}"):
        text = billing.page(path)
        assert SCRIPT not in text, path
    assert "&lt;script&gt;" in billing.page(ACCOUNT)


def test_barring_is_kept_with_its_reason_and_lifted(billing: Desk, dealt: House) -> None:
    assert billing.fill(ACCOUNT, f"{ACCOUNT}/bar", reason="unpaid") == "Account A-1 is barred."
    assert "unpaid" in billing.page(ACCOUNT)
    assert billing.fill(ACCOUNT, f"{ACCOUNT}/unbar", reason="paid") == "Account A-1 is not barred any more."
    assert [action for _, action in trail(dealt)][:2] == ["account.unbar", "account.bar"]
    assert trail(dealt)[0][0] == "person:billing"
    said = billing.send(f"{ACCOUNT}/bar", billing.hidden(ACCOUNT, f"{ACCOUNT}/bar"), 422)
    assert "reason: is needed" in said.lower()
    foreign = billing.hidden(ACCOUNT, f"{ACCOUNT}/bar") | {"subscriber": "A-2", "reason": "x"}
    billing.send(f"{ACCOUNT}/bar", foreign, 404)


def test_a_top_up_that_is_sent_twice_moves_money_once(billing: Desk, dealt: House) -> None:
    action = f"{ACCOUNT}/top-up"
    fields = billing.hidden(ACCOUNT, action) | {"amount": "20.00", "reason": "cash"}
    assert billing.send(action, fields) == "20.00 EUR booked; 20.00 EUR are paid ahead."
    assert billing.send(action, fields) == "It was done before: 20.00 EUR booked; 20.00 EUR are paid ahead."
    said = billing.send(action, fields | {"amount": "30.00"}, 409)
    assert "this form was sent before, with other content" in said.lower()
    assert [action for _, action in trail(dealt)].count("balance.top_up") == 1
    assert billing.fill(ACCOUNT, action, amount="1,50").startswith("1.50 EUR booked; 21.50 EUR")


def test_an_adjustment_needs_a_reason_and_never_goes_below_zero(billing: Desk) -> None:
    action = f"{ACCOUNT}/adjust"
    billing.fill(ACCOUNT, action, 422, amount="5", reason="")
    assert billing.fill(ACCOUNT, action, amount="5", reason="goodwill").startswith("5.00 EUR booked")
    assert billing.fill(ACCOUNT, action, 409, amount="-6", reason="error")
    assert billing.fill(ACCOUNT, action, amount="-5", reason="error").endswith("0.00 EUR are paid ahead.")


@pytest.mark.parametrize("amount", ["", "abc", "0", "-1", "1e9", "1.0000001", "99999999999999999999"])
def test_an_amount_that_cannot_be_is_told_in_words(billing: Desk, amount: str) -> None:
    assert "Amount" in billing.fill(ACCOUNT, f"{ACCOUNT}/top-up", 422, amount=amount)


def test_a_form_without_its_hidden_name_is_not_done(billing: Desk, dealt: House) -> None:
    fields = billing.hidden(ACCOUNT, f"{ACCOUNT}/top-up") | {"amount": "1", "once": "x"}
    assert "load the page again" in billing.send(f"{ACCOUNT}/top-up", fields, 400)
    assert "balance.top_up" not in [action for _, action in trail(dealt)]


def test_limit_and_contact_are_changed(billing: Desk, dealt: House) -> None:
    assert billing.fill(ACCOUNT, f"{ACCOUNT}/limit", amount="55") == "The credit limit is 55.00 EUR."
    billing.fill(ACCOUNT, f"{ACCOUNT}/contact", email="e@muster.example", language="de")
    billing.fill(ACCOUNT, f"{ACCOUNT}/contact", 422, email="", language="german")
    row = next(row for row in rows(dealt, Account) if row.id == "A-1")
    assert (row.credit_limit, row.email, row.language) == (55_000_000, "e@muster.example", "de")


def test_support_undoes_a_rejection_with_a_reason(house: House, site: Site) -> None:
    other = house.user("T-3", "A-2")
    other.say(Reject("notes", other.version("notes"), "no need"))
    dealt, desk, [rejection] = house, Desk(site, "support"), rows(house, Rejection)
    page, action = "/console/accounts/A-2", f"/console/accounts/A-2/rejections/{rejection.id}/undo"
    assert "no need" in desk.page(page)
    assert desk.fill(page, action, reason="asked for it") == "Offer notes may be shown to the user again."
    assert trail(dealt)[0] == ("person:support", "rejection.undo")
    assert "asked for it" in desk.page(page)
    fields = {"csrf": re.findall(r'name="csrf" value="([^"]+)"', desk.page(page))[0], "reason": "again"}
    assert "was undone" in desk.send(action, fields, 409)
    desk.send(f"{ACCOUNT}/rejections/{rejection.id}/undo", fields, 404)


def test_withdrawing_takes_back_what_was_charged_once_and_only_in_time(house: House, site: Site) -> None:
    house.user().take("game", "buy")
    desk = Desk(site, "billing")
    page = f"{ACCOUNT}/agreements/{agreement_of(house).id}"
    text = desk.page(page)
    assert text.count(">valid<") >= 4
    assert ">not valid<" not in text
    fields = desk.hidden(page, f"{page}/withdraw") | {"reason": "changed their mind"}
    assert desk.send(f"{page}/withdraw", fields) == "It is withdrawn; 6.99 EUR net are taken back."
    assert desk.send(f"{page}/withdraw", fields).startswith("It was done before")
    assert [each for each in trail(house) if each[1] == "agreement.withdraw"] == [
        ("person:billing", "agreement.withdraw")
    ]


def test_a_withdrawal_that_comes_too_late_is_told_in_words(billing: Desk, dealt: House) -> None:
    page = f"{ACCOUNT}/agreements/{agreement_of(dealt).id}"
    assert f'action="{page}/withdraw"' not in billing.page(page)
    fields = billing.hidden(ACCOUNT, f"{ACCOUNT}/top-up") | {"reason": "late"}
    assert "could be withdrawn until" in billing.send(f"{page}/withdraw", fields, 409)


def test_cancelling_says_when_it_takes_effect_and_can_be_taken_back(house: House, site: Site) -> None:
    page = f"{ACCOUNT}/agreements/{subscribe(house)}"
    desk = Desk(site, "billing")
    assert "Minimum term until" in desk.page(page)
    desk.fill(page, f"{page}/cancel", 422, reason="")
    said = desk.fill(page, f"{page}/cancel", reason="asked for it")
    assert said == "It is cancelled and runs until 2027-11-02 00:00: the minimum term runs until then."
    assert "runs on" in desk.fill(page, f"{page}/renew", reason="stays after all")
    assert {("person:billing", "agreement.cancel"), ("person:billing", "agreement.renew")} <= set(trail(house))


def test_what_is_paid_once_has_nothing_to_cancel(billing: Desk, dealt: House) -> None:
    page = f"{ACCOUNT}/agreements/{agreement_of(dealt).id}"
    assert f'action="{page}/cancel"' not in billing.page(page)


def test_evidence_that_was_altered_shows_as_not_valid(billing: Desk, dealt: House) -> None:
    agreement = agreement_of(dealt)
    path = f"{ACCOUNT}/agreements/{agreement.id}"
    proof = bytes(64)
    dealt.change(
        lambda c: c.execute(update(table(Agreement)).where(table(Agreement).c.id == agreement.id).values(proof=proof))
    )
    assert billing.page(path).count(">not valid<") == 2
    assert "some evidence is not valid" in billing.page(f"{INVOICE}/lines/1")
    dealt.change(
        lambda c: c.execute(
            update(table(QuoteRow)).where(table(QuoteRow).c.id == agreement.quote_id).values(signature=proof)
        )
    )
    assert billing.page(path).count(">not valid<") == 3


def test_the_ledger_goes_back_page_by_page(billing: Desk, dealt: House) -> None:
    from operator_server.balances.money import top_up

    for number in range(60):
        dealt.clock.advance(timedelta(seconds=1))
        dealt.change(
            lambda c, number=number: top_up(c, "A-1", 1_000_000, id=f"t-{number}", now=dealt.clock.now())
        )  # fmt: skip
    seen: list[str] = []
    path = f"{ACCOUNT}/ledger"
    while path:
        text = billing.page(path)
        seen += re.findall(r'title="(t-\d+)"', text)
        further = re.search(r'rel="next" href="([^"]+)"', text)
        path = further[1].replace("&amp;", "&") if further else ""
    assert seen == [f"t-{number}" for number in range(59, -1, -1)]


# Invoices.


def test_a_number_opens_its_invoice_and_filters_narrow_the_list(billing: Desk) -> None:
    answer = billing.client.get("/console/invoices?q=r-2026-000001", headers=HTML)
    assert answer.headers["location"] == INVOICE
    assert INVOICE in billing.page("/console/invoices?q=R-2026")
    assert "No invoice is like this." in billing.page("/console/invoices?period=2020-01")
    assert INVOICE in billing.page("/console/invoices?account=A-1")


def test_each_line_opens_its_evidence_and_each_charge_its_steps(billing: Desk, dealt: House) -> None:
    text = billing.page(INVOICE)
    assert f'href="{INVOICE}/lines/1"' in text
    line = billing.page(f"{INVOICE}/lines/1")
    assert "all evidence is valid" in line
    [charge] = set(re.findall(rf'href="{INVOICE}/charges/([^"]+)"', line))
    assert "a fixed price" in billing.page(f"{INVOICE}/charges/{charge}")


def test_use_leads_to_reports_whose_signatures_hold_and_to_the_steps_of_its_rating(house: House, site: Site) -> None:
    grant = house.user().take("game", "per-use")
    report(house, grant.installation, [7, 19, 40])
    assert "40 use" in re.sub(r"<[^>]*>", "", Desk(site, "support").page(ACCOUNT))
    house.clock.advance(timedelta(days=40))
    desk = Desk(site, "billing")
    desk.fill(f"/console/months/{MONTH}", f"/console/months/{MONTH}/run", how="final")
    waited(desk, f"/console/months/{MONTH}")
    line = desk.page(f"{INVOICE}/lines/1")
    assert "all evidence is valid" in line
    charges = dict.fromkeys(re.findall(rf'href="({INVOICE}/charges/[^"]+)"', line))
    assert len(charges) == 3
    for charge in charges:
        steps = desk.page(charge)
        assert "computed again, the same" in steps
        assert "games@" in steps
        assert "0.05 EUR per use" in steps
        assert ">valid<" in steps
    house.change(lambda c: c.exec_driver_sql("UPDATE counter_report SET signature = zeroblob(64)"))
    assert "some evidence is not valid" in desk.page(f"{INVOICE}/lines/1")
    assert ">not valid<" in desk.page(next(iter(charges)))


def test_a_credit_note_is_made_once_of_lines_or_of_the_whole(billing: Desk, dealt: House) -> None:
    action = f"{INVOICE}/credit"
    fields = billing.hidden(INVOICE, action) | {"what": "lines", "net-1": "2.00", "reason": "was down"}
    said = billing.send(action, fields)
    assert said.startswith("Credit note G-")
    assert said.endswith("takes back 2.38 EUR.")
    assert billing.send(action, fields).startswith("It was done before: ")
    assert len(rows(dealt, CreditNoteRow)) == 1
    assert rows(dealt, CreditNoteRow)[0].by == "person:billing"
    billing.fill(INVOICE, action, 422, what="lines", reason="nothing chosen")
    billing.fill(INVOICE, action, 409, what="lines", **{"net-1": "99"}, reason="too much")
    billing.fill(INVOICE, action, 422, what="", reason="not said")
    billing.fill(INVOICE, action, what="all", reason="the rest")
    assert "All of it is credited." in billing.page(INVOICE)
    note = rows(dealt, CreditNoteRow)[0].number
    assert billing.client.get(f"{INVOICE}/credit-notes/{note}/pdf").content.startswith(b"%PDF")
    assert billing.client.get(f"/console/invoices/R-1/credit-notes/{note}/pdf").status_code == 404
    assert [action for _, action in trail(dealt)].count("credit_note.make") == 2


def test_a_payment_is_taken_once_and_settles_the_invoice(billing: Desk, dealt: House) -> None:
    action = f"{INVOICE}/pay"
    fields = billing.hidden(INVOICE, action) | {"amount": "8.32", "reference": "cash"}
    said = billing.send(action, fields)
    assert said == "8.32 EUR taken in, 8.32 EUR of it settle debts."
    billing.send(action, fields)
    assert len(rows(dealt, PaymentRow)) == 1
    assert "settled" in billing.page(INVOICE)
    assert "stand to the account" in billing.fill(INVOICE, action, amount="1")


def test_a_dispute_is_held_and_released(billing: Desk, dealt: House) -> None:
    billing.fill(INVOICE, f"{INVOICE}/hold", reason="never used", line="1")
    assert "Line 1 is held" in billing.page(INVOICE)
    assert billing.fill(INVOICE, f"{INVOICE}/release", line="1") == "It is released."
    assert [action for _, action in trail(dealt)][:2] == ["dispute.release", "dispute.hold"]


def test_an_invoice_is_sent_once_however_often_the_form_comes(billing: Desk, dealt: House) -> None:
    action = f"{INVOICE}/send"
    fields = billing.hidden(INVOICE, action) | {"to": "erika@muster.example", "form": "pdf"}
    assert "waits for the worker" in billing.send(action, fields)
    billing.send(action, fields)
    assert [row.state for row in rows(dealt, InvoiceDispatch)] == ["waiting"]
    send_due_invoices(dealt.engine, dealt.operator.settings, dealt.clock.now())
    assert "erika@muster.example" in billing.page(INVOICE)
    assert list((dealt.operator.data / "outbox").glob("*.eml"))
    assert "no e-mail address" in billing.fill(INVOICE, action, 422, to="")
    assert "is no e-mail address" in billing.fill(INVOICE, action, 422, to="a@b, c@d")
    dealt.change(lambda c: c.execute(update(table(InvoiceDispatch)).values(state="bounced", reason=SCRIPT)))
    text = billing.page(INVOICE)
    assert "did not arrive (bounced)" in text
    assert SCRIPT not in text


@pytest.mark.parametrize(("form", "begin"), [("pdf", b"%PDF"), ("csv", b""), ("json", b"{")])
def test_an_invoice_is_downloaded_under_its_own_number(billing: Desk, form: str, begin: bytes) -> None:
    answer = billing.client.get(f"{INVOICE}/download/{form}")
    assert answer.status_code == 200
    assert answer.content.startswith(begin)
    assert answer.headers["content-disposition"] == f'attachment; filename="{NUMBER}.{form}"'


@pytest.mark.parametrize(
    "path",
    [
        "/console/invoices/..%2f..%2fetc%2fpasswd/download/pdf", "/console/invoices/../../etc/passwd",
        f"{INVOICE}/download/..%2f..%2fkeys", "/console/months/..%2f..%2fdata/invoices.zip?watch=" + "0" * 32,
        f"{INVOICE}/credit-notes/..%2fx/pdf",
    ],
)  # fmt: skip
def test_a_download_leaves_no_way_to_other_files(billing: Desk, path: str) -> None:
    answer = billing.client.get(path, headers=HTML)
    assert answer.status_code in (404, 422)
    assert b"root:" not in answer.content


# Months.


def waited(desk: Desk, month: str) -> str:
    """The page of the month once its job has ended."""
    for _ in range(200):
        text = desk.page(month)
        if "is under way" not in text:
            return text
        time.sleep(0.05)
    raise AssertionError("the job never ended")


def test_a_month_is_drafted_approved_and_made_final(house: House, site: Site) -> None:
    house.user().take("game", "buy")
    house.clock.advance(timedelta(days=40))
    desk, month = Desk(site, "billing"), f"/console/months/{MONTH}"
    assert "Run the bills" in desk.page(month)
    answer = desk.client.post(f"{month}/run", data=desk.hidden(month, f"{month}/run") | {"how": "draft"})
    watch = answer.headers["location"]
    assert watch.startswith(f"{month}?job=")
    assert "Approve 1 drafts" in waited(desk, month)
    part = desk.client.get(watch.replace("?", "/job?"), headers=HTML)
    assert "has ended: 1 drafts made now" in part.text
    assert part.headers["x-live"] == "done"
    assert "1 drafts are approved" in desk.fill(month, f"{month}/approve")
    desk.fill(month, f"{month}/finalise")
    assert "See all 1" in waited(desk, month)
    assert len(rows(house, InvoiceRow)) == 1
    made = [action for _, action in trail(house)]
    for action in ("bill_run.start", "bill_run.approve", "bill_run.finalise"):
        assert action in made
    desk.send(f"{month}/approve", desk.hidden(month, f"{month}/run"), 409)


def test_drafts_are_thrown_away_and_made_anew(house: House, site: Site) -> None:
    house.user().take("game", "buy")
    house.clock.advance(timedelta(days=40))
    desk, month = Desk(site, "billing"), f"/console/months/{MONTH}"
    desk.fill(month, f"{month}/run", how="draft")
    waited(desk, month)
    assert desk.fill(month, f"{month}/discard").startswith("1 drafts are thrown away")
    assert "goes on where it stopped" in desk.page(month)
    desk.fill(month, f"{month}/run")
    assert "Approve 1 drafts" in waited(desk, month)


def test_an_open_month_needs_a_day_and_books_are_closed_when_it_is_over(house: House, site: Site) -> None:
    desk, month = Desk(site, "billing"), f"/console/months/{MONTH}"
    assert "not over" in desk.fill(month, f"{month}/run", 409)
    desk.fill(month, f"{month}/run", 422, until="tomorrow")
    over = "/console/months/2026-10"
    assert "are closed" in desk.fill(over, f"{over}/lock")
    assert "are open again" in desk.fill(over, f"{over}/unlock")
    desk.send(f"{month}/lock", desk.hidden(month, f"{month}/run"), 409)
    assert NOW.month == 11


def test_all_pdfs_of_a_month_come_as_one_archive_and_the_page_tells_how_far_it_is(billing: Desk, dealt: House) -> None:
    page = billing.page(f"/console/months/{MONTH}")
    link = re.search(r'href="(/console/months/2026-11/invoices\.zip\?watch=([0-9a-f]{32}))"', page)
    assert link
    packing = f"/console/months/{MONTH}/packing?watch={link[2]}"
    before = billing.client.get(packing)
    assert "progress" not in before.text
    answer = billing.client.get(link[1])
    assert answer.headers["content-disposition"] == f'attachment; filename="invoices-{MONTH}.zip"'
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [f"{NUMBER}.pdf"]
        assert archive.read(f"{NUMBER}.pdf").startswith(b"%PDF")
    after = billing.client.get(packing)
    assert "All 1 invoices are in the archive" in after.text
    assert after.headers["x-live"] == "done"


def test_a_month_is_sent_by_e_mail_once(billing: Desk, dealt: House) -> None:
    month = f"/console/months/{MONTH}"
    fields = billing.hidden(month, f"{month}/send")
    assert "1 have no e-mail address: R-2026-000001" in billing.send(f"{month}/send", fields)
    dealt.change(lambda c: c.execute(update(table(Account)).values(email="a@b.example")))
    assert billing.fill(month, f"{month}/send").startswith("1 invoices wait for the worker")
    assert len(rows(dealt, InvoiceDispatch)) == 1
    transact(dealt.engine, lambda c: c.execute(update(table(InvoiceDispatch)).values(state="sent")))
    assert f'action="{month}/send"' not in billing.page(month)
