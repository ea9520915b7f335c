"""The worker role: the feed's sequencer, what expires by itself, fresh signatures, and messages to devices' users."""

from __future__ import annotations

from collections.abc import Generator
from datetime import date
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from operator_server.balances.expiry import expire_balances
from operator_server.balances.mails import check_balance_templates, send_balance_mails
from operator_server.billing.dispatch import send_due_invoices
from operator_server.context import Operator
from operator_server.devices.messages import check_templates
from operator_server.devices.outbox import send_due
from operator_server.receivables.daily import DailyDesk
from operator_server.receivables.letters import check_reminder_templates
from operator_server.store.feed import sequence
from operator_server.store.store import transact
from operator_server.subscriptions.running import advance_due
from operator_server.timers import Timers
from operator_server.visited.reconciling import reconcile_recent
from operator_server.visited.settling import settle_due

log = Logger()

FEED_SECONDS = 0.5
EXPIRY_SECONDS = 5.0
REPOSITORY_SECONDS = 5.0
OUTBOX_SECONDS = 2.0
AGREEMENT_SECONDS = 5.0
SETTLEMENT_SECONDS = 10.0
DAILY_SECONDS = 60.0


class WorkerRole:
    """Work that is due by the clock. One worker does it at a time: each piece is one transaction that may repeat."""

    def __init__(self, operator: Operator, reactor: Any) -> None:
        self._operator = operator
        self._timers = Timers(reactor, log, "the worker")
        self._compared_on: date | None = None
        self._daily = DailyDesk(operator.engine, operator.settings)

    def start(self) -> None:
        """Begin. Raises :class:`operator_server.mail.TemplateError` for a template with a fault."""
        check_templates(self._operator.settings)
        check_balance_templates(self._operator.settings)
        if self._operator.settings.receivables.reminders_at:
            check_reminder_templates(self._operator.settings)
        self._every(FEED_SECONDS, self._sequence)
        self._every(EXPIRY_SECONDS, self._expire)
        self._every(REPOSITORY_SECONDS, self._sign)
        self._every(OUTBOX_SECONDS, self._send)
        self._every(AGREEMENT_SECONDS, self._advance)
        self._every(SETTLEMENT_SECONDS, self._settle)
        self._every(DAILY_SECONDS, self._day)

    def _every(self, seconds: float, work: Any) -> None:
        self._timers.every(seconds, lambda: deferToThread(work), now=True)

    def _sequence(self) -> None:
        while transact(self._operator.engine, sequence):
            pass

    def _expire(self) -> None:
        for what, count in expire_balances(self._operator.engine, self._operator.clock.now()).items():
            if count:
                log.info("{count} {what} expired", count=count, what=what)

    def _sign(self) -> None:
        renewed = self._operator.repository.refresh_timestamp(self._operator.clock.now())
        if renewed:
            log.info("the repository's {roles} are signed again", roles=", ".join(renewed))

    def _advance(self) -> None:
        count = advance_due(self._operator.engine, self._operator.settings, self._operator.clock.now())
        if count:
            log.info("{count} agreements had a trial, a period or their end due", count=count)

    def _day(self) -> None:
        for done in self._daily.work(self._operator.clock.now()):
            log.info("{done}", done=done)

    def _settle(self) -> None:
        for state, count in settle_due(self._operator).items():
            log.info("{count} settlement records are {state}", count=count, state=state)
        today = self._operator.clock.now().date()
        if today != self._compared_on:
            self._compared_on = today
            for network, month, what in reconcile_recent(self._operator):
                log.info("{network}, {month}: {what}", network=network, month=month, what=what)

    def _send(self) -> None:
        send_due(self._operator)
        operator = self._operator
        for fault in send_due_invoices(operator.engine, operator.settings, operator.clock.now(), most=50).faults:
            log.warn("invoice {fault}", fault=fault)
        for fault in send_balance_mails(operator.engine, operator.settings, operator.clock.now()):
            log.warn("balance mail {fault}", fault=fault)

    @inlineCallbacks
    def stop(self) -> Generator[Deferred[Any], Any, None]:
        """End after the work at hand."""
        yield self._timers.stop()
