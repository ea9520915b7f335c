"""Keeps a terminal connected: connects again with back-off, and goes on with what was left unfinished."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed

from signalling.clock import Clock
from terminal_sim.client import Client, LinkLost, StepRefused
from terminal_sim.delivery import DeliveryPaused, SoftwareReceiver
from terminal_sim.events import Event
from terminal_sim.link import connect
from terminal_sim.state import State

FIRST_DELAY = 1.0
LONGEST_DELAY = 60.0


class LinkKeeper:
    """``client`` is the link that stands now, or None; then ``trouble`` says why. Runs in the reactor's thread.

    The delay doubles from one second to a minute and is jittered, so that a fleet does not come back in one moment.
    """

    def __init__(
        self,
        state: State,
        clock: Clock,
        reactor: Any,
        languages: tuple[str, ...],
    ) -> None:
        self.on_event: Callable[[Event], None] = lambda event: None
        self.on_trouble: Callable[[str], None] = lambda text: None
        self.client: Client | None = None
        self.trouble = "not connected yet"
        self.attempts = 0
        self._state, self._clock, self._reactor = state, clock, reactor
        self._languages = languages
        self._receiver = SoftwareReceiver(state, clock)
        self._delay = FIRST_DELAY
        self._later: Any = None
        self._stopped = False

    def start(self) -> None:
        """Connect now, and again whenever the link ends."""
        self._later = None
        connecting = connect(
            self._state,
            self._clock,
            self._reactor,
            receiver=self._receiver,
            on_event=lambda event: self.on_event(event),
            languages=self._languages,
        )
        connecting.addCallbacks(self._connected, self._failed)

    def stop(self) -> Deferred[Any]:
        """Leave; fires when no link stands any more."""
        self._stopped = True
        if self._later is not None:
            self._later.cancel()
            self._later = None
        client, self.client = self.client, None
        return client.close("the user quits") if client is not None else succeed(None)

    def _connected(self, client: Client) -> None:
        self.attempts += 1
        self._delay = FIRST_DELAY
        if self._stopped:
            client.close()
            return
        self.client, self.trouble = client, ""
        client.closed.addCallback(self._closed)
        for finishing in client.resume():
            finishing.addErrback(self._not_finished)

    def _not_finished(self, failure: Any) -> None:
        failure.trap(LinkLost, StepRefused, DeliveryPaused)
        self.on_trouble(f"an earlier order is not finished yet: {failure.getErrorMessage()}")

    def _failed(self, failure: Any) -> None:
        failure.trap(LinkLost)
        self.attempts += 1
        self._again(failure.getErrorMessage())

    def _closed(self, reason: str) -> str:
        self.client = None
        self._again(reason)
        return reason

    def _again(self, reason: str) -> None:
        self.trouble = reason
        if self._stopped:
            return
        self._later = self._reactor.callLater(self._delay * random.uniform(0.75, 1.25), self.start)
        self._delay = min(self._delay * 2, LONGEST_DELAY)
