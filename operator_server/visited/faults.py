"""What goes wrong between a visitor, a visited network and home."""

from __future__ import annotations


class VisitedError(Exception):
    """A no of ours. ``code`` is for programs, ``reason`` for people; nothing was changed."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class HomeRefused(VisitedError):
    """Home says no, for good."""


class HomeUnreachable(VisitedError):
    """Home did not answer, or not so that its answer can be believed: it may be asked again."""

    def __init__(self, reason: str) -> None:
        super().__init__("home_unreachable", reason)
