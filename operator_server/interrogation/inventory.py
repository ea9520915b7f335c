"""What is known of configurations, and who is asked for what is not.

Arbitration: of several terminals that bring the same unknown section one is asked, the others wait; when the one asked
does not deliver in time, delivers something else or departs, the next is asked. ``most_at_once`` bounds how many
terminals deliver sections at one time, and so the memory that half-received sections take.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable, Mapping

from signalling.configuration import SECTIONS, SectionName

DAY = 86_400 * 1_000_000


class Inventory:
    """Known codes and sections of this process, and the open requests for unknown ones."""

    def __init__(self, most_at_once: int = 16) -> None:
        self.codes: dict[bytes, tuple[bytes, ...]] = {}
        self.sections: set[bytes] = set()
        self._most = most_at_once
        self._asked: dict[bytes, Hashable] = {}
        self._busy: set[Hashable] = set()
        self._waiting: dict[Hashable, None] = {}

    def load(self, codes: Mapping[bytes, tuple[bytes, ...]], sections: Iterable[bytes]) -> None:
        """Learn what the store holds."""
        self.codes.update(codes)
        self.sections.update(sections)

    def missing(self, digests: Mapping[SectionName, bytes]) -> list[SectionName]:
        """The sections that were never seen."""
        return [name for name in SECTIONS if digests[name] not in self.sections]

    def claim(self, asker: Hashable, digests: Mapping[SectionName, bytes]) -> list[SectionName]:
        """The sections that this asker is to be asked for now; empty when it has to wait for others."""
        missing = self.missing(digests)
        free = [name for name in missing if digests[name] not in self._asked]
        if not free or len(self._busy) >= self._most:
            self._waiting[asker] = None
            return []
        self._waiting.pop(asker, None)
        self._busy.add(asker)
        for name in free:
            self._asked[digests[name]] = asker
        return free

    def learn(self, code: bytes, digests: Mapping[SectionName, bytes]) -> None:
        """A configuration is stored, durably."""
        self.codes[code] = tuple(digests[name] for name in SECTIONS)
        self.sections.update(digests.values())

    def release(self, asker: Hashable) -> list[Hashable]:
        """This asker is done, late or gone. Those who waited and may go on now, in the order they came."""
        self._waiting.pop(asker, None)
        if asker not in self._busy:
            return []
        self._busy.discard(asker)
        for digest in [digest for digest, holder in self._asked.items() if holder == asker]:
            del self._asked[digest]
        ready = list(self._waiting)
        self._waiting.clear()
        return ready


class NewCodes:
    """How many new codes each terminal brought within 24 hours; a limit on what a terminal may cost."""

    def __init__(self, per_day: int) -> None:
        self._per_day = per_day
        self._brought: dict[str, deque[int]] = {}

    def knows(self, terminal: str) -> bool:
        """Whether what the store says of this terminal was taken in."""
        return terminal in self._brought

    def recall(self, terminal: str, instants: Iterable[int]) -> None:
        """Take in from the store when the terminal brought new codes."""
        self._brought[terminal] = deque(sorted(instants))

    def bring(self, terminal: str, now: int) -> bool:
        """Count a new code at ``now`` (microseconds); false when the terminal may not bring another today."""
        brought = self._brought.setdefault(terminal, deque())
        while brought and brought[0] <= now - DAY:
            brought.popleft()
        if len(brought) >= self._per_day:
            return False
        brought.append(now)
        return True
