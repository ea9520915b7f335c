"""What a dialogue of the applet says to the server, and waits for."""

from __future__ import annotations

from collections.abc import Callable

from signalling.card import commands
from signalling.card import dialogue as d
from signalling.card.profile import Ability
from terminal_sim.applet.screens import Screens, Steps, Wait


class Talk:
    """The way to the server. ``send`` seals a message and gives its counter.

    ``now``: the last time that came with a message, in microseconds: the card's only clock. ``unsent``: a message could
    not be sent since somebody last asked, and nobody was told yet.
    """

    def __init__(self, send: Callable[[d.CardMessage], int], screens: Screens) -> None:
        self.send = send
        self.now = 0
        self.unsent = False
        self._screens = screens

    def ask(self, message: d.CardMessage, *kinds: type[d.CardMessage]) -> Steps:
        """Send and wait; ``None`` where it could not be sent, which the user is told."""
        self.unsent = False
        self.send(message)
        if self._screens.can(Ability.DISPLAY_TEXT):
            yield commands.DisplayText(self._screens.words["wait"], wait=False)
        answer = yield Wait(kinds)
        if answer is None:
            yield from self._screens.show(self._screens.words["not_sent"])
        return answer
