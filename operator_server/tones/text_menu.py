"""Tones by text alone: a menu that a phone walks through by digits, over USSD.

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
from operator_server.store.cards import card_row
from signalling.card import dialogue as d
from signalling.card.text import from_septets, in_alphabet, to_septets
from signalling.card.tlv import CardError
from signalling.clock import from_micros

LINES = 8
MOST_CHARACTERS = 160
IDLE = timedelta(minutes=3)
MOST_SESSIONS = 10_000
TOP: tuple[tuple[str, d.Grouping], ...] = (("By letter", "letter"), ("By kind", "kind"), ("New", "new"))

Screen = tuple[str, list[tuple[str, Any]]]
"""A title, and lines with what each leads to: a function that gives the next screen, or a text that ends."""


class TextSession:
    """One walk through the menu. ``over``: the last text ended it."""

    def __init__(self, desk: CardDesk, vault: KeyVault, number: str) -> None:
        self.over = False
        self.used = from_micros(0)
        self._desk, self._vault, self._number = desk, vault, number
        self._stack: list[Screen] = []
        self._page = 0

    def answer(self, connection: Connection, line: str, now: datetime) -> str:
        """The next screen for what the user typed; an empty line begins."""
        line = line.strip()
        if not self._stack:
            self._stack.append(("Tones", [(label, self._group(by)) for label, by in TOP]))
        elif line == "0" and self._page:
            self._page -= 1
        elif line == "0":
            self._stack.pop()
            if not self._stack:
                self.over = True
                return "Goodbye"
        elif line == "9" and self._more():
            self._page += 1
        elif (chosen := self._chosen(line)) is not None:
            try:
                shown = chosen(connection, now)
            except NotServed:
                self.over = True
                return text("not_served", "en")
            except (NotAgreed, Refused) as no:
                self.over = True
                return reason_text(no.code, no.reason, "en")[:MOST_CHARACTERS]
            if isinstance(shown, str):
                self.over = True
                return shown
            self._stack.append(shown)
            self._page = 0
        return self._drawn()

    def _more(self) -> bool:
        return len(self._stack[-1][1]) > (self._page + 1) * LINES

    def _chosen(self, line: str) -> Any:
        lines = self._stack[-1][1][self._page * LINES : (self._page + 1) * LINES]
        number = int(line) if line.isascii() and line.isdigit() and len(line) < 3 else 0
        return lines[number - 1][1] if 1 <= number <= len(lines) else None

    def _drawn(self) -> str:
        title, lines = self._stack[-1]
        shown = lines[self._page * LINES : (self._page + 1) * LINES]
        drawn = [title, *(f"{place} {label}" for place, (label, _) in enumerate(shown, 1))]
        drawn += ["9 More"] if self._more() else []
        return "\n".join([*drawn, "0 Back"])[:MOST_CHARACTERS]

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
            return "Tones", [
                (group, self._of(by, group)) for group in self._desk.menus.tone_groups(connection, found, by)
            ]

        return show

    def _of(self, by: d.Grouping, key: str) -> Callable[[Connection, datetime], Screen]:
        return lambda connection, now: self._tones(connection, self._visitor(connection, now), by, key, now)

    def _tones(self, connection: Connection, visitor: Any, by: d.Grouping, key: str, now: datetime) -> Screen:
        found = self._desk.menus.tones_of(connection, self._desk.menus.open_tones(connection, visitor, now), by, key)
        return key or "New", [(title, self._modes(offer.offer.id, title)) for title, offer in found]

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
            return "Please confirm on your screen."

        return take


class TextMenu:
    """The serving application behind a USSD code: bytes in, bytes out, a session a number."""

    def __init__(self, desk: CardDesk, vault: KeyVault) -> None:
        self._desk, self._vault = desk, vault
        self._sessions: dict[str, TextSession] = {}

    def answer(self, connection: Connection, number: str, data: bytes, now: datetime) -> bytes:
        """The answer to what a phone sent: GSM 7-bit characters, a byte each. Nonsense brings the same screen."""
        try:
            line = from_septets(data)
        except CardError:
            line = "?"
        session = self._sessions.get(number)
        if session is None or now - session.used > IDLE or line.startswith("*"):
            session, line = TextSession(self._desk, self._vault, number), ""
        self._sessions.pop(number, None)
        session.used = now
        text = session.answer(connection, line, now)
        if not session.over:
            while len(self._sessions) >= MOST_SESSIONS:
                del self._sessions[next(iter(self._sessions))]
            self._sessions[number] = session
        return to_septets("".join(char if in_alphabet(char) else " " for char in text))
