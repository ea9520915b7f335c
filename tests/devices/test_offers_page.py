"""The page of a device's user: from the link to the agreement."""

from __future__ import annotations

import base64
from datetime import timedelta

import pytest
from device_samples import DeviceHouse
from operator_samples import DAY, HOUR, PLAIN

from charging.ledger.book import open_account
from offers.selection import NEEDS_PACKAGE, explain
from operator_server import parties
from operator_server.delivery.desk import BY_SERVER
from operator_server.devices.evidence import decode_proof
from operator_server.devices.outbox import send_due
from operator_server.negotiation.menu import takes_packages
from operator_server.store.accounting import Charge
from operator_server.store.dealings import Agreement, Delivery, Installation, QuoteRow, Rejection
from operator_server.store.devices import WebToken
from operator_server.store.invitations import WebSession
from signalling.clock import from_micros
from signalling.documents import (
    Confirmation,
    DeliveryGrant,
    DeliveryReceipt,
    Quote,
    agreement_digest,
    decode_document,
    document_digest,
)
from signalling.messages import Signed
from signalling.proof import check


def test_a_one_off_service_is_agreed_activated_and_charged_once(house: DeviceHouse) -> None:
    person, menu = house.at_menu()
    done = person.take(menu, "hotline")
    assert done.status == 200
    assert "Done: Hotline is switched on" in done.text
    [agreement] = house.rows(Agreement)
    assert (agreement.state, agreement.mode, agreement.evidence_kind) == ("installed", "buy", "web_token")
    [installation] = house.rows(Installation)
    assert installation.installed_at == house.clock.now()
    [charge] = house.rows(Charge)
    assert (charge.net, charge.kind) == (5_000_000, "delivery")
    assert house.unbilled().balance == 5_000_000
    again = person.get("/offers")
    assert not [form for form in again.forms if form.fields.get("offer") == "hotline"]
    assert "Hotline" in again.text


def test_the_evidence_is_what_was_shown_and_posted(house: DeviceHouse) -> None:
    person, menu = house.at_menu()
    quote_page = person.send(menu, "request", menu.form("request", offer="hotline"))
    form = quote_page.form("confirm")
    person.send(quote_page, "confirm", form)
    [agreement], [token] = house.rows(Agreement), house.rows(WebToken)
    shown = base64.urlsafe_b64decode(form.fields["document"])
    assert agreement.confirmation == shown
    confirmation = decode_document(Confirmation, shown)
    [quote] = house.rows(QuoteRow)
    assert confirmation.quote_digest == document_digest(quote.document)
    proof = decode_proof(agreement.proof)
    assert (proof.token, proof.token_digest) == (token.id, token.token_digest)
    assert from_micros(proof.at) == house.clock.now()
    assert form.fields["document"].rstrip("=").encode() in proof.posted
    assert agreement.digest == agreement_digest(
        Signed(quote.document, quote.signature), Signed(agreement.confirmation, agreement.proof)
    )
    for secret in person.cookies.values():
        assert secret.encode() not in agreement.proof


def test_the_server_signs_grant_and_receipt_in_the_devices_place(house: DeviceHouse) -> None:
    person, menu = house.at_menu()
    person.take(menu, "hotline")
    [delivery], key = house.rows(Delivery), house.operator.keys.public_key()
    assert delivery.receipt is not None
    assert delivery.receipt_signature is not None
    assert (delivery.state, delivery.reason) == ("installed", BY_SERVER)
    check(key, DeliveryGrant.PURPOSE, Signed(delivery.grant, delivery.grant_signature))
    receipt = check(key, DeliveryReceipt.PURPOSE, Signed(delivery.receipt, delivery.receipt_signature))
    assert decode_document(DeliveryReceipt, receipt).reason == BY_SERVER


def test_a_confirmation_that_is_posted_twice_is_one_agreement(house: DeviceHouse) -> None:
    person, menu = house.at_menu()
    quote = person.send(menu, "request", menu.form("request", offer="hotline"))
    first = person.send(quote, "confirm", quote.form("confirm"))
    second = person.send(quote, "confirm", quote.form("confirm"))
    assert (first.path, second.status) == (second.path, 200)
    assert len(house.rows(Agreement)) == len(house.rows(Charge)) == 1


