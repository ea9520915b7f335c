"""A person at a phone buys tones, and the phone rings with them."""

from __future__ import annotations

import pytest
from card_samples import Phone
from operator_samples import NOW
from sqlalchemy import update
from tone_samples import TUNES, ToneHouse, buy, open_tones

from operator_server.store.accounting import Charge
from operator_server.store.cards import CardPacketRow
from operator_server.store.dealings import Agreement, Installation
from operator_server.store.rows import table
from operator_server.store.tones import ToneDelivery
from operator_server.tones import shop
from signalling.card import dialogue as d
from signalling.tones import parse_rtttl
from signalling.tones.messages import pack, unpack
from signalling.tones.ringing import Binding
from terminal_sim.applet.memory import SLOTS
from terminal_sim.handset import Key

BACH = parse_rtttl(TUNES["tone-bach"][0])


def slots(phone: Phone) -> list[str]:
    return list(phone.card.memory.applet.slots)


@pytest.mark.requirement("E1")
@pytest.mark.requirement("E2")
def test_the_card_asks_for_tones_and_the_server_looks_them_up_in_its_database(house: ToneHouse) -> None:
    phone = house.at_tones("By letter")
    assert phone.shows == ["A", "B"]
    assert house.rows(CardPacketRow, kind="ShowGroups")


@pytest.mark.requirement("E4")
def test_tones_are_found_by_letter_by_kind_and_by_novelty(house: ToneHouse) -> None:
    phone = house.at_tones("By letter", "B")
    assert phone.shows == ["Bach", "Bolero"]
    phone.press(Key.RED)
    open_tones(phone, "By kind")
    assert phone.shows == ["classical", "dance", "novelty"]
    phone.choose("dance")
    assert phone.shows == ["Bolero"]
    phone.press(Key.RED)
    open_tones(phone, "New")
    assert phone.shows == ["Bolero", "Bach", "Alarm"]


@pytest.mark.requirement("E5")
def test_a_sample_is_heard_before_anything_is_agreed(house: ToneHouse) -> None:
    phone = house.at_tones("By letter", "B", "Bach", "Listen")
    assert phone.handset.played == BACH.sample(shop.SAMPLE_NOTES)
    assert phone.shows[0].startswith("Once")
    assert not slots(phone)
    assert not house.rows(Agreement, terminal_id="SIM-1")


@pytest.mark.requirement("E6")
def test_back_leads_through_the_menus_and_nothing_is_taken(house: ToneHouse) -> None:
    phone = house.at_tones("By letter", "B", "Bach")
    assert phone.shows[0].startswith("Once")
    phone.press(Key.BACK)
    assert phone.shows == ["Bach", "Bolero"]
    phone.press(Key.BACK)
    assert phone.shows == ["A", "B"]
    phone.press(Key.BACK)
    assert phone.shows == ["By letter", "By kind", "New", "My tones", "Receive as"]
    assert not house.rows(Agreement, terminal_id="SIM-1")


@pytest.mark.requirement("E9")
@pytest.mark.requirement("E16")
@pytest.mark.requirement("E17")
def test_a_tone_that_was_agreed_on_comes_into_a_slot_and_is_charged(house: ToneHouse) -> None:
    phone = house.at_tones("By letter", "B", "Bach")
    buy(phone)
    assert phone.card.memory.applet.slots == {"tone-bach": ("1", pack(BACH))}
    [delivery] = house.rows(ToneDelivery)
    assert (delivery.state, delivery.tone_id) == ("kept", "tone-bach")
    [agreement] = house.rows(Agreement, terminal_id="SIM-1")
    assert (agreement.state, agreement.evidence_kind) == ("installed", "card_mac")
    [charge] = house.rows(Charge, agreement_id=agreement.id)
    assert charge.net == 1_000_000
    # The card's proof of receipt is the report of the short message itself.
    [packet] = house.rows(CardPacketRow, kind="KeepTone")
    assert packet.state == "received"
    assert BACH.title.encode() not in packet.packet
    assert house.left() == 20_000_000 - 1_000_000


def test_the_tone_of_a_card_stands_in_no_menu_again(house: ToneHouse) -> None:
    phone = house.at_tones("By letter", "B", "Bach")
    buy(phone)
    phone.press(Key.OK, Key.RED)
    phone.press(Key.RED)
    open_tones(phone, "By letter", "B")
    assert phone.shows == ["Bolero"]


def test_tones_do_not_stand_among_the_other_offers(house: ToneHouse) -> None:
    phone = house.at_tones("New")
    phone.press(Key.RED)
    phone.open_offers()
    assert phone.shows[:2] == ["Data volume", "News"]
    assert "Bach" not in phone.shows


def full(phone: Phone) -> None:
    memory = phone.card.memory.applet
    for place in range(SLOTS):
        memory.slots[f"old-{place}"] = "1", pack(parse_rtttl(f"Old {place}:b=63:c"))
        memory.tone_titles[f"old-{place}"] = f"Old {place}"


def test_on_a_full_card_the_user_says_which_tone_gives_way(house: ToneHouse) -> None:
    phone = house.at_tones("By letter", "B", "Bach")
    full(phone)
    phone.card.memory.applet.bindings.append(Binding("all", (), "old-3"))
    buy(phone)
    phone.press(Key.OK)
    while phone.shows[0] != "Old 0":
        phone.press(Key.RED)
    phone.choose("Old 3")
    assert "old-3" not in slots(phone)
    assert "tone-bach" in slots(phone)
    assert len(slots(phone)) == SLOTS
    assert phone.handset.incoming_call("+491") is None
    assert house.rows(ToneDelivery)[0].state == "kept"


