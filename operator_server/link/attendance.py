"""Keeps who is on line in step with the store: leases are renewed, and who may be there no longer is sent away."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from operator_server.link.machine import LOGON_REFUSED, State
from operator_server.link.protocol import LinkProtocol
from operator_server.link.registry import LEASE, Registry, changed_parties, sent_away
from operator_server.link.visitors import Stranger, Visitors
from operator_server.offering.menus import LogonContext
from operator_server.store.store import Store
from signalling.clock import Clock
from signalling.messages import Bye, Error

log = Logger()

RENEWAL_SECONDS = 30


class Attendance:
    """Looks after the links in ``registry``; ``renew`` and ``watch`` are to be called every second or so.

    ``close`` ends a link with a last word, ``tell`` writes an event of a terminal.
    """

    def __init__(
        self,
        registry: Registry,
        store: Store,
        clock: Clock,
        visitors: Visitors,
        *,
        seconds: Callable[[], float],
        close: Callable[[LinkProtocol, Bye | Error], None],
        tell: Callable[..., None],
    ) -> None:
        self._registry, self._store, self._clock, self._visitors = registry, store, clock, visitors
        self._seconds, self._close, self._tell = seconds, close, tell
        self._audited: int | None = None
        self._lease_at = 0
        self._renewed_at = 0.0

    def renew(self) -> None:
        """Write who came and who went; from time to time renew all leases, and look whose must end."""
        seconds, now = self._seconds(), self._clock.micros()
        renew = seconds - self._renewed_at >= RENEWAL_SECONDS or now > self._lease_at + LEASE // 2
        work = self._registry.work()
        if not work and not (renew and len(self._registry)):
            return
        if renew:
            self._renewed_at, self._lease_at = seconds, now
            node, sessions = self._registry.node, self._registry.sessions()
            self._store.read(lambda connection: sent_away(connection, node, sessions)).addCallbacks(
                self._send_away, lambda failure: log.failure("leases were not read", failure), (sessions,)
            )
        self._store.write(lambda connection: work.write(connection, now, renew=renew)).addErrback(
            lambda failure: log.failure("leases were not written", failure)
        )

    def _send_away(self, ending: dict[str, str], sessions: dict[str, str]) -> None:
        for terminal, reason in ending.items():
            link = self._registry.get(terminal)
            if link is None or link.session != sessions[terminal]:
                continue
            if reason == "revoked":
                self._close(link, LOGON_REFUSED)
            else:
                self._tell("link_superseded", terminal, session=link.session, by=reason)
                self._close(link, Bye(reason))

    def watch(self) -> Deferred[Any]:
        """Look again at who is logged on where somebody changed something about them."""
        since = self._audited
        looked: Deferred[Any] = self._store.read(lambda connection: changed_parties(connection, since))
        looked.addCallback(self._changed)
        return looked.addErrback(lambda failure: log.failure("changes of terminals were not read", failure))

    def _changed(self, read: tuple[int, frozenset[str]]) -> None:
        self._audited, changed = read
        if not changed:
            return
        for link in self._registry:
            who = link.visitor
            about = (f"terminal/{who.terminal}", f"subscriber/{who.subscriber}", f"account/{who.account}")
            if not changed.isdisjoint(about):
                self._visitors.read(who.terminal, None, partial(self._seen_again, link, link.session))

    def _seen_again(self, link: LinkProtocol, session: str, found: LogonContext | Stranger | Failure) -> None:
        if link.session != session or link.machine.state is not State.LOGGED_ON:
            return
        if isinstance(found, Failure):
            log.failure("a terminal was not looked up again", found)
        elif isinstance(found, Stranger) or found.visitor.public_key != link.visitor.public_key:
            log.info("{terminal}: sent away: its key holds no longer", terminal=link.terminal)
            self._close(link, LOGON_REFUSED)
        elif found.visitor.subscriber != link.visitor.subscriber:
            self._close(link, Bye("this terminal is another subscriber's now"))
        else:
            link.visitor = found.visitor
