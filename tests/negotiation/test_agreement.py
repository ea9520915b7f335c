"""Request, quote, counter-proposal, agreement: what is promised, and what is refused and leaves nothing behind."""

from __future__ import annotations

import pytest
from operator_samples import CENT, DAY, HOUR, PLAIN, PRICE_OF_GAME, House, User, opened

from charging.ledger.book import expire_reservations
from charging.ledger.tables import Reservation
from operator_server.delivery.publishing import withdraw
from operator_server.desk import Refused
from operator_server.parties import NewAccount, bind_terminal, create_account, replace_key, revoke_terminal
from operator_server.store.dealings import Agreement, QuoteRow
from operator_server.store.parties import Event
from signalling.documents import Confirmation, agreement_digest
from signalling.messages import Confirm, CounterProposal, Decline, Request, Signed
from signalling.proof import check, sign


def nothing_agreed(house: House) -> bool:
    return not house.rows(Agreement) and house.unbilled().reserved == 0


def test_a_quote_says_what_the_release_costs_and_until_when(house: House, user: User) -> None:
    quote = opened(house, user.request("game", "buy"))
    assert (quote.subscriber, quote.terminal, quote.offer, quote.release) == ("A-1", "T-1", "game", "1.0")
    assert (quote.amount, quote.tax, quote.currency) == (PRICE_OF_GAME, 1_330_000, "EUR")
    assert len(quote.digest) == 32
    assert quote.expires - quote.issued == 900 * 1_000_000


def test_a_quote_reserves_nothing(house: House, user: User) -> None:
    user.request()
    assert nothing_agreed(house)


@pytest.mark.requirement("S8")
@pytest.mark.parametrize("mode", ["per-use", "buy"])
def test_the_mode_that_the_user_selects_is_the_one_that_is_registered(house: House, user: User, mode: str) -> None:
    user.agree("game", mode)
    [row] = house.rows(Agreement)
    assert (row.mode, row.offer_id, row.subscriber_id) == (mode, "game", "A-1")


def test_an_agreement_reserves_what_falls_due_with_delivery(house: House, user: User) -> None:
    user.agree("game", "buy")
    assert house.unbilled().reserved == PRICE_OF_GAME
    assert house.unbilled().balance == 0


@pytest.mark.parametrize(("offer", "mode"), [("notes", "free"), ("game", "per-use")])
def test_nothing_is_reserved_where_nothing_falls_due_with_delivery(
    house: House, user: User, offer: str, mode: str
) -> None:
    user.agree(offer, mode)
    assert house.unbilled().reserved == 0


@pytest.mark.parametrize("change", ["revoked", "replaced", "bound"])
def test_who_lost_key_or_user_since_the_logon_agrees_to_nothing(house: House, user: User, change: str) -> None:
    confirmation = user.confirmation(user.request("game", "buy"))
    now = house.clock.now()
    with house.operator.engine.begin() as connection:
        if change == "revoked":
            revoke_terminal(connection, "T-1", now)
        elif change == "replaced":
            replace_key(connection, "T-1", bytes([9] * 32), now)
        else:
            create_account(connection, NewAccount("A-9", "Other"), house.operator.settings.operator, now)
            bind_terminal(connection, "T-1", "A-9", now)
    with pytest.raises(Refused) as refused:
        user.say(Confirm(confirmation))
    assert refused.value.code == "barred"
    assert nothing_agreed(house)


@pytest.mark.requirement("S10")
def test_an_agreement_keeps_the_evidence_of_both_parties_byte_by_byte(house: House, user: User) -> None:
    quote = user.request()
    confirmation = user.confirmation(quote)
    agreed = user.say(Confirm(confirmation))
    [row] = house.rows(Agreement)
    [quoted] = house.rows(QuoteRow)
    assert check(house.operator.keys.public_key(), "quote", Signed(quoted.document, quoted.signature)) == quote.document
    assert Signed(row.confirmation, row.proof) == confirmation
    assert agreed.digest == row.digest == agreement_digest(quote, confirmation)
    assert row.evidence_kind == "ed25519"


