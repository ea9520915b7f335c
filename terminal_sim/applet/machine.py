"""The applet as its card drives it: what runs, what it wants of the phone, and what it waits for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from signalling.card import commands
from signalling.card import dialogue as d
from signalling.card.commands import Command, Item
from signalling.card.configuration import card_configuration
from signalling.card.profile import Ability, Profile
from signalling.card.responses import Response
from signalling.card.tlv import CardError
from signalling.card.usat import Result
from signalling.clock import to_micros
from signalling.configuration import SECTIONS, Configuration
from signalling.tones.ringing import ToneFile
from terminal_sim.applet.memory import SLOTS, AppletMemory
from terminal_sim.applet.offers import OfferDialogue
from terminal_sim.applet.screens import CallEnded, Screens, Steps, Wait
from terminal_sim.applet.talk import Talk
from terminal_sim.applet.tones import ToneDialogue
from terminal_sim.applet.words import LANGUAGES, WORDS

OFFERS_LINE, AGAIN_LINE, TONES_LINE = 1, 2, 3
"""Lines of the card's menu in the phone."""


class Applet:
    """The applet, from power on. ``send`` seals a message and gives its counter; ``changed``: the memory did."""

    def __init__(
        self,
        memory: AppletMemory,
        iccid: str,
        key: bytes,
        firmware: Mapping[str, str],
        send: Callable[[d.CardMessage], int],
        changed: Callable[[], None],
        language: str = "en",
    ) -> None:
        self.imei = ""
        self._memory, self._firmware = memory, firmware
        self._send, self._changed = send, changed
        self._words = LANGUAGES.get(language, WORDS)
        self._screens = Screens(self._words)
        self._talk = Talk(send, self._screens)
        self._offers = OfferDialogue(memory, self._screens, self._talk, iccid, key, changed)
        self._tones = ToneDialogue(memory, self._screens, self._talk, self._offers, changed, self._begin)
        self._running: Steps | None = None
        self._wanted: Command | None = None
        self._waits: tuple[type[Any], ...] = ()
        self._next: deque[Steps] = deque()

    @property
    def idle(self) -> bool:
        """Whether no dialogue runs, nor waits for the server."""
        return self._running is None

    @property
    def profile(self) -> Profile:
        """What the phone can do."""
        return self._screens.profile

    # What the card calls.

    def started(self, profile: Profile) -> None:
        """The phone is on and told what it can do."""
        self._screens.profile = profile
        self._running, self._wanted, self._waits = None, None, ()
        self._next.clear()
        self._begin(self._start())

    def selected(self, item: int, *, asks_help: bool) -> None:
        """The user chose a line of the card's menu; a dialogue that waits for the server is left for it."""
        if self._running is not None and self._wanted is not None:
            return
        self._running, self._waits = None, ()
        if asks_help:
            self._begin(self._screens.show(self._words["help"]))
        elif item == AGAIN_LINE:
            self._begin(self._offers.ask_and_browse())
        elif item == TONES_LINE:
            self._begin(self._tones.menu())
        else:
            known = self._memory.open_refs() and not self._memory.tone_menu
            self._begin(self._offers.browse() if known else self._offers.ask_and_browse())

    def heard(self, message: d.FromServer, at: datetime | None) -> None:
        """A message of the server, opened and checked; ``at``: the time that it came with, the card's only clock."""
        if at is not None:
            self._talk.now = max(self._talk.now, to_micros(at))
        if isinstance(message, d.Inquire):
            self._send(d.MyCode(self._configuration().code()))
        elif isinstance(message, d.SendSections):
            canonical = self._configuration().canonical()
            self._send(d.MySections([canonical[name] for name in SECTIONS]))
        elif isinstance(message, d.KeepTone):
            self._tones.take(message)
        elif isinstance(message, d.HearTone):
            self._begin(self._tones.record(message))
        else:
            if isinstance(message, d.ShowMenu):
                self._memory.keep_menu(message.menu, list(message.titles))
                self._changed()
            unasked = isinstance(message, d.Tell) and message.kind == "notice"
            if isinstance(message, self._waits) and not unasked:
                self._go_on(message)
            elif isinstance(message, d.ShowMenu):
                # A phone that has no menu of the card can show the offers only when they come.
                if message.titles and not self._screens.has_menu:
                    self._begin(self._offers.browse())
            elif isinstance(message, d.Tell):
                self._begin(self._screens.show(message.text))
            elif isinstance(message, d.ShowQuote):
                # Chosen elsewhere, by a text of the user: only the yes is given here.
                self._begin(self._offers.answer(message))

    def call_ended(self, cause: int | None, recorded: bytes) -> None:
        """A call of this card is over; ``recorded``: what the phone made of its sound, empty where it is not whole."""
        if CallEnded in self._waits:
            self._go_on(CallEnded(cause, recorded))

    def tone_file(self) -> ToneFile:
        """What the phone reads of tones, and whom they ring for."""
        tones = {product: data for product, (_, data) in self._memory.slots.items()}
        return ToneFile(tones, tuple(self._memory.bindings), self._offers.sample)

    def not_sent(self) -> None:
        """A message could not be sent: whoever waits for its answer, or is about to, goes on without."""
        if self._waits:
            self._go_on(None)
        else:
            self._talk.unsent = True

    def wanted(self) -> Command | None:
        """The command that the phone is to carry out now."""
        return self._wanted

    def answered(self, response: Response) -> None:
        """The phone has carried it out."""
        self._wanted = None
        self._go_on(response)

    # The machine under the dialogues.

    def _begin(self, steps: Steps) -> None:
        if self._running is not None:
            self._next.append(steps)
            return
        self._running = steps
        self._go_on(None, first=True)

    def _go_on(self, value: Any, *, first: bool = False) -> None:
        self._waits = ()
        while self._running is not None:
            try:
                step = next(self._running) if first else self._running.send(value)
            except StopIteration:
                self._running = None
                if not self._next:
                    return
                self._running, first, value = self._next.popleft(), True, None
                continue
            first = False
            if isinstance(step, Wait) and self._talk.unsent:
                self._talk.unsent, value = False, None
                continue
            if isinstance(step, Wait):
                self._waits = step.kinds
                return
            try:
                commands.encode_command(step)
            except CardError:
                value = Response(1, step.TYPE, 0, Result.BEYOND_CAPABILITY)
                continue
            self._wanted = step
            return

    def _configuration(self) -> Configuration:
        items = {product: version for product, (version, _) in self._memory.slots.items()}
        return card_configuration(self.imei, self.profile, self._firmware, items, SLOTS)

    # Power on.

    def _start(self) -> Steps:
        if self._screens.has_menu:
            lines = (
                Item(OFFERS_LINE, self._words["offers"]),
                Item(AGAIN_LINE, self._words["again"]),
                Item(TONES_LINE, self._words["tones"]),
            )
            yield commands.SetUpMenu(self._words["menu"], lines, help=True)
        if self._screens.can(Ability.LOCAL_INFORMATION):
            response: Response = yield commands.ProvideLocalInformation(commands.Local.IMEI)
            self.imei = response.imei or ""
        if not self._screens.can_talk:
            return
        if not self._memory.tac or self.imei[:8] != self._memory.tac:
            self._memory.tac = self.imei[:8] or "unknown"
            self._changed()
            self._send(d.Hello(asked=False))
