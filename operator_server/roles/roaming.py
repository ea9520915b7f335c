"""The roaming role: partner operators' networks ask of us what concerns our subscribers there."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from operator_server.context import Operator
from operator_server.offering.refresh import REFRESH_SECONDS, FreshOffers
from operator_server.timers import Timers
from operator_server.visited.identity import identity_of, shown
from operator_server.visited.interconnect import Interconnect
from operator_server.visited.listener import Listener

log = Logger()


class RoamingRole:
    """Composes the listener with live offers, which are kept up to date while it runs."""

    def __init__(self, operator: Operator, reactor: Any) -> None:
        self._fresh = FreshOffers(operator)
        self._identity = identity_of(operator)
        self._listener = Listener(
            Interconnect(operator, self._fresh.live), self._identity, operator.settings.roaming, reactor
        )
        self._timers = Timers(reactor, log, "the roaming role")

    def start(self) -> str:
        """Begin; what is told of it. Raises ``OSError``."""
        port = self._listener.start()
        self._timers.every(REFRESH_SECONDS, self._refresh)
        return f"port {port} (TLS 1.3, certificates on both sides; ours is {shown(self._identity.fingerprint)})"

    def _refresh(self) -> Deferred[Any]:
        done: Deferred[Any] = deferToThread(self._fresh.take_over_changes)
        return done.addErrback(lambda failure: log.failure("changed offers were not taken over", failure))

    def stop(self) -> Deferred[None]:
        """End after the calls at hand."""
        self._timers.stop()
        return self._listener.stop()
