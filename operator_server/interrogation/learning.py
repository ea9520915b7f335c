"""Bringing configurations that were never seen to the offers' side."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks, succeed
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure

from operator_server.interrogation.exchange import ExchangeFault, assemble
from operator_server.interrogation.offering import Offering
from operator_server.interrogation.records import load_sections
from operator_server.store.store import Store
from signalling.configuration import Configuration
from signalling.messages import ConfigurationReport

LARGE_SECTION = 32 * 1024
"""Sections from this size on are checked on another thread."""


class Learning:
    """Assembles configurations from their stored sections, each once."""

    def __init__(self, store: Store, offering: Offering, reactor: Any) -> None:
        self._store = store
        self._offering = offering
        self._reactor = reactor
        self._waiting: dict[bytes, list[Deferred[None]]] = {}

    def learn(self, report: ConfigurationReport) -> Deferred[None]:
        """Bring the configuration behind a code to the offers' side, once however many terminals wait for it."""
        done: Deferred[None] = Deferred()
        waiting = self._waiting.setdefault(report.code, [])
        waiting.append(done)
        if len(waiting) == 1:
            self._assemble(report).addBoth(self._learned, report.code)
        return done

    @inlineCallbacks
    def _assemble(self, report: ConfigurationReport) -> Generator[Deferred[Any], Any, None]:
        stored = yield self._store.read(lambda connection: load_sections(connection, report.sections.values()))
        canonical = {name: stored[digest] for name, digest in report.sections.items()}
        size = sum(map(len, canonical.values()))
        configuration: Configuration = yield maybe_in_thread(self._reactor, size, assemble, report, canonical)
        self._offering.learn(report.code, configuration)

    def _learned(self, result: Any, code: bytes) -> None:
        for waiting in self._waiting.pop(code):
            waiting.callback(result)


def maybe_in_thread(reactor: Any, size: int, function: Callable[..., Any], *args: Any) -> Deferred[Any]:
    """The result of work on this many bytes, on another thread where they are many."""
    if size < LARGE_SECTION:
        try:
            return succeed(function(*args))
        except ExchangeFault:
            return _failed()
    return deferToThreadPool(reactor, reactor.getThreadPool(), function, *args)


def _failed() -> Deferred[Any]:
    failed: Deferred[Any] = Deferred()
    failed.errback(Failure())
    return failed
