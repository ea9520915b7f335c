"""Accounts, invoices and months in the console: each page for each role, and each form as it is sent."""

from __future__ import annotations

import io
import re
import zipfile
from datetime import timedelta

import pytest
from operator_samples import NOW, House
from sqlalchemy import update
from web_desk import ACCOUNT, HTML, INVOICE, MONTH, NUMBER, SCRIPT, Desk, agreement_of, pages, rows, trail, waited
from web_money import report
from web_samples import Site

from operator_server.billing.dispatch import send_due_invoices
from operator_server.people.roles import ROLES
from operator_server.store.accounting import InvoiceRow
from operator_server.store.dealings import Agreement
from operator_server.store.dispatch import InvoiceDispatch
from operator_server.store.parties import Account
from operator_server.store.receivables import CreditNoteRow, PaymentRow
from operator_server.store.rows import table
from operator_server.store.store import transact
from operator_server.web.console import months


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


def test_the_control_report_of_a_large_month_comes_after_its_page(
    billing: Desk, dealt: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    month = f"/console/months/{MONTH}"
    assert "Terminals that did not report" in billing.page(month)
    monkeypatch.setattr(months, "MANY", 0)
    page = billing.page(month)
    assert "Terminals that did not report" not in page
    assert f'data-live="{month}/report/live"' in page
    assert "Terminals that did not report" in billing.page(f"{month}/report")
    part = billing.client.get(f"{month}/report/live", headers=HTML)
    assert (part.headers["x-live"], "<html" in part.text, "Terminals that did not report" in part.text) == (
        "done",
        False,
        True,
    )