def test_a_confirmation_that_is_repeated_makes_one_agreement(house: House, user: User) -> None:
    confirmation = Confirm(user.confirmation(user.request()))
    assert user.say(confirmation) == user.say(confirmation)
    house.clock.advance(DAY)
    assert user.say(confirmation).agreement == "agr-1"
    assert len(house.rows(Agreement)) == 1
    assert house.unbilled().reserved == PRICE_OF_GAME


def test_another_confirmation_under_the_same_id_is_a_conflict(house: House, user: User) -> None:
    user.confirm(user.request("game", "buy"), "agr-1")
    other = user.request("notes", "free")
    assert user.refused(user.confirm, other, "agr-1") == "agreement_conflict"
    assert [row.offer_id for row in house.rows(Agreement)] == ["game"]


def test_an_agreement_id_of_another_terminal_is_a_conflict(house: House, user: User) -> None:
    user.confirm(user.request("game", "buy"), "agr-1")
    stranger = house.user("T-3", "A-2")
    assert user.refused(stranger.confirm, stranger.request("game", "buy"), "agr-1") == "agreement_conflict"
    assert house.unbilled("A-2").reserved == 0


def test_a_quote_makes_one_agreement_only(house: House, user: User) -> None:
    quote = user.request()
    user.confirm(quote, "agr-1")
    assert user.refused(user.confirm, quote, "agr-2") == "quote_closed"
    assert len(house.rows(Agreement)) == 1


def test_two_open_quotes_for_one_product_are_not_both_agreed(house: House, user: User) -> None:
    first, second = user.request(), user.request()
    user.confirm(first, "agr-1")
    assert user.refused(user.confirm, second, "agr-2") == "already_agreed"
    assert house.unbilled().reserved == PRICE_OF_GAME


def test_an_expired_quote_cannot_be_confirmed(house: House, user: User) -> None:
    quote = user.request()
    house.clock.advance(HOUR)
    assert user.refused(user.confirm, quote) == "quote_expired"
    assert user.refused(user.propose, quote, "per-use") == "quote_expired"
    assert nothing_agreed(house)


@pytest.mark.parametrize("place", range(0, 200, 13))
def test_an_altered_byte_of_a_confirmation_is_refused(house: House, user: User, place: int) -> None:
    signed = user.confirmation(user.request())
    changed = bytearray(signed.document)
    changed[place % len(changed)] ^= 1
    altered = Confirm(Signed(bytes(changed), signed.signature))
    assert user.refused(user.say, altered) == "bad_document"
    assert nothing_agreed(house)


def test_a_confirmation_of_other_terms_than_quoted_is_refused(house: House, user: User) -> None:
    quote = user.request("game", "buy")
    assert user.refused(user.confirm, quote, mode="per-use") == "quote_altered"
    assert user.refused(user.confirm, quote, quote_digest=bytes(32)) == "quote_altered"
    assert user.refused(user.confirm, quote, spending_limit=5) == "quote_altered"
    assert user.refused(user.confirm, quote, quote="nobody-made-this") == "unknown_quote"
    assert nothing_agreed(house)


def test_a_document_that_is_none_is_refused(house: House, user: User) -> None:
    signed = sign(user.key, Confirmation.PURPOSE, b"\x93no map")
    assert user.refused(user.say, Confirm(signed)) == "bad_document"


def test_a_quote_for_another_terminal_or_subscriber_is_refused(house: House, user: User) -> None:
    quote = user.request()
    for other in (house.user("T-2", "A-1"), house.user("T-3", "A-2"), house.user("T-1", "A-2")):
        assert user.refused(other.confirm, quote) == "unknown_quote"
        assert user.refused(other.propose, quote, "per-use") == "unknown_quote"
        assert user.refused(other.say, Decline(opened(house, quote).quote)) == "unknown_quote"
    assert nothing_agreed(house)


@pytest.mark.requirement("S9")
def test_a_mode_for_others_is_refused_even_when_it_is_asked_for(house: House, user: User) -> None:
    assert user.refused(user.request, "game", "staff") == "mode_not_allowed"
    assert user.refused(user.propose, user.request("game", "buy"), "staff") == "mode_not_allowed"
    assert nothing_agreed(house)
    colleague = house.user("T-1", "A-1", "staff")
    assert opened(house, colleague.request("game", "staff")).amount == 0


