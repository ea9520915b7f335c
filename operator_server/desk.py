"""Desks: what answers the terminal's messages once its link stands.

The link knows who speaks and passes each message to the desk of its type. What must survive a reconnect is rows in
the store, so a desk keeps no state between messages.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Connection
from twisted.internet.defer import Deferred

from charging.agreements import NotAgreed
from operator_server.store.store import Store
from signalling.clock import Clock
from signalling.envelope import BodyError
from signalling.messages import Message
from signalling.proof import ProofError
from signalling.sealing import SealError

M = TypeVar("M", bound=Message)


_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


def one_line(text: str, most: int) -> str:
    """A text that a terminal sent, as it may be kept and shown: on one line; PostgreSQL takes no zero character."""
    return _CONTROL.sub(" ", text)[:most]


class Visitor(msgspec.Struct, frozen=True, array_like=True):
    """Who speaks: a proven terminal and the subscriber that it is bound to now.

    ``takes_packages``: whether anything can be installed on the terminal; a device that only answers SNMP takes
    services alone. It has no key of ours, so its ``public_key`` is empty, and proves nothing. ``currency``: in which
    the account is kept; empty where that was not asked, and then modes in every currency are open.
    """

    terminal: str
    subscriber: str
    account: str
    groups: frozenset[str]
    language: str
    public_key: bytes
    takes_packages: bool = True
    currency: str = ""


class Refused(Exception):
    """A desk's no: the link answers with a ``refusal`` and stays. Nothing was changed."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


Handler = Callable[[Visitor, Any], Deferred[Sequence[Message]]]
"""Answers one message; the replies go out in its exchange, each with ``re`` set to its id."""

Desks = Mapping[type[Message], Handler]


def answering(store: Store, clock: Clock, answer: Callable[[Connection, Visitor, M, datetime], Message]) -> Handler:
    """A handler whose answer is one transaction: what it promises is on the disk before the terminal hears of it.

    A no and a document that does not hold become :class:`Refused`, and the transaction changes nothing.
    """

    def handle(visitor: Visitor, message: M) -> Deferred[Sequence[Message]]:
        def transaction(connection: Connection) -> Sequence[Message]:
            try:
                return (answer(connection, visitor, message, clock.now()),)
            except NotAgreed as no:
                raise Refused(no.code, no.reason) from None
            except (BodyError, ProofError, SealError) as no:
                raise Refused("bad_document", str(no)) from None

        return store.write(transaction)

    return handle
