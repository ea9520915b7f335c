"""The dialogue about offers: the list, an offer's own screens, the charging mode, the yes."""

from __future__ import annotations

from collections.abc import Callable

from signalling.card import commands
from signalling.card import dialogue as d
from signalling.card.commands import Item
from signalling.card.keys import agreement_mac
from signalling.card.profile import Ability
from signalling.card.responses import Response
from signalling.documents import Confirmation
from signalling.money import MoneyError, decimal_micros
from terminal_sim.applet.memory import AppletMemory
from terminal_sim.applet.screens import LATER, LISTEN, REJECT, Outcome, Screens, Steps, Wait, outcome_of
from terminal_sim.applet.talk import Talk


class OfferDialogue:
    """What the user sees of offers and decides on them. ``changed``: the memory did.

    ``sample``: the beginning of a tone that the phone is to play now.
    """

    def __init__(
        self,
        memory: AppletMemory,
        screens: Screens,
        talk: Talk,
        iccid: str,
        key: bytes,
        changed: Callable[[], None],
    ) -> None:
        self.sample = b""
        self._memory, self._screens, self._talk = memory, screens, talk
        self._words = screens.words
        self._iccid, self._key, self._changed = iccid, key, changed

    def ask_and_browse(self) -> Steps:
        """Ask for offers, then show them."""
        if not self._screens.can_talk:
            yield from self._screens.show(self._words["mute"])
            return
        menu = yield from self._talk.ask(d.Hello(), d.ShowMenu, d.Tell)
        if isinstance(menu, d.Tell):
            yield from self._screens.show(menu.text)
        elif menu is not None:
            yield from self.browse()

    def browse(self, title: str = "") -> Steps:
        """The menu and the offers in it, until the user goes back or ends."""
        title = title or self._words["offers"]
        while True:
            refs = self._memory.open_refs()
            if not refs:
                yield from self._screens.show(self._words["none"])
                return Outcome.BACK
            menu = self._memory.menu
            items = [Item(ref, self._memory.titles[ref - 1]) for ref in refs]
            outcome, ref = yield from self._screens.choose(title, items)
            if outcome is Outcome.CHOSE and menu != self._memory.menu:
                # Another menu came while the user looked at this one: its places mean other offers.
                continue
            if outcome is Outcome.HELP:
                yield from self._screens.show(self._words["help"])
            elif outcome is not Outcome.CHOSE:
                return outcome
            elif not (yield from self._offer(ref)):
                return Outcome.ENDED

    def _offer(self, ref: int) -> Steps:
        """An offer's own screens; whether the list comes again."""
        menu = self._memory.menu
        title = self._memory.titles[ref - 1]
        shown = yield from self._talk.ask(d.WantOffer(menu, ref), d.ShowOffer, d.Tell)
        while isinstance(shown, d.ShowOffer) and (shown.menu, shown.offer) != (menu, ref):
            shown = yield Wait((d.ShowOffer, d.Tell))
        if not isinstance(shown, d.ShowOffer):
            if shown is not None:
                yield from self._screens.show(shown.text)
            return menu != self._memory.menu
        tell = True
        while True:
            outcome = (yield from self._screens.show(shown.text)) if tell and shown.text else Outcome.CHOSE
            tell, line = False, 0
            if outcome is Outcome.CHOSE:
                lines = [Item(number, mode.text) for number, mode in enumerate(shown.modes, 1)]
                if self._memory.tone_menu:
                    lines.append(Item(LISTEN, self._words["listen"]))
                lines += [Item(LATER, self._words["later"]), Item(REJECT, self._words["reject"])]
                outcome, line = yield from self._screens.choose(title, lines)
            if outcome is Outcome.HELP:
                tell = True
            elif outcome is Outcome.BACK:
                return True
            elif outcome is Outcome.REFUSED or line == REJECT:
                self._forget(menu, ref)
                noted = yield from self._talk.ask(d.RejectOffer(menu, ref), d.Tell)
                if noted is not None:
                    yield from self._screens.show(noted.text)
                return line == REJECT
            elif line == LISTEN:
                yield from self._listen(menu, ref)
            elif outcome is not Outcome.CHOSE or line == LATER:
                self._talk.send(d.Postpone(menu, ref))
                return line == LATER
            else:
                after = yield from self._negotiate(d.Take(menu, ref, shown.modes[line - 1].mode))
                if after is not Outcome.BACK:
                    return after is Outcome.CHOSE

    def _listen(self, menu: int, ref: int) -> Steps:
        sample = yield from self._talk.ask(d.WantSample(menu, ref), d.PlaySample, d.Tell)
        if isinstance(sample, d.Tell):
            yield from self._screens.show(sample.text)
        elif sample is not None:
            # The phone reads the file again and plays what it finds there.
            self.sample = sample.data
            yield commands.Refresh(1)
            self.sample = b""

    def _forget(self, menu: int, ref: int) -> None:
        """Take an offer out of the menu, if that still stands."""
        if menu == self._memory.menu:
            self._memory.gone.append(ref)
            self._changed()

    def _negotiate(self, wish: d.Take) -> Steps:
        """From a request to an agreement: CHOSE goes to the list, BACK to the offer's screen, ENDED away."""
        answer = yield from self._talk.ask(wish, d.ShowQuote, d.Tell)
        return (yield from self.answer(answer, wish))

    def answer(self, answer: d.ShowQuote | d.Tell | None, wish: d.Take | None = None) -> Steps:
        """From a quote to an agreement; ``wish``: the request that brought it, unless that was made elsewhere."""
        while isinstance(answer, d.ShowQuote):
            quote = answer
            outcome = yield from self._screens.show(quote.text)
            choice = 0
            if outcome is Outcome.CHOSE:
                outcome, choice = yield from self._confirm(quote)
            if outcome is Outcome.HELP:
                continue
            if outcome is Outcome.CHOSE and choice == 1:
                done = yield from self._talk.ask(self._yes(quote), d.Tell)
                if done is None:
                    return Outcome.ENDED
                if done.kind == "done" and wish is not None:
                    self._forget(wish.menu, wish.offer)
                return (yield from self._end(done))
            if outcome is Outcome.CHOSE and choice == 2:
                limit = yield from self._limit(quote)
                if limit is not None:
                    answer = yield from self._talk.ask(d.Propose(quote.quote, quote.mode, limit), d.ShowQuote, d.Tell)
                continue
            self._talk.send(d.No(quote.quote))
            return Outcome.BACK if outcome in (Outcome.CHOSE, Outcome.BACK, Outcome.REFUSED) else Outcome.ENDED
        if answer is None:
            return Outcome.ENDED
        yield from self._screens.show(answer.text)
        return Outcome.BACK

    def _end(self, told: d.Tell) -> Steps:
        yield from self._screens.show(told.text)
        return Outcome.CHOSE if self._memory.open_refs() else Outcome.ENDED

    def _confirm(self, quote: d.ShowQuote) -> Steps:
        """Yes (1), a limit (2) or no (3)."""
        lines = [Item(1, self._words["yes"])]
        if quote.may_limit and self._screens.can(Ability.GET_INPUT):
            lines.append(Item(2, self._words["limit"]))
        lines.append(Item(3, self._words["no"]))
        if self._screens.can(Ability.GET_INKEY):
            return (yield from self._screens.by_digit(self._words["confirm"], lines))
        return (yield from self._screens.choose(self._words["confirm"], lines))

    def _limit(self, quote: d.ShowQuote) -> Steps:
        """A spending limit in micros; ``None`` where the user gives none."""
        while True:
            asked = commands.GetInput(self._words["how_much"].format(quote.currency), 1, 10, characters=True)
            response: Response = yield asked
            if outcome_of(response.result) is not Outcome.CHOSE:
                return None
            try:
                limit = decimal_micros((response.text or "").strip().replace(",", "."))
            except MoneyError:
                limit = -1
            if limit >= 0:
                return limit
            if (yield from self._screens.show(self._words["bad_limit"])) is not Outcome.CHOSE:
                return None

    def _yes(self, quote: d.ShowQuote) -> d.Yes:
        """The confirmation; its agreement's id is made from what no other confirmation has."""
        document = Confirmation(
            agreement=f"c{self._iccid}-{quote.quote}"[:64],
            quote=quote.quote,
            quote_digest=quote.digest,
            mode=quote.mode,
            at=self._talk.now,
            spending_limit=quote.limit,
        ).encode()
        return d.Yes(document, agreement_mac(self._key, document, d.shown_digest(quote)))
