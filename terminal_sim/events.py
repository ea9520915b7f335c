"""What happens on a terminal's link, as its user's side is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from signalling import messages as m
from terminal_sim.menu import Menu


@dataclass(frozen=True)
class LoggedOn:
    """The server accepted the proof."""

    session: str
    idle_timeout: int
    rate: int


@dataclass(frozen=True)
class Interrogated:
    """The server inquired and was answered with this code."""

    trigger: str
    code: bytes


@dataclass(frozen=True)
class SectionsSent:
    """The server did not know these sections."""

    sections: tuple[str, ...]


@dataclass(frozen=True)
class MenuShown:
    """A menu is complete; it takes the place of the one before."""

    menu: Menu


@dataclass(frozen=True)
class Answer:
    """The answer to what was sent with id ``re``.

    ``value``: :class:`terminal_sim.negotiation.Quotation`, :class:`terminal_sim.state.Agreement`, a message such as
    ``Noted`` or ``Status``, or :class:`Refused`.
    """

    re: int
    value: Any


@dataclass(frozen=True)
class Refused:
    """A no, or an answer that the terminal itself does not accept (code ``bad_answer``)."""

    code: str
    reason: str


@dataclass(frozen=True)
class NoticeArrived:
    """A message for the user."""

    notice: m.Notice


@dataclass(frozen=True)
class Complaint:
    """The server answered with an error; the link stays unless :class:`Closed` follows."""

    code: str
    reason: str


@dataclass(frozen=True)
class Closed:
    """The link is over, for this reason."""

    reason: str


@dataclass(frozen=True)
class CardDataArrived:
    """Part of a secured packet for a SIM card that is in this terminal."""

    card: str
    data: bytes


Event = (
    CardDataArrived | LoggedOn | Interrogated | SectionsSent | MenuShown | Answer | NoticeArrived | Complaint | Closed
)
