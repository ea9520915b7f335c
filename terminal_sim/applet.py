"""The applet on a card: the user's dialogue, by what the phone can do.

The dialogue is written as it runs (a generator that yields a command and goes on with its answer), so that screens
read in the order in which a person sees them. Between two commands the card is free; what comes from the server
meanwhile is kept for the dialogue that waits for it, or answered without the user.

What an answer of the phone means (ETSI TS 102 223, 6.11): 22, or the reject line, on an offer's own screen rejects it;
10, 12, 20 and what the phone cannot do postpone it; 11 goes back; 13 shows help. Away from an offer's own screen
nothing is ever rejected, so that the red key buries no list.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

import msgspec

from signalling.card import dialogue as d
from signalling.card import usat
from signalling.card.configuration import card_configuration
from signalling.card.keys import agreement_mac
from signalling.card.profile import Ability, Profile
from signalling.card.text import encode_text_string
from signalling.card.tlv import CardError
from signalling.card.usat import Command, Item, Response, Result
from signalling.clock import to_micros
from signalling.configuration import SECTIONS
from signalling.documents import Confirmation
from signalling.money import MoneyError, decimal_micros
from signalling.tones import ToneError
from signalling.tones.messages import unpack
from signalling.tones.ringing import Binding, Role, ToneFile, plain_number

SLOTS = 8
SCREEN_BYTES = 200
"""Of text in one command, so that the whole stays within what a phone can fetch."""

OFFERS_LINE, AGAIN_LINE, TONES_LINE = 1, 2, 3
MORE, BEFORE, LATER, REJECT, AGAIN, LISTEN = 0xF0, 0xF1, 0xF2, 0xF3, 0xF4, 0xF5

WORDS = {
    "menu": "Services", "offers": "Offers", "again": "Ask for offers", "wait": "Please wait", "none": "No offers now",
    "more": "More", "before": "Back", "later": "Later", "reject": "Not interested", "rejected": "Not shown again",
    "ok": "OK", "confirm": "Agree?", "yes": "Yes", "no": "No", "limit": "Set a limit", "how_much": "Limit in {0}:",
    "not_sent": "Message not sent. Try again later.", "bad_limit": "Write an amount such as 5.00",
    "help": "Choose an offer to see its price. Not interested hides it, Later keeps it.",
    "tones": "Tones", "letter": "By letter", "kind": "By kind", "new": "New", "mine": "My tones", "listen": "Listen",
    "full": "No slot is free. Replace:", "keep_all": "Keep all", "kept": "Kept: {0}", "damaged": "The tone is damaged.",
    "ring": "Ring with it for", "all": "All calls", "caller": "A caller", "group": "A group", "own": "My number",
    "number": "Number:", "numbers": "Numbers, # between:", "remove": "Remove", "bound": "{0} rings.",
}  # fmt: skip
GERMAN = {
    "menu": "Dienste", "offers": "Angebote", "again": "Angebote holen", "wait": "Bitte warten",
    "none": "Keine Angebote", "more": "Weiter", "before": "Zurück", "later": "Später", "reject": "Kein Interesse",
    "rejected": "Wird nicht mehr gezeigt", "ok": "OK", "confirm": "Einverstanden?", "yes": "Ja", "no": "Nein",
    "limit": "Grenze setzen", "how_much": "Grenze in {0}:",
    "not_sent": "Nachricht nicht gesendet. Bitte später noch einmal.", "bad_limit": "Bitte einen Betrag wie 5,00",
    "help": "Ein Angebot wählen zeigt den Preis. Kein Interesse verbirgt es, Später behält es.",
    "tones": "Töne", "letter": "Nach Buchstaben", "kind": "Nach Art", "new": "Neue", "mine": "Meine Töne",
    "listen": "Anhören", "full": "Kein Platz frei. Ersetzen:", "keep_all": "Alle behalten", "kept": "Behalten: {0}",
    "damaged": "Der Ton ist beschädigt.", "ring": "Klingelt für", "all": "Alle Anrufe", "caller": "Einen Anrufer",
    "group": "Eine Gruppe", "own": "Meine Nummer", "number": "Nummer:", "numbers": "Nummern, # dazwischen:",
    "remove": "Entfernen", "bound": "{0} klingelt.",
}  # fmt: skip
LANGUAGES = {"en": WORDS, "de": GERMAN}
"""Words of the applet's own by language; a card of another language shows English. Texts of offers bring their own."""