@pytest.mark.requirement("S10")
def test_a_limit_below_the_least_is_countered_and_one_above_is_agreed(house: DeviceHouse) -> None:
    person, menu = house.at_menu()
    offer = menu.form("request", offer="volume")
    quote = person.send(menu, "request", offer, mode="per-use", limit="0,50")
    assert "This is what we offer instead" in quote.text
    assert "€2.00" in quote.text
    better = person.send(quote, "propose", quote.form("propose"), limit="7.50")
    assert "Your wish is accepted" in better.text
    done = person.send(better, "confirm", better.form("confirm"))
    assert "Use is counted and billed by the month" in done.text
    [agreement] = house.rows(Agreement)
    assert (agreement.mode, agreement.spending_limit) == ("per-use", 7_500_000)
    assert decode_document(Confirmation, agreement.confirmation).spending_limit == 7_500_000
    assert house.rows(Charge) == []


def test_a_quote_says_terms_price_tax_and_total(house: DeviceHouse) -> None:
    person, menu = house.at_menu()
    offer = menu.form("request", offer="volume")
    by_use = person.send(menu, "request", offer, mode="per-use")
    assert "Billed by the month." in by_use.text
    assert "€0.05 per use, 10 included per month, plus 19% tax" in by_use.text
    once = person.send(by_use, "propose", by_use.form("propose"), mode="flat")
    for text in ("€9.00", "€1.71", "€10.71", "Order with obligation to pay"):
        assert text in once.text


@pytest.mark.requirement("S5")
def test_what_is_rejected_is_shown_no_more(house: DeviceHouse) -> None:
    person, menu = house.at_menu()
    after = person.send(menu, "reject", menu.form("reject", offer="hotline"))
    assert "Hotline is not shown to you any more" in after.text
    assert [row.product for row in house.rows(Rejection)] == ["hotline"]
    assert not [form for form in after.forms if form.fields.get("offer") == "hotline"]


def test_what_is_postponed_or_declined_stays_in_the_menu(house: DeviceHouse) -> None:
    person, menu = house.at_menu()
    later = person.send(menu, "later", menu.form("later", offer="hotline"))
    assert "You can decide about Hotline later" in later.text
    quote = person.send(later, "request", later.form("request", offer="hotline"))
    back = person.send(quote, "decline", quote.form("decline"))
    assert "Nothing was ordered" in back.text
    assert back.form("request", offer="hotline")
    assert house.rows(Agreement) == []


def test_only_what_needs_no_package_is_in_the_menu(house: DeviceHouse) -> None:
    _, menu = house.at_menu()
    assert [form.fields["offer"] for form in menu.forms if "request" in form.buttons] == [
        "volume", "news", "hotline",
    ]  # fmt: skip


def test_why_a_device_is_not_offered_a_package_is_said(house: DeviceHouse) -> None:
    with house.engine.connect() as connection:
        told = {
            each.offer.id: each.reasons
            for each in explain(
                house.offers.memory, PLAIN, hidden_products=(), groups=(), now=house.clock.now(),
                takes_packages=takes_packages(connection, "D-1"),
            )
        }  # fmt: skip
        assert takes_packages(connection, "T-1")
    assert told["hotline"] == ()
    assert told["game"] == (NEEDS_PACKAGE,)


def test_an_offer_with_a_package_is_refused_even_if_it_is_asked_for(house: DeviceHouse) -> None:
    person, menu = house.at_menu()
    form = menu.form("request", offer="hotline")
    answer = person.send(menu, "request", form, offer="game", version=house.user().version("game"), mode="buy")
    assert answer.status == 409
    assert house.rows(QuoteRow) == []


@pytest.mark.requirement("S9")
def test_who_cannot_pay_is_told_so_and_nothing_is_quoted(house: DeviceHouse) -> None:
    person, menu = house.at_menu()
    house.change(lambda c: open_account(c, "A-1", "EUR", 0))
    answer = person.send(menu, "request", menu.form("request", offer="hotline"))
    assert answer.status == 409
    assert "credit" in answer.text
    assert house.rows(QuoteRow) == []


def test_a_limit_that_is_no_amount_changes_nothing(house: DeviceHouse) -> None:
    person, menu = house.at_menu()
    answer = person.send(menu, "request", menu.form("request", offer="volume"), mode="per-use", limit="a lot")
    assert answer.status == 409
    assert "such as 10.00" in answer.text
    assert house.rows(QuoteRow) == []


