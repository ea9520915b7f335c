"""Screens of the applet, by what the phone can do, and what its user's answers mean."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from signalling.card import commands
from signalling.card import dialogue as d
from signalling.card.commands import Command, Item
from signalling.card.profile import Ability, Profile
from signalling.card.responses import Response
from signalling.card.text import encode_text_string
from signalling.card.tlv import CardError
from signalling.card.usat import Result

SCREEN_BYTES = 200
"""Of text in one command, so that the whole stays within what a phone can fetch."""

MORE, BEFORE, LATER, REJECT, LISTEN = 0xF0, 0xF1, 0xF2, 0xF3, 0xF5
"""Lines of the applet's own in a list, beside those that are numbered from 1."""


class Outcome(Enum):
    """What the user did at a screen."""

    CHOSE = "chose"
    BACK = "back"
    ENDED = "ended"
    REFUSED = "refused"
    HELP = "help"
    POSTPONED = "postponed"


def outcome_of(result: int) -> Outcome:
    """The meaning of a general result."""
    if result < 0x10:
        return Outcome.CHOSE
    meanings = {
        Result.SESSION_ENDED: Outcome.ENDED,
        Result.BACK: Outcome.BACK,
        Result.HELP: Outcome.HELP,
        Result.USER_REFUSED: Outcome.REFUSED,
    }
    return meanings.get(Result(result), Outcome.POSTPONED) if result in set(Result) else Outcome.POSTPONED


@dataclass(frozen=True, slots=True)
class CallEnded:
    """A call that the card wanted is over. ``recorded``: what the phone heard in it, digitized."""

    cause: int | None
    recorded: bytes


@dataclass(frozen=True, slots=True)
class Wait:
    """The dialogue goes on with one of these kinds, or with ``None`` when nothing could be sent."""

    kinds: tuple[type[d.CardMessage | CallEnded], ...]


Steps = Generator[Command | Wait, Any, Any]
"""A dialogue: it yields what the phone is to do, or what it waits for, and goes on with the answer."""


class Screens:
    """What the applet shows and asks, in these words; ``profile`` comes when the phone is on."""

    def __init__(self, words: Mapping[str, str]) -> None:
        self.words = words
        self.profile = Profile(b"")

    def can(self, ability: Ability) -> bool:
        """Whether the phone can."""
        return self.profile.can(ability)

    @property
    def has_menu(self) -> bool:
        """Whether the phone shows a menu of the card's and tells what was chosen in it."""
        return self.can(Ability.SET_UP_MENU) and self.can(Ability.MENU_SELECTION)

    @property
    def can_talk(self) -> bool:
        """Whether the phone can send what the card says, and bring what it is told."""
        says = self.can(Ability.SEND_SHORT_MESSAGE) or self.can(Ability.SEND_USSD)
        return says and (self.can(Ability.SMS_PP_DOWNLOAD) or self.can(Ability.USSD_DOWNLOAD))

    @property
    def can_call(self) -> bool:
        """Whether the phone makes calls for the card, and tells when they are over."""
        return all(
            self.can(each) for each in (Ability.SET_UP_CALL, Ability.SET_UP_EVENT_LIST, Ability.CALL_DISCONNECTED)
        )

    def show(self, text: str) -> Steps:
        """Show a text, in as many screens as it takes."""
        for page in pages(text, SCREEN_BYTES):
            if self.can(Ability.DISPLAY_TEXT):
                response: Response = yield commands.DisplayText(page)
            elif self.can(Ability.SELECT_ITEM):
                response = yield commands.SelectItem(page, (Item(1, self.words["ok"]),))
            elif self.can(Ability.GET_INKEY):
                response = yield commands.GetInkey(f"{page}\n1 {self.words['ok']}")
            else:
                return Outcome.POSTPONED
            if (outcome := outcome_of(response.result)) is not Outcome.CHOSE:
                return outcome
        return Outcome.CHOSE

    def choose(self, title: str, items: Sequence[Item]) -> Steps:
        """Outcome and the line that was chosen; a list too long for one command comes in pages."""
        if self.can(Ability.SELECT_ITEM):
            return (yield from self._paged(title, items, self._select, self._fits_select))
        if self.can(Ability.GET_INKEY):
            return (yield from self._paged(title, items, self.by_digit, self._fits_digits))
        return Outcome.POSTPONED, 0

    def _paged(
        self,
        title: str,
        items: Sequence[Item],
        ask: Callable[[str, list[Item]], Steps],
        fits: Callable[[str, list[Item]], bool],
    ) -> Steps:
        starts = [0]
        while True:
            start = starts[-1]
            lines, end = list(items[start:]), len(items)
            front = [Item(BEFORE, self.words["before"])] if len(starts) > 1 else []
            more = [Item(MORE, self.words["more"])]
            while not fits(title, shown := lines + (more if end < len(items) else []) + front):
                if len(lines) > 1:
                    lines.pop()
                    end -= 1
                elif len(lines[0].text) > 4:
                    lines[0] = Item(lines[0].id, lines[0].text[:-4].rstrip() + "...")
                elif len(title) > 4:
                    title = title[:-4].rstrip() + "..."
                else:
                    return Outcome.POSTPONED, 0
            outcome, line = yield from ask(title, shown)
            if outcome is Outcome.CHOSE and line == MORE:
                starts.append(end)
            elif (outcome is Outcome.CHOSE and line == BEFORE) or (outcome is Outcome.BACK and len(starts) > 1):
                starts.pop()
            else:
                return outcome, line

    def _fits_select(self, title: str, items: list[Item]) -> bool:
        try:
            commands.encode_command(commands.SelectItem(title, tuple(items), help=True))
        except CardError:
            return False
        return True

    def _select(self, title: str, items: list[Item]) -> Steps:
        response: Response = yield commands.SelectItem(title, tuple(items), help=True)
        outcome = outcome_of(response.result)
        if outcome is Outcome.CHOSE and response.item not in [item.id for item in items]:
            return Outcome.POSTPONED, 0
        return outcome, response.item or 0

    def _fits_digits(self, title: str, items: list[Item]) -> bool:
        if len(items) > 9:
            return False
        try:
            commands.encode_command(self._digit_screen(title, items))
        except CardError:
            return False
        return True

    def _digit_screen(self, title: str, items: list[Item]) -> commands.GetInkey:
        lines = [f"{digit} {item.text}" for digit, item in enumerate(items, 1)]
        return commands.GetInkey("\n".join([title, *lines]), help=True)

    def by_digit(self, title: str, items: list[Item]) -> Steps:
        """Outcome and line, chosen by its digit; help for a key that stands beside no line."""
        response: Response = yield self._digit_screen(title, items)
        outcome = outcome_of(response.result)
        if outcome is not Outcome.CHOSE:
            return outcome, 0
        digit = int(response.text) if response.text and response.text.isascii() and response.text.isdigit() else 0
        return (Outcome.CHOSE, items[digit - 1].id) if 1 <= digit <= len(items) else (Outcome.HELP, 0)


def pages(text: str, most: int) -> list[str]:
    """The text in pieces of at most ``most`` bytes as a text string, broken between words where that is possible."""
    found: list[str] = []
    line = ""
    for word in text.split(" "):
        candidate = f"{line} {word}" if line else word
        if _size(candidate) > most and line:
            found.append(line)
            candidate = word
        while _size(candidate) > most:
            cut = most // 2 - 1
            found.append(candidate[:cut])
            candidate = candidate[cut:]
        line = candidate
    return [*found, line] if line else found


def _size(text: str) -> int:
    return len(encode_text_string(text))