@pytest.mark.requirement("E18")
def test_who_keeps_all_his_tones_on_a_full_card_is_told_so_and_pays_nothing(house: ToneHouse) -> None:
    phone = house.at_tones("By letter", "B", "Bach")
    full(phone)
    buy(phone)
    phone.press(Key.OK)
    while phone.shows[0] != "Old 0":
        phone.press(Key.RED)
    phone.choose("Keep all")
    assert phone.shows == ["The tone was not kept. You do not pay for it."]
    [delivery] = house.rows(ToneDelivery)
    assert (delivery.state, delivery.reason) == ("not_kept", "full")
    [agreement] = house.rows(Agreement, terminal_id="SIM-1")
    assert agreement.state == "failed"
    assert not house.rows(Charge, agreement_id=agreement.id)
    assert house.left() == 20_000_000
    assert not house.rows(Installation, terminal_id="SIM-1")


@pytest.mark.requirement("E18")
def test_a_damaged_tone_is_reported_and_costs_nothing(house: ToneHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shop, "pack", lambda tone, form="smart": b"\x02\x4a\x00")
    phone = house.at_tones("By letter", "B", "Bach")
    buy(phone)
    [delivery] = house.rows(ToneDelivery)
    assert (delivery.state, delivery.reason) == ("not_kept", "damaged")
    assert not slots(phone)
    assert house.left() == 20_000_000


def test_a_tone_whose_message_was_lost_comes_when_the_card_is_heard_again(house: ToneHouse) -> None:
    phone = house.at_tones("By letter", "B", "Bach")
    phone.choose("Once")
    phone.press(Key.OK)
    bring = phone.bring
    phone.bring = lambda: False  # type: ignore[method-assign]  # a test's tap
    phone.press("1")
    [packet] = house.rows(CardPacketRow, kind="KeepTone")
    packets = table(CardPacketRow)
    house.change(lambda c: c.execute(update(packets).where(packets.c.id == packet.id).values(state="failed")))
    phone.bring = bring  # type: ignore[method-assign]  # a test's tap
    phone.pump()
    assert not slots(phone)
    house.change(lambda c: shop.send_again(c, house.operator.vault, house.operator.settings.nodes, "SIM-1", NOW))
    phone.pump()
    phone.press(Key.OK)
    assert slots(phone) == ["tone-bach"]
    assert len(house.rows(CardPacketRow, kind="KeepTone")) == 2
    [agreement] = house.rows(Agreement, terminal_id="SIM-1")
    assert len(house.rows(Charge, agreement_id=agreement.id)) == 1


def test_an_answer_that_comes_twice_charges_once(house: ToneHouse) -> None:
    phone = house.at_tones("By letter", "B", "Bach")
    buy(phone)
    [agreement] = house.rows(Agreement, terminal_id="SIM-1")
    phone.card.applet._send(d.ToneKept(agreement.id))
    phone.handset.power_on()
    phone.card.applet._send(d.ToneKept(agreement.id))
    phone.press(Key.RED)
    phone.pump()
    assert len(house.rows(Charge, agreement_id=agreement.id)) == 1


def bound(house: ToneHouse, line: str, numbers: str = "") -> Phone:
    """A phone with two tones of which Bach rings for whom the user says."""
    phone = house.at_tones("By letter", "B", "Bach")
    buy(phone)
    for _ in range(6):
        phone.press(Key.RED)
    open_tones(phone, "My tones", "Bach", line)
    if numbers:
        phone.enter(numbers)
    assert phone.shows == ["Bach rings."]
    return phone


@pytest.mark.requirement("E19")
@pytest.mark.requirement("E22")
@pytest.mark.requirement("E23")
def test_a_tone_rings_for_its_caller_and_for_nobody_else(house: ToneHouse) -> None:
    phone = bound(house, "A caller", "+491709999999")
    assert phone.handset.incoming_call("+491709999999") == BACH
    assert phone.handset.incoming_call("00491709999999") == BACH
    assert phone.handset.incoming_call("+491701111111") is None
    assert phone.handset.incoming_call("") is None


@pytest.mark.requirement("E20")
def test_a_tone_rings_for_calls_to_one_of_the_own_numbers(house: ToneHouse) -> None:
    phone = bound(house, "My number", "+491701234567")
    assert phone.handset.incoming_call("+491709999999", "+491701234567") == BACH
    assert phone.handset.incoming_call("+491709999999", "+491707654321") is None


@pytest.mark.requirement("E21")
def test_a_tone_rings_for_a_group(house: ToneHouse) -> None:
    phone = bound(house, "A group", "+491#+492")
    assert [phone.handset.incoming_call(number) for number in ("+491", "+492", "+493")] == [BACH, BACH, None]


def test_a_tone_rings_for_all_calls_but_one_callers_own_comes_first(house: ToneHouse) -> None:
    phone = bound(house, "All calls")
    assert phone.handset.incoming_call("+495") == BACH
    alarm = parse_rtttl(TUNES["tone-alarm"][0])
    memory = phone.card.memory.applet
    memory.slots["tone-alarm"] = "1", pack(alarm, "rtttl")
    memory.bindings += [Binding("group", ("+495", "+496"), "tone-bach"), Binding("caller", ("+495",), "tone-alarm")]
    assert phone.handset.incoming_call("+495") == alarm
    assert phone.handset.incoming_call("+496") == BACH


@pytest.mark.requirement("E23")
def test_a_tone_that_nobody_bound_never_rings(house: ToneHouse) -> None:
    phone = house.at_tones("By letter", "B", "Bach")
    buy(phone)
    assert unpack(phone.card.memory.applet.slots["tone-bach"][1]) == BACH
    assert phone.handset.incoming_call("+491") is None
