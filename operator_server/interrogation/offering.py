"""What interrogation asks of the offers' side."""

from __future__ import annotations

from typing import Protocol

from operator_server.desk import Visitor
from operator_server.offering.menus import LogonContext, Menu
from signalling.configuration import Configuration


class Offering(Protocol):
    """The offer memory as interrogation sees it; all in memory, none of it waits."""

    def knows(self, code: bytes) -> bool:
        """Whether the code has an offer class."""

    def learn(self, code: bytes, configuration: Configuration) -> None:
        """Find the class of a new code."""

    def menu(self, code: bytes, visitor: Visitor, context: LogonContext) -> Menu:
        """What fits the code, is not present and not rejected."""
