"""A phone without short messages over a terminal's link: its card speaks by USSD, and the link carries it."""

from __future__ import annotations

from typing import Any

import pytest
from card_samples import ICCID, NUMBER
from tone_samples import ToneHouse

from operator_server.cards import channel
from operator_server.cards.registry import require_card
from operator_server.store.dealings import Agreement
from signalling.card import sms, ussd
from terminal_sim.card import Card
from terminal_sim.carrier import LinkCarrier
from terminal_sim.handset import MODERN, Handset, Key, without


class Link:
    """The terminal's link: what is carried over it comes to the desk, and back."""

    def __init__(self, house: ToneHouse) -> None:
        self.house = house
        self.waiting: list[sms.UserData] = []
        self.reassembler = sms.Reassembler()

    def carry(self, card: str, data: bytes) -> None:
        assert card == ICCID
        whole = self.reassembler.add(NUMBER, sms.decode_user_data(data, has_header=True))
        if whole is not None:
            self.waiting.append(whole)

    def pump(self, handset: Handset) -> None:
        house, now = self.house, self.house.clock.now()
        for _ in range(100):
            if self.waiting:
                content = self.waiting.pop(0)
                house.change(lambda c, s=content: house.desk.take(c, require_card(c, "SIM-1"), s, now, route="link"))
                continue
            rows = house.change(lambda c: channel.waiting_for(c, "SIM-1"))
            if not rows:
                return
            house.change(lambda c, row=rows[0]: channel.mark_sent(c, [row.id], now))
            for part in channel.parts(rows[0].packet, rows[0].counter):
                assert handset.deliver_ussd(ussd.FOR_CARD, part.encode())


@pytest.mark.requirement("S17")
def test_the_whole_dialogue_goes_by_ussd_over_a_link(house: ToneHouse) -> None:
    link: Any = Link(house)
    carrier = LinkCarrier(lambda: link, lambda: ICCID, house.clock, lambda tpdu: None)
    card = Card(house.memory())
    profile = without(MODERN, ["send-short-message", "sms-pp-download"])
    handset = Handset(card.transmit, carrier.send, services=carrier, profile=profile)
    carrier.answered = handset.ussd_answered
    handset.power_on()
    link.pump(handset)
    handset.open_menu()
    for line in ("Offers", "News", "Free"):
        while handset.screen.kind == "text":
            handset.press(Key.OK)
            link.pump(handset)
        handset.choose(line)
        link.pump(handset)
    for key in (Key.OK, "1"):
        handset.press(key)
        link.pump(handset)
    [agreement] = house.rows(Agreement, terminal_id="SIM-1")
    assert (agreement.product, agreement.evidence_kind) == ("news", "card_mac")


def test_a_phone_that_is_off_the_link_says_that_nothing_was_sent(house: ToneHouse) -> None:
    carrier = LinkCarrier(lambda: None, lambda: ICCID, house.clock, lambda tpdu: None)
    card = Card(house.memory())
    handset = Handset(
        card.transmit, carrier.send, services=carrier, profile=without(MODERN, ["send-short-message"])
    )  # fmt: skip
    handset.power_on()
    handset.open_menu()
    handset.choose("Ask for offers")
    if handset.screen.title == "Please wait":
        handset.press(Key.OK)
    assert handset.screen.title == "Message not sent. Try again later."
