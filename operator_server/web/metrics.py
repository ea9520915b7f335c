"""Figures for Prometheus: requests of this process, and what the database says when it is asked."""

from __future__ import annotations

import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector
from sqlalchemy import Connection, func, select
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from operator_server.store.accounting import CounterGap
from operator_server.store.configurations import InterrogationOrder
from operator_server.store.invitations import OutgoingMessage
from operator_server.store.parties import Account, Event, Terminal, TerminalSession
from operator_server.store.rows import table
from operator_server.web.calls import Web

CONTENT_TYPE = CONTENT_TYPE_LATEST


class Metrics:
    """The figures of one application."""

    def __init__(self, web: Web) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "tollgate_http_requests_total", "Requests answered", ["route", "method", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "tollgate_http_request_seconds", "Time to the begin of the answer", ["route"], registry=self.registry,
            buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
        )  # fmt: skip
        self.registry.register(_Database(web))

    def text(self) -> bytes:
        """All figures, as Prometheus reads them. Blocks on the database."""
        return generate_latest(self.registry)


class _Database(Collector):
    def __init__(self, web: Web) -> None:
        self._web = web

    def describe(self) -> Iterator[Metric]:
        """Nothing is read before somebody asks."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Read now; each figure by an index."""
        with self._web.operator.engine.connect() as connection:
            for name, text, value in _figures(connection, self._web):
                yield GaugeMetricFamily(name, text, value=value)


def _figures(connection: Connection, web: Web) -> Iterator[tuple[str, str, float]]:
    now = web.operator.clock.now()
    terminal, session, event = table(Terminal), table(TerminalSession), table(Event)
    order, gap, message = table(InterrogationOrder), table(CounterGap), table(OutgoingMessage)

    def count(*where: object, of: object) -> float:
        return float(connection.execute(select(func.count()).select_from(of).where(*where)).scalar_one())  # type: ignore[arg-type]  # tables and conditions

    yield "tollgate_terminals_active", "Terminals that may log on", count(terminal.c.status == "active", of=terminal)
    yield "tollgate_terminals_online", "Terminals held by a link", count(session.c.lease_until > now, of=session)
    yield "tollgate_terminals_silent", "Terminals that left inquiries unanswered", count(
        session.c.unanswered > 0, of=session
    )  # fmt: skip
    yield "tollgate_accounts", "Accounts", count(of=table(Account))
    yield "tollgate_feed_place", "The last place of the feed", float(
        connection.execute(select(func.max(event.c.place))).scalar() or 0
    )  # fmt: skip
    yield (
        "tollgate_interrogation_orders_open",
        "Orders that no link has taken",
        count(order.c.state == "open", of=order),
    )
    yield "tollgate_counter_gaps_open", "Gaps in counter reports", count(gap.c.closed_at.is_(None), of=gap)
    yield "tollgate_messages_failed", "Messages to users that were not delivered", count(
        message.c.state == "failed", of=message
    )  # fmt: skip


class Measured:
    """Counts and times every request by the pattern of its route."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = time.perf_counter()

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", "(none)")
                self._metrics.seconds.labels(route).observe(time.perf_counter() - begun)
                self._metrics.requests.labels(route, scope["method"], str(message["status"])).inc()
            await send(message)

        await self._app(scope, receive, answer)
