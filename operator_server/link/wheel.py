"""One timer for all links: a wheel of slots, a second each; a link lies in the slot of the second of its next check."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar


class Timed(Hashable, Protocol):
    """What lies in a wheel; ``slot`` belongs to the wheel and is -1 outside it."""

    slot: int


T = TypeVar("T", bound=Timed)


class Wheel(Generic[T]):
    """Holds each member until its second comes. Waits longer than the wheel are cut to its length."""

    def __init__(self, slots: int = 512) -> None:
        self._slots: list[set[T]] = [set() for _ in range(slots)]
        self._hand = 0

    def put(self, member: T, seconds: float) -> None:
        """Let the member be due after so many seconds, at the earliest with the next turn."""
        self.remove(member)
        slots = len(self._slots)
        slot = (self._hand + min(max(1, int(seconds) + 1), slots - 1)) % slots
        member.slot = slot
        self._slots[slot].add(member)

    def remove(self, member: T) -> None:
        """Take the member out; no harm when it is not in."""
        if member.slot >= 0:
            self._slots[member.slot].discard(member)
            member.slot = -1

    def turn(self) -> set[T]:
        """A second has passed: the members that are due, no longer in the wheel."""
        self._hand = (self._hand + 1) % len(self._slots)
        due, self._slots[self._hand] = self._slots[self._hand], set()
        for member in due:
            member.slot = -1
        return due
