"""Desks: what answers the terminal's messages once its link stands.

The link knows who speaks and passes each message to the desk of its type. What must survive a reconnect is rows in
the store, so a desk keeps no state between messages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred

from signalling.messages import Message


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who speaks on a link: a proven terminal and the subscriber that it is bound to now."""

    terminal: str
    subscriber: str
    account: str
    groups: frozenset[str]
    language: str
    public_key: bytes


class Refused(Exception):
    """A desk's no: the link answers with a ``refusal`` and stays. Nothing was changed."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


Handler = Callable[[Visitor, Any], Deferred[Sequence[Message]]]
"""Answers one message; the replies go out in its exchange, each with ``re`` set to its id."""

Desks = Mapping[type[Message], Handler]
