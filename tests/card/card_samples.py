"""An operator with a card, and its phone beside it; packets go straight from one to the other."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any

from operator_samples import NOW, OFFERS, House
from sqlalchemy import Connection

from operator_server.cards import channel
from operator_server.cards.desk import CardDesk
from operator_server.cards.registry import NewCard, add_card, keys_of, require_card
from operator_server.store.cards import CardPacketRow
from signalling.card import sms
from signalling.card.profile import Profile
from signalling.card.tlv import CardError
from terminal_sim.card import Card, CardMemory
from terminal_sim.handset import MODERN, Handset

ICCID = "8949000000000000018"
NUMBER = "+491701234567"
SERVICES = """
[[offer]]
id = "volume"
product = "volume"
kind = "service"
priority = 90
text.en = { title = "Data volume", description = "Counted where you are." }

[[offer.mode]]
id = "per-use"
kind = "per_use"
label = { en = "By volume" }
tariff = "games"
spending_limit_min = "2.00"
terms = { en = "Billed by the month." }

[[offer.mode]]
id = "flat"
kind = "one_off"
label = { en = "Once" }
amount = "9.00"
currency = "EUR"
tax_category = "S"

[[offer]]
id = "news"
product = "news"
kind = "service"
priority = 80
text.en = { title = "News", description = "Every morning." }

[[offer.mode]]
id = "free"
kind = "free"
label = { en = "Free" }
currency = "EUR"
tax_category = "S"
"""
WAYS = 400


class CardHouse(House):
    """Card SIM-1 of account A-1."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        (folder / "configs" / "offers" / "shop.toml").write_text(OFFERS + SERVICES)
        self.take_over()
        self.change(lambda c: add_card(c, self.operator.vault, NewCard("SIM-1", ICCID, NUMBER, "A-1"), NOW))
        self.desk = CardDesk(self.operator, self.offers)

    def memory(self) -> CardMemory:
        """The card as it is made: with its keys."""

        def read(connection: Connection) -> CardMemory:
            row = require_card(connection, "SIM-1")
            return CardMemory(row.iccid, "", keys_of(self.operator.vault, row).encode())

        return self.change(read)

    def phone(self, profile: Profile = MODERN, memory: CardMemory | None = None, **more: Any) -> Phone:
        """The card in a phone that is on."""
        phone = Phone(self, profile, memory or self.memory(), **more)
        phone.handset.power_on()
        phone.pump()
        return phone

    def packets(self) -> list[CardPacketRow]:
        return self.rows(CardPacketRow)


class Phone:
    """A phone with the card in it, and the air between it and the operator."""

    def __init__(self, house: CardHouse, profile: Profile, memory: CardMemory, **more: Any) -> None:
        self.house = house
        self.on_air: deque[bytes] = deque()
        self.heard: list[bytes] = []
        self.refused: list[CardError] = []
        self.reassembler = sms.Reassembler()
        self.card = Card(memory)
        self.handset = Handset(self.card.transmit, self.send, profile=profile, **more)

    def send(self, tpdu: bytes) -> bool:
        self.on_air.append(tpdu)
        return True

    def pump(self) -> None:
        """Carry messages both ways until nobody has one more."""
        for _ in range(WAYS):
            if self.on_air:
                self.arrive(self.on_air.popleft())
            elif not self.bring():
                return
        raise AssertionError("card and operator do not come to an end")

    def arrive(self, tpdu: bytes) -> None:
        """A message of the card reaches the operator."""
        self.heard.append(tpdu)
        whole = self.reassembler.add(NUMBER, sms.decode_submit(tpdu).content)
        if whole is None:
            return
        now = self.house.clock.now()

        def take(connection: Connection) -> None:
            card = require_card(connection, "SIM-1")
            self.house.desk.take(connection, card, whole, now, route="sms")

        try:
            self.house.change(take)
        except CardError as no:
            self.refused.append(no)

    def bring(self) -> bool:
        """The operator's next packet reaches the card."""
        with self.house.engine.connect() as connection:
            waiting = channel.waiting_for(connection, "SIM-1")
        if not waiting:
            return False
        packet, now = waiting[0], self.house.clock.now()
        self.house.change(lambda c: channel.mark_sent(c, [packet.id], now))
        for content in channel.parts(packet.packet, packet.counter):
            self.handset.deliver(deliver(content, now))
        return True

    # What a person does.

    def press(self, *keys: Any) -> None:
        for key in keys:
            self.handset.press(key)
            self.pump()

    def choose(self, *lines: str) -> None:
        for line in lines:
            self.handset.choose(line)
            self.pump()

    def enter(self, text: str) -> None:
        self.handset.enter(text)
        self.pump()

    def open_offers(self) -> None:
        self.handset.open_menu()
        self.choose("Offers")

    @property
    def shows(self) -> list[str]:
        """The lines, or the text."""
        screen = self.handset.screen
        return [item.text for item in screen.lines] or [screen.title]


def deliver(content: sms.UserData, now: Any) -> bytes:
    """A message for the card as the service centre delivers it."""
    return sms.Deliver("+4900000", content, now, sms.PID_SIM_DOWNLOAD, sms.DCS_CARD).encode()
