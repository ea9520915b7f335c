"""Who logs on: the one look into the database that a logon takes, many terminals at a time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection
from twisted.internet.defer import Deferred

from operator_server.desk import Visitor
from operator_server.link.gathering import Done, Gathering
from operator_server.link.statements import in_chunks
from operator_server.store.store import Store
from signalling.clock import Clock
from signalling.proof import ProofError, verify

_WHO = """
SELECT t.id, t.status, k.public_key, k.valid_from, b.subscriber_id, b.valid_from, s.account_id, s."groups", a.language,
       ts.code
FROM terminal t
LEFT JOIN terminal_key k
    ON k.terminal_id = t.id AND k.valid_from <= {now} AND (k.valid_to IS NULL OR k.valid_to > {now})
LEFT JOIN binding b
    ON b.terminal_id = t.id AND b.valid_from <= {now} AND (b.valid_to IS NULL OR b.valid_to > {now})
LEFT JOIN subscriber s ON s.id = b.subscriber_id
LEFT JOIN account a ON a.id = s.account_id
LEFT JOIN terminal_session ts ON ts.terminal_id = t.id
WHERE t.id IN ({marks})
"""
_REJECTED = """
SELECT subscriber_id, product, offer_id, offer_version, price_digest, "release", until_at
FROM rejection
WHERE undone_at IS NULL AND (until_at IS NULL OR until_at > {now}) AND subscriber_id IN ({marks})
"""


@dataclass(frozen=True, slots=True)
class ActiveRejection:
    """A rejection that holds now; ``until`` in microseconds, absent for never."""

    product: str
    offer: str
    offer_version: str
    price_digest: str
    release: str
    until: int | None


@dataclass(frozen=True, slots=True)
class LogonContext:
    """A terminal that may be logged on, and what its menu depends on. ``proven``: its proof is checked."""

    visitor: Visitor
    rejections: tuple[ActiveRejection, ...]
    previous_code: bytes | None
    proven: bool = False


@dataclass(frozen=True, slots=True)
class Stranger:
    """A terminal that may not be logged on. ``cause`` is for the operator; ``known``: whether it is enrolled."""

    cause: str
    known: bool


@dataclass(frozen=True, slots=True)
class Proof:
    """What a terminal signed at its logon."""

    statement: bytes
    signature: bytes


MOST = 16
"""Terminals looked up together. A proof takes as long as the look-up of several terminals, so more would only make the
first wait for the last, and the reactor for both."""

PACE = 0.001
"""Seconds between look-ups under load."""

Request = tuple[str, Proof | None]
"""A terminal, and its proof when it is to be checked."""


class Visitors:
    """Reads who logs on and checks half of the proofs on the reading thread; the other half is the reactor's.

    Checking a signature takes longer than all else of a logon and lets go of the interpreter, so two threads can do
    it at once. Who comes alone is checked on the reactor, where the answer is wanted.
    """

    def __init__(self, store: Store, clock: Clock, reactor: Any) -> None:
        def submit(requests: list[Request]) -> Deferred[list[LogonContext | Stranger]]:
            return store.read_grouped(read_batch, (requests, clock.micros()))

        self._gathering = Gathering(submit, reactor, pace=PACE, most=MOST)

    def read(self, terminal: str, proof: Proof | None, done: Done) -> None:
        """``done`` gets the :class:`LogonContext` or :class:`Stranger` as of now, or a failure."""
        self._gathering.put((terminal, proof), done)


def read_visitors(connection: Connection, requests: Sequence[Request], now: int) -> list[LogonContext | Stranger]:
    """Who each terminal is at ``now`` (microseconds); the first half of the proofs is checked."""
    found: dict[str, Any] = {}
    for row in in_chunks(connection, _WHO, list({terminal for terminal, _ in requests}), now=now):
        before = found.get(row[0])
        if before is None or (row[3] or 0, row[5] or 0) > (before[3] or 0, before[5] or 0):
            found[row[0]] = row
    subscribers = list({row[4] for row in found.values() if row[4] is not None})
    rejections: dict[str, list[ActiveRejection]] = {}
    for row in in_chunks(connection, _REJECTED, subscribers, now=now):
        rejections.setdefault(row[0], []).append(ActiveRejection(*row[1:]))
    contexts = [_context(found.get(terminal), rejections) for terminal, _ in requests]
    share = len(requests) // 2
    return [
        context if proof is None or number >= share else checked(context, proof)
        for number, (context, (_, proof)) in enumerate(zip(contexts, requests, strict=True))
    ]


def read_batch(connection: Connection, payloads: Sequence[tuple[Sequence[Request], int]]) -> list[Any]:
    """:func:`read_visitors` as a batch of the store."""
    return [read_visitors(connection, requests, now) for requests, now in payloads]


def checked(found: LogonContext | Stranger, proof: Proof) -> LogonContext | Stranger:
    """The terminal with its proof checked, or a stranger when the proof does not hold."""
    if isinstance(found, Stranger):
        return found
    try:
        verify(found.visitor.public_key, proof.statement, proof.signature, "logon")
    except ProofError as error:
        return Stranger(str(error), known=True)
    return LogonContext(found.visitor, found.rejections, found.previous_code, proven=True)


def _context(row: Any, rejections: dict[str, list[ActiveRejection]]) -> LogonContext | Stranger:
    if row is None:
        return Stranger("not enrolled", known=False)
    terminal, status, key, _, subscriber, _, account, groups, language, code = row
    if status != "active":
        return Stranger(f"the terminal is {status}", known=True)
    if key is None:
        return Stranger("the terminal has no current key", known=True)
    if subscriber is None or account is None:
        return Stranger("the terminal is bound to no subscriber", known=True)
    if isinstance(groups, str):
        groups = json.loads(groups) if groups != "[]" else ()
    visitor = Visitor(terminal, subscriber, account, frozenset(groups) if groups else _NO_GROUPS, language, key)
    return LogonContext(visitor, tuple(rejections.get(subscriber, ())), code)


_NO_GROUPS: frozenset[str] = frozenset()
