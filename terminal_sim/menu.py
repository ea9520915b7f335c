"""The offer display part and the requesting part (claims 2 and 22): a model of the interactive menu.

It knows what is shown and what the user did with each line, and makes the signals; it draws nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from signalling.messages import Later, ModeTerms, OfferEntry, Offers, Reject, Request

Mark = Literal["open", "requested", "agreed", "rejected", "later", "failed"]


class MenuError(ValueError):
    """What the user wants does not go; the text says why."""


@dataclass
class Line:
    """One offer of the menu and what became of it."""

    entry: OfferEntry
    mark: Mark = "open"


@dataclass
class Menu:
    """The offers of one interrogation. ``lines`` keep the server's order."""

    id: str
    lines: list[Line] = field(default_factory=list)

    def line(self, number: int) -> Line:
        """The line with this number, from 1. Raises :class:`MenuError`."""
        if not 1 <= number <= len(self.lines):
            raise MenuError(f"there is no offer {number}; the menu has {len(self.lines)}")
        return self.lines[number - 1]

    def find(self, offer: str) -> Line | None:
        """The line of an offer."""
        return next((line for line in self.lines if line.entry.offer == offer), None)

    def settle(self, offer: str, mark: Mark) -> None:
        """What became of an offer, if it is in this menu."""
        line = self.find(offer)
        if line is not None:
            line.mark = mark

    def missing(self, line: Line) -> list[Line]:
        """Offers of this menu that must be taken before this one, and are not."""
        needed = (self.find(offer) for offer in line.entry.needs)
        return [other for other in needed if other is not None and other.mark != "agreed"]

    def request(self, line: Line, mode: str) -> Request:
        """The request signal. Raises :class:`MenuError` for a mode that is not shown or an offer that needs others."""
        mode_of(line.entry, mode)
        missing = self.missing(line)
        if missing:
            raise MenuError(f"{line.entry.title} needs {', '.join(other.entry.title for other in missing)} first")
        if line.mark == "agreed":
            raise MenuError(f"{line.entry.title} is taken already")
        return Request(offer=line.entry.offer, version=line.entry.version, mode=mode)

    def reject(self, line: Line, reason: str = "") -> Reject:
        """The reject signal."""
        if line.mark == "agreed":
            raise MenuError(f"{line.entry.title} is taken already")
        entry = line.entry
        return Reject(offer=entry.offer, version=entry.version, reason=reason, release=entry.release)

    def later(self, line: Line) -> Later:
        """Neither taken nor rejected."""
        return Later(offer=line.entry.offer, version=line.entry.version)


def mode_of(entry: OfferEntry, mode: str) -> ModeTerms:
    """The charging mode of an offer as it was shown. Raises :class:`MenuError`."""
    for terms in entry.modes:
        if terms.mode == mode:
            return terms
    shown = ", ".join(terms.mode for terms in entry.modes)
    raise MenuError(f"{entry.title} has no charging mode {mode!r}; it has {shown}")


class MenuPages:
    """Puts the numbered pages of one menu together."""

    def __init__(self) -> None:
        self._menu = ""
        self._pages: dict[int, list[OfferEntry]] = {}

    def add(self, page: Offers) -> Menu | None:
        """The menu once all its pages are there. Raises :class:`MenuError` for pages that do not fit together."""
        if not 1 <= page.page <= page.pages:
            raise MenuError(f"page {page.page} of {page.pages} of menu {page.menu}")
        if page.menu != self._menu:
            self._menu, self._pages = page.menu, {}
        self._pages[page.page] = page.offers
        if len(self._pages) < page.pages:
            return None
        menu = Menu(page.menu, [Line(entry) for number in sorted(self._pages) for entry in self._pages[number]])
        self._menu, self._pages = "", {}
        return menu
