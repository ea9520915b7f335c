"""The nodes role: the home register, to which the nodes that serve phones attach."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from operator_server.cards.desk import CardDesk
from operator_server.context import Operator
from operator_server.nodes.home import HomeRegister
from operator_server.offering.refresh import REFRESH_SECONDS, FreshOffers
from operator_server.store.store import Store

log = Logger()


class NodesRole:
    """Composes the register with the desk for cards; its offers are kept up to date while it runs."""

    def __init__(self, operator: Operator, reactor: Any) -> None:
        self._fresh = FreshOffers(operator)
        self._store = Store(operator.settings.database_url(), reactor)
        self.home = HomeRegister(operator, CardDesk(operator, self._fresh.live), self._store, reactor)
        self._loop = LoopingCall(self._refresh)
        self._loop.clock = reactor

    def start(self) -> int:
        """Listen; the port."""
        port = self.home.listen()
        self._loop.start(REFRESH_SECONDS, now=False)
        return port

    def _refresh(self) -> Deferred[Any]:
        done = deferToThread(self._fresh.take_over_changes)
        return done.addErrback(lambda failure: log.failure("changed offers were not taken over", failure))

    @inlineCallbacks
    def stop(self) -> Generator[Deferred[Any], Any, None]:
        """Let the nodes go and finish what is pending."""
        if self._loop.running:
            self._loop.stop()
        yield self.home.close()
        yield deferToThread(self._store.close)
