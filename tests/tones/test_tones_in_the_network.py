"""Tones by way of the nodes that serve a phone: by short message, in USSD sessions, wherever the phone is."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from card_samples import NUMBER, Phone
from operator_samples import NOW
from sqlalchemy import update
from tone_samples import TUNES, ToneHouse

from operator_server.cards import channel
from operator_server.store.cards import CardPacketRow
from operator_server.store.dealings import Agreement
from operator_server.store.rows import table
from operator_server.store.tones import ToneDelivery
from operator_server.tones.gateway import ATTEMPTS, TRY_AGAIN, Gateway
from operator_server.tones.locations import location_of, set_busy, update_location
from operator_server.tones.text_menu import TextMenu
from signalling.card.text import from_septets, to_septets
from signalling.tones import parse_rtttl
from signalling.tones.messages import pack
from terminal_sim.handset import MODERN, Key
from terminal_sim.serving import Node, Step


class Network:
    """Nodes north and south, one phone, and the serving application at an external node."""

    def __init__(self, house: ToneHouse, how: Any = "sms") -> None:
        self.house, self.reports = house, list[tuple[int, str]]()
        menu = TextMenu(house.desk, house.operator.vault)

        def application(number: str, data: bytes) -> bytes:
            now = house.clock.now()
            answer: bytes = house.change(lambda c: menu.answer(c, number, data, now))
            return answer

        self.nodes = {name: Node(name, house.clock, application) for name in ("north", "south")}
        self.gateway = Gateway(
            self.nodes, how, lambda number, counter, outcome: self.reports.append((counter, outcome))
        )
        self.phone = Phone(house, MODERN, house.memory())
        self.phone.bring = self._send  # type: ignore[method-assign]
        self.arrive: Callable[[bytes], None] = self.phone.arrive
        self.move("north")
        self.phone.handset.power_on()
        self.phone.pump()

    def move(self, name: str) -> None:
        for node in self.nodes.values():
            node.phones.clear()
        self.nodes[name].phones[NUMBER] = self.phone.handset
        self.house.change(lambda c: update_location(c, NUMBER, name, NOW))

    def _send(self) -> bool:
        now = self.house.clock.now()
        self.house.change(lambda c: _reroute(c))
        return bool(self.house.change(lambda c: self.gateway.send_due(c, now)))

    def say(self, text: str, node: str = "north") -> str:
        return from_septets(self.nodes[node].ussd(NUMBER, to_septets(text)))

    def log(self, name: str) -> list[Step]:
        return self.nodes[name].log

    def choose_bach(self) -> None:
        for word in ("*100#", "1", "2", "1", "1"):
            self.said = self.say(word)

    def agree(self) -> None:
        """Say yes to the quote that is on the screen."""
        self.phone.pump()
        self.phone.press(Key.OK, "1")
        self.phone.press(Key.OK)


def _reroute(connection: Any) -> None:
    packets = table(CardPacketRow)
    connection.execute(update(packets).where(packets.c.route == "sms").values(route="node"))


@pytest.mark.requirement("E3")
@pytest.mark.requirement("E7")
def test_a_tone_is_chosen_by_text_alone_and_agreed_on_the_cards_screen(house: ToneHouse) -> None:
    network = Network(house)
    assert network.say("*100#") == "Tones\n1 By letter\n2 By kind\n3 New\n0 Back"
    assert network.say("1") == "Tones\n1 A\n2 B\n0 Back"
    assert network.say("2") == "B\n1 Bach\n2 Bolero\n0 Back"
    assert network.say("0") == "Tones\n1 A\n2 B\n0 Back"
    network.say("2")
    assert network.say("1").splitlines()[1].startswith("1 Once: ")
    assert network.say("1") == "Please confirm on your screen."
    network.agree()
    [agreement] = house.rows(Agreement, terminal_id="SIM-1")
    assert (agreement.product, agreement.state, agreement.evidence_kind) == ("tone-bach", "installed", "card_mac")
    assert list(network.phone.card.memory.applet.slots) == ["tone-bach"]


@pytest.mark.requirement("E10")
@pytest.mark.requirement("E15")
@pytest.mark.requirement("E16")
def test_a_tone_comes_in_a_ussd_session_byte_for_byte(house: ToneHouse) -> None:
    network = Network(house, "ussd")
    network.choose_bach()
    network.agree()
    bach = parse_rtttl(TUNES["tone-bach"][0])
    assert network.phone.card.memory.applet.slots["tone-bach"][1] == pack(bach)
    passed = [step.data for step in network.log("north") if step.what == "ussd"]
    rows = house.rows(CardPacketRow)
    assert rows
    for row in rows:
        for part in channel.parts(row.packet, row.counter):
            assert part.encode() in passed
    # What the phone said, and what it was answered, stands in the node's log as it was.
    assert to_septets("*100#") in passed
    assert to_septets(network.said) in passed


@pytest.mark.requirement("E11")
@pytest.mark.requirement("E12")
@pytest.mark.parametrize("how", ["sms", "ussd"])
def test_delivery_follows_a_phone_that_moves(house: ToneHouse, how: str) -> None:
    network = Network(house, how)
    network.choose_bach()
    network.move("south")
    network.nodes["north"].log.clear()
    network.agree()
    assert not network.log("north")
    assert network.log("south")
    assert house.rows(ToneDelivery)[0].state == "kept"


@pytest.mark.requirement("E13")
def test_messages_go_over_a_control_channel_and_never_over_one_for_speech(house: ToneHouse) -> None:
    network = Network(house)
    network.choose_bach()
    network.agree()
    steps = [step for step in network.log("north") if step.what in ("connect", "deliver")]
    assert {step.channel for step in steps} == {"SDCCH"}
    assert [step.what for step in network.log("north")[:4]] == ["page", "connect", "authenticate", "deliver"]


@pytest.mark.requirement("E14")
def test_a_busy_phone_gets_no_second_set_up(house: ToneHouse) -> None:
    network = Network(house)
    network.choose_bach()
    network.nodes["north"].log.clear()
    house.change(lambda c: set_busy(c, NUMBER, True, NOW))
    network.agree()
    assert {step.what for step in network.log("north")} == {"deliver"}
    assert house.rows(ToneDelivery)[0].state == "kept"


@pytest.mark.requirement("E14")
@pytest.mark.requirement("E18")
def test_what_a_phone_cannot_take_now_waits_and_is_tried_again(house: ToneHouse) -> None:
    network = Network(house)
    network.nodes["north"].refuses.add(NUMBER)
    network.choose_bach()
    network.phone.pump()
    assert network.reports[-1][1] == "busy"
    [packet] = house.rows(CardPacketRow, kind="ShowQuote")
    assert (packet.state, packet.due_at) == ("waiting", NOW + TRY_AGAIN)
    network.nodes["north"].refuses.clear()
    assert not house.change(lambda c: network.gateway.send_due(c, NOW))
    assert house.change(lambda c: network.gateway.send_due(c, NOW + TRY_AGAIN)) == 1


@pytest.mark.requirement("E17")
@pytest.mark.requirement("E18")
def test_every_delivery_is_reported_and_one_that_never_succeeds_fails(house: ToneHouse) -> None:
    network = Network(house)
    assert {outcome for _, outcome in network.reports} == {"delivered"}
    network.choose_bach()
    network.nodes["north"].phones.clear()
    for attempt in range(ATTEMPTS):
        later = NOW + attempt * TRY_AGAIN
        house.change(lambda c: _reroute(c))
        house.change(lambda c, later=later: network.gateway.send_due(c, later))
    [packet] = house.rows(CardPacketRow, kind="ShowQuote")
    assert (packet.state, packet.reason) == ("failed", "the serving node reports: absent")
    assert [outcome for _, outcome in network.reports][-ATTEMPTS:] == ["absent"] * ATTEMPTS


def test_the_register_says_who_served_a_phone_before(house: ToneHouse) -> None:
    assert house.change(lambda c: update_location(c, "+491", "north", NOW)) == ""
    house.change(lambda c: set_busy(c, "+491", True, NOW))
    assert house.change(lambda c: update_location(c, "+491", "south", NOW + timedelta(hours=1))) == "north"
    row = house.change(lambda c: location_of(c, "+491"))
    assert (row.node, row.busy) == ("south", False)
    with pytest.raises(LookupError, match="registered at no node"):
        house.change(lambda c: set_busy(c, "+490", True, NOW))


def test_a_text_that_means_nothing_brings_the_same_screen_again(house: ToneHouse) -> None:
    network = Network(house)
    first = network.say("*100#")
    assert [network.say(each) for each in ("7", "x", "", "99")] == [first] * 4
    assert network.say("0") == "Goodbye"
    assert network.nodes["north"].ussd("+4999", to_septets("*100#"))
    assert "not" in from_septets(network.nodes["north"].ussd("+4999", to_septets("1"))).lower()
