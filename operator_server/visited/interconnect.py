"""The serving side of the interconnect: what partners ask of us, and what we answer. No sockets.

A caller is whose certificate it shows; whatever it says of itself counts for nothing. Each call is a type of
:mod:`operator_server.visited.wire`, is one transaction, and is refused with a code and a reason, or done.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

import msgspec
from sqlalchemy import Connection
from twisted.logger import Logger

from operator_server.context import Operator
from operator_server.offering.live import LiveOffers
from operator_server.store.store import transact
from operator_server.visited import wire
from operator_server.visited.faults import VisitedError
from operator_server.visited.home import Home
from operator_server.visited.notices import tell_of_new
from operator_server.visited.partners import calling_partner
from operator_server.visited.reconciling import statement, take_disputes
from operator_server.visited.records import Claim
from signalling.messages import Signed

log = Logger()
T = TypeVar("T")

STRANGERS_PER_MINUTE = 30
"""Refusals that are looked up for those who show no certificate of a partner, together."""

_STATUS = {"unknown_peer": 403, "unknown_network": 403, "no_certificate": 401, "unknown_call": 404, "bad_message": 422,
           "too_many": 429, "too_large": 413}  # fmt: skip


class _Pace:
    """So many requests a minute on average, a third of them at once; of each caller apart."""

    def __init__(self, per_minute: int, monotonic: Callable[[], float]) -> None:
        self._rate, self._most, self._monotonic = per_minute / 60, max(1.0, per_minute / 3), monotonic
        self._left: dict[str, tuple[float, float]] = {}

    def take(self, whose: str) -> None:
        """Count a request; partners are few, so all are kept. Raises :class:`VisitedError`."""
        now = self._monotonic()
        left, at = self._left.get(whose, (self._most, now))
        left = min(self._most, left + (now - at) * self._rate)
        self._left[whose] = (max(0.0, left - 1), now)
        if left < 1:
            raise VisitedError("too_many", "too many requests; wait a little")


class Reply(NamedTuple):
    """An HTTP status and a JSON body."""

    status: int
    body: bytes


class Interconnect:
    """Answers partners over an operator's database and live offers."""

    def __init__(self, operator: Operator, offers: LiveOffers, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._operator = operator
        self._home = Home(operator, offers)
        self._pace = _Pace(operator.settings.roaming.requests_per_minute, monotonic)
        self._strangers = _Pace(STRANGERS_PER_MINUTE, monotonic)
        self._calls: Mapping[str, tuple[type[Any], Callable[[str, Any], Any]]] = {
            "hello": (wire.Hello, self._hello),
            "registrations": (Signed, self._vouch),
            "quotes": (wire.Asking, self._quote),
            "declines": (wire.Declining, self._decline),
            "records": (Claim, self._settle),
            "notices": (wire.Notice, self._notify),
            "statements": (wire.StatementWanted, self._statement),
            "disputes": (wire.Disputes, self._disputes),
        }

    def answer(self, fingerprint: str | None, path: str, body: bytes) -> Reply:
        """What the caller that shows this certificate gets. Blocks on the database."""
        try:
            network = self._caller(fingerprint)
            call = self._calls.get(path.removeprefix(f"{wire.PATH}/"))
            if call is None or not path.startswith(f"{wire.PATH}/"):
                known = ", ".join(self._calls)
                raise VisitedError("unknown_call", f"{path[:60]}: there is none; there are {known} of {wire.PATH}/")
            kind, do = call
            return Reply(200, wire.encode(do(network, wire.decode(body, kind))))
        except VisitedError as no:
            return refusal(no.code, no.reason)

    def _caller(self, fingerprint: str | None) -> str:
        if fingerprint is None:
            self._strangers.take("")
            raise VisitedError("no_certificate", "show your certificate: TLS with a client certificate is needed here")
        try:
            with self._operator.engine.connect() as connection:
                network = calling_partner(connection, fingerprint)
        except VisitedError as no:
            self._strangers.take("")
            log.warn("a caller is refused: {reason}", reason=no.reason)
            raise
        self._pace.take(network)
        return network

    @property
    def _now(self) -> Any:
        return self._operator.clock.now()

    def _do(self, operation: Callable[[Connection], T]) -> T:
        return transact(self._operator.engine, operation)

    def _hello(self, network: str, asked: wire.Hello) -> wire.Greeting:
        return wire.Greeting(self._home.name, network)

    def _vouch(self, network: str, asked: Signed) -> wire.Vouched:
        return self._do(lambda c: self._home.vouch(c, network, asked, self._now))

    def _quote(self, network: str, asked: wire.Asking) -> Signed:
        return self._do(lambda c: self._home.quote(c, network, asked.terminal, asked.wanted, self._now))

    def _decline(self, network: str, asked: wire.Declining) -> wire.Done:
        self._do(lambda c: self._home.decline(c, network, asked.terminal, asked.quote, self._now))
        return wire.Done()

    def _settle(self, network: str, asked: Claim) -> wire.Settled:
        if asked.visited != network:
            raise VisitedError("bad_record", f"record {asked.id}: is of {asked.visited}, not of {network}")
        return self._do(lambda c: self._home.settle(c, asked, self._now))

    def _notify(self, network: str, asked: wire.Notice) -> wire.Done:
        tell_of_new(self._operator, network, asked.terminal, asked.features, self._now)
        return wire.Done()

    def _statement(self, network: str, asked: wire.StatementWanted) -> wire.Statement:
        with self._operator.engine.connect() as connection:
            return statement(connection, network, asked)

    def _disputes(self, network: str, asked: wire.Disputes) -> wire.Done:
        self._do(lambda c: take_disputes(c, network, asked, self._now))
        return wire.Done()


def refusal(code: str, reason: str, status: int | None = None) -> Reply:
    """A no, as it travels."""
    return Reply(status or _STATUS.get(code, 409), msgspec.json.encode(wire.Refused(code[:64], reason[:1_000])))
