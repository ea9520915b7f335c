"""Who logs on: the one look into the database that a logon takes, many terminals at a time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec
from sqlalchemy import Connection
from twisted.internet.defer import Deferred

from operator_server.desk import Visitor
from operator_server.link.gathering import Done, Gathering
from operator_server.offering.menus import ActiveRejection, LogonContext
from operator_server.store.store import Store
from signalling.clock import Clock
from signalling.proof import ProofError, verify

_WHO = """
SELECT {array_of}({array}(
    w.value, t.status, {key}, b.subscriber_id, s.account_id, s."groups", a.language, {code}, a.currency,
    (SELECT {array_of}({array}(
        r.product, r.offer_id, r.offer_version, r.price_digest, r."release", r.until_at))
     FROM rejection r
     WHERE r.subscriber_id = b.subscriber_id AND r.undone_at IS NULL
         AND (r.until_at IS NULL OR r.until_at > {now}))
)){text}
FROM {terminals}
LEFT JOIN terminal t ON t.id = w.value
LEFT JOIN terminal_key k ON k.id = (
    SELECT id FROM terminal_key
    WHERE terminal_id = t.id AND valid_from <= {now} AND (valid_to IS NULL OR valid_to > {now})
    ORDER BY valid_from DESC LIMIT 1)
LEFT JOIN binding b ON b.id = (
    SELECT id FROM binding
    WHERE terminal_id = t.id AND valid_from <= {now} AND (valid_to IS NULL OR valid_to > {now})
    ORDER BY valid_from DESC LIMIT 1)
LEFT JOIN subscriber s ON s.id = b.subscriber_id
LEFT JOIN account a ON a.id = s.account_id
LEFT JOIN terminal_session ts ON ts.terminal_id = t.id
"""
_WHO_BY_DIALECT = {
    "sqlite": _WHO.format(
        array_of="json_group_array", array="json_array", text="", key="hex(k.public_key)", code="hex(ts.code)",
        now=":now", terminals="json_each(:terminals) w",
    ),
    "postgresql": _WHO.format(
        array_of="json_agg", array="json_build_array", text="::text", key="encode(k.public_key, 'hex')",
        code="encode(ts.code, 'hex')", now="%(now)s", terminals="json_array_elements_text(%(terminals)s) w (value)",
    ),
}  # fmt: skip
"""All of a batch as one JSON value: a driver lets go of the interpreter at each row that it steps to."""


class Stranger(msgspec.Struct, frozen=True, array_like=True, tag="stranger"):
    """A terminal that may not be logged on. ``cause`` is for the operator; ``known``: whether it is enrolled."""

    cause: str
    known: bool


class Proof(msgspec.Struct, frozen=True, array_like=True):
    """What a terminal signed at its logon."""

    statement: bytes
    signature: bytes


Request = tuple[str, Proof | None]
"""A terminal, and its proof when it is to be checked."""


class Visitors(Protocol):
    """Looks up who logs on, and may check the proof."""

    def read(self, terminal: str, proof: Proof | None, done: Done) -> None:
        """``done`` gets the :class:`LogonContext` or :class:`Stranger` as of now, or a failure."""


PACE = 0.001
"""Seconds between look-ups under load."""


class StoreVisitors:
    """Looks up on the store's reading thread; proofs are left to the caller."""

    def __init__(self, store: Store, clock: Clock, reactor: Any) -> None:
        def submit(requests: list[Request]) -> Deferred[list[LogonContext | Stranger]]:
            return store.read_grouped(_read_batch, (requests, clock.micros()))

        self._gathering = Gathering(submit, reactor, pace=PACE)

    def read(self, terminal: str, proof: Proof | None, done: Done) -> None:
        """See :class:`Visitors`."""
        self._gathering.put((terminal, proof), done)


def read_visitors(connection: Connection, terminals: Sequence[str], now: int) -> list[LogonContext | Stranger]:
    """Who each terminal is at ``now`` (microseconds), by one statement."""
    cursor = connection.connection.cursor()
    names = msgspec.json.encode(terminals).decode()
    cursor.execute(_WHO_BY_DIALECT[connection.dialect.name], {"now": now, "terminals": names})
    found = {row.terminal: row for row in _decode(cursor.fetchall()[0][0])}
    cursor.close()
    return [_context(found[terminal]) for terminal in terminals]


def _read_batch(connection: Connection, payloads: Sequence[tuple[Sequence[Request], int]]) -> list[Any]:
    return [read_visitors(connection, [terminal for terminal, _ in requests], now) for requests, now in payloads]


def checked(found: LogonContext | Stranger, proof: Proof) -> LogonContext | Stranger:
    """The terminal with its proof checked, or a stranger when the proof does not hold."""
    if isinstance(found, Stranger):
        return found
    try:
        verify(found.visitor.public_key, proof.statement, proof.signature, "logon")
    except ProofError as error:
        return Stranger(str(error), known=True)
    return LogonContext(found.visitor, found.rejections, found.previous_code, proven=True)


class _Row(msgspec.Struct, array_like=True):
    terminal: str
    status: str | None
    key: str | None
    subscriber: str | None
    account: str | None
    groups: str | list[str] | None
    language: str | None
    code: str | None
    currency: str | None
    rejections: tuple[ActiveRejection, ...] | None


_decode = msgspec.json.Decoder(list[_Row]).decode
_NO_GROUPS: frozenset[str] = frozenset()


def _context(row: _Row) -> LogonContext | Stranger:
    if row.status is None:
        return Stranger("not enrolled", known=False)
    if row.status != "active":
        return Stranger(f"the terminal is {row.status}", known=True)
    if not row.key:
        return Stranger("the terminal has no current key", known=True)
    if row.subscriber is None or row.account is None:
        return Stranger("the terminal is bound to no subscriber", known=True)
    groups = json.loads(row.groups) if isinstance(row.groups, str) else row.groups
    visitor = Visitor(
        row.terminal,
        row.subscriber,
        row.account,
        frozenset(groups) if groups else _NO_GROUPS,
        row.language or "",
        bytes.fromhex(row.key),
        currency=row.currency or "",
    )
    return LogonContext(visitor, row.rejections or (), bytes.fromhex(row.code) if row.code else None)
