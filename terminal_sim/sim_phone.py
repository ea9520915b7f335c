"""A SIM phone with a scripted user: what he reads on the screen he decides on, offer by offer, as a person would.

The user sees the phone's screen alone. What his card signed and was told is written down beside it, from the card's
side of the packets, so that a bill can be checked against it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from twisted.internet.defer import Deferred, succeed

from signalling.card import dialogue as d
from signalling.clock import Clock
from signalling.documents import Confirmation, decode_document
from terminal_sim.applet.machine import AGAIN_LINE
from terminal_sim.applet.screens import LATER, REJECT
from terminal_sim.card import Card, CardMemory
from terminal_sim.handset import Handset, Key

Decision = Literal["take", "reject", "later"]

MOST_CHOICES = 40
"""Lines that the user chooses in one visit, however often the list changes under his eyes."""


@dataclass
class Seen:
    """A menu as it came to the card."""

    at: int
    titles: Sequence[str]


@dataclass
class Signed:
    """A yes that the card vouched for; ``acknowledged``: the card was told that it is agreed."""

    at: int
    title: str
    mode: str
    agreement: str
    quote: str
    document: bytes
    mac: bytes
    acknowledged: bool = False


@dataclass
class Declined:
    """A rejection that the card sent; ``noted``: the card was told so."""

    at: int
    title: str
    noted: bool = False


@dataclass
class PhoneRecord:
    """What happened at one phone, in its order. ``postponed``: by the user's choice; ``refused``: what he was told."""

    seen: list[Seen] = field(default_factory=list)
    signed: list[Signed] = field(default_factory=list)
    declined: list[Declined] = field(default_factory=list)
    events: list[Seen | Signed | Declined] = field(default_factory=list)
    interrogations: int = 0
    postponed: int = 0
    refused: list[str] = field(default_factory=list)
    messages: int = 0


class SimPhone:
    """A phone, its card and its user. ``decide`` says what becomes of an offer by its title; ``clock`` is the user's.

    ``network`` takes the card's messages; :meth:`arrived` brings those for it.
    """

    def __init__(
        self,
        memory: CardMemory,
        decide: Callable[[str], Decision],
        network: Callable[[bytes], bool],
        clock: Clock,
        *,
        language: str = "en",
    ) -> None:
        self.record = PhoneRecord()
        self.card = Card(memory, watch=self._noted)
        self.handset = Handset(self.card.transmit, network, language=language)
        self._decide, self._clock = decide, clock
        self._titles: dict[int, Sequence[str]] = {}
        self._title = ""
        self._quotes: dict[str, tuple[str, str]] = {}
        self._decided: set[str] = set()
        self._choices = 0
        self._visit: Deferred[None] | None = None

    def power_on(self) -> None:
        """Switch it on. Raises :class:`terminal_sim.handset.CardFault`."""
        self.handset.power_on()
        self._act()

    def arrived(self, tpdu: bytes) -> None:
        """A message for the card came."""
        self.record.messages += 1
        self.handset.deliver(tpdu)
        self._act()

    def visit(self) -> Deferred[None]:
        """The user asks for offers and decides on each; fires when he has put the phone away.

        A visit that waits for an answer for ever is given up by the next.
        """
        self._decided.clear()
        self._choices = 0
        visit: Deferred[None] = Deferred()
        self._visit = visit
        self._act()
        self.handset.open_menu()
        lines = self.handset.screen.lines
        if self.handset.screen.kind != "menu" or AGAIN_LINE not in [line.id for line in lines]:
            self._visit = None
            return succeed(None)
        self.handset.screen.marked = [line.id for line in lines].index(AGAIN_LINE)
        self.handset.press(Key.OK)
        self._act()
        return visit

    # What the user does at a screen.

    def _act(self) -> None:
        while self.handset.asked:
            self._answer()
        if self._visit is not None and self.card.applet.idle:
            visit, self._visit = self._visit, None
            visit.callback(None)

    def _answer(self) -> None:
        screen = self.handset.screen
        self._choices += 1
        if self._choices > MOST_CHOICES:
            self.handset.press(Key.RED)
        elif screen.kind == "key":
            self.handset.press("1")
        elif screen.kind == "list" and REJECT in [line.id for line in screen.lines]:
            self._on_offer()
        elif screen.kind == "list" and screen.title:
            self._on_list()
        else:
            self.handset.press(Key.OK)

    def _on_list(self) -> None:
        screen = self.handset.screen
        for place, line in enumerate(screen.lines):
            if line.text not in self._decided:
                screen.marked = place
                self.handset.press(Key.OK)
                return
        self.handset.press(Key.RED)

    def _on_offer(self) -> None:
        screen = self.handset.screen
        decision = "later" if screen.title in self._decided else self._decide(screen.title)
        self._decided.add(screen.title)
        if decision == "take":
            screen.marked = 0
        else:
            wanted = REJECT if decision == "reject" else LATER
            screen.marked = [line.id for line in screen.lines].index(wanted)
        self.handset.press(Key.OK)

    # What the card says and is told.

    def _noted(self, message: d.CardMessage) -> None:
        now, record = self._clock.micros(), self.record
        match message:
            case d.ShowMenu(menu=menu, titles=titles):
                self._titles[menu] = titles
                self._keep(Seen(now, list(titles)))
            case d.MyCode():
                record.interrogations += 1
            case d.Take(menu=menu, offer=offer):
                self._title = self._titles[menu][offer - 1]
            case d.ShowQuote(quote=quote, mode=mode):
                self._quotes[quote] = self._title, mode
            case d.Yes(document=document, mac=mac):
                yes = decode_document(Confirmation, document)
                title, mode = self._quotes[yes.quote]
                self._keep(Signed(now, title, mode, yes.agreement, yes.quote, document, mac))
            case d.RejectOffer(menu=menu, offer=offer):
                self._keep(Declined(now, self._titles[menu][offer - 1]))
            case d.Postpone():
                record.postponed += 1
            case d.Tell(kind="refused", text=text):
                record.refused.append(text)
            case d.Tell(kind=kind, text=text):
                self._told(kind, text)

    def _keep(self, event: Seen | Signed | Declined) -> None:
        record = self.record
        record.events.append(event)
        match event:
            case Seen():
                record.seen.append(event)
            case Signed():
                record.signed.append(event)
            case Declined():
                record.declined.append(event)

    def _told(self, kind: str, text: str) -> None:
        """An acknowledgement, which may come late: what it speaks of is what it names."""
        if kind == "done":
            for yes in self.record.signed:
                yes.acknowledged = yes.acknowledged or yes.agreement[-8:] in text
        elif kind == "noted":
            # One that was refused, since the menu had changed, is never noted; the newest is what was answered.
            answered = next((no for no in reversed(self.record.declined) if no.title in text), None)
            if answered is not None:
                answered.noted = True