@pytest.mark.requirement("S9")
def test_what_the_credit_does_not_cover_is_refused(house: House, user: User) -> None:
    for number in range(2):
        house.user(f"T-{number + 1}").agree("game", "buy")
    assert house.left() == 20_000_000 - 2 * PRICE_OF_GAME
    user.agree("hotline", "buy", "agr-service")
    other = house.user("T-2")
    assert user.refused(other.request, "hotline", "buy") == "no_credit"
    assert house.left() == 1_020_000


@pytest.mark.requirement("S9")
def test_credit_that_is_gone_since_the_quote_is_noticed_at_the_agreement(house: House, user: User) -> None:
    first, second = house.user("T-1"), house.user("T-2")
    quotes = [first.request("game", "buy"), second.request("game", "buy"), first.request("hotline", "buy")]
    service = second.request("hotline", "buy")
    first.confirm(quotes[0], "a"), second.confirm(quotes[1], "b"), first.confirm(quotes[2], "c")
    assert user.refused(second.confirm, service, "d") == "no_credit"
    assert {row.id for row in house.rows(Agreement)} == {"a", "b", "c"}
    assert {row.agreement_id for row in house.rows(Reservation)} == {"a", "b", "c"}


@pytest.mark.requirement("S9")
def test_a_price_in_a_currency_that_the_account_is_not_kept_in_is_refused(house: House, user: User) -> None:
    assert user.refused(user.request, "yen", "buy") == "mode_not_allowed"
    assert not house.rows(QuoteRow)


def test_only_what_stands_in_the_menu_can_be_requested(house: House, user: User) -> None:
    version = user.version("game")
    assert user.refused(user.say, Request("nothing", "nothing@1", "buy")) == "unknown_offer"
    assert user.refused(user.say, Request("game", "game@000000000000", "buy")) == "offer_changed"
    assert user.refused(user.say, Request("game", version, "cheap")) == "mode_not_allowed"
    never_asked = house.user("T-9", "A-1")
    assert user.refused(never_asked.say, Request("game", version, "buy")) == "not_offered"


def test_what_an_offer_needs_must_be_agreed_first(house: House, user: User) -> None:
    assert user.refused(user.request, "levels", "free") == "needs"
    user.agree("game", "buy")
    assert opened(house, user.request("levels", "free")).offer == "levels"


def test_what_is_on_its_way_is_not_agreed_again(house: House, user: User) -> None:
    user.agree("game", "buy")
    assert user.refused(user.request, "game", "per-use") == "already_agreed"


@pytest.mark.requirement("S6")
def test_what_was_installed_since_the_last_answer_is_present(house: House, user: User) -> None:
    early = user.request("game", "buy")
    user.take("game", "buy")
    assert user.refused(user.request, "game", "buy") == "already_present"
    assert user.refused(user.confirm, early, "agr-late") == "already_present"
    assert house.unbilled().balance == PRICE_OF_GAME
    assert house.unbilled().reserved == 0


def test_what_the_user_removed_can_be_taken_again(house: House, user: User) -> None:
    user.take("notes", "free")
    house.clock.advance(DAY)
    house.interrogated("T-1", PLAIN)
    assert opened(house, user.request("notes", "free")).offer == "notes"


def test_an_agreement_that_nobody_orders_gives_the_money_and_the_offer_back(house: House, user: User) -> None:
    agreed = user.agree("game", "buy")
    house.clock.advance(7 * DAY)
    again = user.agree("game", "buy", "agr-again")
    assert {row.id: row.state for row in house.rows(Agreement)} == {agreed.agreement: "ended", "agr-again": "agreed"}
    house.change(lambda c: expire_reservations(c, house.clock.micros()))
    assert house.unbilled().reserved == PRICE_OF_GAME
    assert user.refused(user.order, agreed) == "agreement_closed"
    assert user.granted(again).product == "game"


