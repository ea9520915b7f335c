"""A person at a phone with a card: offers, modes, quotes and agreements, byte for byte across the card's interface."""

from __future__ import annotations

from datetime import timedelta

import pytest
from card_samples import CardHouse, Phone, deliver

from operator_server.cards import channel
from operator_server.cards.evidence import decode_proof
from operator_server.cards.registry import keys_of, require_card
from operator_server.store.configurations import Interrogation, InterrogationOrder
from operator_server.store.dealings import Agreement, Installation, QuoteRow, Rejection
from operator_server.store.parties import Event, Notice
from operator_server.store.rows import add
from signalling.card.keys import agreement_mac
from signalling.card.profile import Ability, make_profile
from signalling.card.secured import Status
from signalling.documents import document_digest
from terminal_sim.handset import Key


def test_a_card_is_interrogated_and_its_user_sees_the_offers(house: CardHouse) -> None:
    phone = house.phone()
    [asked] = house.rows(Interrogation, terminal_id="SIM-1")
    assert (asked.trigger, asked.outcome, asked.sections_fetched) == ("logon", "answered", 4)
    phone.open_offers()
    assert phone.shows[:2] == ["Data volume", "News"]


@pytest.mark.requirement("S17")
def test_the_whole_dialogue_ends_in_an_agreement_that_the_cards_mac_proves(house: CardHouse) -> None:
    phone = house.phone()
    phone.open_offers()
    phone.choose("Data volume")
    assert phone.shows == ["Counted where you are."]
    phone.press(Key.OK)
    assert phone.shows[0].startswith("By volume: ")
    assert phone.shows[-2:] == ["Later", "Not interested"]
    phone.choose("Once")
    assert "9" in phone.shows[0]
    assert "Now" in phone.shows[0]
    phone.press(Key.OK, "1")
    assert phone.shows[0].startswith("Agreed: Data volume.")
    [agreement] = house.rows(Agreement, terminal_id="SIM-1")
    proof = decode_proof(agreement.proof)
    assert (agreement.evidence_kind, agreement.state, proof.kind) == ("card_mac", "installed", "card_mac")
    keys = house.change(lambda c: keys_of(house.operator.vault, require_card(c, "SIM-1")))
    assert proof.mac == agreement_mac(keys.agreement, agreement.confirmation, document_digest(proof.shown))
    assert b"Data volume" in proof.shown
    assert [row.product for row in house.rows(Installation, terminal_id="SIM-1")] == ["volume"]
    assert house.left() == 20_000_000 - 9_000_000
    assert not phone.refused
    phone.press(Key.OK)
    assert "Data volume" not in phone.shows


def at_offer(house: CardHouse, title: str = "News") -> Phone:
    """A user at the screen of an offer's modes."""
    phone = house.phone()
    phone.open_offers()
    phone.choose(title)
    phone.press(Key.OK)
    return phone


def rejected(house: CardHouse) -> list[str]:
    return [row.product for row in house.rows(Rejection)]


def happened(house: CardHouse, kind: str) -> int:
    return len(house.rows(Event, kind=kind))


@pytest.mark.requirement("S17")
def test_the_reject_line_rejects_and_the_list_goes_on_without_it(house: CardHouse) -> None:
    phone = at_offer(house)
    phone.choose("Not interested")
    assert phone.shows == ["News is not shown to you again."]
    phone.press(Key.OK)
    assert "News" not in phone.shows
    assert "Data volume" in phone.shows
    assert rejected(house) == ["news"]


@pytest.mark.requirement("S17")
def test_a_refusal_on_an_offers_own_screen_rejects_it(house: CardHouse) -> None:
    at_offer(house).press(Key.REFUSE)
    assert rejected(house) == ["news"]


@pytest.mark.requirement("S17")
@pytest.mark.parametrize("at_text", [True, False])
@pytest.mark.parametrize("how", ["red", "silence", "busy"])
def test_red_key_silence_and_a_busy_phone_postpone(house: CardHouse, how: str, at_text: bool) -> None:
    phone = house.phone()
    phone.open_offers()
    if at_text:
        phone.choose("News")
    else:
        phone.choose("News")
        phone.press(Key.OK)
    if how == "red":
        phone.press(Key.RED)
    elif how == "silence":
        phone.handset.wait()
        phone.pump()
    else:
        phone.handset.in_call = True
        phone.press(Key.HELP if not at_text else Key.OK)
        phone.handset.in_call = False
    assert rejected(house) == []
    assert happened(house, "postponed") == 1
    phone.open_offers()
    assert "News" in phone.shows


