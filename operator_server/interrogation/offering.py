"""What interrogation asks of the offers' side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from operator_server.desk import Visitor
from operator_server.link.visitors import LogonContext
from signalling.configuration import Configuration


@dataclass(frozen=True, slots=True)
class Menu:
    """Offers for one terminal, in order: encoded ``OfferEntry`` maps, and what of them is recorded as shown."""

    entries: Sequence[msgspec.Raw]
    shown: str


class Offering(Protocol):
    """The offer memory as interrogation sees it; all in memory, none of it waits."""

    def knows(self, code: bytes) -> bool:
        """Whether the code has an offer class."""

    def learn(self, code: bytes, configuration: Configuration) -> None:
        """Find the class of a new code."""

    def menu(self, code: bytes, visitor: Visitor, context: LogonContext) -> Menu:
        """What fits the code, is not present and not rejected."""
