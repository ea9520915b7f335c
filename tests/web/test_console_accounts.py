"""Accounts in the console: found, helped, barred, their agreements ended."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from operator_samples import House
from sqlalchemy import update
from web_desk import ACCOUNT, INVOICE, SCRIPT, Desk, agreement_of, pages, rows, trail
from web_money import subscribe
from web_samples import Site

from operator_server.balances.buckets import add_bucket
from operator_server.store.dealings import Agreement, QuoteRow, Rejection
from operator_server.store.parties import Account, Subscriber
from operator_server.store.rows import table
from signalling.messages import Reject


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