@pytest.mark.requirement("S17")
@pytest.mark.parametrize("key", [Key.RED, Key.REFUSE, Key.BACK])
def test_no_key_at_the_list_says_anything_of_any_offer(house: CardHouse, key: Key) -> None:
    phone = house.phone()
    phone.open_offers()
    phone.press(key)
    assert rejected(house) == []
    assert happened(house, "postponed") == 0
    phone.open_offers()
    assert phone.shows[:2] == ["Data volume", "News"]


def test_back_leads_from_each_screen_to_the_one_before(house: CardHouse) -> None:
    phone = at_offer(house)
    phone.choose("Free")
    assert phone.shows[0].startswith("News. Free")
    phone.press(Key.BACK)
    assert phone.shows[0].startswith("Free")
    phone.press(Key.BACK)
    assert phone.shows[:2] == ["Data volume", "News"]
    phone.press(Key.BACK)
    assert phone.handset.screen.kind == "idle"
    assert [row.state for row in house.rows(QuoteRow)] == ["declined"]


def test_help_explains_and_comes_back_to_the_screen(house: CardHouse) -> None:
    phone = house.phone()
    phone.handset.open_menu()
    phone.press(Key.HELP)
    assert phone.shows[0].startswith("Choose an offer")
    phone.press(Key.OK)
    phone.open_offers()
    phone.press(Key.HELP)
    assert phone.shows[0].startswith("Choose an offer")
    phone.press(Key.OK)
    assert phone.shows[:2] == ["Data volume", "News"]
    phone.choose("News")
    phone.press(Key.OK, Key.HELP)
    assert phone.shows == ["Every morning."]


@pytest.mark.requirement("S17")
def test_a_spending_limit_is_proposed_and_the_answer_is_what_is_agreed(house: CardHouse) -> None:
    phone = house.phone()
    phone.open_offers()
    phone.choose("Data volume")
    phone.press(Key.OK)
    phone.choose("By volume")
    phone.press(Key.OK, "2")
    assert phone.shows == ["Limit in EUR:"]
    phone.enter("nothing")
    assert phone.shows == ["Write an amount such as 5.00"]
    phone.press(Key.OK)
    phone.enter("1,50")
    assert phone.shows[0].startswith("Not quite what you proposed:")
    assert "2.00" in phone.shows[0]
    phone.press(Key.OK, "2")
    phone.enter("5")
    assert phone.shows[0].startswith("Accepted.")
    phone.press(Key.OK, "1")
    [agreement] = house.rows(Agreement)
    assert (agreement.mode, agreement.spending_limit) == ("per-use", 5_000_000)


def test_the_servers_no_is_shown_and_leads_back(house: CardHouse) -> None:
    phone = at_offer(house, "Data volume")
    house.change(lambda c: c.exec_driver_sql("UPDATE ledger_account SET credit_limit = 0"))
    phone.choose("Once")
    phone.press(Key.OK, "1")
    assert house.rows(Agreement) == []


@pytest.mark.requirement("S17")
@pytest.mark.parametrize(
    "abilities",
    [
        {Ability.SELECT_ITEM, Ability.DISPLAY_TEXT},
        {Ability.SELECT_ITEM},
        {Ability.GET_INKEY},
        {Ability.GET_INKEY, Ability.DISPLAY_TEXT, Ability.GET_INPUT, Ability.SET_UP_MENU, Ability.MENU_SELECTION},
    ],
    ids=lambda each: "+".join(sorted(ability.name for ability in each)),
)
def test_a_phone_gets_the_dialogue_that_it_can_do(house: CardHouse, abilities: set[Ability]) -> None:
    needed = {Ability.PROFILE_DOWNLOAD, Ability.SMS_PP_DOWNLOAD, Ability.SEND_SHORT_MESSAGE}
    phone = house.phone(make_profile(needed | abilities))
    if Ability.SET_UP_MENU in abilities:
        phone.open_offers()

    def take(line: str) -> None:
        """Choose a line or its digit, past texts."""
        for _ in range(10):
            screen = phone.handset.screen
            if line in [item.text[: len(line)] for item in screen.lines]:
                return phone.choose(line)
            digits = [row.split(" ", 1)[0] for row in screen.title.split("\n")[1:] if row[2:].startswith(line)]
            if screen.kind == "key" and digits:
                return phone.press(digits[0])
            phone.press("1" if screen.kind == "key" else Key.OK)
        raise AssertionError(f"{line}: never came; the phone shows {phone.shows}")

    for line in ("News", "Free", "Yes"):
        take(line)
    [agreement] = house.rows(Agreement)
    assert (agreement.offer_id, agreement.evidence_kind) == ("news", "card_mac")


