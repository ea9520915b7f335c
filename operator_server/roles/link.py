"""The link role: terminals' links, interrogation, and the desks behind them."""

from __future__ import annotations

import os
import socket
from collections.abc import Generator, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from operator_server.cards.desk import CardDesk
from operator_server.cards.link import CardLink
from operator_server.context import Operator
from operator_server.counting.desk import CountingDesk, cut_overs_due
from operator_server.counting.grants import UsageGrants
from operator_server.counting.tariffs import TariffVersions
from operator_server.delivery.desk import DeliveryDesk
from operator_server.desk import Desks, Visitor
from operator_server.link.process import settle_process
from operator_server.link.proving import ProvingVisitors
from operator_server.link.server import LinkServer
from operator_server.link.tls import LinkTls
from operator_server.link.visitors import StoreVisitors
from operator_server.negotiation.desk import NegotiationDesk
from operator_server.offering.refresh import REFRESH_SECONDS, FreshOffers
from operator_server.store.store import Store
from operator_server.timers import Timers
from operator_server.validation import notices
from operator_server.validation.comparison import Finding, compare
from operator_server.validation.desk import StatusDesk, entitled_products
from signalling.messages import CounterInquiry, Notice, Trigger

log = Logger()

NOTICE_SECONDS = 0.5
CARD_SECONDS = 1.0


class LinkRole:
    """Composes the link server with offers, negotiation, delivery, counting and notices."""

    def __init__(self, operator: Operator, reactor: Any) -> None:
        settings, clock = operator.settings, operator.clock
        self._operator = operator
        self._clock = clock
        self._zone = settings.operator.zone
        self.node = f"{socket.gethostname()}-{os.getpid()}"
        self._fresh = FreshOffers(operator)
        self._refreshing = False
        self.store = Store(settings.database_url(), reactor)
        self.offers = self._fresh.live
        self._cards = CardLink(CardDesk(operator, self.offers), self.store, clock)
        self._timers = Timers(reactor, log, "the link role")
        tls = None
        if settings.link.tls:
            tls = LinkTls(operator.keys.certificate, operator.keys.private_key, settings.link.key_exchange)
        self._visitors = ProvingVisitors(
            settings.database_url(), clock, reactor, StoreVisitors(self.store, clock, reactor)
        )
        self.server = LinkServer(
            settings, self.store, clock, self.offers, self._desks(), reactor=reactor, node=self.node, tls=tls,
            after_interrogation=self._after_interrogation, visitors=self._visitors,
            key_changes=operator.keys.changes(),
        )  # fmt: skip

    def _desks(self) -> Desks:
        operator, store, clock = self._operator, self.store, self._clock
        settings, keys = operator.settings, operator.keys
        tariffs = TariffVersions(lambda: self.offers.tariffs)
        usage = UsageGrants(tariffs, keys.signing, settings)
        return {
            **NegotiationDesk(store, self.offers, keys, settings, clock).handlers(),
            **DeliveryDesk(store, keys, operator.vault, usage, settings, clock).handlers(),
            **CountingDesk(store, tariffs, usage, settings, clock).handlers(),
            **StatusDesk(store, clock).handlers(),
            **self._cards.handlers(),
        }

    @inlineCallbacks
    def start(self) -> Generator[Deferred[Any], Any, int]:
        """Listen; fires with the port."""
        self._visitors.start()
        port: int = yield self.server.listen()
        settle_process()
        self._timers.every(NOTICE_SECONDS, self._send_notices)
        self._timers.every(REFRESH_SECONDS, self._refresh)
        self._timers.every(CARD_SECONDS, self._serve_cards)
        return port

    @inlineCallbacks
    def stop(self) -> Generator[Deferred[Any], Any, None]:
        """Take leave of the terminals and finish what is pending."""
        self._timers.stop()
        yield self.server.stop()
        self._visitors.stop()
        yield deferToThread(self.store.close)

    # After an interrogation: counters are asked for, and what is installed is compared with what is valid.

    def _after_interrogation(self, server: LinkServer, visitor: Visitor, trigger: Trigger, code: bytes) -> None:
        items = self.offers.items(code)
        if not items:
            return
        now = self._clock.now()
        done = self.store.read(lambda connection: self._examine(connection, visitor, items, now))
        done.addCallback(self._act, server, visitor, now)
        done.addErrback(lambda failure: log.failure("what is installed was not examined", failure))

    def _examine(
        self, connection: Connection, visitor: Visitor, items: Mapping[str, str], now: datetime
    ) -> tuple[list[int], list[Finding]]:
        cut_overs = cut_overs_due(connection, visitor.terminal, now, self._zone)
        entitled = entitled_products(connection, visitor)
        return cut_overs, compare(items, self.offers.supply.validity, entitled, now)

    def _act(
        self, found: tuple[list[int], list[Finding]], server: LinkServer, visitor: Visitor, now: datetime
    ) -> Deferred[None] | None:
        cut_overs, findings = found
        if cut_overs:
            server.send(visitor.terminal, CounterInquiry(cut_overs=cut_overs))
        if not findings:
            return None
        return self.store.write(
            lambda connection: notices.write_findings(
                connection, visitor.terminal, visitor.subscriber, visitor.language, findings, now
            )
        )

    # Notices go to terminals that are on line here.

    def _send_notices(self) -> Deferred[Any] | None:
        if not len(self.server.registry):
            return None
        now = self._clock.now()
        waiting = self.store.read(lambda connection: notices.unsent_for_node(connection, self.node, now))
        waiting.addCallback(self._sent, now)
        waiting.addErrback(lambda failure: log.failure("notices were not sent", failure))
        return waiting

    def _sent(self, rows: list[Any], now: datetime) -> Deferred[None] | None:
        sent = [
            row.id
            for row in rows
            if self.server.send(
                row.terminal_id,
                Notice(notice=row.id, kind=row.kind, text=row.text, subject=row.subject, state=row.state),
            )
        ]
        if not sent:
            return None
        return self.store.write(lambda connection: notices.mark_sent(connection, sent, now))

    # Cards whose carriers are on line here.

    def _serve_cards(self) -> Deferred[Any] | None:
        if not len(self.server.registry):
            return None
        served = self._cards.turn(self.server.send)
        return served.addErrback(lambda failure: log.failure("cards were not served", failure))

    # Changed offers, tariffs and releases are taken over while the link works.

    def _refresh(self) -> Deferred[None] | None:
        if self._refreshing:
            return None
        self._refreshing = True
        done = deferToThread(self._take_over_changes)
        done.addErrback(lambda failure: log.failure("changed offers were not taken over", failure))
        done.addBoth(self._refreshed)
        return done

    def _refreshed(self, _: object) -> None:
        self._refreshing = False

    def _take_over_changes(self) -> None:
        self._fresh.take_over_changes()
