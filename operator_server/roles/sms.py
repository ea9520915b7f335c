"""The sms role: cards that are reached by short messages."""

from __future__ import annotations

import threading

from twisted.logger import Logger

from operator_server.cards.desk import CardDesk
from operator_server.cards.smpp import SmsLine
from operator_server.context import Operator
from operator_server.offering.refresh import REFRESH_SECONDS, FreshOffers

log = Logger()


class SmsRole:
    """Composes desk and line; its offers are kept up to date by a thread while the role runs."""

    def __init__(self, operator: Operator) -> None:
        self._fresh = FreshOffers(operator)
        self.line = SmsLine(operator, CardDesk(operator, self._fresh.live))
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._refresh, name="offers", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()
        self.line.start()

    def stop(self) -> None:
        """End after the work at hand."""
        self._stopping.set()
        self.line.stop()
        self._thread.join()

    def _refresh(self) -> None:
        while not self._stopping.wait(REFRESH_SECONDS):
            try:
                self._fresh.take_over_changes()
            except Exception:  # noqa: BLE001 - whatever it is, the offers in force stay and the next look may do
                log.failure("changed offers were not taken over")