def test_a_phone_that_can_send_nothing_is_left_alone(house: CardHouse) -> None:
    phone = house.phone(make_profile({Ability.PROFILE_DOWNLOAD, Ability.SET_UP_MENU, Ability.MENU_SELECTION}))
    assert phone.heard == []
    assert house.rows(Interrogation, terminal_id="SIM-1") == []


@pytest.mark.requirement("S17")
def test_the_same_phone_is_asked_for_nothing_more_and_another_one_is(house: CardHouse) -> None:
    phone = house.phone()
    memory = phone.card.memory
    house.phone(memory=memory)
    assert len(house.rows(Interrogation, terminal_id="SIM-1")) == 1
    house.phone(memory=memory, imei="490154203237518")
    last = house.rows(Interrogation, terminal_id="SIM-1")[-1]
    assert (last.trigger, last.changed, last.sections_fetched) == ("logon", "new", 4)
    house.phone(memory=memory)
    assert [row.sections_fetched for row in house.rows(Interrogation, terminal_id="SIM-1")] == [4, 4, 0]


def test_an_order_and_the_interval_have_the_card_asked(house: CardHouse) -> None:
    phone = house.phone()
    now = house.clock.now()
    order = InterrogationOrder(id="order-1", terminal_id="SIM-1", ordered_at=now)
    house.change(lambda c: add(c, order))
    for _ in range(2):
        house.change(lambda c: house.desk.turn(c, now))
    phone.pump()
    assert house.rows(InterrogationOrder)[0].state == "done"
    house.clock.advance(timedelta(days=2))
    house.change(lambda c: house.desk.turn(c, house.clock.now()))
    phone.pump()
    triggers = [row.trigger for row in house.rows(Interrogation, terminal_id="SIM-1")]
    assert triggers == ["logon", "manual", "interval"]


def test_an_old_menu_is_not_taken_for_the_new_one(house: CardHouse) -> None:
    phone = house.phone()
    phone.open_offers()
    house.change(lambda c: house.desk.interrogation.inquire(c, "SIM-1", "calendar", house.clock.now()))
    phone.pump()
    phone.choose("News")
    assert phone.shows == ["The offers have changed. Open the menu again."]
    phone.press(Key.OK)
    phone.choose("News")
    assert phone.shows == ["Every morning."]


def test_notices_reach_the_user_between_dialogues(house: CardHouse) -> None:
    phone = house.phone()
    now = house.clock.now()
    notice = Notice(
        id="n-1", terminal_id="SIM-1", subscriber_id="A-1", kind="charge", text="80% used.", created_at=now
    )  # fmt: skip
    house.change(lambda c: add(c, notice))
    phone.open_offers()
    house.change(lambda c: house.desk.turn(c, now))
    phone.pump()
    assert phone.shows[:2] == ["Data volume", "News"]
    phone.press(Key.RED)
    assert phone.shows == ["80% used."]


def test_every_packet_is_known_to_have_arrived(house: CardHouse) -> None:
    phone = at_offer(house)
    states = {row.kind: row.state for row in house.packets()}
    assert states["ShowMenu"] == states["ShowOffer"] == "received"
    assert states["Inquire"] == states["SendSections"] == "received"
    assert not phone.refused


@pytest.mark.requirement("S17")
def test_what_was_sent_before_is_refused_at_both_ends(house: CardHouse) -> None:
    phone = at_offer(house)
    phone.choose("Free")
    phone.press(Key.OK, "1")
    heard, agreements = list(phone.heard), len(house.rows(Agreement))
    for tpdu in heard:
        phone.arrive(tpdu)
    assert len(house.rows(Agreement)) == agreements == 1
    assert phone.refused
    assert all("came after" in str(no) for no in phone.refused)
    before = phone.card.memory.heard
    for packet in house.packets():
        for content in channel.parts(packet.packet, packet.counter):
            phone.handset.deliver(deliver(content, house.clock.now()))
    assert phone.card.memory.heard == before
    assert set(phone.card.refused) == {Status.COUNTER_LOW}


def test_a_mac_that_is_not_over_what_was_shown_makes_no_agreement(house: CardHouse) -> None:
    phone = at_offer(house)
    phone.choose("Free")
    house.change(lambda c: c.exec_driver_sql("UPDATE card_quote SET shown = CAST(shown || x'00' AS BLOB)"))
    phone.press(Key.OK, "1")
    assert house.rows(Agreement) == []
    assert "MAC" in phone.shows[0]


def test_a_card_of_nobody_is_told_so(house: CardHouse) -> None:
    phone = house.phone()
    house.change(lambda c: c.exec_driver_sql("UPDATE binding SET valid_to = valid_from WHERE terminal_id = 'SIM-1'"))
    phone.open_offers()
    phone.choose("News")
    assert phone.shows == ["This card is not in use. Ask your operator."]
