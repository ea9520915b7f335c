"""The nodes role: the home register, to which the nodes that serve phones attach."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from operator_server.cards.desk import CardDesk
from operator_server.context import Operator
from operator_server.nodes.home import HomeRegister
from operator_server.offering.refresh import REFRESH_SECONDS, FreshOffers
from operator_server.store.store import Store
from operator_server.timers import Timers

log = Logger()


class NodesRole:
    """Composes the register with the desk for cards; its offers are kept up to date while it runs."""

    def __init__(self, operator: Operator, reactor: Any) -> None:
        self._fresh = FreshOffers(operator)
        self._store = Store(operator.settings.database_url(), reactor)
        self.home = HomeRegister(operator, CardDesk(operator, self._fresh.live), self._store, reactor)
        self._timers = Timers(reactor, log, "the nodes role")

    def start(self) -> int:
        """Listen; the port."""
        port = self.home.listen()
        self._timers.every(REFRESH_SECONDS, self._refresh)
        return port

    def _refresh(self) -> Deferred[Any]:
        done = deferToThread(self._fresh.take_over_changes)
        return done.addErrback(lambda failure: log.failure("changed offers were not taken over", failure))

    @inlineCallbacks
    def stop(self) -> Generator[Deferred[Any], Any, None]:
        """Let the nodes go and finish what is pending."""
        self._timers.stop()
        yield self.home.close()
        yield deferToThread(self._store.close)
