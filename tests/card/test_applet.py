"""The applet and the card under it, with an operator that is scripted: long menus, status words, broken carriers."""

from __future__ import annotations

from collections import deque
from pathlib import Path

import pytest

from signalling.card import commands
from signalling.card import dialogue as d
from signalling.card.apdu import Apdu, decode_reply
from signalling.card.keys import diversify
from signalling.card.profile import Ability, Profile, make_profile
from terminal_sim.applet.screens import pages
from terminal_sim.applet.words import LANGUAGES
from terminal_sim.card import Card, CardMemory, load_card, save_card
from terminal_sim.handset import MODERN, Handset, Key
from tools.applet_document import ICCID, MASTER, Operator

KEYS = diversify(MASTER, ICCID)
LONG = tuple(f"Offer {number:02d} with a title of forty signs!!" for number in range(1, 31))
CYRILLIC = tuple(f"Предложение {number:02d} с длинным названием" for number in range(1, 21))


class Shop(Operator):
    """Offers with these titles."""

    def __init__(self, titles: tuple[str, ...]) -> None:
        super().__init__(KEYS)
        self.titles = titles
        self.heard: list[d.FromCard] = []

    def reply(self, message: d.FromCard) -> d.CardMessage | None:
        self.heard.append(message)
        return d.ShowMenu(1, list(self.titles)) if isinstance(message, d.MyCode) else super().reply(message)


class Pair:
    """A phone at such a shop. ``up``: whether there is a network."""

    def __init__(self, titles: tuple[str, ...], profile: Profile = MODERN) -> None:
        self.shop, self.up = Shop(titles), True
        self.longest = 0
        self._air: deque[bytes] = deque()
        self.card = Card(CardMemory(ICCID, "", KEYS.encode()))
        self.handset = Handset(self.card.transmit, self._send, profile=profile, trace=self._seen)
        self.handset.power_on()
        self.pump()
        self.handset.open_menu()

    def _seen(self, direction: str, data: bytes) -> None:
        if direction == "<" and data[:1] == b"\xd0":
            self.longest = max(self.longest, len(data) - 2)

    def _send(self, tpdu: bytes) -> bool:
        if self.up:
            self._air.append(tpdu)
        return self.up

    def pump(self) -> None:
        while self._air:
            for deliver in self.shop.answer(self._air.popleft()):
                self.handset.deliver(deliver)

    def press(self, *keys: Key | str) -> list[str]:
        for key in keys:
            self.handset.press(key)
            self.pump()
        return self.shows

    def choose(self, line: str) -> list[str]:
        self.handset.choose(line)
        self.pump()
        return self.shows

    @property
    def shows(self) -> list[str]:
        return [item.text for item in self.handset.screen.lines] or [self.handset.screen.title]


@pytest.mark.requirement("S17")
@pytest.mark.parametrize("titles", [LONG, CYRILLIC], ids=["gsm", "ucs2"])
def test_a_long_menu_comes_in_pages_and_back_turns_them(titles: tuple[str, ...]) -> None:
    pair = Pair(titles)
    seen: list[list[str]] = [pair.choose("Offers")]
    while "More" in seen[-1]:
        seen.append(pair.choose("More"))
    assert len(seen) > 3
    assert pair.longest <= commands.MAX_COMMAND
    listed = [line for page in seen for line in page if line not in ("More", "Back")]
    assert listed == list(titles)
    assert pair.press(Key.BACK) == seen[-2]
    assert pair.choose("Back") == seen[-3]
    for page in reversed(seen[:-3]):
        assert pair.press(Key.BACK) == page
    assert pair.press(Key.BACK) == [""]
    last = seen[-1][0]
    pair.handset.open_menu()
    pair.choose("Offers")
    for _ in seen[1:]:
        pair.choose("More")
    pair.choose(last)
    [wanted] = [message for message in pair.shop.heard if isinstance(message, d.WantOffer)]
    assert titles[wanted.offer - 1] == last


def test_a_long_menu_by_digits_comes_in_pages_too() -> None:
    needed = (Ability.PROFILE_DOWNLOAD, Ability.SMS_PP_DOWNLOAD, Ability.SEND_SHORT_MESSAGE, Ability.GET_INKEY)
    pair = Pair(LONG, make_profile(needed))
    rows = pair.handset.screen.title.split("\n")
    assert rows[0] == "Offers"
    assert rows[-1].endswith("More")
    pair.press(rows[-1][0])
    assert pair.handset.screen.title.split("\n")[-1].endswith("Back")
    assert pair.longest <= commands.MAX_COMMAND


def test_without_a_network_the_user_is_told_and_nothing_hangs() -> None:
    pair = Pair(("News",))
    pair.up = False
    pair.choose("Offers")
    assert pair.choose("News") == ["Message not sent. Try again later."]
    pair.press(Key.OK)
    pair.up = True
    pair.handset.open_menu()
    pair.choose("Offers")
    assert pair.choose("News") == ["Every morning."]


def test_a_dialogue_that_waits_for_an_answer_is_left_for_the_menu() -> None:
    pair = Pair(("News", "Other"))
    pair.choose("Offers")
    pair.handset.choose("News")
    assert pair.shows == ["Please wait"]
    pair.handset.press(Key.OK)
    pair.handset.open_menu()
    pair.handset.choose("Offers")
    pair.pump()
    assert pair.shows == ["News", "Other"]


def test_the_card_answers_what_it_does_not_know_as_cards_do() -> None:
    card = Card(CardMemory(ICCID, "", KEYS.encode()))

    def status(data: str) -> str:
        return f"{decode_reply(card.transmit(bytes.fromhex(data))).status:04X}"

    assert status("8012000010") == "6985"
    assert status("80FF0000") == "6D00"
    assert status("A0A40000023F00") == "6E00"
    assert status("00A40004026F07") == "6A82"
    assert status("00B000000A") == "6985"
    assert status("80C2000002D9FF") == "6A80"
    assert status("80") == "6700"
    waiting = decode_reply(card.transmit(Apdu(0x80, 0x10, data=MODERN.data).encode()))
    assert waiting.to_fetch == 0x37
    assert status("8012000010") == "6C37"


def test_a_card_keeps_its_counters_without_power(tmp_path: Path) -> None:
    path = tmp_path / "card.json"
    card = Card(CardMemory(ICCID, "", KEYS.encode()), lambda memory: save_card(path, memory))
    sent: list[bytes] = []

    def send(tpdu: bytes) -> bool:
        # What leaves the card has its counter in the memory already.
        sent.append(tpdu)
        assert load_card(path).sent == len(sent)
        return True

    Handset(card.transmit, send).power_on()
    again = Card(load_card(path))
    Handset(again.transmit, send, imei="490154203237518")
    assert again.memory.sent == len(sent) == 1


def test_texts_are_broken_between_words_where_they_can_be() -> None:
    words = "one two three " * 40
    found = pages(words.strip(), 100)
    assert " ".join(found) == words.strip()
    assert all(len(page) < 100 for page in found)
    assert "".join(pages("x" * 500, 100)) == "x" * 500
    assert pages("", 100) == []


def test_the_applets_own_words_are_in_the_cards_language() -> None:
    assert LANGUAGES["de"].keys() == LANGUAGES["en"].keys()
    card = Card(CardMemory(ICCID, "", KEYS.encode(), language="de"))
    handset = Handset(card.transmit, lambda tpdu: True)
    handset.power_on()
    handset.open_menu()
    assert [line.text for line in handset.screen.lines][:2] == ["Angebote", "Angebote holen"]
