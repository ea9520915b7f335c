"""The dialogue about tones: browsing them, keeping one that came, and whom it rings for."""

from __future__ import annotations

from collections.abc import Callable

from signalling.card import commands
from signalling.card import dialogue as d
from signalling.card.commands import Item
from signalling.card.responses import Response
from signalling.card.usat import Result
from signalling.tones import ToneError
from signalling.tones.messages import pack, unpack
from signalling.tones.recognise import decode_recording, written
from signalling.tones.ringing import Binding, Role, plain_number
from terminal_sim.applet.memory import SLOTS, AppletMemory
from terminal_sim.applet.offers import OfferDialogue
from terminal_sim.applet.screens import REJECT, CallEnded, Outcome, Screens, Steps, Wait, outcome_of
from terminal_sim.applet.talk import Talk


class ToneDialogue:
    """What the user does with tones; menus of them are shown as ``offers`` are. ``begin``: a dialogue is to run."""

    def __init__(
        self,
        memory: AppletMemory,
        screens: Screens,
        talk: Talk,
        offers: OfferDialogue,
        changed: Callable[[], None],
        begin: Callable[[Steps], None],
    ) -> None:
        self._memory, self._screens, self._talk, self._offers = memory, screens, talk, offers
        self._words = screens.words
        self._changed, self._begin = changed, begin

    def menu(self) -> Steps:
        """The ways to look at tones."""
        if not self._screens.can_talk:
            yield from self._screens.show(self._words["mute"])
            return
        while True:
            words = ("letter", "kind", "new", "mine", "form")
            lines = [Item(place, self._words[word]) for place, word in enumerate(words, 1)]
            outcome, line = yield from self._screens.choose(self._words["tones"], lines)
            if outcome is Outcome.HELP:
                yield from self._screens.show(self._words["help"])
            elif outcome is Outcome.CHOSE:
                if line == 5:
                    outcome = yield from self._form()
                elif line == 4:
                    outcome = yield from self._own_tones()
                elif line == 3:
                    outcome = yield from self._browse(d.BrowseTones("new"))
                else:
                    outcome = yield from self._groups("letter" if line == 1 else "kind")
                if outcome is not Outcome.BACK:
                    return
            else:
                return

    def _groups(self, by: d.Grouping) -> Steps:
        found = yield from self._talk.ask(d.BrowseTones(by), d.ShowGroups, d.Tell)
        if isinstance(found, d.Tell) or (found is not None and not found.groups):
            yield from self._screens.show(found.text if isinstance(found, d.Tell) else self._words["none"])
        while isinstance(found, d.ShowGroups) and found.groups:
            lines = [Item(place, group) for place, group in enumerate(found.groups, 1)]
            outcome, line = yield from self._screens.choose(self._words[by], lines)
            if outcome is Outcome.CHOSE:
                outcome = yield from self._browse(d.BrowseTones(by, found.groups[line - 1]))
                if outcome is Outcome.BACK:
                    continue
            return outcome
        return Outcome.BACK

    def _browse(self, wish: d.BrowseTones) -> Steps:
        menu = yield from self._talk.ask(wish, d.ShowMenu, d.Tell)
        if isinstance(menu, d.Tell):
            yield from self._screens.show(menu.text)
        elif menu is not None:
            self._memory.tone_menu = True
            self._changed()
            return (yield from self._offers.browse(self._words["tones"]))
        return Outcome.BACK

    def _form(self) -> Steps:
        """In which form tones are to come."""
        forms: tuple[d.ToneForm, ...] = ("smart", "rtttl", "audio") if self._screens.can_call else ("smart", "rtttl")
        lines = [Item(place, self._words[f"form_{form}"]) for place, form in enumerate(forms, 1)]
        outcome, line = yield from self._screens.choose(self._words["form"], lines)
        if outcome is not Outcome.CHOSE:
            return outcome
        told = yield from self._talk.ask(d.WishForm(forms[line - 1]), d.Tell)
        if told is not None:
            yield from self._screens.show(told.text)
        return Outcome.BACK

    def record(self, message: d.HearTone) -> Steps:
        """Call, have the phone record what is played, and keep it where it is the tone that was agreed on.

        Who puts the call off is asked again when the card is heard next; who gives it up does not pay.
        """
        while self._screens.can_call:
            yield commands.SetUpEventList((commands.Happening.CALL_DISCONNECTED,))
            asked = self._words["call"].format(message.title)
            response: Response = yield commands.SetUpCall(message.number, asked)
            if outcome_of(response.result) in (Outcome.ENDED, Outcome.BACK) or response.result == Result.NO_RESPONSE:
                return
            ended = None
            while response.result < Result.SESSION_ENDED and ended is None:
                ended = yield Wait((CallEnded,))
            packed = _recorded(message, ended.recorded) if ended is not None else b""
            if packed:
                self.take(d.KeepTone(message.delivery, message.product, message.release, message.title, packed))
                return
            lines = [Item(1, self._words["again_call"]), Item(2, self._words["give_up"])]
            outcome, line = yield from self._screens.choose(self._words["broken"], lines)
            if outcome is not Outcome.CHOSE:
                return
            if line == 2:
                break
        self._talk.send(d.ToneNotKept(message.delivery, "broken"))

    def take(self, message: d.KeepTone) -> None:
        """Keep a tone that came; where no slot is free the user says which one gives way."""
        try:
            unpack(message.data)
        except ToneError:
            self._talk.send(d.ToneNotKept(message.delivery, "damaged"))
            self._begin(self._screens.show(self._words["damaged"]))
            return
        if message.product in self._memory.slots or len(self._memory.slots) < SLOTS:
            self._keep(message)
        else:
            self._begin(self._replace(message))

    def _keep(self, message: d.KeepTone, replaced: str = "") -> None:
        memory = self._memory
        if replaced:
            self._remove(replaced)
        memory.slots[message.product] = message.release, message.data
        memory.tone_titles[message.product] = message.title
        self._changed()
        self._talk.send(d.ToneKept(message.delivery, replaced))
        self._begin(self._screens.show(self._words["kept"].format(message.title)))

    def _replace(self, message: d.KeepTone) -> Steps:
        products = list(self._memory.slots)
        lines = [Item(place, self._memory.tone_title(product)) for place, product in enumerate(products, 1)]
        lines.append(Item(REJECT, self._words["keep_all"]))
        outcome, line = yield from self._screens.choose(self._words["full"], lines)
        if outcome is Outcome.CHOSE and line != REJECT:
            self._keep(message, products[line - 1])
        else:
            self._talk.send(d.ToneNotKept(message.delivery, "full"))

    def _remove(self, product: str) -> None:
        self._memory.remove_tone(product)
        self._changed()

    def _own_tones(self) -> Steps:
        while self._memory.tone_titles:
            products = list(self._memory.tone_titles)
            lines = [Item(place, self._memory.tone_title(product)) for place, product in enumerate(products, 1)]
            outcome, line = yield from self._screens.choose(self._words["mine"], lines)
            if outcome is not Outcome.CHOSE:
                return outcome
            yield from self._bind(products[line - 1])
        yield from self._screens.show(self._words["none"])
        return Outcome.BACK

    def _bind(self, product: str) -> Steps:
        """Whom the tone rings for."""
        roles: tuple[Role, ...] = ("all", "caller", "group", "own")
        lines = [Item(place, self._words[role]) for place, role in enumerate((*roles, "remove"), 1)]
        outcome, line = yield from self._screens.choose(self._words["ring"], lines)
        if outcome is not Outcome.CHOSE:
            return
        if line > len(roles):
            self._remove(product)
            return
        role = roles[line - 1]
        numbers: tuple[str, ...] = ()
        if role != "all":
            asked = self._words["numbers" if role == "group" else "number"]
            response: Response = yield commands.GetInput(asked, 1, 120)
            if outcome_of(response.result) is not Outcome.CHOSE:
                return
            numbers = tuple(number for each in (response.text or "").split("#") if (number := plain_number(each)))
            if not numbers:
                return
        same = (role, numbers)
        self._memory.bindings = [each for each in self._memory.bindings if (each.role, each.numbers) != same]
        self._memory.bindings.append(Binding(role, numbers, product))
        self._changed()
        yield from self._screens.show(self._words["bound"].format(self._memory.tone_title(product)))


def _recorded(message: d.HearTone, data: bytes) -> bytes:
    """The tone of what the phone recorded, as the card keeps it; empty where it is not the one that was agreed on."""
    try:
        packed = pack(written(decode_recording(data), message.title, message.loop, message.tempo))
    except ToneError:
        return b""
    return packed if d.tone_check(packed) == message.check else b""