def test_an_expired_quote_cannot_be_confirmed(house: DeviceHouse) -> None:
    person, menu = house.at_menu()
    quote = person.send(menu, "request", menu.form("request", offer="hotline"))
    house.clock.advance(timedelta(minutes=20))
    answer = person.send(quote, "confirm", quote.form("confirm"))
    assert answer.status == 409
    assert "has expired" in answer.text
    assert house.rows(Agreement) == []


def test_another_users_quote_and_agreement_are_not_there(house: DeviceHouse) -> None:
    person, menu = house.at_menu()
    quote = person.send(menu, "request", menu.form("request", offer="hotline"))
    other, others_menu = house.at_menu("D-2")
    assert other.get(quote.path.partition("?")[0]).status == 404
    stamp = others_menu.form("close").fields["csrf"]
    path, form = quote.path.partition("?")[0], quote.form("confirm")
    for action, status in (("confirm", 403), ("decline", 404), ("propose", 404)):
        values = form.fields | {"csrf": stamp, "action": action, "mode": "buy"}
        assert other._ask("POST", path, values).status == status
    assert [row.state for row in house.rows(QuoteRow)] == ["open"]
    done = person.send(quote, "confirm", quote.form("confirm"))
    assert done.status == 200
    assert other.get(done.path).status == 404


def test_a_document_that_was_altered_is_refused(house: DeviceHouse) -> None:
    person, menu = house.at_menu()
    quote = person.send(menu, "request", menu.form("request", offer="volume"), mode="per-use", limit="5")
    form = quote.form("confirm")
    said = decode_document(Confirmation, base64.urlsafe_b64decode(form.fields["document"]))
    forged = Confirmation(said.agreement, said.quote, said.quote_digest, said.mode, said.at, None).encode()
    answer = person.send(quote, "confirm", form, document=base64.urlsafe_b64encode(forged).decode())
    assert answer.status == 403
    assert house.rows(Agreement) == []


def test_the_language_is_the_users_then_the_browsers(house: DeviceHouse) -> None:
    person, menu = house.at_menu("D-2")
    assert '<html lang="de">' in menu.html
    assert "Datenvolumen" in menu.text
    quote = person.send(menu, "request", menu.form("request", offer="volume"), mode="per-use")
    assert "Wird monatlich abgerechnet." in quote.text
    [row] = house.rows(QuoteRow)
    assert decode_document(Quote, row.document).mode.label == "Nach Volumen"
    assert '<html lang="de">' in house.person("fr, de;q=0.8, en;q=0.5").get(f"/o/{'A' * 43}").html
    assert '<html lang="en">' in house.person("fr").get(f"/o/{'A' * 43}").html


def test_texts_of_offers_and_names_are_shown_as_texts(house: DeviceHouse) -> None:
    person, menu = house.at_menu()
    quote = person.send(menu, "request", menu.form("request", offer="news"))
    done = person.send(quote, "confirm", quote.form("confirm"))
    for page in (menu, quote, done, person.get("/offers?note=later:<script>alert(4)</script>")):
        assert "<script" not in page.html
        assert "<img" not in page.html
        assert "<b>" not in page.html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in menu.html


# The link and the session.


def test_a_link_opens_once(house: DeviceHouse) -> None:
    link = house.link()
    house.person().open(link)
    second = house.person().get(link.removeprefix("https://localhost:7780"))
    assert second.status == 410
    assert "opened already" in second.text
    assert second.form("").action.endswith("/again")
    assert len(house.rows(WebSession)) == 1


def test_looking_at_a_link_uses_it_up_for_nobody(house: DeviceHouse) -> None:
    link = house.link()
    path = link.removeprefix("https://localhost:7780")
    assert [house.person().get(path).status for _ in range(3)] == [200] * 3
    assert house.person().open(link).status == 200


def test_an_old_link_is_gone_and_an_unknown_one_is_not_there(house: DeviceHouse) -> None:
    path = house.link().removeprefix("https://localhost:7780")
    house.clock.advance(14 * DAY)
    page = house.person().get(path)
    assert page.status == 410
    assert "too old" in page.text
    for unknown in ("A" * 43, "x", "..%2f..%2f", "é" * 43, path[3:-1]):
        assert house.person().get(f"/o/{unknown}").status == 404


