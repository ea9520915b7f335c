"""Tones by text alone: a menu that a phone walks through by digits, in a USSD session or by short messages.

What is chosen is quoted on the card's own screen, since only the card can give the proof of a yes.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from charging.agreements import NotAgreed
from operator_server.cards import channel
from operator_server.cards.desk import CardDesk
from operator_server.cards.texts import reason_text, text
from operator_server.cards.visitors import card_visitor
from operator_server.delivery.vault import KeyVault
from operator_server.desk import Refused
from operator_server.devices.visitors import NotServed
from operator_server.settings import NodesSettings
from operator_server.store.cards import card_row
from operator_server.tones import shop
from signalling.card import dialogue as d
from signalling.card.text import in_alphabet, to_septets
from signalling.clock import from_micros

LINES = 8
LINE = 45
"""Characters of a line."""

MOST_CHARACTERS = 160
"""Of the default alphabet, that fit into one short message and into one USSD string."""

IDLE = timedelta(minutes=3)
MOST_SESSIONS = 10_000
TOP: tuple[d.Grouping, ...] = ("letter", "kind", "new")
WORDS = {
    "en": {
        "tones": "Tones", "letter": "By letter", "kind": "By kind", "new": "New", "form": "Receive as",
        "smart": "Message", "rtttl": "Text (RTTTL)", "audio": "Played in a call", "more": "More", "back": "Back",
        "bye": "Goodbye", "none": "Nothing for you now.", "confirm": "Please confirm on your screen.",
    },
    "de": {
        "tones": "Töne", "letter": "Nach Buchstaben", "kind": "Nach Art", "new": "Neue", "form": "Empfangen als",
        "smart": "Nachricht", "rtttl": "Text (RTTTL)", "audio": "Anruf", "more": "Weiter", "back": "Zurück",
        "bye": "Auf Wiedersehen", "none": "Zurzeit nichts für Sie.", "confirm": "Bitte am Bildschirm bestätigen.",
    },
}  # fmt: skip

Screen = tuple[str, list[tuple[str, Any]]]
"""A title, and lines with what each leads to: a function that gives the next screen, or a text that ends."""


class TextSession:
    """One walk through the menu. ``over``: the last text ended it."""

    def __init__(self, desk: CardDesk, vault: KeyVault, nodes: NodesSettings, number: str) -> None:
        self.over = False
        self.used = from_micros(0)
        self._desk, self._vault, self._nodes, self._number = desk, vault, nodes, number
        self._words = WORDS["en"]
        self._stack: list[Screen] = []
        self._page = 0

    def answer(self, connection: Connection, line: str, now: datetime) -> str:
        """The next screen for what the user typed; an empty line begins."""
        line = line.strip()
        if not self._stack:
            self._stack.append(self._top(connection))
        elif line == "0" and self._page:
            self._page -= 1
        elif line == "0":
            self._stack.pop()
            self._page = 0
            if not self._stack:
                return self._end(self._words["bye"])
        elif line == "9" and self._page + 1 < len(self._pages()):
            self._page += 1
        elif (chosen := self._chosen(line)) is not None:
            try:
                shown = chosen(connection, now)
            except NotServed:
                return self._end(text("not_served", "en"))
            except (NotAgreed, Refused) as no:
                return self._end(reason_text(no.code, no.reason, "en"))
            if isinstance(shown, str):
                return self._end(shown)
            self._stack.append(shown)
            self._page = 0
        return self._drawn()

    def _end(self, last: str) -> str:
        self.over = True
        return last[:MOST_CHARACTERS]

    def _top(self, connection: Connection) -> Screen:
        card = card_row(connection, msisdn=self._number)
        self._words = WORDS.get(card.language if card else "en", WORDS["en"])
        lines: list[tuple[str, Any]] = [(self._words[by], self._group(by)) for by in TOP]
        forms: tuple[d.ToneForm, ...] = ("smart", "rtttl", "audio") if self._nodes.port else ("smart", "rtttl")
        wishes = [(self._words[form], self._wish(form)) for form in forms]
        return self._words["tones"], [*lines, (self._words["form"], lambda *_: (self._words["form"], wishes))]

    def _pages(self) -> list[list[tuple[str, Any]]]:
        """The lines of the screen in pages, each of at most :data:`LINES` that fit into one message together."""
        title, lines = self._stack[-1]
        room = MOST_CHARACTERS - _size(title[:LINE] + self._foot(more=True))
        pages: list[list[tuple[str, Any]]] = [[]]
        left = room
        for label, leads in lines:
            shown = label if _size(label) <= LINE else label[: LINE - 3].rstrip() + "..."
            size = _size(shown) + 3
            if pages[-1] and (size > left or len(pages[-1]) == LINES):
                pages.append([])
                left = room
            pages[-1].append((shown, leads))
            left -= size
        return pages

    def _chosen(self, line: str) -> Any:
        lines = self._pages()[self._page]
        number = int(line) if line.isascii() and line.isdigit() and len(line) < 3 else 0
        return lines[number - 1][1] if 1 <= number <= len(lines) else None

    def _drawn(self) -> str:
        pages = self._pages()
        shown = [f"{place} {label}" for place, (label, _) in enumerate(pages[self._page], 1)] or [self._words["none"]]
        foot = self._foot(more=self._page + 1 < len(pages))
        return "\n".join([self._stack[-1][0][:LINE], *shown]) + foot

    def _foot(self, *, more: bool) -> str:
        return (f"\n9 {self._words['more']}" if more else "") + f"\n0 {self._words['back']}"

    def _wish(self, form: d.ToneForm) -> Callable[[Connection, datetime], str]:
        def wish(connection: Connection, now: datetime) -> str:
            return shop.note_form(connection, self._nodes, self._visitor(connection, now), form).text

        return wish

    def _visitor(self, connection: Connection, now: datetime) -> Any:
        card = card_row(connection, msisdn=self._number)
        if card is None:
            raise NotServed(f"no card has the number {self._number}")
        return card_visitor(connection, card.terminal_id, now)

    def _group(self, by: d.Grouping) -> Callable[[Connection, datetime], Screen]:
        def show(connection: Connection, now: datetime) -> Screen:
            visitor = self._visitor(connection, now)
            if by == "new":
                return self._tones(connection, visitor, by, "", now)
            found = self._desk.menus.open_tones(connection, visitor, now)
            return self._words["tones"], [
                (group, self._of(by, group)) for group in self._desk.menus.tone_groups(connection, found, by)
            ]

        return show

    def _of(self, by: d.Grouping, key: str) -> Callable[[Connection, datetime], Screen]:
        return lambda connection, now: self._tones(connection, self._visitor(connection, now), by, key, now)

    def _tones(self, connection: Connection, visitor: Any, by: d.Grouping, key: str, now: datetime) -> Screen:
        found = self._desk.menus.tones_of(connection, self._desk.menus.open_tones(connection, visitor, now), by, key)
        return key or self._words["new"], [(title, self._modes(offer.offer.id, title)) for title, offer in found]

    def _modes(self, offer: str, title: str) -> Callable[[Connection, datetime], Screen]:
        def show(connection: Connection, now: datetime) -> Screen:
            visitor = self._visitor(connection, now)
            modes = self._desk.menus.modes(visitor, offer)
            return title, [
                (f"{mode.terms.label}: {mode.terms.price_text}", self._take(offer, name))
                for name, mode in modes.items()
            ]

        return show

    def _take(self, offer: str, mode: str) -> Callable[[Connection, datetime], str]:
        def take(connection: Connection, now: datetime) -> str:
            visitor = self._visitor(connection, now)
            quote = self._desk.negotiation.quote_offer(connection, visitor, offer, mode, now)
            channel.queue(connection, self._vault, visitor.terminal, quote, now)
            return self._words["confirm"]

        return take


class TextMenu:
    """The serving application: a line of a user in, a text out. ``session`` tells one walk of a number from another."""

    def __init__(self, desk: CardDesk, vault: KeyVault, nodes: NodesSettings) -> None:
        self._desk, self._vault, self._nodes = desk, vault, nodes
        self._sessions: dict[tuple[str, str], TextSession] = {}

    def answer(
        self, connection: Connection, number: str, line: str, now: datetime, *, session: str, begin: bool = False
    ) -> tuple[str, bool]:
        """The text that answers a line, and whether it is the last; what means nothing brings the same text again.

        ``begin``: the walk begins anew, as it does where there is none or its user let it rest for :data:`IDLE`.
        """
        key = (number, session)
        walk = self._sessions.pop(key, None)
        if walk is None or begin or now - walk.used > IDLE:
            walk, line = TextSession(self._desk, self._vault, self._nodes, number), ""
        walk.used = now
        shown = walk.answer(connection, line, now)
        if not walk.over:
            while len(self._sessions) >= MOST_SESSIONS:
                del self._sessions[next(iter(self._sessions))]
            self._sessions[key] = walk
        return "".join(char if in_alphabet(char) else " " for char in shown), walk.over

    def by_message(self, connection: Connection, number: str, line: str, now: datetime) -> str:
        """The menu by short messages: begun by the keyword, gone through by digits; empty for what is not for us."""
        begins = line.strip().upper() == self._nodes.keyword.upper()
        walk = self._sessions.get((number, "sms"))
        if not begins and (walk is None or now - walk.used > IDLE):
            return ""
        return self.answer(connection, number, line, now, session="sms", begin=begins)[0]

    def forget(self, number: str, session: str) -> None:
        """The session is over."""
        self._sessions.pop((number, session), None)


def _size(line: str) -> int:
    """Characters that a line takes; those of the extension take two."""
    return len(to_septets("".join(char if in_alphabet(char) else " " for char in line)))