def test_an_agreement_on_a_release_that_is_withdrawn_gives_way_to_one_on_the_next(house: House, user: User) -> None:
    agreed = user.agree("game", "buy")
    house.change(lambda c: withdraw(c, "game", "1.0", "a fault", house.clock.now()))
    house.publish("game", "1.1", b"mended", sealed=True)
    assert opened(house, user.request("game", "buy")).release == "1.1"
    assert house.unbilled().reserved == 0
    assert user.refused(user.order, agreed) == "agreement_closed"


def test_a_quote_for_a_release_that_was_withdrawn_is_not_agreed(house: House, user: User) -> None:
    quote = user.request("game", "buy")
    house.change(lambda c: withdraw(c, "game", "1.0", "a fault", house.clock.now()))
    with pytest.raises(Refused, match=r"game 1\.0 was withdrawn: a fault") as no:
        user.confirm(quote)
    assert no.value.code == "release_revoked"
    assert nothing_agreed(house)


@pytest.mark.requirement("S10")
def test_the_terminal_may_answer_with_another_mode(house: House, user: User) -> None:
    first = user.request("game", "buy")
    answer = user.propose(first, "per-use")
    quote = opened(house, answer.quote)
    assert (answer.answer, quote.mode.mode, quote.amount) == ("accepted", "per-use", 0)
    assert quote.in_place_of == opened(house, first).quote
    assert user.refused(user.confirm, first) == "quote_closed"
    user.confirm(answer.quote)
    assert house.rows(Agreement)[0].mode == "per-use"


@pytest.mark.requirement("S10")
@pytest.mark.parametrize(
    ("asked", "answer", "quoted"),
    [
        (300 * CENT, "accepted", 300 * CENT),
        (50 * CENT, "countered", 100 * CENT),
        (9000 * CENT, "countered", 2000 * CENT),
        (None, "accepted", None),
    ],
)
def test_a_spending_limit_is_accepted_or_countered(
    house: House, user: User, asked: int | None, answer: str, quoted: int | None
) -> None:
    said = user.propose(user.request("game", "per-use"), "per-use", asked)
    assert said.answer == answer
    assert bool(said.reason) == (answer == "countered")
    assert opened(house, said.quote).spending_limit == quoted
    user.confirm(said.quote)
    assert house.rows(Agreement)[0].spending_limit == quoted


@pytest.mark.requirement("S10")
def test_a_spending_limit_that_cannot_be_is_refused_and_the_quote_stays(house: House, user: User) -> None:
    quote = user.request("game", "per-use")
    assert user.refused(user.propose, quote, "per-use", -1) == "bad_limit"
    assert user.refused(user.propose, quote, "buy", 3 * CENT) == "bad_limit"
    user.confirm(quote)
    assert house.rows(Agreement)[0].spending_limit is None


def test_a_limit_for_a_mode_that_is_paid_once_is_answered_without_one(house: House, user: User) -> None:
    said = user.propose(user.request("game", "per-use"), "buy", PRICE_OF_GAME)
    assert (said.answer, opened(house, said.quote).spending_limit) == ("countered", None)


def test_a_negotiation_ends_after_so_many_rounds(house: House, user: User) -> None:
    quote = user.request("game", "per-use")
    for limit in range(2, 6):
        quote = user.propose(quote, "per-use", limit * 100 * CENT).quote
    assert user.refused(user.propose, quote, "buy") == "too_many_rounds"
    user.confirm(quote)
    assert house.rows(Agreement)[0].spending_limit == 500 * CENT


def test_an_unknown_quote_is_no_ground_for_anything(house: House, user: User) -> None:
    assert user.refused(user.say, CounterProposal("q-1", "buy")) == "unknown_quote"
    assert user.refused(user.say, Decline("q-1")) == "unknown_quote"


def test_declining_closes_the_quote_and_rejects_nothing(house: House, user: User) -> None:
    quote = user.request("game", "buy")
    decline = Decline(opened(house, quote).quote)
    assert user.say(decline).offer == "game"
    assert user.say(decline).offer == "game"
    assert user.refused(user.confirm, quote) == "quote_closed"
    assert "game" in user.menu()
    assert sum(event.kind == "declined" for event in house.rows(Event)) == 1