def test_a_new_link_goes_to_the_known_address_and_not_too_often(house: DeviceHouse) -> None:
    link = house.link()
    person = house.person()
    menu = person.open(link)
    stale = person.get(link.removeprefix("https://localhost:7780"))
    house.clock.advance(HOUR)
    for _ in range(3):
        assert "on its way" in person.send(stale, "", stale.forms[0]).text
    send_due(house.operator)
    assert [message["To"] for message in house.messages()] == ["a-1@users.example"] * 2
    assert menu.status == 200


def test_a_session_ends_after_its_time_and_when_it_is_closed(house: DeviceHouse) -> None:
    person, menu = house.at_menu()
    left = person.send(menu, "close", menu.form("close"))
    assert left.status == 200
    assert person.cookies == {}
    person, menu = house.at_menu("D-2")
    house.clock.advance(timedelta(minutes=31))
    assert person.get("/offers").status == 403
    answer = person.send(menu, "request", menu.form("request", offer="hotline"))
    assert answer.status == 403
    assert house.rows(QuoteRow) == []


def test_a_cookie_that_was_there_before_is_not_taken_over(house: DeviceHouse) -> None:
    person = house.person()
    person.cookies["__Host-offers"] = "B" * 43
    person.open(house.link())
    assert person.cookies["__Host-offers"] != "B" * 43
    stranger = house.person()
    stranger.cookies["__Host-offers"] = "B" * 43
    assert stranger.get("/offers").status == 403


def test_a_device_that_has_another_user_now_is_closed_to_the_first(house: DeviceHouse) -> None:
    person, _ = house.at_menu()
    house.change(lambda c: parties.bind_terminal(c, "D-1", "A-2", house.clock.now()))
    assert person.get("/offers").status == 403


# What stands before every answer.


def test_a_form_needs_the_stamp_of_its_session(house: DeviceHouse) -> None:
    person, menu = house.at_menu()
    form = menu.form("reject", offer="hotline")
    for stamp in ("", "0" * 64, "ä"):
        assert person.send(menu, "reject", form, csrf=stamp).status == 403
    assert house.rows(Rejection) == []


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "cross-site"}, b"a=1", 403),
        ({"Content-Type": "application/json"}, b"{}", 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, b"a=" + b"x" * 20_000, 413),
        ({"Content-Type": "application/x-www-form-urlencoded"}, b"a=1&a=2", 400),
        ({"Content-Type": "application/x-www-form-urlencoded"}, b"&".join(b"f%d=1" % n for n in range(50)), 400),
        ({"Content-Type": "application/x-www-form-urlencoded"}, b"a=%ff%fe", 400),
        ({"Content-Type": "application/x-www-form-urlencoded"}, b"\xff", 400),
        ({"Content-Type": "application/x-www-form-urlencoded"}, b"action=dance", 403),
    ],
)
def test_what_is_no_form_of_ours_is_refused(
    house: DeviceHouse, headers: dict[str, str], body: bytes, status: int
) -> None:
    person, _ = house.at_menu()
    cookie = {"Cookie": f"__Host-offers={person.cookies['__Host-offers']}"}
    answered, _, content = person._send("POST", "/offers", headers | cookie, body)
    assert answered == status
    assert b"<h1>" in content


def test_every_page_lets_the_browser_do_nothing_but_show_it(house: DeviceHouse) -> None:
    person, menu = house.at_menu()
    pages = [menu, person.get("/o/unknown"), house.person().get("/offers"), person.get("/offers/quote/none")]
    for page in pages:
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert page.headers["cache-control"] == "no-store"
        assert page.headers["referrer-policy"] == "no-referrer"
        assert "<script" not in page.html


def test_the_cookie_is_for_this_site_alone_and_for_no_script(house: DeviceHouse) -> None:
    link, seen = house.link(), []
    person = house.person()
    keep = person._keep_cookies
    person._keep_cookies = lambda headers: (seen.extend(headers), keep(headers))[1]  # type: ignore[method-assign]  # a test's tap
    person.open(link)
    [cookie] = [value for name, value in seen if name.lower() == "set-cookie"]
    for part in ("HttpOnly", "Secure", "SameSite=strict", "Path=/", "Max-Age=1800"):
        assert part in cookie


def test_an_address_that_asks_too_often_is_told_to_wait(house: DeviceHouse) -> None:
    person = house.person()
    answers = [person.get("/o/x") for _ in range(100)]
    assert {page.status for page in answers} == {404, 429}
    assert answers[-1].headers["retry-after"] == "60"