class AppletMemory(msgspec.Struct):
    """What the applet keeps: the last menu, the phone it was in last, and what lies in its slots.

    ``slots``: product to version and content; a slot a product. ``tone_menu``: the last menu is one of tones.
    ``bindings``: which tone rings for whom.
    """

    menu: int = 0
    titles: list[str] = []
    gone: list[int] = []
    tac: str = ""
    slots: dict[str, tuple[str, bytes]] = {}
    tone_menu: bool = False
    tone_titles: dict[str, str] = {}
    bindings: list[Binding] = []


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
class Wait:
    """The dialogue goes on with a message of one of these kinds, or with ``None`` when nothing could be sent."""

    kinds: tuple[type[d.CardMessage], ...]


Steps = Generator[Command | Wait, Any, Any]


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
        self._words = LANGUAGES.get(language, WORDS)
        self.profile = Profile(b"")
        self.imei = ""
        self._memory = memory
        self._iccid, self._key, self._firmware = iccid, key, firmware
        self._send, self._changed = send, changed
        self._now = 0
        self._running: Steps | None = None
        self._wanted: Command | None = None
        self._waits: tuple[type[d.CardMessage], ...] = ()
        self._next: deque[Steps] = deque()
        self._unsent = False
        self._sample = b""

    @property
    def idle(self) -> bool:
        """Whether no dialogue runs, nor waits for the server."""
        return self._running is None

    # What the card calls.

    def started(self, profile: Profile) -> None:
        """The phone is on and told what it can do."""
        self.profile = profile
        self._running, self._wanted, self._waits = None, None, ()
        self._next.clear()
        self._begin(self._start())

    def selected(self, item: int, *, asks_help: bool) -> None:
        """The user chose a line of the card's menu; a dialogue that waits for the server is left for it."""
        if self._running is not None and self._wanted is not None:
            return
        self._running, self._waits = None, ()
        if asks_help:
            self._begin(self._show(self._words["help"]))
        elif item == AGAIN_LINE:
            self._begin(self._ask_and_browse())
        elif item == TONES_LINE:
            self._begin(self._tones())
        else:
            known = self._open_refs() and not self._memory.tone_menu
            self._begin(self._browse() if known else self._ask_and_browse())

    def heard(self, message: d.FromServer, at: datetime) -> None:
        """A message of the server, opened and checked; ``at``: the time that it came with, the card's only clock."""
        self._now = max(self._now, to_micros(at))
        if isinstance(message, d.Inquire):
            self._send(d.MyCode(self._configuration().code()))
        elif isinstance(message, d.SendSections):
            canonical = self._configuration().canonical()
            self._send(d.MySections([canonical[name] for name in SECTIONS]))
        elif isinstance(message, d.KeepTone):
            self._take_tone(message)
        else:
            if isinstance(message, d.ShowMenu):
                self._keep_menu(message)
            unasked = isinstance(message, d.Tell) and message.kind == "notice"
            if isinstance(message, self._waits) and not unasked:
                self._go_on(message)
            elif isinstance(message, d.ShowMenu):
                # A phone that has no menu of the card can show the offers only when they come.
                if message.titles and not self._has_menu():
                    self._begin(self._browse())
            elif isinstance(message, d.Tell):
                self._begin(self._show(message.text))
            elif isinstance(message, d.ShowQuote):
                # Chosen elsewhere, by a text of the user: only the yes is given here.
                self._begin(self._answer(message))

    def tone_file(self) -> ToneFile:
        """What the phone reads of tones, and whom they ring for."""
        tones = {product: data for product, (_, data) in self._memory.slots.items()}
        return ToneFile(tones, tuple(self._memory.bindings), self._sample)

    def not_sent(self) -> None:
        """A message could not be sent: whoever waits for its answer, or is about to, goes on without."""
        if self._waits:
            self._go_on(None)
        else:
            self._unsent = True

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
            if isinstance(step, Wait) and self._unsent:
                self._unsent, value = False, None
                continue
            if isinstance(step, Wait):
                self._waits = step.kinds
                return
            try:
                usat.encode_command(step)
            except CardError:
                value = Response(1, step.TYPE, 0, Result.BEYOND_CAPABILITY)
                continue
            self._wanted = step
            return

    def _can(self, ability: Ability) -> bool:
        return self.profile.can(ability)

    def _has_menu(self) -> bool:
        return self._can(Ability.SET_UP_MENU) and self._can(Ability.MENU_SELECTION)

    def _configuration(self) -> Any:
        items = {product: version for product, (version, _) in self._memory.slots.items()}
        return card_configuration(self.imei, self.profile, self._firmware, items, SLOTS)

    def _keep_menu(self, message: d.ShowMenu) -> None:
        self._memory.menu, self._memory.titles, self._memory.gone = message.menu, list(message.titles), []
        self._memory.tone_menu = False
        self._changed()

    def _open_refs(self) -> list[int]:
        return [ref for ref in range(1, len(self._memory.titles) + 1) if ref not in self._memory.gone]

    # Power on.

    def _start(self) -> Steps:
        if self._has_menu():
            lines = (
                Item(OFFERS_LINE, self._words["offers"]),
                Item(AGAIN_LINE, self._words["again"]),
                Item(TONES_LINE, self._words["tones"]),
            )
            yield usat.SetUpMenu(self._words["menu"], lines, help=True)
        if self._can(Ability.LOCAL_INFORMATION):
            response: Response = yield usat.ProvideLocalInformation(usat.Local.IMEI)
            self.imei = response.imei or ""
        if not self._can(Ability.SEND_SHORT_MESSAGE):
            return
        if not self._memory.tac or self.imei[:8] != self._memory.tac:
            self._memory.tac = self.imei[:8] or "unknown"
            self._changed()
            self._send(d.Hello(asked=False))

    # Offers.

    def _ask_and_browse(self) -> Steps:
        if not self._can(Ability.SEND_SHORT_MESSAGE):
            return
        menu = yield from self._ask(d.Hello(), d.ShowMenu, d.Tell)
        if isinstance(menu, d.Tell):
            yield from self._show(menu.text)
        elif menu is not None:
            yield from self._browse()

    def _ask(self, message: d.CardMessage, *kinds: type[d.CardMessage]) -> Steps:
        """Send and wait; ``None`` where it could not be sent, which the user is told."""
        self._unsent = False
        self._send(message)
        if self._can(Ability.DISPLAY_TEXT):
            yield usat.DisplayText(self._words["wait"], wait=False)
        answer = yield Wait(kinds)
        if answer is None:
            yield from self._show(self._words["not_sent"])
        return answer

    def _browse(self, title: str = "") -> Steps:
        """The menu and the offers in it, until the user goes back or ends."""
        title = title or self._words["offers"]
        while True:
            refs = self._open_refs()
            if not refs:
                yield from self._show(self._words["none"])
                return Outcome.BACK
            menu = self._memory.menu
            items = [Item(ref, self._memory.titles[ref - 1]) for ref in refs]
            outcome, ref = yield from self._choose(title, items)
            if outcome is Outcome.CHOSE and menu != self._memory.menu:
                # Another menu came while the user looked at this one: its places mean other offers.
                continue
            if outcome is Outcome.HELP:
                yield from self._show(self._words["help"])
            elif outcome is not Outcome.CHOSE:
                return outcome
            elif not (yield from self._offer(ref)):
                return Outcome.ENDED

    def _offer(self, ref: int) -> Steps:
        """An offer's own screens; whether the list comes again."""
        menu = self._memory.menu
        title = self._memory.titles[ref - 1]
        shown = yield from self._ask(d.WantOffer(menu, ref), d.ShowOffer, d.Tell)
        while isinstance(shown, d.ShowOffer) and (shown.menu, shown.offer) != (menu, ref):
            shown = yield Wait((d.ShowOffer, d.Tell))
        if not isinstance(shown, d.ShowOffer):
            if shown is not None:
                yield from self._show(shown.text)
            return menu != self._memory.menu
        tell = True
        while True:
            outcome = (yield from self._show(shown.text)) if tell and shown.text else Outcome.CHOSE
            tell, line = False, 0
            if outcome is Outcome.CHOSE:
                lines = [Item(number, mode.text) for number, mode in enumerate(shown.modes, 1)]
                if self._memory.tone_menu:
                    lines.append(Item(LISTEN, self._words["listen"]))
                lines += [Item(LATER, self._words["later"]), Item(REJECT, self._words["reject"])]
                outcome, line = yield from self._choose(title, lines)
            if outcome is Outcome.HELP:
                tell = True
            elif outcome is Outcome.BACK:
                return True
            elif outcome is Outcome.REFUSED or line == REJECT:
                self._forget(menu, ref)
                noted = yield from self._ask(d.RejectOffer(menu, ref), d.Tell)
                if noted is not None:
                    yield from self._show(noted.text)
                return line == REJECT
            elif line == LISTEN:
                yield from self._listen(menu, ref)
            elif outcome is not Outcome.CHOSE or line == LATER:
                self._send(d.Postpone(menu, ref))
                return line == LATER
            else:
                after = yield from self._negotiate(d.Take(menu, ref, shown.modes[line - 1].mode))
                if after is not Outcome.BACK:
                    return after is Outcome.CHOSE

    def _forget(self, menu: int, ref: int) -> None:
        """Take an offer out of the menu, if that still stands."""
        if menu == self._memory.menu:
            self._memory.gone.append(ref)
            self._changed()

    def _negotiate(self, wish: d.Take) -> Steps:
        """From a request to an agreement: CHOSE goes to the list, BACK to the offer's screen, ENDED away."""
        answer = yield from self._ask(wish, d.ShowQuote, d.Tell)
        return (yield from self._answer(answer, wish))

    def _answer(self, answer: d.ShowQuote | d.Tell | None, wish: d.Take | None = None) -> Steps:
        while isinstance(answer, d.ShowQuote):
            quote = answer
            outcome = yield from self._show(quote.text)
            choice = 0
            if outcome is Outcome.CHOSE:
                outcome, choice = yield from self._confirm(quote)
            if outcome is Outcome.HELP:
                continue
            if outcome is Outcome.CHOSE and choice == 1:
                done = yield from self._ask(self._yes(quote), d.Tell)
                if done is None:
                    return Outcome.ENDED
                if done.kind == "done" and wish is not None:
                    self._forget(wish.menu, wish.offer)
                return (yield from self._end(done))
            if outcome is Outcome.CHOSE and choice == 2:
                limit = yield from self._limit(quote)
                if limit is not None:
                    answer = yield from self._ask(d.Propose(quote.quote, quote.mode, limit), d.ShowQuote, d.Tell)
                continue
            self._send(d.No(quote.quote))
            return Outcome.BACK if outcome in (Outcome.CHOSE, Outcome.BACK, Outcome.REFUSED) else Outcome.ENDED
        if answer is None:
            return Outcome.ENDED
        yield from self._show(answer.text)
        return Outcome.BACK

    def _end(self, told: d.Tell) -> Steps:
        yield from self._show(told.text)
        return Outcome.CHOSE if self._open_refs() else Outcome.ENDED

    def _yes(self, quote: d.ShowQuote) -> d.Yes:
        """The confirmation; its agreement's id is made from what no other confirmation has."""
        document = Confirmation(
            agreement=f"c{self._iccid}-{quote.quote}"[:64],
            quote=quote.quote,
            quote_digest=quote.digest,
            mode=quote.mode,
            at=self._now,
            spending_limit=quote.limit,
        ).encode()
        return d.Yes(document, agreement_mac(self._key, document, d.shown_digest(quote)))

    # Tones.

    def _tones(self) -> Steps:
        if not self._can(Ability.SEND_SHORT_MESSAGE):
            return
        while True:
            lines = [Item(place, self._words[word]) for place, word in enumerate(("letter", "kind", "new", "mine"), 1)]
            outcome, line = yield from self._choose(self._words["tones"], lines)
            if outcome is Outcome.HELP:
                yield from self._show(self._words["help"])
            elif outcome is Outcome.CHOSE:
                if line == 4:
                    outcome = yield from self._own_tones()
                elif line == 3:
                    outcome = yield from self._browse_tones(d.BrowseTones("new"))
                else:
                    outcome = yield from self._groups("letter" if line == 1 else "kind")
                if outcome is not Outcome.BACK:
                    return
            else:
                return

    def _groups(self, by: d.Grouping) -> Steps:
        found = yield from self._ask(d.BrowseTones(by), d.ShowGroups, d.Tell)
        if isinstance(found, d.Tell) or (found is not None and not found.groups):
            yield from self._show(found.text if isinstance(found, d.Tell) else self._words["none"])
        while isinstance(found, d.ShowGroups) and found.groups:
            lines = [Item(place, group) for place, group in enumerate(found.groups, 1)]
            outcome, line = yield from self._choose(self._words[by], lines)
            if outcome is Outcome.CHOSE:
                outcome = yield from self._browse_tones(d.BrowseTones(by, found.groups[line - 1]))
                if outcome is Outcome.BACK:
                    continue
            return outcome
        return Outcome.BACK

    def _browse_tones(self, wish: d.BrowseTones) -> Steps:
        menu = yield from self._ask(wish, d.ShowMenu, d.Tell)
        if isinstance(menu, d.Tell):
            yield from self._show(menu.text)
        elif menu is not None:
            self._memory.tone_menu = True
            self._changed()
            return (yield from self._browse(self._words["tones"]))
        return Outcome.BACK

    def _listen(self, menu: int, ref: int) -> Steps:
        sample = yield from self._ask(d.WantSample(menu, ref), d.PlaySample, d.Tell)
        if isinstance(sample, d.Tell):
            yield from self._show(sample.text)
        elif sample is not None:
            # The phone reads the file again and plays what it finds there.
            self._sample = sample.data
            yield usat.Refresh(1)
            self._sample = b""

    def _take_tone(self, message: d.KeepTone) -> None:
        """Keep a tone that came; where no slot is free the user says which one gives way."""
        try:
            unpack(message.data)
        except ToneError:
            self._send(d.ToneNotKept(message.delivery, "damaged"))
            self._begin(self._show(self._words["damaged"]))
            return
        if message.product in self._memory.slots or len(self._memory.slots) < SLOTS:
            self._keep_tone(message)
        else:
            self._begin(self._replace(message))

    def _keep_tone(self, message: d.KeepTone, replaced: str = "") -> None:
        memory = self._memory
        if replaced:
            self._remove(replaced)
        memory.slots[message.product] = message.release, message.data
        memory.tone_titles[message.product] = message.title
        self._changed()
        self._send(d.ToneKept(message.delivery, replaced))
        self._begin(self._show(self._words["kept"].format(message.title)))

    def _replace(self, message: d.KeepTone) -> Steps:
        products = list(self._memory.slots)
        lines = [Item(place, self._tone_title(product)) for place, product in enumerate(products, 1)]
        outcome, line = yield from self._choose(self._words["full"], [*lines, Item(REJECT, self._words["keep_all"])])
        if outcome is Outcome.CHOSE and line != REJECT:
            self._keep_tone(message, products[line - 1])
        else:
            self._send(d.ToneNotKept(message.delivery, "full"))

    def _tone_title(self, product: str) -> str:
        return self._memory.tone_titles.get(product, product)

    def _remove(self, product: str) -> None:
        self._memory.slots.pop(product, None)
        self._memory.tone_titles.pop(product, None)
        self._memory.bindings = [each for each in self._memory.bindings if each.product != product]
        self._changed()

    def _own_tones(self) -> Steps:
        while self._memory.tone_titles:
            products = list(self._memory.tone_titles)
            lines = [Item(place, self._tone_title(product)) for place, product in enumerate(products, 1)]
            outcome, line = yield from self._choose(self._words["mine"], lines)
            if outcome is not Outcome.CHOSE:
                return outcome
            yield from self._bind(products[line - 1])
        yield from self._show(self._words["none"])
        return Outcome.BACK

    def _bind(self, product: str) -> Steps:
        """Whom the tone rings for."""
        roles: tuple[Role, ...] = ("all", "caller", "group", "own")
        lines = [Item(place, self._words[role]) for place, role in enumerate((*roles, "remove"), 1)]
        outcome, line = yield from self._choose(self._words["ring"], lines)
        if outcome is not Outcome.CHOSE:
            return
        if line > len(roles):
            self._remove(product)
            return
        role = roles[line - 1]
        numbers: tuple[str, ...] = ()
        if role != "all":
            response: Response = yield usat.GetInput(self._words["numbers" if role == "group" else "number"], 1, 120)
            if outcome_of(response.result) is not Outcome.CHOSE:
                return
            numbers = tuple(number for each in (response.text or "").split("#") if (number := plain_number(each)))
            if not numbers:
                return
        same = (role, numbers)
        self._memory.bindings = [each for each in self._memory.bindings if (each.role, each.numbers) != same]
        self._memory.bindings.append(Binding(role, numbers, product))
        self._changed()
        yield from self._show(self._words["bound"].format(self._tone_title(product)))

    # Screens, by what the phone can do.

    def _show(self, text: str) -> Steps:
        """Show a text, in as many screens as it takes."""
        for page in pages(text, SCREEN_BYTES):
            if self._can(Ability.DISPLAY_TEXT):
                response: Response = yield usat.DisplayText(page)
            elif self._can(Ability.SELECT_ITEM):
                response = yield usat.SelectItem(page, (Item(1, self._words["ok"]),))
            elif self._can(Ability.GET_INKEY):
                response = yield usat.GetInkey(f"{page}\n1 {self._words['ok']}")
            else:
                return Outcome.POSTPONED
            if (outcome := outcome_of(response.result)) is not Outcome.CHOSE:
                return outcome
        return Outcome.CHOSE

    def _choose(self, title: str, items: Sequence[Item]) -> Steps:
        """Outcome and the line that was chosen; a list too long for one command comes in pages."""
        if self._can(Ability.SELECT_ITEM):
            return (yield from self._paged(title, items, self._select))
        if self._can(Ability.GET_INKEY):
            return (yield from self._paged(title, items, self._by_digit))
        return Outcome.POSTPONED, 0

    def _paged(self, title: str, items: Sequence[Item], ask: Callable[[str, list[Item]], Steps]) -> Steps:
        fits = self._fits_select if ask == self._select else self._fits_digits
        starts = [0]
        while True:
            start = starts[-1]
            lines, end = list(items[start:]), len(items)
            front = [Item(BEFORE, self._words["before"])] if len(starts) > 1 else []
            more = [Item(MORE, self._words["more"])]
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
            usat.encode_command(usat.SelectItem(title, tuple(items), help=True))
        except CardError:
            return False
        return True

    def _select(self, title: str, items: list[Item]) -> Steps:
        response: Response = yield usat.SelectItem(title, tuple(items), help=True)
        outcome = outcome_of(response.result)
        if outcome is Outcome.CHOSE and response.item not in [item.id for item in items]:
            return Outcome.POSTPONED, 0
        return outcome, response.item or 0

    def _fits_digits(self, title: str, items: list[Item]) -> bool:
        if len(items) > 9:
            return False
        try:
            usat.encode_command(self._digit_screen(title, items))
        except CardError:
            return False
        return True

    def _digit_screen(self, title: str, items: list[Item]) -> usat.GetInkey:
        lines = [f"{digit} {item.text}" for digit, item in enumerate(items, 1)]
        return usat.GetInkey("\n".join([title, *lines]), help=True)

    def _by_digit(self, title: str, items: list[Item]) -> Steps:
        response: Response = yield self._digit_screen(title, items)
        outcome = outcome_of(response.result)
        if outcome is not Outcome.CHOSE:
            return outcome, 0
        digit = int(response.text) if response.text and response.text.isascii() and response.text.isdigit() else 0
        return (Outcome.CHOSE, items[digit - 1].id) if 1 <= digit <= len(items) else (Outcome.HELP, 0)

    def _confirm(self, quote: d.ShowQuote) -> Steps:
        """Yes (1), a limit (2) or no (3)."""
        lines = [Item(1, self._words["yes"])]
        if quote.may_limit and self._can(Ability.GET_INPUT):
            lines.append(Item(2, self._words["limit"]))
        lines.append(Item(3, self._words["no"]))
        if self._can(Ability.GET_INKEY):
            return (yield from self._by_digit(self._words["confirm"], lines))
        return (yield from self._choose(self._words["confirm"], lines))

    def _limit(self, quote: d.ShowQuote) -> Steps:
        """A spending limit in micros; ``None`` where the user gives none."""
        while True:
            asked = usat.GetInput(self._words["how_much"].format(quote.currency), 1, 10, characters=True)
            response: Response = yield asked
            if outcome_of(response.result) is not Outcome.CHOSE:
                return None
            try:
                limit = decimal_micros((response.text or "").strip().replace(",", "."))
            except MoneyError:
                limit = -1
            if limit >= 0:
                return limit
            if (yield from self._show(self._words["bad_limit"])) is not Outcome.CHOSE:
                return None


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
